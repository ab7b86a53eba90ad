//! How long an image takes: to pack files into a layer for the first time, and to put an image together from packages
//! whose layers are there.
//!
//! `tests/bench` builds and calls it: `tests/bench [--quick] [--json FILE] [images]`. Each contender is a process of its
//! own and is given the same files; ours has them in its store, as after a build, the others have them in a directory.
//! Whatever is dirty in memory is written out before each.

mod ours;
mod peer;

use anneal_measure::{
    Machine, Paired, Percentiles, Sample, cpu, milliseconds, paired, percentiles,
    source::{Source, real},
};
use peer::Peer;
use serde::Serialize;
use std::{
    error::Error,
    fs,
    io::{self, Write as _},
    path::Path,
    process::{Command, ExitCode},
    time::Instant,
};

/// Asks this program, as a process of its own, to assemble an image.
const ASSEMBLE: &str = "--assemble";
const ROUNDS: usize = 7;
const QUICK_ROUNDS: usize = 2;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// What is asked of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Everything in one layer that was never packed.
    NewLayer,
    /// An image of ten packages whose layers are there; only its own documents are new.
    Assembled,
}

/// One contender's times and size; and ours pair by pair over them.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    version: String,
    wall_ms: Percentiles,
    cpu_ms: Percentiles,
    /// The compressed layers.
    bytes: u64,
    this_to_anneal: Paired,
}

#[derive(Debug, Serialize)]
struct Measured {
    task: &'static str,
    rounds: usize,
    contenders: Vec<Row>,
    skipped: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    files: usize,
    bytes: u64,
    tasks: Vec<Measured>,
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = given.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [ASSEMBLE, state, image, round] => ours::assemble(Path::new(state), image, round),
        words => measure(words),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell of a closed standard error.
            let _ = writeln!(io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

fn measure(words: &[&str]) -> Result<()> {
    let (mut rounds, mut json, mut dir) = (ROUNDS, None, "/var/tmp");
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--quick" => rounds = QUICK_ROUNDS,
            "--json" => json = Some(*words.next().ok_or("--json needs a file")?),
            "--dir" => dir = words.next().ok_or("--dir needs a directory")?,
            other => return Err(format!("{other} is unknown; expected --quick, --json FILE or --dir DIRECTORY").into()),
        }
    }
    let place = tempfile::tempdir_in(dir)?;
    let source = real(place.path().join("files"))?;
    let Source { name, files, bytes, .. } = &source;
    say(&format!("images: {name}, {files} files, {} MiB, {rounds} rounds (ms)", bytes >> 20))?;
    let state = place.path().join("state");
    ours::fill(&state, &source.dir, place.path())?;
    let mut tasks = Vec::new();
    for (task, title, peers) in [
        (Task::NewLayer, "a new layer of all of it", Peer::ALL.as_slice()),
        (Task::Assembled, "an image of ten packages that are packed", Peer::IMAGES.as_slice()),
    ] {
        let measured = one(task, title, peers, rounds, place.path(), &state, &source.dir)?;
        print(&measured)?;
        tasks.push(measured);
    }
    let report = Report { machine: Machine::this(), files: *files, bytes: *bytes, tasks };
    place.close()?;
    if let Some(path) = json {
        fs::write(path, format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    }
    Ok(())
}

fn one(
    task: Task,
    title: &'static str,
    peers: &[Peer],
    rounds: usize,
    place: &Path,
    state: &Path,
    files: &Path,
) -> Result<Measured> {
    let here: Vec<(Peer, String)> = peers.iter().filter_map(|peer| Some((*peer, peer.version()?))).collect();
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); here.len() + 1];
    let mut sizes = vec![0; here.len() + 1];
    // The first round warms caches and does not count.
    for round in 0..=rounds {
        for at in 0..=here.len() {
            let peer = at.checked_sub(1).and_then(|at| here.get(at)).map(|(peer, _)| *peer);
            let dir = place.join(format!("{task:?}-{round}-{at}"));
            fs::create_dir(&dir)?;
            if let Some(peer) = peer {
                peer.prepare(&dir, files)?;
            }
            Command::new("sync").arg("-f").arg(place).status()?;
            let (start, cpu_before) = (Instant::now(), cpu());
            let size = match peer {
                None => ours::run(task, state, round)?,
                Some(peer) => {
                    peer.run(&dir, files)?;
                    0
                }
            };
            let sample = Sample { wall: milliseconds(start.elapsed()), cpu: cpu() - cpu_before };
            let size = peer.map_or(Ok(size), |peer| peer.size(&dir))?;
            if let Some(peer) = peer {
                peer.clear(&dir)?;
            }
            fs::remove_dir_all(&dir)?;
            if round > 0 {
                samples.get_mut(at).ok_or("a contender without a place")?.push(sample);
                *sizes.get_mut(at).ok_or("a contender without a place")? = size;
            }
        }
    }
    let ours = samples.first().cloned().unwrap_or_default();
    let names = [("anneal", env!("CARGO_PKG_VERSION").to_owned())].into_iter();
    let names = names.chain(here.iter().map(|(peer, version)| (peer.name(), version.clone())));
    let contenders = names.zip(samples.iter().zip(&sizes)).map(|((name, version), (samples, bytes))| Row {
        name,
        version,
        wall_ms: percentiles(samples.iter().map(|sample| sample.wall)),
        cpu_ms: percentiles(samples.iter().map(|sample| sample.cpu)),
        bytes: *bytes,
        this_to_anneal: paired(samples, &ours),
    });
    let skipped = peers.iter().filter(|peer| !here.iter().any(|(one, _)| one == *peer)).map(|peer| peer.name());
    Ok(Measured { task: title, rounds, contenders: contenders.collect(), skipped: skipped.collect() })
}

fn print(measured: &Measured) -> Result<()> {
    say(measured.task)?;
    for Row { name, version, wall_ms, cpu_ms, bytes, this_to_anneal } in &measured.contenders {
        let mib = *bytes as f64 / f64::from(1 << 20);
        say(&format!(
            "  {name:<16} {version:<10} p50 {:>8.1}   processor p50 {:>8.1}   {mib:>6.2} MiB   {:.2} times anneal's time, pair by pair {:.2}",
            wall_ms.p50, cpu_ms.p50, this_to_anneal.p50, this_to_anneal.median
        ))?;
    }
    for name in &measured.skipped {
        say(&format!("  skipped: no {name}"))?;
    }
    Ok(())
}
