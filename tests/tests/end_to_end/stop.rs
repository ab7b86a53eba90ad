//! A daemon that is told to stop, whatever it waits for.

use anneal_tests::{Daemon, Notes, scratch, wait_for};
use std::{
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

#[test]
fn a_daemon_that_is_told_to_stop_ends_though_the_mirror_of_its_build_root_never_answers() {
    let dir = scratch();
    let notes = Notes::without_root(dir.path());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mirror = format!("ANNEAL_MIRROR_DEBIAN=http://{}", silent.local_addr().unwrap());
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    std::thread::spawn(move || {
        // each connection stays open, and nothing is said on it
        let mut open = Vec::new();
        for connection in silent.incoming() {
            open.push(connection);
            ASKED.fetch_add(1, Ordering::Relaxed);
        }
    });
    let daemon = Daemon::start(&notes.place, &["env", &mirror, "ANNEAL_DRAIN_SECONDS=1"]);
    wait_for("the daemon to ask the mirror", Duration::from_secs(60), || {
        (ASKED.load(Ordering::Relaxed) > 0).then_some(())
    });
    let begun = Instant::now();
    daemon.stop();
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
    // and the next one is in nobody's way
    Daemon::start(&notes.place, &["env", &mirror, "ANNEAL_DRAIN_SECONDS=1"]).stop();
}
