//! The same run in other surroundings, on purpose: what a second build is given to find out what a first one took in.
//!
//! Each [`Aspect`] changes one thing that must not matter and nothing else, so that a difference in the result names
//! its cause. Pure: a spec in, a spec out. What a spec can't change (the real clock, the kernel, the processor's
//! model) is left to another machine.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Kind, Spec, Staging};

/// One thing that must not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// The host name.
    Hostname,
    /// User and group.
    User,
    /// The mask for the permission bits of new files.
    Umask,
    /// `TZ`.
    Timezone,
    /// `LANG`, `LC_ALL` and `LANGUAGE`.
    Locale,
    /// `HOME`.
    Home,
    /// One more variable in the environment.
    Environment,
    /// The end of `PATH`.
    Path,
    /// The number of processors.
    Cpus,
    /// Whether memory is laid out at random addresses.
    Addresses,
    /// The file system that input trees are on: a fresh tmpfs. Their files then belong to the payload's user, who still
    /// can't write them.
    FileSystem,
    /// The order in which directories of the inputs list their names, and with it the file system: on a tmpfs it is
    /// the order of their making, which is that of their names for [`Aspect::FileSystem`] and the reverse for this.
    InputOrder,
}

impl Aspect {
    /// Every one of them.
    pub const ALL: &[Self] = &[
        Self::Hostname,
        Self::User,
        Self::Umask,
        Self::Timezone,
        Self::Locale,
        Self::Home,
        Self::Environment,
        Self::Path,
        Self::Cpus,
        Self::Addresses,
        Self::FileSystem,
        Self::InputOrder,
    ];
}

/// The name that JSON has for it.
impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A set of aspects to change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Variation(BTreeSet<Aspect>);

impl Variation {
    /// Changes everything.
    pub fn all() -> Self {
        Aspect::ALL.iter().copied().collect()
    }

    /// Changes one thing.
    pub fn only(aspect: Aspect) -> Self {
        Self::from_iter([aspect])
    }

    /// Whether an aspect is changed.
    pub fn changes(&self, aspect: Aspect) -> bool {
        self.0.contains(&aspect)
    }

    /// What is changed, in order.
    pub fn aspects(&self) -> impl Iterator<Item = Aspect> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Aspect> for Variation {
    fn from_iter<I: IntoIterator<Item = Aspect>>(aspects: I) -> Self {
        Self(aspects.into_iter().collect())
    }
}

/// Space for copies of the inputs of one mount; what is copied also counts as memory.
const COPY_BYTES: u64 = 4 << 30;
const COPY_INODES: u64 = 1 << 20;
/// Where a program would have to look in vain.
const PATH_TAIL: &str = "/i-capture-the-path";

/// The first of two values, or the second where the first is there already.
fn other<T: PartialEq>(now: &T, first: T, second: T) -> T {
    if *now == first { second } else { first }
}

impl Spec {
    /// This spec with the aspects of a variation changed. Whatever it says itself, the result differs from it.
    #[must_use]
    pub fn varied(&self, variation: &Variation) -> Self {
        let mut spec = self.clone();
        variation.aspects().for_each(|aspect| spec.change(aspect));
        spec
    }

    fn change(&mut self, aspect: Aspect) {
        match aspect {
            Aspect::Hostname => {
                self.hostname = other(&self.hostname.as_str(), "i-capture-the-hostname", "another-hostname").to_owned();
            }
            Aspect::User => (self.uid, self.gid) = (other(&self.uid, 4321, 1234), other(&self.gid, 8765, 5678)),
            Aspect::Umask => self.umask = other(&self.umask, 0o002, 0o027),
            Aspect::Timezone => self.variable("TZ", "GMT-14", "GMT+12"),
            Aspect::Locale => {
                self.variable("LANG", "et_EE.UTF-8", "fr_CH.UTF-8");
                self.variable("LC_ALL", "et_EE.UTF-8", "fr_CH.UTF-8");
                self.variable("LANGUAGE", "et:fr", "fr:et");
            }
            Aspect::Home => self.variable("HOME", "/nonexistent/second-build", "/nonexistent/third-build"),
            Aspect::Environment => {
                self.variable("ANNEAL_VARIATION", "i-capture-the-environment", "another-environment");
            }
            Aspect::Path => {
                let path = self.env.entry("PATH".to_owned()).or_default();
                let separator = if path.is_empty() { "" } else { ":" };
                *path = format!("{path}{separator}{PATH_TAIL}");
            }
            Aspect::Cpus => self.limits.cpus = other(&self.limits.cpus, 1, 2),
            Aspect::Addresses => {
                self.fixed_addresses = Some(!self.fixed_addresses.unwrap_or(self.kind != Kind::Run));
            }
            Aspect::FileSystem => self.copy_inputs(false),
            Aspect::InputOrder => self.copy_inputs(true),
        }
    }

    fn variable(&mut self, name: &str, first: &str, second: &str) {
        let now = self.env.get(name).map(String::as_str).unwrap_or_default();
        let value = other(&now, first, second).to_owned();
        self.env.insert(name.to_owned(), value);
    }

    fn copy_inputs(&mut self, reversed: bool) {
        if self.staging == Staging::InPlace {
            self.limits.memory_bytes = self.limits.memory_bytes.saturating_add(COPY_BYTES);
        }
        self.staging = Staging::Copied { bytes: COPY_BYTES, inodes: COPY_INODES, reversed };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_aspect_changes_a_spec_and_changes_it_again_where_it_is_changed_already() {
        let plain = Spec::of(Kind::Build);
        for aspect in Aspect::ALL.iter().filter(|aspect| !matches!(aspect, Aspect::FileSystem | Aspect::InputOrder)) {
            let once = plain.varied(&Variation::only(*aspect));
            let twice = once.varied(&Variation::only(*aspect));
            assert!(once != plain && twice != once, "{aspect:?}");
        }
        let on_tmpfs = plain.varied(&Variation::only(Aspect::FileSystem));
        let reversed = plain.varied(&Variation::only(Aspect::InputOrder));
        assert!(on_tmpfs != plain && reversed != plain && on_tmpfs != reversed);
        assert_eq!(reversed, plain.varied(&[Aspect::InputOrder, Aspect::FileSystem].into_iter().collect()));
    }

    #[test]
    fn no_aspect_is_no_change_and_a_variation_is_a_list_of_names() {
        let plain = Spec::of(Kind::Run);
        assert_eq!(plain.varied(&Variation::default()), plain);
        let some: Variation = serde_json::from_str(r#"["umask", "input-order"]"#).unwrap();
        assert_eq!(some, [Aspect::InputOrder, Aspect::Umask].into_iter().collect());
        assert_eq!(Aspect::InputOrder.to_string(), "input-order");
        assert_eq!(Variation::all().aspects().count(), Aspect::ALL.len());
        assert!(serde_json::from_str::<Variation>(r#"["clock"]"#).is_err());
    }
}
