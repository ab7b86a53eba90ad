//! A registry on a port of this machine, asked in plain HTTP and by clients that we did not write.

// tests run tools and stop at the first surprise, in functions that are no #[test] too
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod clients;
mod damage;
mod fixture;
mod http;
mod protocol;
