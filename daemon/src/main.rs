//! Anneal: a factory that keeps container images patched. The daemon and its command line are this one program.
//!
//! Here is wiring and no domain logic: `cli` says which commands there are, `commands` performs them, `service` holds
//! what the daemon knows, `reconcile` asks the ledger what is next and `tasks` does it.

mod backup;
mod branch;
mod builder;
mod catalog_files;
mod cli;
mod client;
mod commands;
mod demo;
mod documents;
mod error;
mod holdings;
mod keys;
mod metrics;
mod oci_layout;
mod output;
mod patch;
mod patience;
mod progress;
mod reconcile;
mod retention;
mod run_daemon;
mod scrub;
mod served;
mod server;
mod service;
mod settings;
mod tasks;
mod upstreams;
mod view;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = !error.use_stderr();
            let _ = error.print();
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
    };
    let output = output::Output::new(&cli.show);
    output::start_logging(&cli);
    match cli::run(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.code())
        }
    }
}
