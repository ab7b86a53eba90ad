//! Which release does a tag mark? `v1.2.11`, `curl-7_83_0` and `OpenSSL_1_1_1k` all name a version.

use crate::Component;
use crate::order::{Key, Order};

/// The tags of an entry, read as versions of a component.
#[derive(Debug)]
pub(super) struct Tags<'a> {
    of_version: Option<&'a str>,
    /// Versions of the tags that are written as this project writes releases.
    read: Vec<Key>,
    version: Option<Key>,
}

impl<'a> Tags<'a> {
    pub(super) fn read(tags: &'a [String], component: &Component) -> Self {
        let version = component.version.as_str();
        let key = Order::Generic.key(version).ok();
        let is_ours = |tag: &&'a String| {
            let read = bare(tag);
            tag.as_str() == version
                || read.as_deref() == Some(version)
                || (key.is_some() && read.and_then(|read| Order::Generic.key(&read).ok()) == key)
                || (key.is_some() && release(tag, component) == key)
        };
        Self {
            of_version: tags.iter().find(is_ours).map(String::as_str),
            read: tags.iter().filter_map(|tag| release(tag, component)).collect(),
            version: key,
        }
    }

    /// The tag of the component's version, if the list has one.
    pub(super) fn of_version(&self) -> Option<&'a str> {
        self.of_version
    }

    /// Whether the list says anything about versions: both its tags and ours can be read.
    pub(super) fn is_readable(&self) -> bool {
        self.version.is_some() && !self.read.is_empty()
    }

    /// Whether the component's version is later than every tag of the list.
    pub(super) fn are_older(&self) -> bool {
        self.read.iter().all(|tag| Some(tag) < self.version.as_ref())
    }
}

/// The version of a tag that begins as releases do: with the project's name, `v`, `release` or nothing.
fn release(tag: &str, component: &Component) -> Option<Key> {
    let tag = tag.to_ascii_lowercase();
    let repository = component.repository.as_deref().map(crate::ecosystem::repository);
    let project = repository.as_deref().and_then(|r| r.rsplit('/').next()).unwrap_or("");
    let prefixes = [component.name.as_str(), project];
    let named = prefixes.iter().filter(|p| !p.is_empty()).find_map(|p| tag.strip_prefix(p));
    let rest = named.unwrap_or(&tag).trim_start_matches(['-', '_', '/', '.']);
    let words = ["version", "release", "ver", "rel", "v", "r"];
    let rest = words.iter().find_map(|w| rest.strip_prefix(w)).unwrap_or(rest);
    dotted(rest.trim_start_matches(['-', '_', '/', '.']))
}

/// A tag without anything before its first digit, whatever that is: enough to find a version, not to rule one out.
fn bare(tag: &str) -> Option<String> {
    let start = tag.find(|c: char| c.is_ascii_digit())?;
    Some(tag[start..].replace('_', "."))
}

fn dotted(text: &str) -> Option<Key> {
    Order::Generic.key(&text.replace(['_', '-'], ".")).ok()
}
