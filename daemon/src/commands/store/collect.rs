//! `anneal store gc|why|pin|pins|unpin`: what nothing needs goes; why the rest stays; and what is to stay for another reason.
//!
//! A running daemon is asked, since it knows what its builds use. Without one the state directory is opened, for `gc` and
//! for pins under its lock.

use crate::{
    commands::log::when,
    error::{Error, Result},
    output::{Output, human_bytes, on_one_line, printable},
    retention::{self, Collected, Directory, Why, keep_ms},
    settings::Settings,
    view::daemon,
};
use anneal_api::{CollectRequest, PinRequest};
use anneal_content::BlobDigest;
use anneal_ledger::Withdrawal;
use anneal_store::{KindSize, OpenMode, Pin, Store};
use std::{fmt::Write as _, time::Duration};

/// How long a collection may take before the command stops waiting for it.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// What a collection would do, from the daemon where one answers, else from the state directory.
pub(super) fn look(settings: &Settings) -> Result<Collected> {
    match daemon(settings) {
        Ok(client) => client.patient(PATIENCE).post("/v1/store/collect", &CollectRequest { dry_run: true }),
        Err(error) if settings.server.is_some() => Err(error),
        Err(_) => Directory::open(settings, OpenMode::ReadOnly)?.ground()?.dry_run(settings),
    }
}

/// Collects, or says what would be.
pub(super) fn gc(dry_run: bool, settings: &Settings, output: &Output) -> Result<()> {
    let collected = match (dry_run, daemon(settings)) {
        (true, _) => look(settings)?,
        (false, Ok(client)) => client.patient(PATIENCE).post("/v1/store/collect", &CollectRequest { dry_run })?,
        (false, Err(error)) if settings.server.is_some() => return Err(error),
        (false, Err(_)) => Directory::open(settings, OpenMode::ReadWrite)?.collect(settings)?,
    };
    output.result(|| printable(&text(&collected, settings.keep_days)), &collected)?;
    match collected.gaps.len() {
        0 => Ok(()),
        count => Err(Error::No(format!("{count} things that are kept hide what they name; nothing is collected"))),
    }
}

fn text(collected: &Collected, keep_days: u64) -> String {
    let mut text = String::new();
    let garbage = collected.kinds.get("garbage").copied().unwrap_or_default();
    for (kind, size) in collected.kinds.iter().filter(|(kind, _)| *kind != "garbage") {
        let _ = writeln!(text, "  keep {kind:14} {:>8} blobs, {}", size.blobs, human_bytes(size.bytes));
    }
    for (digest, why) in &collected.absent {
        let _ = writeln!(text, "missing: {digest}, for {why}");
    }
    for gap in &collected.gaps {
        let _ = writeln!(text, "hidden: what {} names ({}); it is kept for {}", gap.what, gap.wrong, gap.why);
    }
    for Withdrawal { candidate, why } in &collected.withdrawn {
        let _ = writeln!(text, "  publication {candidate} is served no longer: {why}");
    }
    for digest in &collected.images {
        let _ = writeln!(text, "  image {digest}");
    }
    for digest in &collected.roots {
        let _ = writeln!(text, "  build root {digest}, which no lock asks for any more");
    }
    if collected.quarantined.blobs > 0 {
        let KindSize { blobs, bytes } = collected.quarantined;
        let _ = writeln!(text, "  {blobs} damaged blobs in quarantine ({})", human_bytes(bytes));
    }
    match &collected.swept {
        None => {
            for (digest, bytes) in &collected.blobs {
                let _ = writeln!(text, "  blob {digest} {}", human_bytes(*bytes));
            }
            let more = garbage.blobs.saturating_sub(collected.blobs.len() as u64);
            if more > 0 {
                let _ = writeln!(text, "  and {more} smaller ones");
            }
            let (images, actions) = (collected.images.len(), collected.actions);
            let _ = writeln!(
                text,
                "would collect {} blobs ({}), the results of {actions} builds, {images} images; \
                 what is younger than {keep_days} days stays",
                garbage.blobs,
                human_bytes(garbage.bytes),
            );
        }
        Some(swept) => {
            let _ = writeln!(
                text,
                "collected {} blobs ({}), the results of {} builds, {} images, {} leftover files{}",
                swept.blobs,
                human_bytes(swept.bytes),
                swept.actions,
                collected.images.len(),
                swept.leftovers,
                if swept.stopped { "; it was stopped before its end" } else { "" },
            );
        }
    }
    text
}

/// Says why something is kept.
pub(super) fn why(digest: &BlobDigest, settings: &Settings, output: &Output) -> Result<()> {
    let why: Why = match daemon(settings) {
        Ok(client) => client.patient(PATIENCE).get(&format!("/v1/store/why/{digest}"))?,
        Err(error) if settings.server.is_some() => return Err(error),
        Err(_) => Directory::open(settings, OpenMode::ReadOnly)?.ground()?.why(digest, keep_ms(settings))?,
    };
    output.result(|| printable(&why_text(&why)), &why)?;
    match &why.kept {
        Some(_) => Ok(()),
        None => Err(Error::No(format!("nothing needs {digest}"))),
    }
}

fn why_text(why: &Why) -> String {
    let Why { digest, here, bytes, kept, collected_ms } = why;
    let mut text = match (here, bytes) {
        (true, Some(bytes)) => format!("{digest} {}\n", human_bytes(*bytes)),
        _ => format!("{digest} is not in the store\n"),
    };
    if let Some(at_ms) = collected_ms {
        let at = when(*at_ms);
        let _ = writeln!(text, "  collected on {at} by retention");
    }
    for because in kept.iter().flatten() {
        let _ = writeln!(text, "  kept for {because}");
    }
    if kept.is_none() && *here {
        text.push_str("  nothing needs it; the next collection takes it\n");
    }
    text
}

/// Opens the store for a change that the daemon would otherwise make.
pub(super) fn writable(settings: &Settings) -> Result<Store> {
    let dir = settings.state.join("store");
    if !dir.is_dir() {
        let state = settings.state.display();
        return Err(Error::Unreachable(format!("{state} is no state directory; name the daemon's with --state")));
    }
    Ok(Store::open_trusting(&dir, OpenMode::ReadWrite, settings.chunk_hash())?)
}

/// Keeps something until it is unpinned.
pub(super) fn pin(digest: &BlobDigest, reason: &str, settings: &Settings, output: &Output) -> Result<()> {
    let pin: Pin = match daemon(settings) {
        Ok(client) => client.post("/v1/store/pins", &PinRequest { digest: *digest, reason: reason.to_owned() })?,
        Err(error) if settings.server.is_some() => return Err(error),
        Err(_) => retention::pin(&writable(settings)?, digest, reason)?,
    };
    output.result(|| format!("{} is kept, with all that it names\n", pin.node()), &pin)
}

/// Lists the pins.
pub(super) fn pins(settings: &Settings, output: &Output) -> Result<()> {
    let pins = super::open(settings)?.pins()?;
    let text = || {
        let mut text = String::new();
        for pin in &pins {
            let _ = writeln!(text, "{} since {}: {}", pin.node(), when(pin.at_ms), on_one_line(&pin.reason));
        }
        if pins.is_empty() {
            text.push_str("nothing is pinned\n");
        }
        printable(&text)
    };
    output.result(text, &pins)
}

/// Keeps something no longer for the sake of a pin.
pub(super) fn unpin(digest: &BlobDigest, settings: &Settings, output: &Output) -> Result<()> {
    let was_pinned: bool = match daemon(settings) {
        Ok(client) => client.post(&format!("/v1/store/pins/{digest}/remove"), &())?,
        Err(error) if settings.server.is_some() => return Err(error),
        Err(_) => writable(settings)?.unpin(digest)?,
    };
    if !was_pinned {
        return Err(Error::No(format!("{digest} is not pinned")));
    }
    output.result(|| format!("{digest} is not pinned any more\n"), &serde_json::json!({ "unpinned": digest }))
}
