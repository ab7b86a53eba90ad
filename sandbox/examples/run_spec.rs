//! Runs the spec in a JSON file and prints the outcome as JSON: `cargo run -p anneal-sandbox --example run_spec FILE`.

use std::io::Write;
use std::process::ExitCode;

use anneal_sandbox::{CancelToken, Spec, run};

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else { return ExitCode::from(2) };
    let spec: Result<Spec, String> = std::fs::read(&path)
        .map_err(|error| error.to_string())
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
    let outcome = spec.and_then(|spec| {
        run(&spec, &mut std::io::stderr(), &CancelToken::new()).map_err(|error| {
            match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            }
        })
    });
    let text = match &outcome {
        Ok(outcome) => serde_json::to_string_pretty(outcome).unwrap_or_default(),
        Err(error) => error.clone(),
    };
    let _ = writeln!(std::io::stdout(), "{text}");
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
