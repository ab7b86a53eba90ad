//! Reading an OSV record: limits first, then the shape of the schema, then what a shape cannot say.
//!
//! A record is taken in whole or refused with the place that is wrong; nothing of it is guessed. `null` counts as
//! absent, as databases write it so. Fields that Anneal has no use for are ignored.

use crate::error::shown;
use crate::{Advisory, Affected, Error, Event, Package, Range, RangeKind, Reference, Severity};
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The largest record taken in, in bytes.
pub const SIZE_LIMIT: usize = 8 << 20;
/// The deepest nesting taken in.
pub const DEPTH_LIMIT: usize = 64;
/// The longest id or alias, in bytes.
pub const ID_LIMIT: usize = 128;
/// The longest version, ecosystem, name, package URL or repository, in bytes.
pub const TEXT_LIMIT: usize = 512;

#[derive(Deserialize)]
struct RawAdvisory {
    id: String,
    modified: String,
    published: Option<String>,
    withdrawn: Option<String>,
    aliases: Option<Vec<String>>,
    summary: Option<String>,
    details: Option<String>,
    severity: Option<Vec<Severity>>,
    affected: Option<Vec<RawAffected>>,
    references: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
struct RawAffected {
    package: Option<Package>,
    severity: Option<Vec<Severity>>,
    ranges: Option<Vec<RawRange>>,
    versions: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RawRange {
    #[serde(rename = "type")]
    kind: String,
    repo: Option<String>,
    events: Vec<RawEvent>,
}

#[derive(Deserialize)]
struct RawEvent {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
    limit: Option<String>,
}

/// Reads one OSV record.
pub fn parse(bytes: &[u8]) -> Result<Advisory, Error> {
    if bytes.len() > SIZE_LIMIT {
        return Err(Error::TooLarge { limit: SIZE_LIMIT, found: bytes.len() });
    }
    check_depth(bytes)?;
    let raw: RawAdvisory = serde_json::from_slice(bytes).map_err(|e| Error::Json {
        line: e.line(),
        column: e.column(),
        reason: shown(&e.to_string()),
    })?;
    if !is_id(&raw.id) {
        return Err(Error::Id { limit: ID_LIMIT, found: shown(&raw.id) });
    }
    let id = raw.id;
    let aliases = raw.aliases.unwrap_or_default();
    for (i, alias) in aliases.iter().enumerate() {
        if !is_id(alias) {
            return Err(field(
                &id,
                format!("aliases[{i}]"),
                alias,
                "an id of 1 to 128 printable characters, no slashes",
            ));
        }
    }
    let mut affected = Vec::new();
    for (i, entry) in raw.affected.unwrap_or_default().into_iter().enumerate() {
        affected.push(read_affected(&id, &format!("affected[{i}]"), entry)?);
    }
    Ok(Advisory {
        modified: read_time(&id, "modified", &raw.modified)?,
        published: raw.published.map(|t| read_time(&id, "published", &t)).transpose()?,
        withdrawn: raw.withdrawn.map(|t| read_time(&id, "withdrawn", &t)).transpose()?,
        id,
        aliases,
        summary: raw.summary.unwrap_or_default(),
        details: raw.details.unwrap_or_default(),
        severity: raw.severity.unwrap_or_default(),
        affected,
        references: raw.references.unwrap_or_default(),
    })
}

/// An id names a file and a key: printable ASCII without spaces or slashes, beginning with a letter or digit.
fn is_id(text: &str) -> bool {
    (1..=ID_LIMIT).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'\\')
}

fn read_affected(id: &str, place: &str, raw: RawAffected) -> Result<Affected, Error> {
    if let Some(package) = &raw.package {
        check_text(id, &format!("{place}.package.ecosystem"), &package.ecosystem)?;
        check_text(id, &format!("{place}.package.name"), &package.name)?;
        if let Some(purl) = &package.purl {
            check_text(id, &format!("{place}.package.purl"), purl)?;
        }
    }
    let versions = raw.versions.unwrap_or_default();
    for (i, version) in versions.iter().enumerate() {
        check_text(id, &format!("{place}.versions[{i}]"), version)?;
    }
    let mut ranges = Vec::new();
    for (i, range) in raw.ranges.unwrap_or_default().into_iter().enumerate() {
        ranges.push(read_range(id, &format!("{place}.ranges[{i}]"), range)?);
    }
    Ok(Affected { package: raw.package, severity: raw.severity.unwrap_or_default(), ranges, versions })
}

fn read_range(id: &str, place: &str, raw: RawRange) -> Result<Range, Error> {
    let kind = match raw.kind.as_str() {
        "SEMVER" => RangeKind::Semver,
        "ECOSYSTEM" => RangeKind::Ecosystem,
        "GIT" => RangeKind::Git,
        other => return Err(field(id, format!("{place}.type"), other, "SEMVER, ECOSYSTEM or GIT")),
    };
    match &raw.repo {
        Some(repo) => check_text(id, &format!("{place}.repo"), repo)?,
        None if kind == RangeKind::Git => {
            return Err(field(
                id,
                format!("{place}.repo"),
                "",
                "the address of the repository, as the range is a GIT one",
            ));
        }
        None => {}
    }
    let mut events = Vec::new();
    for (i, event) in raw.events.into_iter().enumerate() {
        events.push(read_event(id, &format!("{place}.events[{i}]"), event)?);
    }
    let has = |wanted: fn(&Event) -> bool| events.iter().any(wanted);
    if !has(|e| matches!(e, Event::Introduced(_))) {
        return Err(field(id, format!("{place}.events"), "", "at least one `introduced`"));
    }
    if has(|e| matches!(e, Event::Fixed(_))) && has(|e| matches!(e, Event::LastAffected(_))) {
        let expected = "either `fixed` or `last_affected` in one range, not both";
        return Err(field(id, format!("{place}.events"), "fixed and last_affected", expected));
    }
    Ok(Range { kind, repo: raw.repo, events })
}

fn read_event(id: &str, place: &str, raw: RawEvent) -> Result<Event, Error> {
    let given = [
        raw.introduced.map(Event::Introduced),
        raw.fixed.map(Event::Fixed),
        raw.last_affected.map(Event::LastAffected),
        raw.limit.map(Event::Limit),
    ];
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(event), None) => {
            check_text(id, place, event.version())?;
            Ok(event)
        }
        (None, _) => Err(field(id, place.to_owned(), "", "one of `introduced`, `fixed`, `last_affected`, `limit`")),
        (Some(a), Some(b)) => {
            let found = format!("{} and {}", a.kind(), b.kind());
            Err(field(id, place.to_owned(), &found, "exactly one kind of event in one object"))
        }
    }
}

fn check_text(id: &str, place: &str, text: &str) -> Result<(), Error> {
    if (1..=TEXT_LIMIT).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(field(id, place.to_owned(), text, "1 to 512 bytes without control characters"))
}

fn read_time(id: &str, name: &'static str, text: &str) -> Result<OffsetDateTime, Error> {
    // The year 1, which some databases write for "unknown", also comes without its leading zeros.
    let year = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let padded = if (1..4).contains(&year) { format!("{}{text}", "0".repeat(4 - year)) } else { text.to_owned() };
    OffsetDateTime::parse(&padded, &Rfc3339).map_err(|_| Error::Time {
        id: id.to_owned(),
        field: name,
        found: shown(text),
    })
}

fn field(id: &str, place: String, found: &str, expected: &'static str) -> Error {
    Error::Field { id: id.to_owned(), field: place, found: shown(found), expected }
}

/// Counts brackets outside strings, so that no parser recurses over hostile nesting.
fn check_depth(bytes: &[u8]) -> Result<(), Error> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_LIMIT {
                    return Err(Error::TooDeep { limit: DEPTH_LIMIT, at });
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}
