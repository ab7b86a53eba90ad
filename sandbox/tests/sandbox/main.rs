//! What a sandbox promises, tried on this host with a program that wants out.
//!
//! The tests run as whoever runs them; as root, [`rootless`] runs all of them once more as an ordinary user.
//! Where the host forbids user namespaces each test says that it is skipped.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by their attribute, and these are all tests")]

mod bad_input;
mod bench;
mod bombs;
mod confinement;
mod crash;
mod escape;
mod files;
mod forbidden;
mod groups;
mod isolation;
mod lifecycle;
mod limits;
mod pool;
mod rootless;
mod slots;
mod strict;
mod subordinate;
mod variation;
mod walls;
mod witness;
