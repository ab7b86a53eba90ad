//! Builds the program that attacks as a static binary for embedding.

use std::process::ExitCode;

fn main() -> ExitCode {
    anneal_embed::embed(&anneal_embed::Program {
        package: "anneal-attack-program",
        manifest: "program/Cargo.toml",
        sources: &["program/src", "program/Cargo.toml", "build.rs"],
        variable: "ANNEAL_ATTACK_PROGRAM",
    })
}
