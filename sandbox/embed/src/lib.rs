//! Builds a small program as a static binary for embedding, from the build script of the crate that embeds it.
//!
//! Such a program is another target of the same workspace with other settings (static, abort on panic, small), which
//! cargo can't express as a dependency on stable. So cargo is called again, with a target directory of its own: the
//! outer cargo holds the lock of the usual one until it is done. The lock file is the workspace's, and every crate
//! such a program needs is also one that its embedder or the sandbox needs, so nothing is fetched here.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The profile of such a program: small, so that starting it is quick.
const PROFILE: &[&str] = &[
    "profile.release.panic='abort'",
    "profile.release.opt-level='s'",
    "profile.release.lto='fat'",
    "profile.release.codegen-units=1",
    "profile.release.strip='symbols'",
    "profile.release.overflow-checks=true",
];

/// A program to embed. Paths are relative to the crate whose build script this is.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The package, which has one binary of the same name.
    pub package: &'static str,
    /// Its manifest.
    pub manifest: &'static str,
    /// What it is built from: files and folders whose change builds it again.
    pub sources: &'static [&'static str],
    /// The variable that tells the crate being compiled where the binary is, for `include_bytes!(env!(…))`.
    pub variable: &'static str,
}

/// Builds a program; the whole of a build script's `main`.
pub fn embed(program: &Program) -> ExitCode {
    match build(program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let message = format!("cannot build {}: {reason}\n", program.package);
            // Cargo shows this line beside the failure of the script.
            let _ = io::stderr().write_all(message.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn build(program: &Program) -> Result<(), String> {
    let directory = |name: &str| env::var_os(name).map(PathBuf::from).ok_or(format!("{name} is not set"));
    let here = directory("CARGO_MANIFEST_DIR")?;
    let target_dir = directory("OUT_DIR")?.join("static");
    for source in program.sources {
        tell(&format!("cargo::rerun-if-changed={}", here.join(source).display()))?;
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("build").arg("--manifest-path").arg(here.join(program.manifest));
    cargo.args(["--package", program.package, "--release", "--locked", "--quiet", "--target", TARGET]);
    cargo.arg("--target-dir").arg(&target_dir);
    for setting in PROFILE {
        cargo.args(["--config", setting]);
    }
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_the_outer_build) {
            cargo.env_remove(&name);
        }
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"].join("\u{1f}"));
    let status = cargo.status().map_err(|e| format!("cargo does not start: {e}"))?;
    if !status.success() {
        return Err(format!("cargo ended with {status}"));
    }
    let binary = target_dir.join(TARGET).join("release").join(program.package);
    if !binary.is_file() {
        return Err(format!("{} is missing after the build", binary.display()));
    }
    tell(&format!("cargo::rustc-env={}={}", program.variable, binary.display()))
}

/// What the outer build is told must not reach the inner one: wrappers, flags, targets and profiles.
fn is_of_the_outer_build(name: &str) -> bool {
    let kept =
        ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_OFFLINE", "CARGO_TERM_COLOR", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];
    let dropped = [
        "CARGO",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "CLIPPY_",
        "MAKEFLAGS",
        "TARGET",
        "HOST",
        "OUT_DIR",
        "PROFILE",
        "DEBUG",
        "OPT_LEVEL",
        "NUM_JOBS",
    ];
    !kept.contains(&name)
        && !name.starts_with("CARGO_REGISTRIES")
        && !name.starts_with("CARGO_HTTP")
        && dropped.iter().any(|prefix| name.starts_with(prefix))
}

/// Tells cargo something.
fn tell(line: &str) -> Result<(), String> {
    io::stdout().write_all(format!("{line}\n").as_bytes()).map_err(|e| e.to_string())
}
