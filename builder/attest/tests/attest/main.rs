//! What this crate promises, tried with fixed keys, goldens in text, and verifiers that we did not write.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests run tools, read goldens and stop at the first surprise"
)]

mod errors;
mod goldens;
mod history;
mod inventory;
mod limits;
mod oracles;
mod refusals;
mod roles;
mod world;
