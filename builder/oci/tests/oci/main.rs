//! The product's layers and documents, read back by programs and libraries that we did not write.
//!
//! Goldens are text: the listing of a layer first, its digests last. `UPDATE_GOLDEN=1` rewrites them.

#![allow(clippy::disallowed_methods)] // tests write files and run tools

mod fixture;
mod golden;
mod layer;
mod random;
mod real_tools;
