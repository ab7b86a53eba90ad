//! The daemon killed with SIGKILL at random moments: it resumes, ends with the same digests, and leaves nothing behind.
//!
//! The moments come from a seed that is printed; `ANNEAL_TEST_SEED=N` repeats them. `ANNEAL_TEST_STATE=DIR` takes the
//! catalogue that was built in a state directory in place of building it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]
#![allow(clippy::print_stderr, reason = "the seed and the moments are for whoever runs it")]

use anneal_tests::{
    ADVISORY, Daemon, Notes, Place, Random, Said, copy_tree, note_advisory, scratch, sha256, top, wait_for,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// Kills of the rebuild on real sources, and of the quick one.
const KILLS: usize = 10;
const QUICK_KILLS: usize = 40;
/// How long a rebuild on real sources, and the quick one, may take when nobody disturbs it.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
const QUICK_PATIENCE: Duration = Duration::from_secs(60);

/// A rebuild that is killed again and again.
struct Victim<'a> {
    /// Where each rebuild begins: everything is built and released, and no daemon runs.
    released: &'a Path,
    place: Place,
    record: Vec<u8>,
    /// The image that the advisory touches.
    image: &'a str,
    patience: Duration,
    /// Every daemon that was started.
    daemons: Vec<u32>,
}

impl Victim<'_> {
    /// The state is as it was before the advisory, and the advisory is in the feed.
    fn begin(&self) {
        let _ = fs::remove_dir_all(&self.place.state);
        copy_tree(self.released, &self.place.state);
        self.place.feed("advisory.json", &self.record);
    }

    fn start(&mut self) -> Daemon {
        let daemon = self.place.daemon();
        self.daemons.push(daemon.id());
        daemon
    }

    /// The candidate that answers the advisory, if it is there.
    fn patched(&self) -> Option<String> {
        let candidates = self.place.candidates();
        let mut patched =
            candidates.iter().filter(|c| c["image"] == self.image && !c["fixes"].as_array().unwrap().is_empty());
        let found = patched.next().map(|c| c["manifest"].as_str().unwrap().to_owned());
        assert!(patched.next().is_none(), "one advisory, one candidate: {candidates:?}");
        found
    }

    /// Lets it end without being disturbed; says what came of it and how long it took.
    fn finish(&mut self) -> (String, Duration) {
        let daemon = self.start();
        let begun = Instant::now();
        let end = begun + self.patience;
        let digest = wait_for("the patched image", self.patience * 2, || {
            let found = self.patched();
            if found.is_none() && Instant::now() > end {
                let journal = self.place.anneal(&["log", "--last", "30"]);
                panic!("no patched image after {:?}:\n{}\n{}", self.patience, journal.out, daemon.said());
            }
            found
        });
        let took = begun.elapsed();
        daemon.stop();
        self.nothing_is_left();
        (digest, took)
    }

    /// Kills it at this many random moments while it rebuilds, and lets it end.
    fn torment(&mut self, kills: usize, random: &mut Random, span: Duration) -> String {
        self.begin();
        for _ in 0..kills {
            // Not waited for: the moment may be one of its start.
            let daemon = Daemon::spawn(&self.place, &[]);
            self.daemons.push(daemon.id());
            let delay = random.moment(span);
            std::thread::sleep(delay);
            daemon.kill();
            wait_for("the payloads to die with their daemon", Duration::from_secs(10), || {
                self.alive().is_empty().then_some(())
            });
            let (done, events) = (self.patched(), self.place.events().len());
            let how = if done.is_some() { ", done" } else { "" };
            eprintln!("killed after {} ms with {events} events{how}", delay.as_millis());
            if let Some(done) = done {
                // It was as fast as the kill. The next kill meets a new rebuild.
                assert_eq!(done, self.finish().0);
                self.begin();
            }
        }
        let (digest, _) = self.finish();
        self.place.anneal(&["store", "scrub"]).fine();
        digest
    }

    /// Processes that see a mount of the state directory in any name space.
    fn alive(&self) -> Vec<u32> {
        let state = self.place.state.to_str().unwrap();
        let own = std::process::id();
        let ids = fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse::<u32>().ok());
        let sees =
            |id: &u32| fs::read_to_string(format!("/proc/{id}/mountinfo")).is_ok_and(|text| text.contains(state));
        ids.filter(|id| *id != own).filter(sees).collect()
    }

    fn nothing_is_left(&self) {
        let alive = wait_for("processes to end", Duration::from_secs(10), || Some(self.alive()).filter(Vec::is_empty));
        assert!(alive.is_empty());
        let state = self.place.state.to_str().unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(state), "{mounts}");
        for dir in ["work", "store/tmp"] {
            let dir = self.place.state.join(dir);
            let left: Vec<_> = fs::read_dir(&dir).into_iter().flatten().map(|e| e.unwrap().path()).collect();
            assert!(left.is_empty(), "left in {}: {left:?}", dir.display());
        }
        let groups = Said::by(Command::new("find").args(["/sys/fs/cgroup", "-maxdepth", "6", "-name", "anneal-*"])).out;
        let ours = |path: &&str| self.daemons.iter().any(|id| path.contains(&format!("/anneal-{id}-")));
        let left: Vec<_> = groups.lines().filter(ours).collect();
        assert!(left.is_empty(), "control groups are left: {left:?}");
    }
}

#[test]
fn a_daemon_killed_at_ten_random_moments_of_the_rebuild_ends_with_the_same_digests() {
    let dir = scratch();
    let released = dir.path().join("released");
    fs::create_dir(&released).unwrap();
    if let Some(taken) = std::env::var_os("ANNEAL_TEST_STATE").map(PathBuf::from) {
        copy_tree(&taken, &released);
    } else {
        Notes::link_root(&released);
    }
    Place::of_repository(&released).release_all();
    let record = fs::read(top().join(format!("tests/advisories/{ADVISORY}.json"))).unwrap();
    let place = Place::of_repository(&dir.path().join("state"));
    let mut victim =
        Victim { released: &released, place, record, image: "nginx", patience: PATIENCE, daemons: Vec::new() };
    let mut random = Random::new();
    // A rebuild takes about this long; a moment after its end is a moment, too.
    let digest = victim.torment(KILLS, &mut random, Duration::from_secs(26));
    let golden = fs::read_to_string(top().join("golden/images.txt")).unwrap();
    let lock = sha256(&fs::read(top().join("vendor/build-root.lock")).unwrap());
    assert!(
        golden.contains(&lock),
        "golden/images.txt is of another build root: UPDATE_GOLDEN=1 with end_to_end first"
    );
    assert!(golden.contains(&format!("image {digest}\n")), "{digest} is not in\n{golden}");
}

#[test]
fn a_quick_rebuild_killed_at_forty_moments_ends_as_one_that_was_left_alone() {
    let dir = scratch();
    let slow =
        ["echo begun; sleep 0.2", "mkdir -p \"$OUT/usr/share/note\"; echo more > \"$OUT/usr/share/note/more.txt\""];
    let notes = Notes::ready(dir.path()).with_steps(&slow);
    notes.place.release_all();
    let released = dir.path().join("released");
    fs::rename(&notes.place.state, &released).unwrap();
    let record = note_advisory("TEST-2026-1", "1.1");
    let mut victim = Victim {
        released: &released,
        place: notes.place.clone(),
        record,
        image: "note",
        patience: QUICK_PATIENCE,
        daemons: Vec::new(),
    };
    victim.begin();
    let (alone, took) = victim.finish();
    eprintln!("left alone, it took {} ms", took.as_millis());
    let mut random = Random::new();
    for _ in 0..4 {
        assert_eq!(victim.torment(QUICK_KILLS / 4, &mut random, took.max(Duration::from_millis(400))), alone);
    }
}
