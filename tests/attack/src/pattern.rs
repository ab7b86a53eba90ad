//! Which walls a negative control takes away.

use anneal_sandbox::Op;
use serde::Deserialize;

/// These two are never taken away: without them the rest of a list would be applied to the host itself.
const KEPT: &[&str] = &["user", "mount"];

/// A part of a list of operations, in the words of the list (`golden/sandbox/build.txt`).
///
/// - `namespace NAME`: the namespace of that name is shared with the host;
/// - `read-only PATH`: what is bound at the path can be written;
/// - `subordinate-user`: the payload is the caller's own user, where it would be one of the caller's subordinate ids;
/// - anything else: operations that read like this, with `*` for any text, are left out.
///
/// A pattern that matches nothing is a mistake, unless `if-there` stands behind it: some kernels lack some walls.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern {
    kind: Kind,
    optional: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Namespace(String),
    ReadOnly(String),
    SubordinateUser,
    Operation(String),
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::Namespace(name) => write!(f, "namespace {name}"),
            Kind::ReadOnly(path) => write!(f, "read-only {path}"),
            Kind::SubordinateUser => f.write_str("subordinate-user"),
            Kind::Operation(text) => f.write_str(text),
        }
    }
}

impl Pattern {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (text, optional) = text.strip_suffix(" if-there").map_or((text, false), |text| (text, true));
        let kind = match text.split_once(' ') {
            Some(("namespace", name)) if KEPT.contains(&name) => {
                return Err(format!("the {name} namespace is never taken away: what follows would reach the host"));
            }
            Some(("namespace", name)) => Kind::Namespace(name.to_owned()),
            Some(("read-only", path)) if path.starts_with('/') => Kind::ReadOnly(path.to_owned()),
            _ if text == "subordinate-user" => Kind::SubordinateUser,
            _ if text.starts_with("enter")
                || text.starts_with("become")
                || text.starts_with("start")
                || text.starts_with('*') =>
            {
                return Err(format!("`{text}` would take away the sandbox itself"));
            }
            _ => Kind::Operation(text.to_owned()),
        };
        Ok(Self { kind, optional })
    }

    /// Whether it leaves the payload in the host's own root.
    pub(crate) fn keeps_host_root(&self) -> bool {
        self.kind == Kind::Operation("pivot".to_owned())
    }

    /// Whether it makes the payload the caller's own user.
    pub(crate) fn is_subordinate_user(&self) -> bool {
        self.kind == Kind::SubordinateUser
    }

    /// Applies it to one operation: what is left of it, and whether it matched.
    fn apply(&self, op: Op) -> (Option<Op>, bool) {
        match (&self.kind, op) {
            (Kind::Namespace(name), Op::Enter { mut namespaces, uid, gid, deny_setgroups }) => {
                let before = namespaces.len();
                namespaces.retain(|namespace| namespace.to_string() != *name);
                let matched = namespaces.len() < before;
                (Some(Op::Enter { namespaces, uid, gid, deny_setgroups }), matched)
            }
            (Kind::ReadOnly(path), Op::Bind { from, at, devices, optional, .. }) if at == *path => {
                (Some(Op::Bind { from, at, writable: true, devices, optional }), true)
            }
            (Kind::SubordinateUser, Op::JoinUsers | Op::GiveLog { .. }) => (None, true),
            // What comes before has matched already, or there is no such user.
            (Kind::SubordinateUser, Op::Enter { namespaces, mut uid, mut gid, .. }) => {
                uid.outside = nix::unistd::geteuid().as_raw();
                gid.outside = nix::unistd::getegid().as_raw();
                (Some(Op::Enter { namespaces, uid, gid, deny_setgroups: true }), false)
            }
            (Kind::SubordinateUser, Op::Become { uid, gid, .. }) => {
                (Some(Op::Become { uid, gid, clear_groups: false }), false)
            }
            (Kind::Operation(text), op) if matches(text, &op.to_string()) => (None, true),
            (_, op) => (Some(op), false),
        }
    }
}

/// Applies all patterns; what is left, and the patterns that should have matched and did not.
pub(crate) fn take_away(ops: Vec<Op>, patterns: &[Pattern]) -> (Vec<Op>, Vec<String>) {
    let mut unmatched = Vec::new();
    let mut left = ops;
    for pattern in patterns {
        let mut any = false;
        left = left
            .into_iter()
            .filter_map(|op| {
                let (op, matched) = pattern.apply(op);
                any |= matched;
                op
            })
            .collect();
        if !any && !pattern.optional {
            unmatched.push(pattern.to_string());
        }
    }
    (left, unmatched)
}

/// Whether a text reads like a pattern with `*` for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("pivot", "pivot", true),
            ("pivot", "pivot more", false),
            ("seccomp *", "seccomp refuse 44 calls", true),
            ("bind \"masks/*\" at \"/proc/*", "bind \"masks/0\" at \"/proc/cpuinfo\" read-only if-there", true),
            ("limit core *", "limit locked 1 1", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn what_would_leave_the_host_open_can_not_be_written_down() {
        for text in ["namespace user", "namespace mount", "enter *", "become *", "start", "*"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        assert!(Pattern::parse("namespace network").is_ok());
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_told() {
        let patterns = [Pattern::parse("pivot").unwrap(), Pattern::parse("landlock * if-there").unwrap()];
        let (left, unmatched) = take_away(vec![Op::Loopback], &patterns);
        assert_eq!((left, unmatched), (vec![Op::Loopback], vec!["pivot".to_owned()]));
    }
}
