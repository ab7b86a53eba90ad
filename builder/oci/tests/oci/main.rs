//! The product's layers and documents, read back by programs and libraries that we did not write.
//!
//! Goldens are text: the listing of a layer first, its digests last. `UPDATE_GOLDEN=1` rewrites them.

// tests write files, run tools and stop at the first surprise, in functions that are no #[test] too
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod fixture;
mod golden;
mod layer;
mod random;
mod real_tools;
