//! Whether a store that something was done to is still what was acknowledged.

use crate::{
    Logical, STEPS, Step,
    scenario::{collect, read},
    told,
};
use anneal_store::{Error, OpenMode, Store};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// How long a child may take to become another program.
const CHILD_MAX: Duration = Duration::from_secs(20);

/// What the scenario had been told when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Acknowledged {
    /// How many steps.
    pub steps: usize,
    /// Whether the blob and the event that were tried after a refused step were acknowledged; `None`: not tried.
    pub after: Option<[bool; 2]>,
}

/// Opens a store that something was done to and asks everything of it; gives after how many steps it is.
///
/// What it asks: the store opens. It holds what it held after the last acknowledged step, or after the step that was under
/// way. Every blob reads right, the journal's chain holds, nothing lies about. A second opening changes nothing. It takes
/// a blob and an event. All of it can be collected.
pub fn judge(dir: &Path, held: &[Logical], known: Acknowledged) -> Result<usize, String> {
    let store = open(dir, "it does not open")?;
    let first = Logical::of(&store).map_err(|e| format!("it does not read clean: {e}"))?;
    let at = place(held, known, first.clone())?;
    let left: Vec<_> = fs::read_dir(dir.join("tmp")).map_err(|e| e.to_string())?.collect();
    if !left.is_empty() {
        return Err(format!("unfinished work lies about: {left:?}"));
    }
    drop(store);
    let store = open(dir, "it does not open a second time")?;
    let second = Logical::of(&store).map_err(|e| format!("it does not read clean the second time: {e}"))?;
    if second != first {
        return Err(format!("a second opening changed something: {}", second.difference(&first)));
    }
    goes_on(&store, second.events.len() as u64).map_err(|e| format!("it does not go on: {}", told(&e)))?;
    pins_go(&store).and_then(|()| collect(&store, Vec::new())).map_err(|e| format!("not collected: {}", told(&e)))?;
    let rest = Logical::of(&store).map_err(|e| format!("it does not read clean when collected: {e}"))?;
    let files = files(&dir.join("blobs"));
    if !rest.blobs.is_empty() || files > 0 || !rest.results.is_empty() {
        return Err(format!("{} blobs and {files} files are not collected", rest.blobs.len()));
    }
    Ok(at)
}

/// Whether the file that says what was acknowledged has no damage: no power cut tears one of its slots or erases it.
pub fn head_is_whole(dir: &Path) -> Result<(), String> {
    // one that does not open as it is is for `judge`
    let Ok(reader) = Store::open(dir, OpenMode::ReadOnly) else { return Ok(()) };
    match reader.damaged_slots() {
        Ok(0) => Ok(()),
        Ok(slots) => Err(format!("{slots} slots of what was acknowledged are told to be damaged")),
        Err(error) => Err(told(&error)),
    }
}

/// Opens a store. A child that another thread of this process starts has a copy of the lock until it is another program.
fn open(dir: &Path, what: &str) -> Result<Store, String> {
    let begun = Instant::now();
    loop {
        match Store::open(dir, OpenMode::ReadWrite) {
            Err(Error::Locked { .. }) if begun.elapsed() < CHILD_MAX => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened.map_err(|e| format!("{what}: {}", told(&e))),
        }
    }
}

/// After how many steps a store holds this.
fn place(held: &[Logical], known: Acknowledged, found: Logical) -> Result<usize, String> {
    let (found, after) = found.without_after();
    let promised = known.after.unwrap_or_default();
    if (promised[0] && !after[0]) || (promised[1] && !after[1]) || (known.after.is_none() && after != [false; 2]) {
        return Err(format!("put and appended after a refusal: {after:?}, acknowledged: {:?}", known.after));
    }
    let here = &held[known.steps];
    if found == *here {
        return Ok(known.steps);
    }
    let Some(next) = held.get(known.steps + 1) else {
        return Err(format!("not as it was at the end: {}", found.difference(here)));
    };
    let is_collecting = STEPS[known.steps] == Step::Collect && found.is_between(here, next);
    if found == *next || is_collecting {
        return Ok(known.steps + 1);
    }
    let step = STEPS[known.steps];
    Err(format!(
        "after {} acknowledged steps, with {step:?} under way. To before it: {}. To after it: {}",
        known.steps,
        found.difference(here),
        found.difference(next)
    ))
}

fn goes_on(store: &Store, next: u64) -> anneal_store::Result<()> {
    let digest = store.put_blob(b"put after all")?;
    assert_eq!(read(store, &digest)?, b"put after all");
    assert_eq!(store.append_events(&[b"appended after all".to_vec()])?, next);
    Ok(())
}

fn pins_go(store: &Store) -> anneal_store::Result<()> {
    store.pins()?.iter().try_for_each(|pin| store.unpin(&pin.digest).map(drop))
}

fn files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.file_type().unwrap().is_dir() { files(&entry.path()) } else { 1 }).sum()
}
