//! How much is in files that have no name any more and that processes of a run still hold, open or mapped.
//!
//! A walk through directories can't see them, and they fill a disk like any other. They are found in `/proc`, from
//! process 1 of the run down through the children of each thread. This file is part of two programs: the launcher looks
//! itself where it may, and a steward does it where the processes belong to a subordinate user.
//!
//! What can't be found: a descriptor that is under way in a socket and open nowhere, and one that is handed from process
//! to process faster than they are looked at.

use std::collections::BTreeSet;
use std::fs::{self, ReadDir};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;

/// Bytes of a block in `st_blocks`.
const BLOCK: u64 = 512;
/// No more threads are looked at in one search; processes that come and go would make it endless.
const THREADS_MAX: u32 = 1 << 16;
/// What the kernel writes behind the name of a file that has none any more.
const DELETED: &str = " (deleted)";

/// A file by its device and its number there.
pub(crate) type FileId = (u64, u64);

/// One search, done step by step.
#[derive(Debug)]
pub(crate) struct Search {
    devices: Vec<u64>,
    /// The process namespace of the run: a number of a process that has died may be another process's meanwhile.
    namespace: Option<u64>,
    processes: Vec<u32>,
    threads: Vec<(u32, u32)>,
    current: Option<Thread>,
    looked_at: u32,
    /// What was found.
    pub(crate) found: Found,
}

/// What processes hold.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Bytes on the disk.
    pub(crate) bytes: u64,
    /// Each file once.
    pub(crate) files: BTreeSet<FileId>,
    /// Whether there were processes that could not be looked at.
    pub(crate) hidden: bool,
}

/// A thread, and what has been seen of it so far.
#[derive(Debug)]
struct Thread {
    process: u32,
    number: u32,
    descriptors: ReadDir,
    held: Vec<(FileId, u64)>,
}

impl Search {
    /// For what process 1 of a run and its descendants hold on some devices.
    pub(crate) fn new(init: u32, devices: Vec<u64>) -> Self {
        let mut search = Self {
            devices,
            namespace: None,
            processes: Vec::new(),
            threads: Vec::new(),
            current: None,
            looked_at: 0,
            found: Found::default(),
        };
        // Process 1 is our own program and holds no file; nor does it let anyone see its namespace.
        search.descend(init, init);
        for child in search.processes.clone() {
            match fs::metadata(format!("/proc/{child}/ns/pid")) {
                // It has not been given to another process as long as it is a child of process 1, who is ours.
                Ok(found) if children(init, init).is_ok_and(|living| living.contains(&child)) => {
                    search.namespace = Some(found.ino());
                    return search;
                }
                Ok(_) => {}
                Err(error) => search.found.hidden |= is_refused(&error),
            }
        }
        search.processes.clear();
        search
    }

    /// Goes on for so many steps; true once there is nothing left to look at.
    pub(crate) fn go_on(&mut self, steps: u32) -> bool {
        for _ in 0..steps {
            if let Some(thread) = &mut self.current {
                match thread.descriptors.next() {
                    Some(Ok(entry)) => thread.held.extend(look(&entry.path(), &self.devices)),
                    Some(Err(_)) | None => self.finish(),
                }
            } else if let Some((process, thread)) = self.threads.pop() {
                self.enter(process, thread);
            } else if let Some(process) = self.processes.pop() {
                let threads = numbers(&format!("/proc/{process}/task"));
                self.threads.extend(threads.into_iter().map(|thread| (process, thread)));
            } else {
                return true;
            }
            if self.looked_at > THREADS_MAX {
                self.found.hidden = true;
                return true;
            }
        }
        false
    }

    fn enter(&mut self, process: u32, thread: u32) {
        self.looked_at += 1;
        self.descend(process, thread);
        match fs::read_dir(format!("/proc/{process}/task/{thread}/fd")) {
            Ok(descriptors) => {
                let held = Vec::new();
                self.current = Some(Thread { process, number: thread, descriptors, held });
            }
            Err(error) => self.found.hidden |= is_refused(&error),
        }
    }

    /// Adds the children of a thread to what is to be looked at.
    fn descend(&mut self, process: u32, thread: u32) {
        match children(process, thread) {
            Ok(children) => self.processes.extend(children),
            // Of one that has gone there is nothing to see; a kernel without this file has it for no process.
            Err(error) => {
                let gone = !fs::exists(format!("/proc/{process}/task/{thread}")).unwrap_or(true);
                self.found.hidden |= !gone || is_refused(&error);
            }
        }
    }

    /// Counts what a thread holds, unless its number has become another's.
    fn finish(&mut self) {
        let Some(Thread { process, number, mut held, .. }) = self.current.take() else { return };
        // Threads of a process have one memory.
        if process == number {
            held.extend(mapped(process, &self.devices));
        }
        if self.namespace.is_none() || namespace(process) != self.namespace {
            return;
        }
        for (file, bytes) in held {
            if self.found.files.insert(file) {
                self.found.bytes = self.found.bytes.saturating_add(bytes);
            }
        }
    }
}

/// The children of a thread.
fn children(process: u32, thread: u32) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{thread}/children"))?;
    Ok(text.split_whitespace().filter_map(|id| id.parse().ok()).collect())
}

/// The number of the process namespace of a process.
fn namespace(process: u32) -> Option<u64> {
    fs::metadata(format!("/proc/{process}/ns/pid")).ok().map(|found| found.ino())
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == ErrorKind::PermissionDenied
}

/// The numbers that entries of a directory are named by.
fn numbers(directory: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).collect()
}

/// A file that a link of `/proc` leads to, and its size on the disk, if it has no name.
fn look(link: &std::path::Path, devices: &[u64]) -> Option<(FileId, u64)> {
    let found = fs::metadata(link).ok()?;
    let counts = found.is_file() && found.nlink() == 0 && devices.contains(&found.dev());
    counts.then(|| ((found.dev(), found.ino()), found.blocks().saturating_mul(BLOCK)))
}

/// The same for what a process has mapped. The links to mapped files are the superuser's alone; without them a file counts
/// as far as it is mapped.
fn mapped(process: u32, devices: &[u64]) -> Vec<(FileId, u64)> {
    let Ok(maps) = fs::read_to_string(format!("/proc/{process}/maps")) else { return Vec::new() };
    let mut held: Vec<(FileId, u64)> = Vec::new();
    for line in maps.lines().filter(|line| line.ends_with(DELETED)) {
        let Some(Mapping { range, file, end }) = mapping(line) else { continue };
        let link = format!("/proc/{process}/map_files/{range}");
        match fs::metadata(&link) {
            Ok(_) => held.extend(look(link.as_ref(), devices)),
            Err(_) if devices.contains(&file.0) => match held.iter_mut().find(|(known, _)| *known == file) {
                Some((_, bytes)) => *bytes = end.max(*bytes),
                None => held.push((file, end)),
            },
            Err(_) => {}
        }
    }
    held
}

/// A line of `maps`: which file, and up to where.
#[derive(Debug, PartialEq, Eq)]
struct Mapping<'a> {
    range: &'a str,
    file: FileId,
    end: u64,
}

fn mapping(line: &str) -> Option<Mapping<'_>> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let mut fields = line.split(' ');
    let (range, _mode, offset, device) = (fields.next()?, fields.next()?, hex(fields.next()?)?, fields.next()?);
    let number = fields.next()?.parse::<u64>().ok()?;
    let (from, to) = range.split_once('-')?;
    let (major, minor) = device.split_once(':')?;
    let device = libc::makedev(u32::try_from(hex(major)?).ok()?, u32::try_from(hex(minor)?).ok()?);
    let end = offset.saturating_add(hex(to)?.checked_sub(hex(from)?)?);
    Some(Mapping { range, file: (device, number), end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_a_file_and_how_far_it_is_mapped() {
        let line = "7f1a80000000-7f1a80400000 rw-s 00100000 fe:01 4711                       /out/x (deleted)";
        let end = (1 << 20) + (4 << 20);
        let file = (libc::makedev(0xfe, 1), 4711);
        assert_eq!(mapping(line), Some(Mapping { range: "7f1a80000000-7f1a80400000", file, end }));
        for broken in ["", "1-2", "1-2 r 0 1 2", "x-y r 0 1:1 2", "2-1 r 0 1:1 2"] {
            assert_eq!(mapping(broken), None, "{broken}");
        }
    }
}
