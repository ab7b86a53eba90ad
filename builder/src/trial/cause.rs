//! From what runs gave to why they differ: pure, path by path.
//!
//! A path that differs with nothing varied differs by itself: time, where its bytes hold the time of their run, else
//! randomness. A path that differs with one aspect alone is that aspect's. On a file system in memory both the file
//! system and the order of names are others, and in the reverse order only the order is: so a path on which these two
//! agree is the file system's, and another one the order's.

use super::compare::{Change, Place};
use anneal_sandbox::Aspect;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Why a build does not give the same each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The time of the build.
    Time,
    /// Something that is another each time: random bytes, a race, an address.
    Randomness,
    /// Several of the surroundings together, none of them alone.
    Together,
    /// One of the surroundings.
    #[serde(untagged)]
    Surroundings(Aspect),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time => f.pad("time"),
            Self::Randomness => f.pad("randomness"),
            Self::Together => f.pad("together"),
            Self::Surroundings(aspect) => f.pad(&aspect.to_string()),
        }
    }
}

/// What a run gave otherwise than the build.
pub(super) type Changes = BTreeMap<Place, Change>;
/// Some paths of it.
pub(super) type Paths = BTreeSet<Place>;

/// What all runs gave otherwise than the build.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// With everything varied.
    pub(super) all: Changes,
    /// With nothing varied.
    pub(super) again: Changes,
    /// Which paths of `again` hold the time of their run.
    pub(super) timed: Paths,
    /// With one aspect varied.
    pub(super) single: BTreeMap<Aspect, Changes>,
}

/// Each cause with how it is known and what it changed; none where nothing differs.
pub(super) fn attribute(seen: Seen) -> Vec<(Cause, String, Changes)> {
    let Seen { all, again, timed, single } = seen;
    let mut found: BTreeMap<Cause, Changes> = BTreeMap::new();
    let mut put = |cause, place: &Place, change: &Change| {
        found.entry(cause).or_default().insert(place.clone(), change.clone());
    };
    for (place, change) in &again {
        put(if timed.contains(place) { Cause::Time } else { Cause::Randomness }, place, change);
    }
    let mut explained: Paths = again.keys().cloned().collect();
    for (aspect, changes) in &single {
        for (place, change) in changes.iter().filter(|(place, _)| !again.contains_key(*place)) {
            if is_of(*aspect, place, &single) {
                put(Cause::Surroundings(*aspect), place, change);
            }
            explained.insert(place.clone());
        }
    }
    for (place, change) in all.iter().filter(|(place, _)| !explained.contains(*place)) {
        put(Cause::Together, place, change);
    }
    found.into_iter().map(|(cause, changes)| (cause, because(cause).to_owned(), changes)).collect()
}

/// Whether an aspect, and not one that changes along with it, is what changed a path.
fn is_of(aspect: Aspect, place: &Place, single: &BTreeMap<Aspect, Changes>) -> bool {
    let order_shows = || {
        let of = |aspect| single.get(&aspect).map(|changes| changes.get(place));
        matches!((of(Aspect::FileSystem), of(Aspect::InputOrder)), (Some(one), Some(other)) if !alike(one, other))
    };
    match aspect {
        Aspect::FileSystem => !order_shows(),
        Aspect::InputOrder => order_shows() || !single.contains_key(&Aspect::FileSystem),
        _ => true,
    }
}

/// Whether two runs gave the same. Of two that failed the logs may differ in what has nothing to do with it.
fn alike(one: Option<&Change>, other: Option<&Change>) -> bool {
    matches!((one, other), (Some(Change::Failed { .. }), Some(Change::Failed { .. }))) || one == other
}

fn because(cause: Cause) -> &'static str {
    match cause {
        Cause::Time => "it differs with nothing varied, and holds the time at which it was built",
        Cause::Randomness => {
            "it differs with nothing varied, and does not hold the time: random bytes, a race, or a fraction of a second"
        }
        Cause::Together => {
            "it differed when all were varied at once, and with none of them alone: several together, or chance"
        }
        Cause::Surroundings(_) => "it differs when this alone is varied, and does not when nothing is",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_content::{OutputName, TreePath};

    fn at(path: &str) -> Place {
        Place::At(OutputName::out(), TreePath::new(path).unwrap())
    }

    fn to(target: &str) -> Change {
        Change::Target { was: "before".into(), is: target.into() }
    }

    fn changes(all: &[(&str, &str)]) -> Changes {
        all.iter().map(|(path, target)| (at(path), to(target))).collect()
    }

    fn named(seen: Seen) -> Vec<(String, Vec<Place>)> {
        attribute(seen).into_iter().map(|(c, _, changes)| (c.to_string(), changes.into_keys().collect())).collect()
    }

    #[test]
    fn nothing_that_differs_has_no_cause() {
        assert_eq!(named(Seen::default()), []);
    }

    #[test]
    fn each_path_has_the_cause_that_changes_it_alone() {
        let single = BTreeMap::from([
            (Aspect::Hostname, changes(&[("name", "x")])),
            (Aspect::Umask, changes(&[])),
            (Aspect::Cpus, changes(&[("count", "x"), ("name", "y")])),
        ]);
        let all = changes(&[("name", "z"), ("count", "x"), ("both", "x")]);
        let told = named(Seen { all, single, ..Seen::default() });
        assert_eq!(
            told,
            [
                ("together".to_owned(), vec![at("both")]),
                ("hostname".to_owned(), vec![at("name")]),
                ("cpus".to_owned(), vec![at("count"), at("name")]),
            ]
        );
    }

    #[test]
    fn what_differs_by_itself_is_no_aspects_fault_and_is_time_where_it_holds_the_time() {
        let all = changes(&[("stamp", "1"), ("noise", "1"), ("name", "1")]);
        let again = changes(&[("stamp", "2"), ("noise", "2")]);
        let timed = Paths::from([at("stamp")]);
        let single = BTreeMap::from([(Aspect::Hostname, changes(&[("stamp", "3"), ("noise", "3"), ("name", "1")]))]);
        let told = named(Seen { all, again, timed, single });
        assert_eq!(
            told,
            [
                ("time".to_owned(), vec![at("stamp")]),
                ("randomness".to_owned(), vec![at("noise")]),
                ("hostname".to_owned(), vec![at("name")]),
            ]
        );
    }

    #[test]
    fn the_order_of_names_and_the_file_system_are_told_apart_by_the_reverse_order() {
        let of = |in_memory: &[(&str, &str)], reversed: &[(&str, &str)]| {
            let single = [(Aspect::FileSystem, changes(in_memory)), (Aspect::InputOrder, changes(reversed))];
            named(Seen { all: changes(reversed), single: single.into(), ..Seen::default() })
        };
        assert_eq!(of(&[("list", "forth")], &[("list", "back")]), [("input-order".to_owned(), vec![at("list")])]);
        assert_eq!(of(&[("type", "tmpfs")], &[("type", "tmpfs")]), [("file-system".to_owned(), vec![at("type")])]);
        assert_eq!(of(&[], &[("list", "back")]), [("input-order".to_owned(), vec![at("list")])]);
        let alone = BTreeMap::from([(Aspect::InputOrder, changes(&[("list", "back")]))]);
        let seen = Seen { all: changes(&[("list", "back")]), single: alone, ..Seen::default() };
        assert_eq!(named(seen), [("input-order".to_owned(), vec![at("list")])]);
    }

    #[test]
    fn a_run_that_fails_is_a_difference_of_its_aspect() {
        let failed = Changes::from([(Place::Run, Change::Failed { ended: "exited with code 1".into() })]);
        let single = BTreeMap::from([(Aspect::Home, failed.clone())]);
        assert_eq!(named(Seen { all: failed, single, ..Seen::default() }), [("home".to_owned(), vec![Place::Run])]);
    }

    #[test]
    fn a_cause_is_one_word_in_json() {
        for (cause, word) in [
            (Cause::Time, "\"time\""),
            (Cause::Randomness, "\"randomness\""),
            (Cause::Surroundings(Aspect::InputOrder), "\"input-order\""),
        ] {
            assert_eq!(serde_json::to_string(&cause).unwrap(), word);
            assert_eq!(serde_json::from_str::<Cause>(word).unwrap(), cause);
        }
    }
}
