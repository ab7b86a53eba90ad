//! Interfaces of a small library that the machine's compiler makes, and of mutations of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "all of this is a test"
)]

mod drop_in;
mod executables;
mod kept;
mod mutations;
mod toy;
mod unknown;
mod zlib;
