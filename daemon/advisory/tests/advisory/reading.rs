//! What is taken in and what is refused, and with which words.

use crate::fixture::{record, record_text, zlib_range};
use anneal_advisory::{DEPTH_LIMIT, Error, Event, ID_LIMIT, SIZE_LIMIT, TEXT_LIMIT, parse};

fn refusal(text: &str) -> String {
    parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_record_keeps_its_events_in_order_and_null_is_absent() {
    let text = r#"{"schema_version":"1.7.0","id":"TEST-1","modified":"0001-01-01T00:00:00Z","published":null,
        "aliases":null,"related":["X-1"],"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N"}],
        "affected":[{"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.0.2"},{"introduced":"3.0.0"}]}],
        "versions":null,"database_specific":{"any":[1]}}],
        "references":[{"type":"WEB","url":"https://example.org"}],"database_specific":{}}"#;
    let advisory = parse(text.as_bytes()).unwrap();
    assert_eq!(advisory.modified.year(), 1);
    assert_eq!((advisory.published, advisory.withdrawn), (None, None));
    assert_eq!(advisory.severity[0].kind, "CVSS_V3");
    let events = &advisory.affected[0].ranges[0].events;
    assert_eq!(events[1], Event::Fixed("1.0.2".to_owned()));
    assert_eq!(events[2], Event::Introduced("3.0.0".to_owned()));
}

#[test]
fn a_record_without_affected_entries_is_taken_in() {
    let with_null = parse(br#"{"id":"A-1","modified":"2024-01-02T03:04:05Z","affected":null}"#).unwrap();
    let without = parse(br#"{"id":"A-1","modified":"2024-01-02T03:04:05.123Z"}"#).unwrap();
    assert!(with_null.affected.is_empty() && without.affected.is_empty());
}

#[test]
fn what_is_not_osv_json_is_refused_at_its_line() {
    let text = refusal("{\"id\":\"A-1\",\n\"modified\":");
    assert!(text.contains("line 2, column"), "{text}");
    assert!(refusal("not json").contains("not OSV JSON at line 1"));
    assert!(refusal(r#"{"modified":"2024-01-02T03:04:05Z"}"#).contains("missing field `id`"));
    assert!(refusal(r#"{"id":"A-1"}"#).contains("missing field `modified`"));
    let twice = r#"{"id":"A-1","id":"A-2","modified":"2024-01-02T03:04:05Z"}"#;
    assert!(refusal(twice).contains("duplicate field `id`"));
    assert!(refusal(r#"{"id":"A-1","modified":"2024-01-02T03:04:05Z"} x"#).contains("trailing characters"));
}

#[test]
fn an_id_that_could_be_a_path_is_refused() {
    for id in ["", "a/b", "..", ".hidden", "a b", "a\\\\b", "\\u0000", "ä"] {
        let text = refusal(&format!(r#"{{"id":"{id}","modified":"2024-01-02T03:04:05Z"}}"#));
        assert!(text.contains("is not a record id"), "{id}: {text}");
    }
    let of = |length: usize| format!(r#"{{"id":"{}","modified":"2024-01-02T03:04:05Z"}}"#, "a".repeat(length));
    assert!(parse(of(ID_LIMIT).as_bytes()).is_ok());
    assert!(refusal(&of(ID_LIMIT + 1)).contains("is not a record id"));
    let alias = r#"{"id":"A-1","modified":"2024-01-02T03:04:05Z","aliases":["B-1","../x"]}"#;
    assert!(refusal(alias).contains("`aliases[1]` of A-1 is `../x`"));
}

#[test]
fn a_time_that_is_not_rfc_3339_is_refused() {
    let text = refusal(r#"{"id":"A-1","modified":"yesterday"}"#);
    assert!(text.starts_with("`modified` of A-1 is `yesterday`: expected a time in RFC 3339"), "{text}");
    let text = refusal(r#"{"id":"A-1","modified":"2024-01-02T03:04:05Z","withdrawn":"2024-13-01T00:00:00Z"}"#);
    assert!(text.starts_with("`withdrawn` of A-1"), "{text}");
    let year_one = parse(br#"{"id":"A-1","modified":"1-01-01T00:00:00Z"}"#).unwrap();
    assert_eq!(year_one.modified.year(), 1);
    assert!(refusal(r#"{"id":"A-1","modified":"-01-01T00:00:00Z"}"#).contains("expected a time"));
}

#[test]
fn a_range_that_breaks_the_schema_is_refused_at_its_place() {
    let cases = [
        (r#"{"type":"MAVEN","events":[{"introduced":"0"}]}"#, "ranges[0].type` of TEST-1 is `MAVEN`"),
        (r#"{"type":"GIT","events":[{"introduced":"0"}]}"#, "ranges[0].repo` of TEST-1"),
        (r#"{"type":"SEMVER","events":[]}"#, "at least one `introduced`"),
        (r#"{"type":"SEMVER","events":[{"fixed":"1.0.0"}]}"#, "at least one `introduced`"),
        (r#"{"type":"SEMVER","events":[{"introduced":"0"},{}]}"#, "events[1]` of TEST-1"),
        (r#"{"type":"SEMVER","events":[{"introduced":"0","fixed":"1.0.0"}]}"#, "exactly one kind"),
        (r#"{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.0.0"},{"last_affected":"2.0.0"}]}"#, "not both"),
        (r#"{"type":"SEMVER","events":[{"introduced":""}]}"#, "events[0]` of TEST-1 is ``"),
        (r#"{"type":"SEMVER","events":[{"introduced":"\u001b[2J"}]}"#, "without control characters"),
    ];
    for (range, expected) in cases {
        let text = refusal(&record_text(&format!(r#"{{"ranges":[{range}]}}"#)));
        assert!(text.contains(expected), "{range}: {text}");
    }
    let nameless = r#"{"package":{"ecosystem":"Debian:12","name":""}}"#;
    assert!(refusal(&record_text(nameless)).contains("`affected[0].package.name` of TEST-1"));
}

#[test]
fn records_beyond_the_limits_are_refused() {
    let padded = |length: usize| {
        let mut text = r#"{"id":"A-1","modified":"2024-01-02T03:04:05Z"}"#.to_owned();
        text.push_str(&" ".repeat(length - text.len()));
        text
    };
    assert!(parse(padded(SIZE_LIMIT).as_bytes()).is_ok());
    assert!(matches!(parse(padded(SIZE_LIMIT + 1).as_bytes()), Err(Error::TooLarge { .. })));

    let nested = |depth: usize| {
        let inner = format!("{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        format!(r#"{{"id":"A-1","modified":"2024-01-02T03:04:05Z","x":{inner}}}"#)
    };
    assert!(parse(nested(DEPTH_LIMIT).as_bytes()).is_ok());
    assert!(matches!(parse(nested(DEPTH_LIMIT + 1).as_bytes()), Err(Error::TooDeep { .. })));
    let quoted = format!(r#"{{"id":"A-1","modified":"2024-01-02T03:04:05Z","details":"\"{}"}}"#, "[".repeat(500));
    assert!(parse(quoted.as_bytes()).is_ok(), "brackets in text are no nesting");

    let of =
        |length: usize| record_text(&zlib_range("ECOSYSTEM", &format!(r#"{{"introduced":"{}"}}"#, "1".repeat(length))));
    assert!(parse(of(TEXT_LIMIT).as_bytes()).is_ok());
    assert!(parse(of(TEXT_LIMIT + 1).as_bytes()).is_err());
}

#[test]
fn a_refusal_shows_no_control_characters() {
    let text = refusal("{\"id\":\"\\u001b[2J/\",\"modified\":\"2024-01-02T03:04:05Z\"}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(!record(r#"{"versions":["1"]}"#).affected.is_empty());
}
