//! A real daemon under a mixed load, killed with SIGKILL at random moments again and again. After each start every promise
//! holds, everything that was acknowledged is there with the right bytes, and a second start changes nothing.
//!
//! 50 kills; `ANNEAL_KILLS=1000` for more, in at most `ANNEAL_KILL_MINUTES` (60). The moments come from a seed that is
//! printed; `ANNEAL_TEST_SEED=N` repeats them, as far as the machine does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]
#![allow(clippy::print_stderr, reason = "the seed, the moments and the rate are for whoever runs it")]

use anneal_tests::{
    Acknowledged, Clients, Daemon, Facts, NUMBERED, Notes, Place, Random, ask_http, ask_socket, broken_promises,
    copy_tree, not_served_right, scratch, wait_for,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// After so many kills the state begins anew, so that a run of any length stays as fast as it began.
const KILLS_A_LIFE: usize = 50;
/// The longest load before a kill.
const LOAD: Duration = Duration::from_millis(1500);
/// About how long a start takes: kills within it meet the recovery.
const START: Duration = Duration::from_millis(250);
/// How long the daemon may take to finish what the kill interrupted.
const PATIENCE: Duration = Duration::from_secs(90);

/// A daemon that keeps nothing for being young, so that a collection has something to do.
fn spawn(place: &Place) -> Daemon {
    Daemon::spawn(place, &["env", "ANNEAL_KEEP_DAYS=0"])
}

/// Waits until a daemon answers at both doors.
fn ready(place: &Place, daemon: &mut Daemon) {
    wait_for("the daemon to answer", PATIENCE, || {
        assert!(!daemon.has_ended(), "the daemon ended by itself:\n{}", daemon.said());
        let ready = ask_http(place, "GET", "/healthz").is_ok_and(|answer| answer.status == 200);
        (ready && place.state.join("anneal.sock").exists()).then_some(())
    });
}

/// Waits until nothing is left to do.
fn idle(place: &Place, daemon: &Daemon) {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = ask_socket(place, "GET", "/v1/overview", "application/json", b"").unwrap();
        let due = answer.json()["tasks"].clone();
        if due.as_array().is_some_and(Vec::is_empty) {
            return;
        }
        assert!(Instant::now() < end, "after {PATIENCE:?} there still is to do: {due}\n{}", daemon.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One state directory over its kills.
struct Life {
    place: Place,
    key: PathBuf,
    told: Acknowledged,
}

impl Life {
    fn begin(released: &Path, place: &Place) -> Self {
        let _ = fs::remove_dir_all(&place.state);
        copy_tree(released, &place.state);
        let key = place.state.join("ada.pem");
        Self { place: place.clone(), key, told: Acknowledged::default() }
    }

    #[track_caller]
    fn facts(&self) -> Facts {
        Facts::read(&self.place.state).unwrap_or_else(|wrong| panic!("the state cannot be read: {wrong}"))
    }

    /// What is broken or lost, of what is on the disk and of what a daemon serves.
    fn wrongs(&self, facts: &Facts, is_served: bool) -> Vec<String> {
        let mut wrongs = broken_promises(facts);
        wrongs.extend(self.told.lost(facts).into_iter().map(|what| format!("acknowledged and lost: {what}")));
        if is_served {
            wrongs.extend(not_served_right(&self.place, &facts.folded()));
            wrongs.extend(self.told.not_pulled_again(&self.place));
        }
        wrongs
    }

    /// A start after a kill: everything holds; left alone, it comes to rest; killed at rest, a second start changes
    /// nothing. Gives the second daemon.
    fn recover(&mut self, moment: &str) -> Daemon {
        let mut first = spawn(&self.place);
        ready(&self.place, &mut first);
        self.expect(moment, "the first start", &self.facts(), true, &first);
        idle(&self.place, &first);
        let log = first.said();
        first.kill();
        let rested = self.facts();
        self.told.see_journal(&rested);
        let mut second = spawn(&self.place);
        ready(&self.place, &mut second);
        idle(&self.place, &second);
        let facts = self.facts();
        let (before, after) = (rested.dump(), facts.dump());
        let changed: Vec<_> = before.iter().filter(|(name, value)| after.get(*name) != Some(*value)).collect();
        let new: Vec<_> = after.iter().filter(|(name, _)| !before.contains_key(*name)).collect();
        assert!(
            changed.is_empty() && new.is_empty(),
            "{moment}: a second start changed {changed:?} and added {new:?}\n{log}\n{}",
            second.said()
        );
        second
    }

    fn expect(&self, moment: &str, when: &str, facts: &Facts, is_served: bool, daemon: &Daemon) {
        let wrongs = self.wrongs(facts, is_served);
        assert!(wrongs.is_empty(), "{moment}; after {when}:\n{}\n\n{}", wrongs.join("\n"), tail(&daemon.said()));
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The last event of a journal in a word: what the kill met.
fn met(facts: &Facts) -> String {
    let last = facts.records.last().map(|record| serde_json::to_value(record).unwrap());
    last.and_then(|record| record["event"].as_str().map(str::to_owned)).unwrap_or_default()
}

#[test]
fn a_daemon_killed_at_random_moments_keeps_every_promise_and_all_that_it_acknowledged() {
    let (kills, minutes) = (number("ANNEAL_KILLS", 50), number("ANNEAL_KILL_MINUTES", 60));
    let dir = scratch();
    let notes = Notes::ready(dir.path()).with_steps(&[NUMBERED]);
    notes.with_card();
    notes.place.release_all();
    let released = dir.path().join("released");
    fs::rename(&notes.place.state, &released).unwrap();
    let mut random = Random::new();
    let begun = Instant::now();
    let (mut killed, mut starts) = (0_u64, 0_u64);
    let (mut mets, mut done) = (BTreeMap::<String, usize>::new(), BTreeMap::<&str, usize>::new());
    let mut life: Option<(Life, Daemon)> = None;
    let mut of_life = 0;
    while killed < kills {
        let (mut one, mut daemon) = life.take().unwrap_or_else(|| {
            let one = Life::begin(&released, &notes.place);
            let mut daemon = spawn(&one.place);
            ready(&one.place, &mut daemon);
            (one, daemon)
        });
        let delay = random.moment(LOAD);
        let clients = Clients::start(&one.place, &one.key, std::mem::take(&mut one.told), &mut random);
        std::thread::sleep(delay);
        let ended = daemon.has_ended();
        daemon.kill();
        let worked = clients.stop();
        one.told = worked.told;
        for (what, count) in worked.done {
            *done.entry(what).or_default() += count;
        }
        killed += 1;
        let moment = format!("kill {killed}, {} ms into the load", delay.as_millis());
        assert!(
            !ended,
            "{moment}: the daemon had ended by itself\n{}",
            tail(&fs::read_to_string(log(&one.place)).unwrap())
        );
        assert!(worked.troubles.is_empty(), "{moment}: {}", worked.troubles.join("\n"));
        let facts = one.facts();
        *mets.entry(met(&facts)).or_default() += 1;
        // before any repair, too: a reader beside the dead daemon sees what was acknowledged
        let lost = one.told.lost(&facts);
        assert!(lost.is_empty(), "{moment}; before a start: {}", lost.join("\n"));
        while random.below(4) == 0 && killed < kills {
            let daemon = spawn(&one.place);
            std::thread::sleep(random.moment(START));
            daemon.kill();
            killed += 1;
            starts += 1;
        }
        daemon = one.recover(&moment);
        of_life += 1;
        if killed.is_multiple_of(10) || killed == kills {
            let rate = begun.elapsed().as_secs_f64() / killed as f64;
            let left = rate * (kills - killed) as f64;
            eprintln!("{killed} of {kills} kills, {rate:.1} s each, {left:.0} s to go; {} events", facts.records.len());
        }
        let over = begun.elapsed() > Duration::from_secs(minutes * 60);
        assert!(
            !over || killed >= kills,
            "only {killed} of {kills} kills in {minutes} minutes; nothing was found wrong"
        );
        if of_life < KILLS_A_LIFE {
            life = Some((one, daemon));
        } else {
            of_life = 0;
            daemon.stop();
            one.place.anneal(&["store", "scrub"]).fine();
        }
    }
    eprintln!(
        "{starts} of {killed} kills met a start; the last event before the others: {mets:?}; acknowledged: {done:?}"
    );
    for work in ["import", "change", "approve", "pull", "pin", "collect"] {
        assert!(done.contains_key(work), "no {work} was acknowledged: the load was none");
    }
    if let Some((one, daemon)) = life {
        daemon.stop();
        one.place.anneal(&["store", "scrub"]).fine();
    }
}

fn log(place: &Place) -> PathBuf {
    place.state.with_extension("daemon.log")
}
