//! `anneal store`: what is in the store, whether all of it is still what was put in, what may go, and copies of it.

mod backup;
mod collect;
mod layout;
mod scrub;
mod stats;

use crate::{
    error::{Error, Result},
    output::Output,
    settings::Settings,
};
use anneal_content::BlobDigest;
use anneal_store::{OpenMode, Store};
use clap::Subcommand;

/// What can be done with the store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// What is in it, counted
    Stats,
    /// Read all of it against its digests; exit 1 where something is damaged or missing
    Scrub(scrub::ScrubArgs),
    /// Collect what nothing needs; the daemon does so by itself, too
    Gc {
        /// Only say what would go, and what everything else is kept for
        #[arg(long)]
        dry_run: bool,
    },
    /// Why something is kept; exit 1 where nothing needs it
    Why {
        /// A blob, tree or manifest
        digest: BlobDigest,
    },
    /// Keep something, and all that it names, whatever else needs it
    Pin {
        /// A blob, tree or manifest
        digest: BlobDigest,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// What is pinned, since when, and why
    Pins,
    /// Copy everything into a directory, beside a running daemon; only what is new since the last time is copied
    Backup(backup::BackupArgs),
    /// Make an empty state directory what a backup has; the journal gets a signed record of it
    Restore(backup::RestoreArgs),
    /// Write published images with their evidence to an OCI layout, for a site that no network reaches
    Export(layout::ExportArgs),
    /// Take in an OCI layout, trusting nothing: digests are computed, statements verified; what came is pinned
    Import(layout::ImportArgs),
    /// Undo a pin
    Unpin {
        /// What was pinned
        digest: BlobDigest,
    },
}

/// Performs the command.
pub(crate) fn run(command: &StoreCommand, settings: &Settings, output: &Output) -> Result<()> {
    match command {
        StoreCommand::Stats => stats::stats(&open(settings)?, settings, output),
        StoreCommand::Scrub(args) => scrub::run(args, settings, output),
        StoreCommand::Gc { dry_run } => collect::gc(*dry_run, settings, output),
        StoreCommand::Why { digest } => collect::why(digest, settings, output),
        StoreCommand::Pin { digest, reason } => collect::pin(digest, reason, settings, output),
        StoreCommand::Pins => collect::pins(settings, output),
        StoreCommand::Export(args) => layout::export(args, settings, output),
        StoreCommand::Import(args) => layout::import(args, settings, output),
        StoreCommand::Backup(args) => backup::back_up(args, settings, output),
        StoreCommand::Restore(args) => backup::restore(args, settings, output),
        StoreCommand::Unpin { digest } => collect::unpin(digest, settings, output),
    }
}

/// The store of the state directory, for reading; a daemon may be writing to it meanwhile.
pub(super) fn open(settings: &Settings) -> Result<Store> {
    let dir = settings.state.join("store");
    if !dir.is_dir() {
        let state = settings.state.display();
        return Err(Error::Unreachable(format!("{state} is no state directory; name the daemon's with --state")));
    }
    Ok(Store::open_trusting(&dir, OpenMode::ReadOnly, settings.chunk_hash())?)
}
