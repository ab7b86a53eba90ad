//! No two runs at once have one id, whatever happens to the files that it is locked by.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anneal_sandbox::{CancelToken, Outcome, Spec, first_id, run};

use crate::bench::{Bench, needs_sandbox};
use crate::crash::wait_for;

/// A log that is read while it is written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The id behind the payload, once it has said it.
    fn id(&self) -> Option<u32> {
        let said = self.0.lock().unwrap().clone();
        let said = String::from_utf8(said).unwrap();
        said.split_whitespace().nth(1).filter(|_| said.ends_with('\n')).map(|id| id.parse().unwrap())
    }
}

/// Where the files of this user may be; more than one where earlier runs saw other places.
fn places() -> Vec<PathBuf> {
    let uid = nix::unistd::geteuid();
    let home = nix::unistd::User::from_uid(uid).unwrap().map(|user| user.dir.join(".local/state/anneal-sandbox"));
    let more = [
        PathBuf::from("/run/anneal-sandbox"),
        format!("/run/user/{uid}/anneal-sandbox").into(),
        format!("/var/tmp/anneal-sandbox-{uid}").into(),
        format!("/tmp/anneal-sandbox-{uid}").into(),
    ];
    home.into_iter().chain(more).filter(|place| std::fs::read_dir(place).is_ok()).collect()
}

/// The numbers of which one can be what a run with this id has: root's are counted from the first, those of others from the
/// beginning or the middle of a range of `/etc/subuid`. Files of other numbers belong to runs of other tests.
fn numbers(id: u32) -> Vec<u32> {
    if nix::unistd::geteuid().is_root() {
        return vec![id - first_id()];
    }
    let text = std::fs::read_to_string("/etc/subuid").unwrap();
    let ranges = text.lines().filter_map(|line| {
        let mut parts = line.split(':').skip(1).map(|part| part.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    });
    ranges.flat_map(|(first, count)| [first, first + count / 2]).filter_map(|from| id.checked_sub(from)).collect()
}

/// Removes the file behind an id.
fn remove(place: &Path, id: u32) -> usize {
    let files = numbers(id).into_iter().map(|number| place.join(number.to_string()));
    files.filter(|file| std::fs::remove_file(file).is_ok()).count()
}

fn starts(spec: &Spec, log: &Log) -> Outcome {
    run(spec, &mut log.clone(), &CancelToken::new()).unwrap()
}

#[test]
fn a_lock_whose_file_is_removed_while_a_run_goes_on_gives_its_id_to_no_other_run() {
    needs_sandbox!();
    let mut bench = Bench::new();
    if bench.run(&["true"]).unwrap().0.limits_not_enforced.iter().any(|gap| gap.starts_with("own user: ")) {
        return std::io::Write::write_all(&mut std::io::stderr(), b"skipped: slots: runs share the caller's user\n")
            .unwrap();
    }
    let order =
        |seconds: &str| ["/payload", "walls", "show-and-wait", "/proc/self/uid_map", seconds].map(str::to_owned);
    bench.spec.argv = order("3").to_vec();
    let mut short = bench.spec.clone();
    short.argv = order("1").to_vec();
    let logs = [Log::default(), Log::default(), Log::default()];
    std::thread::scope(|scope| {
        scope.spawn(|| starts(&bench.spec, &logs[0]));
        wait_for("the first payload", || logs[0].id().is_some());
        let removed: usize = places().iter().map(|place| remove(place, logs[0].id().unwrap())).sum();
        // One is the first run's; another place may have one that an earlier run left.
        assert!(removed >= 1, "no file of the first run in {:?}", places());
        for log in &logs[1..] {
            scope.spawn(|| starts(&short, log));
        }
    });
    let ids: std::collections::BTreeSet<u32> = logs.iter().map(|log| log.id().unwrap()).collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
}
