//! Builds the init program as a static binary for embedding.
//!
//! It is another target of the same workspace with other settings (static, abort on panic, small), which cargo
//! can't express as a dependency on stable. So cargo is called again, with a target directory of its own: the
//! outer cargo holds the lock of the usual one until it is done. The lock file is the workspace's, and every crate
//! the init program needs is also one that this crate needs, so nothing is fetched here.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const PACKAGE: &str = "anneal-sandbox-init";
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The profile of the init program: small, so that starting it is quick.
const PROFILE: &[&str] = &[
    "profile.release.panic='abort'",
    "profile.release.opt-level='s'",
    "profile.release.lto='fat'",
    "profile.release.codegen-units=1",
    "profile.release.strip='symbols'",
    "profile.release.overflow-checks=true",
];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let message = format!("cannot build the sandbox init program: {reason}");
            // Cargo shows this line beside the failure of this script.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{message}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let directory = |name: &str| env::var_os(name).map(PathBuf::from).ok_or(format!("{name} is not set"));
    let here = directory("CARGO_MANIFEST_DIR")?;
    let target_dir = directory("OUT_DIR")?.join("init");
    for source in ["init/src", "init/Cargo.toml", "op/src", "op/Cargo.toml", "build.rs"] {
        tell(&format!("cargo::rerun-if-changed={}", here.join(source).display()))?;
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("build").arg("--manifest-path").arg(here.join("init/Cargo.toml"));
    cargo.args(["--package", PACKAGE, "--release", "--locked", "--quiet", "--target", TARGET]);
    cargo.arg("--target-dir").arg(&target_dir);
    for setting in PROFILE {
        cargo.args(["--config", setting]);
    }
    // What the outer build is told must not reach the inner one: wrappers, flags, targets and profiles.
    let outer = |name: &str| {
        let kept = [
            "CARGO_HOME",
            "CARGO_MAKEFLAGS",
            "CARGO_NET_OFFLINE",
            "CARGO_TERM_COLOR",
            "RUSTUP_HOME",
            "RUSTUP_TOOLCHAIN",
        ];
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
    };
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(outer) {
            cargo.env_remove(&name);
        }
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"].join("\u{1f}"));
    let status = cargo.status().map_err(|e| format!("cargo does not start: {e}"))?;
    if !status.success() {
        return Err(format!("cargo ended with {status}"));
    }
    let program = target_dir.join(TARGET).join("release").join(PACKAGE);
    if !program.is_file() {
        return Err(format!("{} is missing after the build", program.display()));
    }
    tell(&format!("cargo::rustc-env=ANNEAL_SANDBOX_INIT={}", program.display()))
}

/// Tells cargo something.
fn tell(line: &str) -> Result<(), String> {
    std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes()).map_err(|e| e.to_string())
}
