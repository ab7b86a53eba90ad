//! Records and components to ask about.

use anneal_advisory::{Advisory, Component, Judgement, judge, parse};

/// zlib as the catalogue knows it.
pub(crate) fn zlib(version: &str) -> Component {
    Component {
        name: "zlib".parse().unwrap(),
        version: version.parse().unwrap(),
        purl: Some("pkg:generic/zlib".to_owned()),
        repository: Some("https://github.com/madler/zlib".to_owned()),
        names: vec![
            ("Debian".to_owned(), "zlib".to_owned()),
            ("Alpine".to_owned(), "zlib".to_owned()),
            ("crates.io".to_owned(), "libz-sys".to_owned()),
        ],
    }
}

/// A component with nothing but a name in an ecosystem.
pub(crate) fn named(ecosystem: &str, name: &str, version: &str) -> Component {
    let names = vec![(ecosystem.to_owned(), name.to_owned())];
    Component { name: "thing".parse().unwrap(), version: version.parse().unwrap(), purl: None, repository: None, names }
}

/// A record with these affected entries, written as JSON.
pub(crate) fn record(affected: &str) -> Advisory {
    parse(record_text(affected).as_bytes()).unwrap()
}

pub(crate) fn record_text(affected: &str) -> String {
    format!(r#"{{"id":"TEST-1","modified":"2024-01-02T03:04:05Z","affected":[{affected}]}}"#)
}

/// An entry of upstream's zlib with one range.
pub(crate) fn zlib_range(kind: &str, events: &str) -> String {
    format!(
        r#"{{"package":{{"ecosystem":"generic","name":"zlib","purl":"pkg:generic/zlib"}},
            "ranges":[{{"type":"{kind}","events":[{events}]}}]}}"#
    )
}

/// An entry of a package by its ecosystem and name, with one ECOSYSTEM range.
pub(crate) fn package_range(ecosystem: &str, name: &str, events: &str) -> String {
    format!(
        r#"{{"package":{{"ecosystem":"{ecosystem}","name":"{name}"}},
            "ranges":[{{"type":"ECOSYSTEM","events":[{events}]}}]}}"#
    )
}

/// The judgement in one word.
pub(crate) fn word(affected: &str, component: &Component) -> &'static str {
    match judge(&record(affected), component) {
        Judgement::Affected { .. } => "affected",
        Judgement::NotAffected { .. } => "not affected",
        Judgement::Unknown { .. } => "unknown",
        Judgement::Unrelated => "unrelated",
    }
}
