//! Why a record is refused.

/// Why bytes are not an OSV record that Anneal takes in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The record is larger than the limit.
    #[error("record has {found} bytes: expected at most {limit}")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
        /// The size in bytes.
        found: usize,
    },
    /// The record nests deeper than the limit.
    #[error("record nests deeper than {limit} levels at byte {at}")]
    TooDeep {
        /// The limit.
        limit: usize,
        /// Where it was passed.
        at: usize,
    },
    /// The bytes are not JSON, or not the JSON of an OSV record.
    #[error("record is not OSV JSON at line {line}, column {column}: {reason}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What the parser expected.
        reason: String,
    },
    /// The id cannot name a record.
    #[error("`{found}` is not a record id: expected 1 to {limit} printable ASCII characters without spaces or slashes")]
    Id {
        /// The longest id.
        limit: usize,
        /// What was found, cut to 120 characters.
        found: String,
    },
    /// A time is not RFC 3339.
    #[error("`{field}` of {id} is `{found}`: expected a time in RFC 3339, such as 2022-08-05T07:15:00Z")]
    Time {
        /// The record.
        id: String,
        /// The field.
        field: &'static str,
        /// What was found, cut to 120 characters.
        found: String,
    },
    /// A part of the record breaks a rule of the schema.
    #[error("`{field}` of {id} is `{found}`: expected {expected}")]
    Field {
        /// The record.
        id: String,
        /// The place in the record, such as `affected[0].ranges[1].events[0]`.
        field: String,
        /// What was found, cut to 120 characters.
        found: String,
        /// What the schema allows.
        expected: &'static str,
    },
}

/// A value shortened for a message: at most 120 characters, with control characters escaped.
pub(crate) fn shown(value: &str) -> String {
    value.chars().take(120).flat_map(|c| c.escape_debug()).collect()
}
