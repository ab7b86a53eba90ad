//! What is counted, what is not, and that the count ends.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::{Kind, Mount};

const LONG: Duration = Duration::from_secs(60);

fn meter(dir: &Path, bytes: u64, inodes: u64) -> Meter {
    let mut spec = Spec::of(Kind::Build);
    spec.mounts = vec![Mount { at: "/out".into(), source: MountSource::Output(dir.into()) }];
    (spec.limits.output_bytes, spec.limits.output_inodes) = (bytes, inodes);
    Meter::open(&spec).unwrap()
}

#[test]
fn files_count_once_however_many_names_they_have_and_links_are_not_followed() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::write(dir.path().join("a/b/file"), vec![1; 100_000]).unwrap();
    for name in ["second", "third"] {
        fs::hard_link(dir.path().join("a/b/file"), dir.path().join(name)).unwrap();
    }
    fs::write(elsewhere.path().join("large"), vec![1; 1_000_000]).unwrap();
    symlink(elsewhere.path(), dir.path().join("link")).unwrap();
    // Two directories, one file, one link.
    let mut meter = meter(dir.path(), 500_000, 4);
    assert_eq!(meter.look_at_all(LONG), Last::Within, "{meter:?}");
    assert!(meter.walk.bytes >= 100_000);
    assert_eq!(meter.walk.inodes, 4);
}

#[test]
fn one_more_than_a_limit_is_over_it() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(dir.path().join(name), vec![1; 8192]).unwrap();
    }
    assert_eq!(meter(dir.path(), 1 << 20, 3).look_at_all(LONG), Last::Within);
    assert_eq!(meter(dir.path(), 1 << 20, 2).look_at_all(LONG), Last::Over);
    assert_eq!(meter(dir.path(), 3 * 8192 - 1, 3).look_at_all(LONG), Last::Over);
}

#[test]
fn a_tree_deeper_than_any_path_is_measured_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let name = "d".repeat(200);
    let mut at = open(dir.path(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..50 {
        nix::sys::stat::mkdirat(&at, name.as_str(), Mode::S_IRWXU).unwrap();
        at = nix::fcntl::openat(&at, name.as_str(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    }
    let mut meter = meter(dir.path(), 1 << 30, 1000);
    assert_eq!(meter.look_at_all(LONG), Last::Within);
    assert_eq!((meter.walk.inodes, meter.unreadable), (50, false));
}

#[test]
fn directories_in_each_other_are_over_the_limit_at_one_more_than_their_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut path = dir.path().to_path_buf();
    path.extend((0..DEPTH).map(|_| "d"));
    fs::create_dir_all(&path).unwrap();
    assert_eq!(meter(dir.path(), 1 << 30, 10_000).look_at_all(LONG), Last::Within);
    fs::create_dir(path.join("d")).unwrap();
    assert_eq!(meter(dir.path(), 1 << 30, 10_000).look_at_all(LONG), Last::Over);
}

#[test]
fn a_walk_is_done_in_pieces_and_comes_to_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..2000 {
        fs::write(dir.path().join(number.to_string()), "").unwrap();
    }
    let mut meter = meter(dir.path(), 1 << 30, 1999);
    meter.begin();
    let mut pieces = 0;
    while !meter.go_on(Instant::now()) {
        pieces += 1;
    }
    assert!(meter.over, "{pieces} pieces");
    assert!(pieces > 5, "{pieces}");
}

#[test]
fn the_last_walk_ends_in_its_time_and_says_that_it_did_not_come_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..2000 {
        fs::write(dir.path().join(number.to_string()), "").unwrap();
    }
    let mut meter = meter(dir.path(), 1 << 30, 10_000);
    assert_eq!(meter.look_at_all(Duration::ZERO), Last::Unfinished);
    assert!(meter.walk.inodes < 2000, "{}", meter.walk.inodes);
    assert_eq!(meter.look_at_all(LONG), Last::Within);
    assert_eq!(meter.walk.inodes, 2000);
}

#[test]
fn directories_without_end_do_not_exhaust_the_stack() {
    let mut place = Rc::new(Place { above: None, depth: 0 });
    for _ in 0..1_000_000 {
        place = Rc::new(Place { above: Some((place, c"d".to_owned())), depth: 0 });
    }
    drop(place);
}
