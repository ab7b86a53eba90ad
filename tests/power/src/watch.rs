//! A process whose system calls on one directory are seen, counted, and stopped, refused or cut short at the nth.
//!
//! By `ptrace`, over all threads of the process, and not by a file system of our own (FUSE), which was the other way:
//! a FUSE server is never told of `syncfs`, which the store's batches end in; it needs a second file system's worth of
//! code, whose inodes, links and times are not quite those of a real one; and the store stands on a real file system here.
//! What is seen is everything that crosses into the kernel, the database engine's own calls included. A shared writable
//! mapping or an `io_uring` would not be seen, so the watch ends at once where the process makes one.
//!
//! ```text
//!            entry of the call             exit of the call
//! Kill       not made; the process ends
//! Torn       with half of the bytes        the process ends
//! Short      with half of the bytes
//! Refuse     not made                      -EIO or -ENOSPC is the answer
//! Full       as Refuse with ENOSPC, for every call from the nth on that could need room
//! ```

use nix::{
    libc,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// What a system call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Writes bytes.
    Write,
    /// Syncs a file, a directory, or (with the root as its path) everything.
    Sync,
    /// Gives a file another name.
    Rename,
    /// Makes a file, a directory or a link, or opens a file that may have to be made.
    Make,
    /// Removes a name.
    Remove,
    /// Makes a file longer or shorter, or takes room for it.
    Resize,
    /// Changes mode or times.
    Change,
}

/// What is done to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process ends before it.
    Kill,
    /// Half of a write is done, and the process ends.
    Torn,
    /// Half of a write is done, and that is what the process is told.
    Short,
    /// It fails with EIO.
    Eio,
    /// It fails with ENOSPC.
    Nospace,
    /// It and all that follow and need room fail with ENOSPC.
    Full,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Kill, Self::Torn, Self::Short, Self::Eio, Self::Nospace, Self::Full];

    /// Whether it can happen to a call: only a write of more than a byte can be cut, and to remove needs no room.
    pub fn can_meet(self, effect: &Effect) -> bool {
        match self {
            Self::Kill | Self::Eio => true,
            Self::Torn | Self::Short => effect.verb == Verb::Write && effect.bytes > 1,
            Self::Nospace | Self::Full => !matches!(effect.verb, Verb::Remove | Verb::Change),
        }
    }
}

/// One system call on the watched directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// What it does.
    pub verb: Verb,
    /// To what, beneath the root.
    pub path: PathBuf,
    /// How many bytes it writes.
    pub bytes: u64,
    /// Which thread does it, in the order in which they were seen; 0 is the first, which is the one that tells.
    pub thread: usize,
}

/// What was seen, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A call; whether the fault met it.
    Did(Effect, bool),
    /// A line that the process wrote.
    Said(String),
}

/// How it went.
#[derive(Debug)]
pub struct Watched {
    /// Calls and lines.
    pub happenings: Vec<Happening>,
    /// Whether there was an nth call to meet.
    pub is_struck: bool,
    /// How many of them there were when the process was ended. While a write is torn other threads go on.
    pub until_end: usize,
}

/// What waits for a thread at the end of the call that it is in.
#[derive(Debug, Clone, Copy)]
enum AtExit {
    Answer(i64),
    /// The third argument as it was, and whether the process ends here.
    Restore(u64, bool),
}

struct Watch {
    leader: Pid,
    process: PathBuf,
    root: PathBuf,
    fault: Option<(Fault, usize)>,
    /// Calls so far that the fault can meet.
    met: usize,
    /// Since when everything is refused.
    is_full: bool,
    waiting: HashMap<Pid, AtExit>,
    threads: Vec<Pid>,
    seen: Watched,
}

/// Keeps this thread, and so what it starts and watches, on one processor: at each call one of both waits for the other,
/// and to wake somebody on another processor takes longer than most calls.
pub fn stay_on_one_processor(number: usize) {
    let this = Pid::from_raw(0);
    let Ok(allowed) = sched_getaffinity(this) else { return };
    let allowed: Vec<usize> = (0..CpuSet::count()).filter(|at| allowed.is_set(*at) == Ok(true)).collect();
    let mut one = CpuSet::new();
    if let Some(processor) = allowed.get(number % allowed.len().max(1))
        && one.set(*processor).is_ok()
    {
        // slower otherwise, and no worse
        let _ = sched_setaffinity(this, &one);
    }
}

/// Runs a command, which waits for a line of input before it begins, and lets `fault` meet the nth call (from 0) that it
/// can meet. Ends when the process has.
pub fn watch(mut command: Command, root: &Path, fault: Option<(Fault, usize)>) -> io::Result<Watched> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let outcome = watch_child(&mut child, root, fault);
    // it has ended already, unless something went wrong here
    let _ = child.kill();
    let _ = child.wait();
    outcome
}

fn watch_child(child: &mut Child, root: &Path, fault: Option<(Fault, usize)>) -> io::Result<Watched> {
    let mut stdout = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
    let mut ready = String::new();
    stdout.read_line(&mut ready)?;
    let leader = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    ptrace::seize(leader, options)?;
    ptrace::interrupt(leader)?;
    let mut watch = Watch {
        leader,
        process: PathBuf::from(format!("/proc/{leader}")),
        root: root.to_owned(),
        fault,
        met: 0,
        is_full: false,
        waiting: HashMap::new(),
        threads: vec![leader],
        seen: Watched { happenings: Vec::new(), is_struck: false, until_end: 0 },
    };
    writeln!(child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?, "go")?;
    watch.run()?;
    Ok(watch.seen)
}

impl Watch {
    fn run(&mut self) -> io::Result<()> {
        loop {
            // those of other threads of this program are not ours to wait for
            let status = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD))?;
            let (thread, signal) = match status {
                WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..) if thread == self.leader => {
                    return Ok(());
                }
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
                WaitStatus::PtraceSyscall(thread) => {
                    self.at_call(thread)?;
                    (thread, None)
                }
                WaitStatus::Stopped(thread, Signal::SIGTRAP | Signal::SIGSTOP) => (thread, None),
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                WaitStatus::PtraceEvent(thread, ..) => (thread, None),
                _ => continue,
            };
            // a thread that was killed meanwhile says so at the next wait
            let _ = ptrace::syscall(thread, signal);
        }
    }

    fn at_call(&mut self, thread: Pid) -> io::Result<()> {
        let Ok(info) = ptrace::syscall_info(thread) else { return Ok(()) };
        match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => self.at_entry(thread),
            libc::PTRACE_SYSCALL_INFO_EXIT => match self.waiting.remove(&thread) {
                Some(AtExit::Answer(answer)) => set(thread, |registers| registers.rax = answer.cast_unsigned()),
                Some(AtExit::Restore(argument, ends)) => {
                    set(thread, |registers| registers.rdx = argument)?;
                    if ends { self.end() } else { Ok(()) }
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn at_entry(&mut self, thread: Pid) -> io::Result<()> {
        let Ok(registers) = ptrace::getregs(thread) else { return Ok(()) };
        if let Some(line) = self.said(&registers) {
            self.seen.happenings.push(Happening::Said(line));
            return Ok(());
        }
        let Some(mut effect) = self.effect(&registers)? else { return Ok(()) };
        effect.thread = self.number(thread);
        let is_met = self.meet(thread, &effect, registers.rdx)?;
        self.seen.happenings.push(Happening::Did(effect, is_met));
        Ok(())
    }

    fn number(&mut self, thread: Pid) -> usize {
        let known = self.threads.iter().position(|known| *known == thread);
        known.unwrap_or_else(|| {
            self.threads.push(thread);
            self.threads.len() - 1
        })
    }

    /// Does to a call what is to be done to it.
    fn meet(&mut self, thread: Pid, effect: &Effect, count: u64) -> io::Result<bool> {
        let Some((fault, nth)) = self.fault.filter(|(fault, _)| fault.can_meet(effect)) else { return Ok(false) };
        let is_nth = self.met == nth;
        self.met += 1;
        if !is_nth && !self.is_full {
            return Ok(false);
        }
        self.seen.is_struck = true;
        let errno = match fault {
            Fault::Kill => {
                set(thread, |registers| registers.orig_rax = u64::MAX)?;
                return self.end().map(|()| true);
            }
            Fault::Torn | Fault::Short => {
                set(thread, |registers| registers.rdx = count / 2)?;
                self.waiting.insert(thread, AtExit::Restore(count, fault == Fault::Torn));
                return Ok(true);
            }
            Fault::Eio => libc::EIO,
            Fault::Nospace => libc::ENOSPC,
            Fault::Full => {
                self.is_full = true;
                libc::ENOSPC
            }
        };
        set(thread, |registers| registers.orig_rax = u64::MAX)?;
        self.waiting.insert(thread, AtExit::Answer(-i64::from(errno)));
        Ok(true)
    }

    fn end(&mut self) -> io::Result<()> {
        self.seen.until_end = self.seen.happenings.len();
        Ok(kill(self.leader, Signal::SIGKILL)?)
    }

    /// A line on the process's standard output.
    fn said(&self, registers: &libc::user_regs_struct) -> Option<String> {
        let is_line = registers.orig_rax.cast_signed() == libc::SYS_write && registers.rdi == 1;
        is_line.then(|| self.text(registers.rsi, registers.rdx.min(4096)).trim_end().to_owned())
    }

    /// What a call does to the root, if it does anything.
    fn effect(&self, call: &libc::user_regs_struct) -> io::Result<Option<Effect>> {
        let (mut bytes, number) = (0, call.orig_rax.cast_signed());
        let (verb, path) = match number {
            libc::SYS_write | libc::SYS_pwrite64 => {
                bytes = call.rdx;
                (Verb::Write, self.of_handle(call.rdi))
            }
            libc::SYS_writev | libc::SYS_pwritev | libc::SYS_pwritev2 => (Verb::Write, self.of_handle(call.rdi)),
            libc::SYS_copy_file_range => (Verb::Write, self.of_handle(call.rdx)),
            // `sync_file_range` promises nothing, and the engine relies on it for nothing
            libc::SYS_fsync | libc::SYS_fdatasync => (Verb::Sync, self.of_handle(call.rdi)),
            libc::SYS_syncfs | libc::SYS_sync => (Verb::Sync, self.root.clone()),
            libc::SYS_rename => (Verb::Rename, self.path(call.rsi)),
            libc::SYS_renameat | libc::SYS_renameat2 => (Verb::Rename, self.path_at(call.rdx, call.r10)),
            libc::SYS_open if may_make(call.rsi) => (Verb::Make, self.path(call.rdi)),
            libc::SYS_openat if may_make(call.rdx) => (Verb::Make, self.path_at(call.rdi, call.rsi)),
            libc::SYS_creat | libc::SYS_mkdir => (Verb::Make, self.path(call.rdi)),
            libc::SYS_mkdirat => (Verb::Make, self.path_at(call.rdi, call.rsi)),
            libc::SYS_link | libc::SYS_symlink => (Verb::Make, self.path(call.rsi)),
            libc::SYS_symlinkat => (Verb::Make, self.path_at(call.rsi, call.rdx)),
            libc::SYS_linkat => (Verb::Make, self.path_at(call.rdx, call.r10)),
            libc::SYS_unlink | libc::SYS_rmdir => (Verb::Remove, self.path(call.rdi)),
            libc::SYS_unlinkat => (Verb::Remove, self.path_at(call.rdi, call.rsi)),
            libc::SYS_truncate => (Verb::Resize, self.path(call.rdi)),
            libc::SYS_ftruncate | libc::SYS_fallocate => (Verb::Resize, self.of_handle(call.rdi)),
            libc::SYS_fchmod => (Verb::Change, self.of_handle(call.rdi)),
            libc::SYS_chmod => (Verb::Change, self.path(call.rdi)),
            libc::SYS_fchmodat => (Verb::Change, self.path_at(call.rdi, call.rsi)),
            libc::SYS_utimensat if call.rsi == 0 => (Verb::Change, self.of_handle(call.rdi)),
            libc::SYS_utimensat => (Verb::Change, self.path_at(call.rdi, call.rsi)),
            libc::SYS_mmap if is_shared_and_writable(call) => {
                let path = self.of_handle(call.r8);
                assert!(!path.starts_with(&self.root), "{} is mapped for writing, which is not seen", path.display());
                return Ok(None);
            }
            libc::SYS_io_uring_setup => return Err(io::Error::other("the process uses io_uring, which is not seen")),
            _ => return Ok(None),
        };
        let Ok(beneath) = path.strip_prefix(&self.root) else { return Ok(None) };
        Ok(Some(Effect { verb, path: beneath.to_owned(), bytes, thread: 0 }))
    }

    fn of_handle(&self, handle: u64) -> PathBuf {
        let path = fs::read_link(self.process.join(format!("fd/{handle}"))).unwrap_or_default();
        // a file that has lost its name, or got it back by a rename, is still the same place
        path.to_str().and_then(|text| text.strip_suffix(" (deleted)")).map(PathBuf::from).unwrap_or(path)
    }

    fn path(&self, address: u64) -> PathBuf {
        PathBuf::from(self.text(address, 4096))
    }

    fn path_at(&self, directory: u64, address: u64) -> PathBuf {
        let path = self.path(address);
        if path.is_absolute() { path } else { self.of_handle(u64::from(directory as u32)).join(path) }
    }

    fn text(&self, address: u64, len: u64) -> String {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let count = File::open(self.process.join("mem")).and_then(|memory| memory.read_at(&mut bytes, address));
        let text = bytes[..count.unwrap_or(0)].split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

fn may_make(flags: u64) -> bool {
    flags & u64::from((libc::O_CREAT | libc::O_TRUNC).cast_unsigned()) != 0
}

fn is_shared_and_writable(call: &libc::user_regs_struct) -> bool {
    let (protection, flags) = (call.rdx as i32, call.r10 as i32);
    let is_shared = matches!(flags & libc::MAP_TYPE, libc::MAP_SHARED | libc::MAP_SHARED_VALIDATE);
    is_shared && protection & libc::PROT_WRITE != 0 && flags & libc::MAP_ANONYMOUS == 0
}

fn set(thread: Pid, change: impl FnOnce(&mut libc::user_regs_struct)) -> io::Result<()> {
    let mut registers = ptrace::getregs(thread)?;
    change(&mut registers);
    Ok(ptrace::setregs(thread, registers)?)
}
