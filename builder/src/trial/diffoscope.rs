//! How two files differ, as `diffoscope` tells it where this host has it: sections, symbols, members of archives.
//!
//! It parses what a build left, so it runs in a sandbox of its own: the host's `/usr` read-only, the two files, a scratch
//! directory, no network, and limits of time, memory and output. What it prints is text for people and proves nothing.
//! Where it isn't installed nothing is missing: the bytes that differ are told in any case.

use super::{Change, Place, PlaceChange};
use crate::{Builder, Error, Result};
use anneal_content::{Directory, EntryName, FileNode};
use anneal_sandbox::{Ended, Kind, Limits, Mount, MountSource, Spec};
use serde::{Deserialize, Serialize};
use std::{path::Path, time::Duration};

/// Where distributions put it. It is told apart from one elsewhere by lying in what the sandbox is given.
const PROGRAM: &str = "/usr/bin/diffoscope";
const SYSTEM: &str = "/usr";
/// By this its Python finds the libraries that it loads.
const LIBRARIES: &str = "/etc/ld.so.cache";
const ARGUMENTS: [&str; 7] =
    [PROGRAM, "--no-progress", "--text-color", "never", "--max-text-report-size", "16384", "--text=-"];
/// How it ends where it found differences.
const DIFFERENT: i32 = 1;
const WALL: Duration = Duration::from_secs(60);
const MEMORY_BYTES: u64 = 1 << 30;
const SCRATCH_BYTES: u64 = 512 << 20;
/// It is told to stop earlier; of what it prints in spite of that, no more is read.
const OUTPUT_BYTES: u64 = 256 << 10;
/// The most lines that are kept.
const LINES_MAX: usize = 120;
/// The longest line that is kept, in characters.
const LINE_MAX: usize = 200;
/// Files beyond this size are not given to it.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What it made of two files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Described {
    /// Its text, shortened, with whatever the files brought along: it is escaped where it is shown.
    Told(String),
    /// Why it told nothing, in a line.
    Not(String),
}

impl Builder {
    /// How a file differs, where this host has the program to tell.
    pub(super) fn described(&self, change: &PlaceChange) -> Result<Option<Described>> {
        let (Place::At(_, path), Change::Content { was, is, was_size, is_size }) = (&change.place, &change.change)
        else {
            return Ok(None);
        };
        if was_size.max(is_size) > &FILE_BYTES_MAX || !Path::new(PROGRAM).is_file() {
            return Ok(None);
        }
        // By the same name on both sides: what a file is, it tells by its ending, too.
        let name = EntryName::new(path.file_name())?;
        let mut mounts = vec![
            Mount { at: SYSTEM.into(), source: MountSource::Trees(vec![SYSTEM.into()]) },
            Mount { at: "/tmp".into(), source: MountSource::Scratch { bytes: SCRATCH_BYTES, inodes: 1 << 16 } },
        ];
        if Path::new(LIBRARIES).is_file() {
            mounts.push(Mount { at: LIBRARIES.into(), source: MountSource::File(LIBRARIES.into()) });
        }
        let mut argv: Vec<String> = ARGUMENTS.iter().map(|one| (*one).to_owned()).collect();
        for (at, digest, size) in [("/was", was, was_size), ("/is", is, is_size)] {
            let file = FileNode { name: name.clone(), digest: *digest, size: *size, mode: 0o644 };
            let (bytes, tree) = Directory { files: vec![file], ..Directory::default() }.encode();
            self.store.put_blob(&bytes)?;
            mounts.push(Mount { at: at.into(), source: MountSource::Trees(vec![self.materialized(&tree)?]) });
            argv.push(format!("{at}/{name}"));
        }
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let spec = Spec {
            root: vec![self.root.dir()?],
            mounts,
            argv,
            env: [variable("PATH", "/usr/bin:/usr/sbin"), variable("HOME", "/tmp"), variable("LC_ALL", "C.UTF-8")]
                .into(),
            limits: Limits {
                wall: WALL,
                silence: WALL,
                memory_bytes: MEMORY_BYTES,
                log_bytes: OUTPUT_BYTES,
                ..Limits::default()
            },
            ..Spec::of(Kind::Test)
        };
        let mut text = Vec::new();
        match anneal_sandbox::run(&spec, &mut text, &self.cancel) {
            Ok(outcome) if outcome.ended == Ended::Cancelled => Err(Error::Stopped),
            Ok(outcome) => Ok(Some(description(&outcome.ended, &String::from_utf8_lossy(&text)))),
            // A host on which it can't be run is no reason to say nothing of the trial.
            Err(error) => Ok(Some(Described::Not(line(&error.to_string())))),
        }
    }
}

/// What a run gave, shortened.
fn description(ended: &Ended, text: &str) -> Described {
    match ended {
        Ended::Exited(DIFFERENT) if !text.trim().is_empty() => {
            // The first two lines name the files.
            let mut lines =
                text.lines().skip_while(|line| line.starts_with("--- /was/") || line.starts_with("+++ /is/"));
            let mut told: String = lines.by_ref().take(LINES_MAX).map(|text| line(text) + "\n").collect();
            let more = lines.count();
            if more > 0 {
                told.push_str(&format!("and {more} more lines\n"));
            }
            Described::Told(told)
        }
        Ended::Exited(0) => Described::Not("it sees no difference".to_owned()),
        ended => match text.lines().rfind(|line| !line.trim().is_empty()) {
            Some(last) => Described::Not(format!("{ended}: {}", line(last))),
            None => Described::Not(ended.to_string()),
        },
    }
}

fn line(text: &str) -> String {
    text.lines().next().unwrap_or_default().replace('\t', "    ").chars().take(LINE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_tells_is_shortened_and_says_so() {
        let head = "--- /was/a\n+++ /is/a\n";
        let told = |text: &str| match description(&Ended::Exited(1), text) {
            Described::Told(told) => told,
            Described::Not(why) => panic!("{why}"),
        };
        assert_eq!(told(&format!("{head}@@ -1 +1 @@\n-one\n+two\n")), "@@ -1 +1 @@\n-one\n+two\n");
        let long = format!("{head}{}\n{}", "x".repeat(1000), "y\n".repeat(LINES_MAX + 4));
        let long = told(&long);
        assert_eq!(long.lines().next().unwrap().len(), LINE_MAX);
        assert!(long.ends_with("y\nand 5 more lines\n"), "{long}");
    }

    #[test]
    fn a_run_that_failed_is_told_in_a_line() {
        for (ended, text, why) in [
            (Ended::Exited(2), "Traceback:\n  a\nImportError: none\n\n", "exited with code 2: ImportError: none"),
            (Ended::Exited(1), "\n", "exited with code 1"),
            (Ended::Exited(0), "", "it sees no difference"),
        ] {
            assert_eq!(description(&ended, text), Described::Not(why.to_owned()));
        }
        let Described::Not(why) = description(&Ended::WallLimit, "--- /was/a\nhalf a line") else { panic!() };
        assert!(!why.contains('\n') && why.contains("half a line"), "{why}");
    }
}
