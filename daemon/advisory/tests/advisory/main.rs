//! Advisories read, versions ordered and components judged, and the same asked of dpkg, of Python's `packaging` and of
//! records and comparisons that others published.

// tests read files, run tools and stop at the first surprise, in functions that are no #[test] too
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod fixture;
mod foreign;
mod judging;
mod oracles;
mod ordering;
mod published;
mod reading;
mod releases;
