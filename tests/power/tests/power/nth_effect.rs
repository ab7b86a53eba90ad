//! For every n, the nth call that changes the store's directory stops the process, fails, or is cut short.
//!
//! With `ANNEAL_FULL` every n of every fault, until the scenario ends without having come so far; else a sample.

use crate::{acknowledged, is_full, prepare, scenario, seed};
use anneal_power::{
    Dice, Effect, Fault, Happening, Logical, STEPS, Verb, Watched, judge, ram_dir, stay_on_one_processor, watch,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How many are tried of each fault when not all are.
const SAMPLE: usize = 20;
/// More than this many for one fault, and something is wrong with the count.
const EFFECTS_MAX: usize = 20_000;

struct Ground {
    dir: tempfile::TempDir,
    sources: PathBuf,
    held: Vec<Logical>,
}

impl Ground {
    fn new(name: &str) -> Self {
        let dir = ram_dir(name);
        let (sources, held) = prepare(dir.path());
        Self { dir, sources, held }
    }

    /// Plays the scenario over a new store with one fault; `None` where tracing is not allowed.
    fn play(&self, name: &str, fault: Option<(Fault, usize)>) -> Option<(PathBuf, Watched)> {
        let store = self.dir.path().join(name);
        let _ = fs::remove_dir_all(&store);
        match watch(scenario(&store, &self.sources), &store, fault) {
            Ok(watched) => Some((store, watched)),
            Err(error) => {
                println!("skipped: tracing a child is not allowed here ({error})");
                None
            }
        }
    }

    /// One fault, and everything that must hold then; says whether there was an nth call to meet.
    fn try_fault(&self, name: &str, fault: Fault, nth: usize) -> Result<bool, String> {
        let Some((store, watched)) = self.play(name, Some((fault, nth))) else { return Ok(false) };
        let known = acknowledged(lines(&watched));
        let told = |wrong: String| format!("{fault:?} at {nth}: {wrong}\n{}", story(&watched));
        told_well(fault, &watched).map_err(told)?;
        judge(&store, &self.held, known).map_err(told)?;
        Ok(watched.is_struck)
    }
}

fn lines(watched: &Watched) -> impl Iterator<Item = &str> {
    watched.happenings.iter().filter_map(|happening| match happening {
        Happening::Said(line) => Some(line.as_str()),
        Happening::Did(..) => None,
    })
}

/// The end of what was seen, for a message.
fn story(watched: &Watched) -> String {
    let struck = watched.happenings.iter().position(|h| matches!(h, Happening::Did(_, true))).unwrap_or(0);
    let part = watched.happenings.iter().skip(struck.saturating_sub(6)).take(60);
    part.map(|happening| format!("    {happening:?}\n")).collect()
}

/// What the process must say and must not do after a fault.
fn told_well(fault: Fault, watched: &Watched) -> Result<(), String> {
    let all = &watched.happenings;
    let Some(at) = all.iter().position(|happening| matches!(happening, Happening::Did(_, true))) else { return Ok(()) };
    let Happening::Did(struck, _) = &all[at] else { return Ok(()) };
    let after: Vec<&Happening> = all.iter().skip(at + 1).collect();
    let said =
        || after.iter().filter_map(|happening| if let Happening::Said(line) = happening { Some(line) } else { None });
    if said().any(|line| line.starts_with("unreadable")) {
        return Err("what was acknowledged can't be read any more in the same process".to_owned());
    }
    if matches!(fault, Fault::Kill | Fault::Torn) {
        return stopped(struck, all.iter().skip(watched.until_end.max(at + 1)));
    }
    let refused = said().find(|line| line.starts_with("refused"));
    let names_space = |text: &str| text.contains("No space left on device") || text.contains("no space");
    if matches!(fault, Fault::Nospace | Fault::Full) && refused.is_some_and(|text| !names_space(text)) {
        return Err("the error does not name the lack of space".to_owned());
    }
    if struck.verb == Verb::Sync && fault != Fault::Short {
        sync_is_final(fault, struck, &after)?;
    }
    if fault == Fault::Short && refused.is_some() {
        return Err("a write that was cut short is gone on with, and is no error".to_owned());
    }
    Ok(())
}

/// Nothing comes after the end of a process but what other threads were about at that moment, one call each.
fn stopped<'a>(struck: &Effect, mut after: impl Iterator<Item = &'a Happening>) -> Result<(), String> {
    let mut under_way = BTreeSet::from([struck.thread]);
    let is_over = after.all(|happening| match happening {
        Happening::Said(_) => false,
        Happening::Did(effect, _) => under_way.insert(effect.thread),
    });
    if is_over { Ok(()) } else { Err("the process went on".to_owned()) }
}

/// After a sync that failed, nothing is acknowledged, and what was to be synced is not synced again.
///
/// Where a thread of the engine failed, what it wrote was no news: the first thread may go on until the engine tells it. The
/// directory of the database is synced by all threads, each for the names that it has made, maybe at the same moment. And
/// where there was no space, the engine begins to mend itself with other files until the store has stopped it, which takes a
/// moment, but comes before anybody is told.
fn sync_is_final(fault: Fault, struck: &Effect, after: &[&Happening]) -> Result<(), String> {
    let is_first = struck.thread == 0;
    let mut is_refused = false;
    for happening in after {
        match happening {
            Happening::Said(line) if is_first && (line.starts_with("acknowledged") || line == "done") => {
                return Err(format!("after a sync that failed came `{line}`"));
            }
            Happening::Said(line) if line.starts_with("after") && line != "after false false" => {
                return Err(format!("after a sync that failed the store went on: `{line}`"));
            }
            Happening::Said(line) => is_refused |= line.starts_with("refused"),
            Happening::Did(effect, _) if effect.verb == Verb::Sync => {
                let is_shared = struck.path == Path::new("db") && effect.thread != struck.thread;
                if fault == Fault::Eio && effect.path == struck.path && !is_shared {
                    return Err(format!("{} was synced again", struck.path.display()));
                }
                if is_refused && is_first && struck.path.starts_with("db") {
                    return Err(format!("{} was synced after the database had failed", effect.path.display()));
                }
            }
            Happening::Did(..) => {}
        }
    }
    Ok(())
}

#[test]
fn whatever_the_nth_effect_does_the_store_keeps_what_it_acknowledged() {
    let ground = Ground::new("effects");
    let Some((store, calm)) = ground.play("calm", None) else { return };
    assert_eq!(acknowledged(lines(&calm)).steps, STEPS.len(), "{}", story(&calm));
    judge(&store, &ground.held, acknowledged(lines(&calm))).unwrap();
    let seed = seed();
    let todo = faults(&calm, &mut Dice::new(seed));
    println!("seed {seed}: {} faults over {:?}", todo.len(), verbs(&calm));
    let wrong = try_all(&ground, &todo);
    assert!(wrong.is_empty(), "seed {seed}: {} of {} went wrong, see above", wrong.len(), todo.len());
}

/// Which fault is to meet which of the calls that it can meet.
fn faults(calm: &Watched, dice: &mut Dice) -> Vec<(Fault, usize)> {
    let mut todo: Vec<(Fault, usize)> = Vec::new();
    for fault in Fault::ALL {
        let effects = calm.happenings.iter().filter_map(|happening| match happening {
            Happening::Did(effect, _) if fault.can_meet(effect) => Some(effect),
            _ => None,
        });
        let syncs: Vec<bool> = effects.map(|effect| effect.verb == Verb::Sync).collect();
        assert!(syncs.len() > 50, "{fault:?} can meet {} effects only", syncs.len());
        if is_full() {
            // and a little beyond, as the engine's own threads do a little more or less each time
            todo.extend((0..syncs.len() + 40).map(|nth| (fault, nth)));
            continue;
        }
        // a third of the sample are syncs that fail, which is where most can go wrong
        let at_syncs: Vec<usize> = (0..syncs.len()).filter(|nth| syncs[*nth]).collect();
        for all in [(0..syncs.len()).collect(), at_syncs] {
            let share = if all.len() == syncs.len() { SAMPLE } else { SAMPLE / 2 };
            let stride = all.len().div_ceil(share).max(1);
            todo.extend(all.iter().skip(dice.below(stride)).step_by(stride).map(|nth| (fault, *nth)));
        }
    }
    // in any order, so that a part of them is a sample
    for at in (1..todo.len()).rev() {
        todo.swap(at, dice.below(at + 1));
    }
    todo
}

/// How often each kind of call is made.
fn verbs(watched: &Watched) -> BTreeMap<String, usize> {
    let mut verbs = BTreeMap::new();
    for happening in &watched.happenings {
        if let Happening::Did(effect, _) = happening {
            *verbs.entry(format!("{:?}", effect.verb)).or_default() += 1;
        }
    }
    verbs
}

fn try_all(ground: &Ground, todo: &[(Fault, usize)]) -> Vec<String> {
    let (next, wrong, struck) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicUsize::new(0));
    let work = |worker: usize| {
        stay_on_one_processor(worker);
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((fault, nth)) = todo.get(at) else { break };
            if at % 500 == 499 {
                println!("{} of {} faults", at + 1, todo.len());
            }
            match ground.try_fault(&format!("store-{worker}"), *fault, *nth) {
                Ok(is_struck) => drop(struck.fetch_add(usize::from(is_struck), Ordering::Relaxed)),
                Err(text) => {
                    println!("{text}");
                    wrong.lock().unwrap().push(text);
                }
            }
        }
    };
    let workers = if is_full() { std::thread::available_parallelism().map_or(1, usize::from) } else { 1 };
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let work = &work;
            scope.spawn(move || work(worker));
        }
    });
    println!("{} of them came to pass", struck.into_inner());
    wrong.into_inner().unwrap()
}

#[test]
fn a_fault_meets_the_call_that_it_is_for() {
    let ground = Ground::new("meets");
    let Some((_, watched)) = ground.play("store", Some((Fault::Eio, 0))) else { return };
    assert!(watched.is_struck && acknowledged(lines(&watched)).steps == 0, "{}", story(&watched));
    let Some((_, watched)) = ground.play("store", Some((Fault::Kill, EFFECTS_MAX))) else { return };
    assert!(!watched.is_struck && lines(&watched).any(|line| line == "done"));
}
