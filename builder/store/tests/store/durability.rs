//! The order of effects: nothing is renamed before it is synced, nothing is recorded before its name is synced, and
//! nothing is acknowledged before its record is. Seen from outside, by tracing the system calls of a child.
#![cfg(target_arch = "x86_64")]

use crate::{
    kill::{given_dir, spawn},
    noise, writer,
};
use anneal_content::BlobDigest;
use anneal_store::Error;
use nix::{
    sys::{
        ptrace,
        signal::Signal,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// A blob that was there before.
const BEFORE: &[u8] = b"before";

/// What the child does once it is watched.
type Act = fn(&anneal_store::Store);

fn put_one(store: &anneal_store::Store) {
    store.put_blob(&noise(1, 3_000_000)).unwrap();
}
fn put_many(store: &anneal_store::Store) {
    let blobs: Vec<_> = (0..40).map(|seed| noise(seed, 5000)).collect();
    store.put_blobs(&blobs.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
}
fn append(store: &anneal_store::Store) {
    store.append_events(&[b"event".to_vec()]).unwrap();
}

fn meet_a_failing_sync(store: &anneal_store::Store) {
    let error = store.put_blob(&noise(1, 3_000_000)).unwrap_err();
    assert!(matches!(error, Error::Sync { .. } | Error::Database { .. }), "{error}");
    for error in [store.put_blob(b"more").unwrap_err(), store.append_events(&[b"more".to_vec()]).unwrap_err()] {
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    }
    assert_eq!(store.read_blob(&BlobDigest::of(BEFORE), 100).unwrap(), BEFORE);
}

fn child(act: Act) {
    let Some(dir) = given_dir() else { return };
    let store = writer(&dir);
    println!("\nthread {}", nix::unistd::gettid());
    let mut go = String::new();
    std::io::stdin().read_line(&mut go).unwrap();
    act(&store);
    // the tracer takes this line for the acknowledgement
    println!("\ndone");
    std::io::stdin().read_line(&mut go).unwrap();
}

#[test]
#[ignore = "a child of the tests below"]
fn child_puts_one() {
    child(put_one);
}
#[test]
#[ignore = "a child of the tests below"]
fn child_puts_many() {
    child(put_many);
}
#[test]
#[ignore = "a child of the tests below"]
fn child_appends() {
    child(append);
}

#[test]
#[ignore = "a child of the tests below"]
fn child_meets_a_failing_sync() {
    child(meet_a_failing_sync);
}

/// The effects of one thread on the store, in order, repetitions left out; `None` where tracing is not allowed.
/// The first effect that equals `fail` does not happen, and the child is told EIO.
fn effects(dir: &Path, test: &str, fail: Option<&str>) -> Option<Vec<String>> {
    writer(dir).put_blob(BEFORE).unwrap();
    let mut child = spawn(&format!("durability::{test}"), dir);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let thread = lines.find_map(|line| line.unwrap().strip_prefix("thread ").map(|n| n.parse().unwrap())).unwrap();
    let thread = Pid::from_raw(thread);
    if let Err(error) = ptrace::seize(thread, ptrace::Options::PTRACE_O_TRACESYSGOOD) {
        println!("skipped: tracing a child is not allowed here ({error})");
        child.kill().unwrap();
        child.wait().unwrap();
        return None;
    }
    ptrace::interrupt(thread).unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "go").unwrap();
    let store = dir.join("store").canonicalize().unwrap();
    let mut seen: Vec<String> = Vec::new();
    let (mut entering, mut fail, mut failing) = (false, fail, false);
    loop {
        let signal = match waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap() {
            WaitStatus::PtraceSyscall(_) => {
                entering = !entering;
                if failing && !entering {
                    answer_eio(thread);
                    failing = false;
                }
                if entering && let Some(effect) = effect(thread, &store) {
                    if effect == "acknowledge" {
                        break;
                    }
                    if fail.take_if(|fail| *fail == effect).is_some() {
                        skip(thread);
                        failing = true;
                    }
                    if seen.last() != Some(&effect) {
                        seen.push(effect);
                    }
                }
                None
            }
            WaitStatus::Stopped(_, signal) if signal != Signal::SIGTRAP && signal != Signal::SIGSTOP => Some(signal),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => panic!("the child ended before it was done: {seen:?}"),
            _ => None,
        };
        ptrace::syscall(thread, signal).unwrap();
    }
    child.kill().unwrap();
    // the tracer has to take leave of the thread before its process can end
    while waitpid(thread, Some(WaitPidFlag::__WALL)).is_ok_and(|status| !matches!(status, WaitStatus::Signaled(..))) {}
    let _ = child.wait();
    Some(seen)
}

/// What the system call at which the thread stands does to the store, as `verb place`.
fn effect(thread: Pid, store: &Path) -> Option<String> {
    let registers = ptrace::getregs(thread).ok()?;
    let process = PathBuf::from(format!("/proc/{thread}"));
    let of_handle = |handle: u64| fs::read_link(process.join(format!("fd/{handle}"))).unwrap_or_default();
    let (verb, path) = match registers.orig_rax as i64 {
        nix::libc::SYS_write if registers.rdi == 1 => {
            return text_at(&process, registers.rsi, 5).contains("done").then(|| "acknowledge".to_owned());
        }
        nix::libc::SYS_write | nix::libc::SYS_pwrite64 => ("write", of_handle(registers.rdi)),
        nix::libc::SYS_fsync | nix::libc::SYS_fdatasync => ("sync", of_handle(registers.rdi)),
        nix::libc::SYS_syncfs => ("sync", PathBuf::from("everything")),
        nix::libc::SYS_rename => ("rename to", PathBuf::from(text_at(&process, registers.rsi, 4096))),
        nix::libc::SYS_renameat | nix::libc::SYS_renameat2 => {
            ("rename to", PathBuf::from(text_at(&process, registers.r10, 4096)))
        }
        _ => return None,
    };
    if path == Path::new("everything") {
        return Some("sync everything".to_owned());
    }
    // the database's own log is for people
    let beneath = path.strip_prefix(store).ok().filter(|beneath| *beneath != Path::new("db/LOG"))?;
    let place = beneath.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned());
    Some(format!("{verb} {}", place.unwrap_or_else(|| ".".to_owned())))
}

/// Makes the system call that is about to begin none at all.
fn skip(thread: Pid) {
    let mut registers = ptrace::getregs(thread).unwrap();
    registers.orig_rax = u64::MAX;
    ptrace::setregs(thread, registers).unwrap();
}

fn answer_eio(thread: Pid) {
    let mut registers = ptrace::getregs(thread).unwrap();
    registers.rax = (-nix::libc::EIO) as i64 as u64;
    ptrace::setregs(thread, registers).unwrap();
}

fn text_at(process: &Path, address: u64, len: usize) -> String {
    let mut bytes = vec![0; len];
    let count = File::open(process.join("mem")).unwrap().read_at(&mut bytes, address).unwrap_or(0);
    let text = bytes[..count].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[track_caller]
fn check(test: &str, expected: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    if let Some(seen) = effects(dir.path(), test, None) {
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_blob_is_synced_named_synced_again_and_recorded_before_it_is_acknowledged() {
    let expected = ["write tmp", "sync tmp", "rename to blobs", "sync blobs", "write db", "sync db", "write HEAD"];
    check("child_puts_one", &expected);
}

#[test]
fn many_blobs_are_synced_at_once_and_not_one_by_one() {
    let expected =
        ["write tmp", "sync everything", "rename to blobs", "sync everything", "write db", "sync db", "write HEAD"];
    check("child_puts_many", &expected);
}

#[test]
fn an_event_is_in_the_database_before_the_head_names_it() {
    check("child_appends", &["write db", "sync db", "write HEAD", "sync HEAD"]);
}

#[test]
fn a_sync_that_fails_is_never_repeated_and_nothing_more_is_written() {
    for fail in ["sync tmp", "sync blobs", "sync db"] {
        let dir = tempfile::tempdir().unwrap();
        // the child's own assertions hold if it gets to its end
        let Some(seen) = effects(dir.path(), "child_meets_a_failing_sync", Some(fail)) else { return };
        assert_eq!(seen.last().map(String::as_str), Some(fail), "{seen:?}");
        let store = writer(dir.path());
        let digest = store.put_blob(&noise(1, 3_000_000)).unwrap();
        assert!(store.read_blob(&digest, u64::MAX).unwrap() == noise(1, 3_000_000));
        assert_eq!(store.append_events(&[b"more".to_vec()]).unwrap(), 0);
    }
}
