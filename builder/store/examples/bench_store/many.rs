//! Everything over a store of very many blobs: half of them in one tree that is kept, half garbage.

use crate::{OVER_MANY, Result, say};
use anneal_content::{BlobDigest, Directory, DirectoryNode, EntryName, FileNode, TreeDigest};
use anneal_measure::{Percentiles, milliseconds, percentiles, source::small_text};
use anneal_store::{Meaning, Node, OpenMode, Root, Store, Sweep};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const BLOBS: usize = 1_000_000;
const QUICK_BLOBS: usize = 20_000;
/// Blobs that are put together.
const BATCH: usize = 10_000;
/// Files to a directory of the tree.
const PER_DIRECTORY: usize = 200;
/// How many blobs are looked up, each by its digest.
const LOOK_UPS: usize = 100_000;
/// A daemon wants to know what it builds with.
const LOCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vendor/build-root.lock");
/// How often the daemon is started.
const STARTS: usize = 5;
/// The records that tell the second process how many blobs there are, and the digest of the tree that is kept.
const FILES: &str = "files";
const KEPT: &str = "kept";

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    blobs: usize,
    fill_seconds: f64,
    over: Over,
    /// From the start of the daemon to its answer, with nothing to do, in milliseconds.
    daemon_start_ms: Option<Percentiles>,
}

/// What was measured over the full store, by a process of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Over {
    /// Nothing has changed: how long an open takes, in milliseconds.
    open_ms: f64,
    /// Looking a blob's size up, in milliseconds.
    look_up_ms: Percentiles,
    /// Opening a blob and reading it whole, checked, in milliseconds.
    read_ms: Percentiles,
    /// Finding what nothing needs.
    survey_seconds: f64,
    /// Deleting it.
    sweep_seconds: f64,
    collected: u64,
    kept: u64,
    /// The longest time that somebody who needed something of the garbage would have waited.
    longest_wait_ms: u64,
    /// The most memory that this process had, in MiB.
    memory_mib: u64,
}

/// Everything over a store in `place`; starts `daemon`, where it is given, over the same.
pub(crate) fn measure(place: &Path, quick: bool, daemon: Option<&Path>) -> Result<Measured> {
    let blobs = if quick { QUICK_BLOBS } else { BLOBS };
    let state = place.join("state");
    let dir = state.join("store");
    let start = Instant::now();
    fill(&dir, blobs)?;
    let fill_seconds = start.elapsed().as_secs_f64();
    let daemon_start_ms = daemon.map(|daemon| starts(daemon, &state)).transpose()?;
    let output = Command::new(std::env::current_exe()?).arg(OVER_MANY).arg(&dir).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("measuring over many blobs ended with {}: {said}", output.status).into());
    }
    let over: Over = serde_json::from_slice(&output.stdout)?;
    say(&format!("store: over {blobs} blobs, half of them garbage; filled in {fill_seconds:.0} s"))?;
    say(&format!("  open {:.1} ms", over.open_ms))?;
    let line = |name: &str, p: &Percentiles| say(&format!("  {name:<16} p50 {:.4} ms  p99 {:.4} ms", p.p50, p.p99));
    if let Some(start) = &daemon_start_ms {
        say(&format!("  start of the daemon p50 {:.0} ms, the longest of {STARTS} {:.0} ms", start.p50, start.p99))?;
    }
    line("look up a size", &over.look_up_ms)?;
    line("read and check", &over.read_ms)?;
    say(&format!(
        "  gc: survey {:.1} s, sweep {:.1} s, {} blobs collected, {} kept; longest wait {} ms; {} MiB of memory",
        over.survey_seconds, over.sweep_seconds, over.collected, over.kept, over.longest_wait_ms, over.memory_mib
    ))?;
    Ok(Measured { blobs, fill_seconds, over, daemon_start_ms })
}

/// Fills a store; files with an even number are in the tree.
fn fill(dir: &Path, blobs: usize) -> Result<()> {
    let store = Store::open(dir, OpenMode::ReadWrite)?;
    let (mut directories, mut kept) = (Vec::new(), Vec::new());
    for first in (0..blobs).step_by(BATCH) {
        let texts: Vec<String> = (first..blobs.min(first + BATCH)).map(small_text).collect();
        let digests = store.put_blobs(&texts.iter().map(String::as_bytes).collect::<Vec<_>>())?;
        let files = digests.into_iter().zip(&texts).enumerate().step_by(2).map(|(at, (digest, text))| {
            let name = EntryName::new(format!("{:07}", first + at))?;
            Ok(FileNode { name, digest, size: text.len() as u64, mode: 0o644 })
        });
        kept.extend(files.collect::<Result<Vec<_>>>()?);
    }
    for files in kept.chunks(PER_DIRECTORY) {
        let directory = Directory { files: files.to_vec(), ..Directory::default() };
        let name = EntryName::new(format!("{:07}", directories.len()))?;
        let (digest, size) = put(&store, &directory)?;
        directories.push(DirectoryNode { name, digest, size, mode: 0o755 });
    }
    let (root, _) = put(&store, &Directory { directories, ..Directory::default() })?;
    store.put_record("bench", FILES, &(blobs as u64).to_be_bytes())?;
    store.put_record("bench", KEPT, root.as_bytes())?;
    Ok(())
}

fn put(store: &Store, directory: &Directory) -> Result<(TreeDigest, u64)> {
    let (bytes, digest) = directory.encode();
    store.put_blob(&bytes)?;
    Ok((digest, bytes.len() as u64))
}

/// Everything over a full store, in this process.
pub(crate) fn over(dir: &Path) -> Result<Over> {
    let start = Instant::now();
    let store = Store::open(dir, OpenMode::ReadWrite)?;
    let open_ms = milliseconds(start.elapsed());
    let root = store.record("bench", KEPT)?.ok_or("the store was not filled")?;
    let root = TreeDigest::from_bytes(*root.first_chunk().ok_or("the root is no digest")?);
    // The tree's directories are blobs too, but not of a number.
    let blobs = store.record("bench", FILES)?.and_then(|bytes| bytes.first_chunk().copied().map(u64::from_be_bytes));
    let blobs = usize::try_from(blobs.ok_or("the store was not filled")?)?;
    // As if at random, and the same at each run.
    let pick = |turn: usize| turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) % blobs;
    let digests: Vec<BlobDigest> =
        (0..LOOK_UPS).map(|turn| BlobDigest::of(small_text(pick(turn)).as_bytes())).collect();
    let look_up_ms = timed(&digests, |digest| Ok(store.size(digest).map(drop)?))?;
    let some = digests.get(..digests.len() / 10).unwrap_or_default();
    let read_ms = timed(some, |digest| Ok(store.read_blob(digest, 1 << 20).map(drop)?))?;
    let start = Instant::now();
    let collection = store.collection()?;
    let roots = vec![Root { node: Node::Tree(root), kind: "bench", why: "it is kept".to_owned() }];
    let meaning = Meaning { document: &|_| None, records: &[] };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)? + Duration::from_secs(3600);
    let survey = collection.survey(roots, meaning, 0, u64::try_from(now.as_millis())?)?;
    let survey_seconds = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let swept = collection.sweep(survey, &Sweep { meaning, remember: &BTreeSet::new(), stop: &|| false })?;
    let sweep_seconds = start.elapsed().as_secs_f64();
    let kept = store.stats()?.blobs;
    Ok(Over {
        open_ms,
        look_up_ms,
        read_ms,
        survey_seconds,
        sweep_seconds,
        collected: swept.blobs,
        kept,
        longest_wait_ms: swept.longest_wait_ms,
        memory_mib: memory_mib()?,
    })
}

/// How long a daemon takes from its start to its first answer, with an empty catalogue.
fn starts(daemon: &Path, state: &Path) -> Result<Percentiles> {
    let catalog = state.with_extension("catalog");
    for folder in ["packages", "images"] {
        fs::create_dir_all(catalog.join(folder))?;
    }
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let start = Instant::now();
        let mut child = Command::new(daemon)
            .args(["daemon", "--until-input-ends", "--listen", "127.0.0.1:0", "--state"])
            .arg(state)
            .arg("--catalog")
            .arg(&catalog)
            .env("ANNEAL_LOCK", LOCK)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        while UnixStream::connect(state.join("anneal.sock")).is_err() {
            if let Some(status) = child.try_wait()? {
                return Err(format!("{} ended with {status} at its start", daemon.display()).into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        times.push(milliseconds(start.elapsed()));
        drop(child.stdin.take());
        child.wait()?;
    }
    Ok(percentiles(times.into_iter()))
}

/// How long each took, in milliseconds.
fn timed(digests: &[BlobDigest], mut what: impl FnMut(&BlobDigest) -> Result<()>) -> Result<Percentiles> {
    let mut times = Vec::with_capacity(digests.len());
    for digest in digests {
        let start = Instant::now();
        what(digest)?;
        times.push(milliseconds(start.elapsed()));
    }
    Ok(percentiles(times.into_iter()))
}

/// The most memory that this process has had.
fn memory_mib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("the kernel does not tell of memory")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024)
}
