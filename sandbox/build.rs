//! Builds the init program as a static binary for embedding.

use std::process::ExitCode;

fn main() -> ExitCode {
    anneal_embed::embed(&anneal_embed::Program {
        package: "anneal-sandbox-init",
        manifest: "init/Cargo.toml",
        sources: &["init/src", "init/Cargo.toml", "op/src", "op/Cargo.toml", "build.rs"],
        variable: "ANNEAL_SANDBOX_INIT",
    })
}
