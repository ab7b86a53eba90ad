//! The suite as a program of its own: for the tests, which run it as two users, and for a guest without the daemon.
//!
//! `attack-suite [--control] [--disposable] [--json] [PROBE...]`; exit code 1 if anything escaped, was broken, or was dead.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what it prints is what it is for")]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anneal_attack::{KEY, PROGRAM, Row, Suite, table_text};

/// Says where the program that joined the keyring was put.
const PLACE: &str = "ANNEAL_ATTACK_PLACE";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if std::env::var_os(KEY).is_none() {
        return under_key(&args);
    }
    if let Some(place) = std::env::var_os(PLACE) {
        let _ = std::fs::remove_dir_all(place);
    }
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let ids: Vec<String> = args.iter().filter(|arg| !arg.starts_with('-')).cloned().collect();
    let suite = Suite::new(has("--control"), has("--disposable"));
    let suite = if ids.is_empty() { suite } else { suite.map(|suite| suite.only(&ids)) };
    match suite.and_then(|suite| suite.run(&mut |row| eprintln!("{} {:?} done", row.id, row.ending))) {
        Ok(rows) => report(&rows, has("--json")),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(4)
        }
    }
}

fn report(rows: &[Row], json: bool) -> ExitCode {
    match serde_json::to_string(rows) {
        Ok(text) if json => println!("{text}"),
        _ => print!("{}", table_text(rows)),
    }
    if rows.iter().all(|row| row.holds() && !row.is_dead()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Becomes this program once more, with a key on its session keyring. No process is left above it: in a control group that
/// others are in, no launcher gets groups of its own.
fn under_key(args: &[String]) -> ExitCode {
    let start = || -> std::io::Result<std::io::Error> {
        let dir = tempfile::tempdir()?.keep();
        let program = dir.join("attack");
        std::fs::write(&program, PROGRAM)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        // Returns only if it fails.
        Ok(Command::new(&program).arg("under-key").arg(std::env::current_exe()?).args(args).env(PLACE, &dir).exec())
    };
    let (Ok(error) | Err(error)) = start();
    eprintln!("cannot start under a session keyring: {error}");
    ExitCode::from(4)
}
