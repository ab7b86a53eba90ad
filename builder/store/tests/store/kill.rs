//! SIGKILL at any moment: what was acknowledged is there, and the journal has no gap.

use crate::{noise, writer};
use anneal_content::BlobDigest;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Where a child of these tests finds its store.
const DIR: &str = "ANNEAL_STORE_TEST_DIR";
const ROUNDS: u64 = 12;

/// This program again, running one ignored test over a store.
pub(crate) fn spawn(test: &str, dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]).env(DIR, dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// The directory that [`spawn`] gave; `None` when the test was started by hand.
pub(crate) fn given_dir() -> Option<std::path::PathBuf> {
    std::env::var_os(DIR).map(Into::into)
}

fn event(seq: u64) -> Vec<u8> {
    noise(seq, usize::try_from(seq % 5000).unwrap())
}

#[test]
#[ignore = "the child of the test below"]
fn child_appends_and_tells() {
    let Some(dir) = given_dir() else { return };
    let store = writer(&dir);
    let mut out = std::io::stdout();
    let mut next = store.event_count().unwrap();
    loop {
        let first = store.append_events(&[event(next), event(next + 1), event(next + 2)]).unwrap();
        assert_eq!(first, next);
        next += 3;
        let digest = store.put_blob(&event(next + 100_000)).unwrap();
        writeln!(out, "acknowledged {next} {digest}").unwrap();
    }
}

#[test]
fn acknowledged_events_and_blobs_survive_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    drop(writer(dir.path()));
    let (mut acknowledged, mut blobs) = (0, Vec::new());
    for round in 0..ROUNDS {
        let mut child = spawn("kill::child_appends_and_tells", dir.path());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reading = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(60 + 37 * round % 400));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reading.join().unwrap() {
            let words: Vec<_> = line.split(' ').collect();
            if let Some(at) = words.iter().position(|word| *word == "acknowledged")
                && let (Some(Ok(next)), Some(Ok(digest))) =
                    (words.get(at + 1).map(|w| w.parse()), words.get(at + 2).map(|w| w.parse::<BlobDigest>()))
            {
                acknowledged = next;
                blobs.push((digest, event(next + 100_000)));
            }
        }
        let store = writer(dir.path());
        let events: Vec<_> = store.events_from(0).unwrap().collect::<Result<_, _>>().unwrap();
        assert!(events.len() as u64 >= acknowledged, "{} events, {acknowledged} acknowledged", events.len());
        assert_eq!(events.len() % 3, 0, "half an append is there");
        for (number, (seq, bytes)) in (0..).zip(&events) {
            assert!(*seq == number && *bytes == event(number), "event {number}");
        }
        for (digest, bytes) in &blobs {
            assert!(store.read_blob(digest, u64::MAX).unwrap() == *bytes);
        }
    }
    assert!(acknowledged > 0, "no child got as far as an append");
}
