//! `anneal log head|verify`: keep where the journal ends, signed; ask later whether it goes on from there.

use super::when;
use crate::{
    backup,
    cli::ToFile,
    error::{Error, Result, io},
    keys::{Keys, read_public},
    output::{Output, printable, write_file},
    settings::Settings,
    view::{View, view},
};
use anneal_attest::{Checkpoint, History, HistoryJudge, JournalEntry, Keyring, Role};
use anneal_ledger::{Event, Record};
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;

/// The longest checkpoint that is read.
const CHECKPOINT_BYTES_MAX: u64 = 64 << 10;

/// What can be done with the journal's end.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Where the journal ends, signed with the log key: a checkpoint to keep
    Head {
        #[command(flatten)]
        to: ToFile,
    },
    /// Whether the journal goes on from a checkpoint, or was restored from a backup since; exit 1 where it was tampered with
    Verify {
        /// The checkpoint that you kept, as `anneal log head` wrote it
        #[arg(long, value_name = "CHECKPOINT")]
        since: PathBuf,
        /// The daemon's public log key (`anneal key export log`), kept with the checkpoint; more than one where it changed
        #[arg(long, value_name = "PEM", required = true)]
        key: Vec<PathBuf>,
    },
}

/// Performs the command.
pub(super) fn run(command: &LogCommand, settings: &Settings, output: &Output) -> Result<()> {
    match command {
        LogCommand::Head { to } => head(to, settings, output),
        LogCommand::Verify { since, key } => verify(since, key, settings, output),
    }
}

fn head(to: &ToFile, settings: &Settings, output: &Output) -> Result<()> {
    let signed = match view(settings)? {
        View::Daemon(client) => client.bytes("/v1/log/head")?,
        View::Directory(store) => backup::signed_head(&store, &Keys::load(&settings.state.join("keys"))?)?,
    };
    match &to.output {
        Some(file) => write_file(file, &signed),
        None => output.text(&format!("{}\n", String::from_utf8_lossy(&signed))),
    }
}

fn verify(since: &PathBuf, keys: &[PathBuf], settings: &Settings, output: &Output) -> Result<()> {
    let mut ring = Keyring::new();
    for path in keys {
        ring.trust(Role::Log, read_public(path)?)?;
    }
    let size = std::fs::metadata(since).map_err(io("read", since))?.len();
    if size > CHECKPOINT_BYTES_MAX {
        let text = format!("{} has {size} bytes; a checkpoint has at most {CHECKPOINT_BYTES_MAX}", since.display());
        return Err(Error::Input(text));
    }
    let signed = std::fs::read(since).map_err(io("read", since))?;
    let since = Checkpoint::verify(signed.trim_ascii_end(), &ring)
        .map_err(|e| Error::No(format!("{} is no checkpoint of this log key: {e}", since.display())))?;
    let mut judge = HistoryJudge::new(&since, &ring);
    fold_journal(&view(settings)?, &mut judge)?;
    let (now, verdict) = (judge.head(), judge.verdict());
    let (word, detail) = match &verdict {
        History::Consistent => {
            let more = now.events - since.head.events;
            (
                "consistent",
                format!("the journal goes on from the checkpoint of {}: {more} events since", when(since.at_ms)),
            )
        }
        History::Restored { record, lost_until } => (
            "restored",
            format!(
                "restored on {} from backup {} of {} by {}: events {} to {} are lost, the journal goes on without them",
                when(record.at_ms),
                record.backup,
                when(record.backed_up_ms),
                record.by,
                record.head.events,
                lost_until - 1
            ),
        ),
        History::Tampered { reason } => ("tampered", reason.clone()),
    };
    let (record, lost) = match &verdict {
        History::Restored { record, lost_until } => (Some(record), Some([record.head.events, lost_until - 1])),
        _ => (None, None),
    };
    let value =
        json!({ "verdict": word, "detail": detail, "since": since, "now": now, "record": record, "lost": lost });
    if word == "tampered" {
        if output.json {
            output.result(String::new, &value)?;
        }
        return Err(Error::No(format!("the journal was tampered with: {detail}")));
    }
    output.result(|| printable(&format!("{word}: {detail}\n")), &value)
}

/// Reads the whole journal as the chain has it; a daemon gives it in pieces.
fn fold_journal(view: &View, judge: &mut HistoryJudge<'_>) -> Result<()> {
    match view {
        View::Directory(store) => {
            for event in store.events_from(0)? {
                let broken = |e: anneal_store::Error| Error::No(format!("the journal was tampered with: {e}"));
                add(judge, &event.map_err(broken)?.1);
            }
        }
        View::Daemon(client) => loop {
            let from = judge.head().events;
            let lines = client.bytes(&format!("/v1/journal?from={from}"))?;
            lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).for_each(|line| add(judge, line));
            if judge.head().events == from {
                return Ok(());
            }
        },
    }
    Ok(())
}

fn add(judge: &mut HistoryJudge<'_>, event: &[u8]) {
    // what does not parse is no restore, and is in the chain all the same
    let restore = match serde_json::from_slice::<Record>(event) {
        Ok(Record { event: Event::Restored { record, .. }, .. }) => Some(record),
        _ => None,
    };
    judge.add(JournalEntry { event, restore: restore.as_deref().map(str::as_bytes) });
}
