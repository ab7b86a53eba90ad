//! How long the store takes: to take in trees, beside other stores and a plain copy; and everything over very many blobs.
//!
//! `tests/bench` builds and calls it: `tests/bench [--quick] [--json FILE] [store]`. Each contender is a process of its
//! own, over a store that was made before, in turns; whatever is dirty in memory is written out before each.

mod contender;
mod many;
mod take_in;

use anneal_measure::Machine;
use anneal_store::{IngestRules, OpenMode, Store};
use serde::Serialize;
use std::{
    error::Error,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Asks this program, as a process of its own, to take in a directory.
const TAKE_IN: &str = "--take-in";
/// Asks this program, as a process of its own, for everything over the store that was filled.
const OVER_MANY: &str = "--over-many";

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// What is asked for.
#[derive(Debug)]
struct Args {
    quick: bool,
    /// One of the two parts alone.
    only: Option<Part>,
    json: Option<PathBuf>,
    /// The program, to start it over very many blobs.
    daemon: Option<PathBuf>,
    /// Where stores are made: on a disk, since what is measured is durable.
    dir: PathBuf,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    TakeIn,
    Many,
}

/// All that was measured.
#[derive(Serialize)]
struct Measured {
    machine: Machine,
    take_in: Option<Vec<take_in::Measured>>,
    many: Option<many::Measured>,
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = given.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [TAKE_IN, store, source] => take_in_one(Path::new(store), Path::new(source)),
        [OVER_MANY, store] => many::over(Path::new(store)).and_then(|over| say(&serde_json::to_string(&over)?)),
        words => arguments(words).and_then(|args| measure(&args)),
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

fn arguments(words: &[&str]) -> Result<Args> {
    let mut args = Args { quick: false, only: None, json: None, daemon: None, dir: "/var/tmp".into() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--quick" => args.quick = true,
            "--only" => {
                args.only = match words.next().copied() {
                    Some("take-in") => Some(Part::TakeIn),
                    Some("many") => Some(Part::Many),
                    _ => return Err("--only needs take-in or many".into()),
                }
            }
            "--json" => args.json = Some(words.next().ok_or("--json needs a file")?.into()),
            "--daemon" => args.daemon = Some(words.next().ok_or("--daemon needs a program")?.into()),
            "--dir" => args.dir = words.next().ok_or("--dir needs a directory")?.into(),
            other => {
                return Err(format!(
                    "{other} is unknown; expected --quick, --only PART, --json FILE, --daemon PROGRAM or --dir DIRECTORY"
                )
                .into());
            }
        }
    }
    Ok(args)
}

fn take_in_one(store: &Path, source: &Path) -> Result<()> {
    let store = Store::open(store, OpenMode::ReadWrite)?;
    store.ingest(source, &IngestRules::default())?;
    Ok(())
}

fn measure(args: &Args) -> Result<()> {
    let place = tempfile::tempdir_in(&args.dir)?;
    let machine = Machine::this();
    let wanted = |part| args.only.is_none_or(|only| only == part);
    let take_in = wanted(Part::TakeIn).then(|| take_in::measure(place.path(), args.quick)).transpose()?;
    let many =
        wanted(Part::Many).then(|| many::measure(place.path(), args.quick, args.daemon.as_deref())).transpose()?;
    place.close()?;
    if let Some(path) = &args.json {
        let measured = Measured { machine, take_in, many };
        std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(&measured)?))?;
    }
    Ok(())
}
