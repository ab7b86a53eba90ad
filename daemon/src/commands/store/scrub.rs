//! `anneal store scrub`: the whole store read against its digests, beside a daemon or without one. Nothing is
//! changed but by `--mend`.

use crate::{
    error::{Error, Result},
    keys::result_keys,
    output::{Output, human_bytes, printable},
    retention::Directory,
    scrub::{Consequence, Consequences, How, Kind, Report, Tally, Throttle, follow, mend, mend_from, scrub},
    settings::Settings,
};
use anneal_content::BlobDigest;
use anneal_store::{Backup, OpenMode, REMADE_PARTS, Remade, Store};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// How often it is looked what else is lost, after something has come back out of a backup.
const ROUNDS: usize = 20;
/// How often the progress bar is drawn.
const PERIOD: Duration = Duration::from_millis(200);

/// How it is read.
#[derive(Debug, clap::Args)]
pub(crate) struct ScrubArgs {
    /// How many threads read
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// Read at most so many MiB a second, so that others have the disk too
    #[arg(long, value_name = "N")]
    mib_a_second: Option<u64>,
    /// Put right what can be, from what else is there; no daemon may be running, which does so by itself
    #[arg(long)]
    mend: bool,
    /// Put what is lost back from a directory with backups
    #[arg(long, value_name = "DIR", requires = "mend")]
    backup: Option<PathBuf>,
}

/// Reads everything and says what is wrong, and what follows from it.
pub(super) fn run(args: &ScrubArgs, settings: &Settings, output: &Output) -> Result<()> {
    let threads = args.threads.map_or(settings.threads.max(2), usize::from);
    let remade = if args.mend { remake(settings, threads, output)? } else { None };
    let directory = args.mend.then(|| Directory::open(settings, OpenMode::ReadWrite)).transpose()?;
    let store = &directory.as_ref().map_or_else(|| super::open(settings), |held| Ok(held.store().clone()))?;
    // a directory that is none is told before everything is read
    let backup = args.backup.as_deref().map(Backup::open).transpose()?;
    let (tally, ended) = (Tally::default(), AtomicBool::new(false));
    let trusted = result_keys(&settings.state.join("keys"))?.trusted;
    let throttle = Throttle::new(args.mib_a_second.unwrap_or_default() << 20);
    let how =
        How { trusted: &trusted, threads, throttle: &throttle, stop: &|| false, tally: &tally, passed: &|_, _| {} };
    let mut report = std::thread::scope(|scope| {
        if output.terminal {
            scope.spawn(|| draw(store, &tally, &ended));
        }
        let report = scrub(store, &how, 0, Report::default());
        ended.store(true, Ordering::Release);
        report
    })?;
    if let Some(remade) = &remade {
        report.remade(remade);
    }
    if args.mend {
        mend(store, &mut report)?;
    }
    let mut consequences = what_follows(store, directory.as_ref(), settings, &mut report)?;
    if let Some(backup) = &backup {
        // what comes back names what else is lost
        for _ in 0..ROUNDS {
            let of_report = report.damage.keys().filter_map(|digest| digest.parse().ok());
            let lost: BTreeSet<BlobDigest> =
                of_report.chain(store.out_of_service()?.into_iter().map(|(digest, _)| digest)).collect();
            let before = report.mended.len();
            report = mend_from(store, &how, backup, &lost, report)?;
            consequences = what_follows(store, directory.as_ref(), settings, &mut report)?;
            if report.mended.len() == before {
                break;
            }
        }
    }
    output.result(|| printable(&text(&report, &consequences, args.mend)), &shown(&report, &consequences))?;
    if report.damage.is_empty() {
        return Ok(());
    }
    let counts = Kind::ALL.map(|kind| format!("{} {}", report.count(kind), kind.word())).join(", ");
    Err(Error::No(format!("not everything in the store is as it should be: {counts}")))
}

/// Makes the table of blobs again where nothing else of the database is damaged, or where that was begun.
fn remake(settings: &Settings, threads: usize, output: &Output) -> Result<Option<Remade>> {
    let target = if output.terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(u64::from(REMADE_PARTS)), target);
    let style = "{bar:30} the table of blobs is made again from their files: {pos} of {len} parts ({eta} left)";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    let passed = |parts: u16| bar.set_position(u64::from(parts));
    let dir = settings.state.join("store");
    let remade = Store::remake_blob_table(&dir, settings.chunk_hash(), threads, &passed);
    bar.finish_and_clear();
    Ok(remade?)
}

/// What follows from the damage, by the state directory as it is now.
fn what_follows(
    store: &Store,
    held: Option<&Directory>,
    settings: &Settings,
    report: &mut Report,
) -> Result<Consequences> {
    if let Some(held) = held {
        return follow(store, held.ground(), report);
    }
    match Directory::open(settings, OpenMode::ReadOnly) {
        Ok(directory) => follow(store, directory.ground(), report),
        Err(error) => follow(store, Err(error), report),
    }
}

/// Draws how far it came until it ended.
fn draw(store: &Store, tally: &Tally, ended: &AtomicBool) {
    let bytes = store.stats().map_or(0, |stats| stats.blob_bytes);
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    let style = "{bar:30} {bytes} of {total_bytes} ({bytes_per_sec}, {eta} left) {msg}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    while !ended.load(Ordering::Acquire) {
        bar.set_position(tally.bytes.load(Ordering::Relaxed).min(bytes));
        let [blobs, corrupt, missing] =
            [&tally.blobs, &tally.corrupt, &tally.missing].map(|counter| counter.load(Ordering::Relaxed));
        bar.set_message(format!("{blobs} blobs, {corrupt} corrupt, {missing} missing"));
        std::thread::sleep(PERIOD);
    }
    bar.finish_and_clear();
}

/// The report with its counts by kind.
fn shown(report: &Report, consequences: &Consequences) -> serde_json::Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    for kind in Kind::ALL {
        value[kind.word()] = report.count(kind).into();
    }
    match consequences {
        Ok(all) => value["consequences"] = serde_json::to_value(all).unwrap_or_default(),
        Err(why) => value["consequences_unknown"] = why.as_str().into(),
    }
    value
}

fn text(report: &Report, consequences: &Consequences, is_mending: bool) -> String {
    let Report { rows, events, blobs, bytes, leftovers, results, trees, directories, damage, .. } = report;
    let bytes = human_bytes(*bytes);
    let mut text = format!("read {rows} rows, {events} events, {blobs} blobs ({bytes}), {results} signed results, ");
    let _ = writeln!(text, "{trees} trees of images, {directories} directories that builds are given");
    if *leftovers > 0 {
        let _ =
            writeln!(text, "{leftovers} files belong to no record; an interrupted write left them, they do no harm");
    }
    for (what, found) in damage {
        let _ = writeln!(text, "{}: {what}: {}", found.kind.word(), found.why);
    }
    for (digest, Consequence { needed_for, in_doubt, remedy }) in consequences.iter().flatten() {
        let _ = writeln!(text, "without {digest}:");
        if !needed_for.is_empty() {
            let _ = writeln!(text, "  it is needed for {}", needed_for.join(", for "));
        }
        if !in_doubt.is_empty() {
            let _ = writeln!(text, "  built with it, and in doubt: {}", in_doubt.join(", "));
        }
        let _ = writeln!(text, "  to have it back: {remedy}");
    }
    for (what, how) in &report.mended {
        let _ = writeln!(text, "mended: {what}: {how}");
    }
    if let Err(why) = consequences {
        let _ = writeln!(text, "who needs what is damaged cannot be told: {why}");
    }
    let is_in_the_way =
        damage.iter().any(|(what, found)| found.kind == Kind::Corrupt && what.parse::<BlobDigest>().is_ok());
    if !is_mending && is_in_the_way {
        text.push_str(
            "what is damaged stands in the way of what would replace it: the daemon's next scrub takes it out of service, or \
             `anneal store scrub --mend` without a daemon\n",
        );
    }
    if damage.is_empty() {
        text.push_str("no damage\n");
    }
    text
}
