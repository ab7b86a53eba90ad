//! The tools that are measured beside ours, as processes.

use std::{
    error::Error,
    process::{Command, Stdio},
};

/// The first number in what a tool says of its version; none where it is not on this machine.
pub fn version(tool: &str) -> Option<String> {
    let said = Command::new(tool).arg("--version").stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let mut words = said.split_whitespace().map(|word| word.trim_matches(['\'', '"']));
    words.find(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}

/// Runs a command to its end, which must be a good one; gives what it wrote.
pub fn succeed(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}
