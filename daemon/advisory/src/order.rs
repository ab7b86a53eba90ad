//! The order of versions, as each ecosystem defines it.

use std::cmp::Ordering;

/// Two versions that cannot be put in order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{version}` has no place in the order of {ecosystem}: {reason}")]
pub struct Unknown {
    /// The ecosystem.
    pub ecosystem: String,
    /// The version that does not fit.
    pub version: String,
    /// Why it does not.
    pub reason: String,
}

/// Compares two versions as the ecosystem (with or without suffix; `generic` is ours) orders them.
pub fn compare(ecosystem: &str, a: &str, _b: &str) -> Result<Ordering, Unknown> {
    Err(Unknown { ecosystem: ecosystem.to_owned(), version: a.to_owned(), reason: "no order is known".to_owned() })
}
