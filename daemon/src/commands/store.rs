//! `anneal store`: what is in the store, and whether all of it is still what was put in.

mod scrub;

use crate::{
    error::{Error, Result},
    output::{Output, human_bytes},
    settings::Settings,
};
use anneal_store::{OpenMode, Store};
use clap::Subcommand;
use std::fmt::Write as _;

/// What can be done with the store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// What is in it, counted
    Stats,
    /// Read all of it against its digests; exit 1 where something is damaged or missing
    Scrub,
}

/// Performs the command.
pub(crate) fn run(command: &StoreCommand, settings: &Settings, output: &Output) -> Result<()> {
    let store = open(settings)?;
    match command {
        StoreCommand::Stats => stats(&store, output),
        StoreCommand::Scrub => scrub::scrub(&store, output),
    }
}

/// The store of the state directory, for reading; a daemon may be writing to it meanwhile.
pub(super) fn open(settings: &Settings) -> Result<Store> {
    let dir = settings.state.join("store");
    if !dir.is_dir() {
        let state = settings.state.display();
        return Err(Error::Unreachable(format!("{state} is no state directory; name the daemon's with --state")));
    }
    Ok(Store::open(&dir, OpenMode::ReadOnly)?)
}

fn stats(store: &Store, output: &Output) -> Result<()> {
    let stats = store.stats()?;
    let text = || {
        let mut text = format!("store {}\n", store.dir().display());
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:20} {value}");
        };
        line("blobs", format!("{} ({})", stats.blobs, human_bytes(stats.blob_bytes)));
        line("damaged blobs", stats.damaged_blobs.to_string());
        line("actions", format!("{} with {} results", stats.actions, stats.results));
        line("failures", stats.failures.to_string());
        line("events", stats.events.to_string());
        line("records", stats.records.to_string());
        line("trees ready", stats.materialized_trees.to_string());
        line("free on the disk", human_bytes(stats.free_bytes));
        text
    };
    output.result(text, &stats)
}
