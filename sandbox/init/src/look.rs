//! The program as its own payload: says what a process in the sandbox can see, for the self-check.

use std::fs;
use std::io::Write;
use std::process::ExitCode;

/// The argument that asks for this.
pub(crate) const ARGUMENT: &str = "--look-around";

/// Prints `name: value` lines.
pub(crate) fn report() -> ExitCode {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or("unknown").to_owned()
    };
    let interfaces = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let interfaces: Vec<&str> =
        interfaces.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect();
    let lines = [
        ("seccomp", field("Seccomp:")),
        ("no-new-privileges", field("NoNewPrivs:")),
        ("capabilities", field("CapEff:")),
        ("bounding", field("CapBnd:")),
        ("interfaces", interfaces.join(",")),
        ("pid", std::process::id().to_string()),
    ];
    let mut out = std::io::stdout();
    for (name, value) in lines {
        if writeln!(out, "{name}: {value}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
