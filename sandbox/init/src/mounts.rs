//! The making of the root: every mount is made detached, attached by handle, and never found by a path that
//! something else could have changed.
//!
//! The base is a tmpfs on top of the host's root, where lookups that start at `/` do not see it; only its
//! handle reaches it. It holds the mount points that read-only trees lack, the files that mask parts of `/proc`,
//! and the new root itself until [`Op::Pivot`] leaves host and base behind.

mod api;
mod copy;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anneal_sandbox_op::{Handle, Op};

use crate::syscall::{self, Fault, open_beneath};
use crate::world::Handles;

use api::{Attributes, FileSystem};

/// How many terminals a sandbox may have: the machine has one table for all.
const TERMINALS_MAX: &str = "64";

/// The root while it is being made.
#[derive(Debug, Default)]
pub(crate) struct Root {
    handles: Handles,
    base: Option<OwnedFd>,
    root: Option<OwnedFd>,
    /// The directory that something was last made in or mounted on, since many things go to one after the other.
    near: Option<(String, OwnedFd)>,
    /// The process file system and where it is, for the many mounts over parts of it.
    proc: Option<(String, OwnedFd)>,
}

/// Where on the base the new root is attached.
const ROOT: &str = "root";

impl Root {
    /// Applies one operation that makes the root.
    pub(crate) fn apply(&mut self, op: &Op) -> Result<(), Fault> {
        match op {
            Op::PrivateMounts => api::private_mounts(),
            Op::Open { path, handle } => self.open(path, *handle),
            Op::Same { path, device, inode } => self.same(path, *device, *inode),
            Op::Base { bytes, inodes } => self.make_base(*bytes, *inodes),
            Op::Directory { at, mode } => self.directory(at, *mode),
            Op::File { at, mode, content } => self.file(at, *mode, content),
            Op::Symlink { at, to } => self.symlink(at, to),
            Op::Overlay { at, lower, points, upper } => self.overlay(at, lower, points.as_deref(), upper.as_deref()),
            Op::Tmpfs { at, bytes, inodes, mode } => {
                let mount = tmpfs(*bytes, *inodes, *mode)?;
                self.attach(mount.as_fd(), at)
            }
            Op::Copy { from, at, bytes, inodes, reversed, writable } => {
                let mount = tmpfs(*bytes, *inodes, 0o755)?;
                copy::tree(self.source(from)?.as_fd(), mount.as_fd(), *reversed)?;
                if !writable {
                    let attributes = Attributes { read_only: true, no_devices: true, no_exec: false };
                    api::set_attributes(mount.as_fd(), attributes)?;
                }
                self.attach_or_be_root(mount, at)
            }
            Op::Bind { from, at, writable, devices, optional } => self.bind(
                from,
                at,
                Attributes { read_only: !writable, no_devices: !devices, no_exec: false },
                *optional,
            ),
            Op::Move { from, at } => {
                let mount = self.find(from, libc::O_PATH)?;
                self.attach(mount.as_fd(), at)
            }
            Op::Proc { at } => {
                let mount =
                    FileSystem::open("proc")?.mount(Attributes { read_only: true, no_devices: true, no_exec: true })?;
                self.attach(mount.as_fd(), at)?;
                self.proc = Some((format!("{at}/"), mount));
                Ok(())
            }
            Op::Terminals { at } => {
                let mut terminals = FileSystem::open("devpts")?;
                terminals.text("ptmxmode", "0666")?;
                terminals.text("mode", "0620")?;
                terminals.text("max", TERMINALS_MAX)?;
                let mount = terminals.mount(Attributes { read_only: false, no_devices: false, no_exec: true })?;
                self.attach(mount.as_fd(), at)
            }
            Op::ReadOnly { at } => {
                let mount = self.find(at, libc::O_PATH)?;
                api::set_attributes(mount.as_fd(), Attributes { read_only: true, no_devices: false, no_exec: false })
            }
            Op::Pivot => self.pivot(),
            other => Err(Fault::check(format!("operation `{other}` is in the wrong place"))),
        }
    }

    fn open(&mut self, path: &str, handle: Handle) -> Result<(), Fault> {
        let file = syscall::open_host(path, libc::O_PATH).map_err(|fault| fault.about(path))?;
        let (wanted, name) = match handle {
            Handle::Directory => (libc::S_IFDIR, "a directory"),
            Handle::File => (libc::S_IFREG, "a regular file"),
            Handle::Device => (libc::S_IFCHR, "a character device"),
        };
        if api::kind(file.as_fd())? != wanted {
            return Err(Fault::check(format!("{path} is not {name}")));
        }
        self.handles.insert(path.to_owned(), file);
        Ok(())
    }

    fn same(&self, path: &str, device: u64, inode: u64) -> Result<(), Fault> {
        let handle = self.handles.get(path).ok_or_else(|| Fault::check(format!("{path} was not opened")))?;
        match api::identity(handle.as_fd(), c"")? == (device, inode) {
            true => Ok(()),
            false => Err(Fault::check(format!("{path} is something else here than where the launcher is"))),
        }
    }

    fn make_base(&mut self, bytes: u64, inodes: u64) -> Result<(), Fault> {
        let base = tmpfs(bytes, inodes, 0o755)?;
        api::attach_over_root(base.as_fd())?;
        self.base = Some(base);
        self.directory(ROOT, 0o755)
    }

    fn base(&self) -> Result<BorrowedFd<'_>, Fault> {
        self.base.as_ref().map(AsFd::as_fd).ok_or_else(|| Fault::check("there is no base yet"))
    }

    /// The directory handle a place is relative to, and the rest.
    fn place<'a>(&self, at: &'a str) -> Result<(BorrowedFd<'_>, &'a str), Fault> {
        match at.strip_prefix('/') {
            Some(rest) => {
                let root = self.root.as_ref().ok_or_else(|| Fault::check("there is no root yet"))?;
                Ok((root.as_fd(), rest))
            }
            None => Ok((self.base()?, at)),
        }
    }

    fn find(&self, at: &str, flags: i32) -> Result<OwnedFd, Fault> {
        let (dir, path) = self.place(at)?;
        open_beneath(dir, path, flags, 0)
    }

    /// The directory a place is in, and its name there.
    fn parent<'a>(&mut self, at: &'a str) -> Result<(BorrowedFd<'_>, &'a str), Fault> {
        let (path, name) = match at.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some(parts) => parts,
            None => ("", at),
        };
        if self.near.as_ref().is_none_or(|(near, _)| near != path) {
            let found = self.find(path, libc::O_PATH | libc::O_DIRECTORY)?;
            self.near = Some((path.to_owned(), found));
        }
        let near = self.near.as_ref().ok_or_else(|| Fault::check(format!("nothing leads to {at}")))?;
        Ok((near.1.as_fd(), name))
    }

    fn directory(&mut self, at: &str, mode: u32) -> Result<(), Fault> {
        let start = usize::from(at.starts_with('/'));
        for (end, _) in at.match_indices('/').filter(|(end, _)| *end >= start.max(1)) {
            let (parent, name) = self.parent(&at[..end])?;
            api::make_directory(parent, name, 0o755)?;
        }
        let (parent, name) = self.parent(at)?;
        api::make_directory(parent, name, mode)
    }

    fn file(&mut self, at: &str, mode: u32, content: &str) -> Result<(), Fault> {
        use std::io::Write;
        let (dir, name) = self.parent(at)?;
        let file = open_beneath(dir, name, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, mode)?;
        std::fs::File::from(file).write_all(content.as_bytes()).map_err(|e| Fault::io("write", &e))
    }

    fn symlink(&mut self, at: &str, to: &str) -> Result<(), Fault> {
        let (parent, name) = self.parent(at)?;
        api::make_symlink(parent, name, to)
    }

    /// A handle of something to mount: an opened host path or a place on the base.
    fn source(&mut self, from: &str) -> Result<BorrowedFd<'_>, Fault> {
        if !from.starts_with('/') && !self.handles.contains_key(from) {
            let place = self.find(from, libc::O_PATH)?;
            self.handles.insert(from.to_owned(), place);
        }
        self.handles.get(from).map(AsFd::as_fd).ok_or_else(|| Fault::check(format!("{from} was not opened")))
    }

    fn bind(&mut self, from: &str, at: &str, attributes: Attributes, optional: bool) -> Result<(), Fault> {
        // A copy that ends up nowhere would make the kernel wait for all processors when it is let go.
        if optional && !self.is_there(at)? {
            return Ok(());
        }
        let copy = api::copy_mount(self.source(from)?)?;
        api::set_attributes(copy.as_fd(), attributes)?;
        match self.in_proc(at) {
            Some((proc, name)) => api::attach_in(copy.as_fd(), proc, name),
            None => self.attach(copy.as_fd(), at),
        }
    }

    fn is_there(&self, at: &str) -> Result<bool, Fault> {
        let found = match self.in_proc(at) {
            Some((proc, name)) => api::find(proc, name),
            None => self.find(at, libc::O_PATH).map(drop),
        };
        match found {
            Err(fault) if fault.errno() == libc::ENOENT => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// The process file system, and the name of a place in it. The kernel alone decides what is there, so a name needs
    /// no search that distrusts it.
    fn in_proc<'a>(&self, at: &'a str) -> Option<(BorrowedFd<'_>, &'a str)> {
        let (place, mount) = self.proc.as_ref()?;
        at.strip_prefix(place.as_str()).map(|name| (mount.as_fd(), name))
    }

    fn attach(&mut self, mount: BorrowedFd<'_>, at: &str) -> Result<(), Fault> {
        let target = self.find(at, libc::O_PATH)?;
        // What leads there may lead elsewhere from now on.
        self.near = None;
        api::attach(mount, target.as_fd())
    }

    fn attach_or_be_root(&mut self, mount: OwnedFd, at: &str) -> Result<(), Fault> {
        if at != "/" {
            return self.attach(mount.as_fd(), at);
        }
        self.attach(mount.as_fd(), ROOT)?;
        self.root = Some(mount);
        Ok(())
    }

    fn overlay(&mut self, at: &str, lower: &[String], points: Option<&str>, upper: Option<&str>) -> Result<(), Fault> {
        let mut own = |path: &str| self.source(path)?.try_clone_to_owned().map_err(|e| Fault::io("dup", &e));
        let layers =
            lower.iter().map(String::as_str).chain(points).map(&mut own).collect::<Result<Vec<OwnedFd>, Fault>>()?;
        let upper = match upper {
            Some(path) => Some((own(&format!("{path}/upper"))?, own(&format!("{path}/work"))?)),
            None => None,
        };
        let is_root = at == "/";
        let target = if is_root { self.find(ROOT, libc::O_PATH)? } else { self.find(at, libc::O_PATH)? };
        self.near = None;
        let mount = match api::overlay(&layers, upper.as_ref())? {
            Some(mount) => {
                api::attach(mount.as_fd(), target.as_fd())?;
                mount
            }
            // Before 6.7 the layers go into one page of options, and the mount is made in place.
            None => {
                api::overlay_in_place(&layers, upper.as_ref(), target.as_fd())?;
                if is_root { self.find(ROOT, libc::O_PATH)? } else { self.find(at, libc::O_PATH)? }
            }
        };
        if is_root {
            self.root = Some(mount);
        }
        Ok(())
    }

    fn pivot(&mut self) -> Result<(), Fault> {
        let root = self.root.take().ok_or_else(|| Fault::check("there is no root yet"))?;
        api::pivot(root.as_fd())?;
        self.base = None;
        self.near = None;
        self.proc = None;
        self.handles.clear();
        Ok(())
    }
}

fn tmpfs(bytes: u64, inodes: u64, mode: u32) -> Result<OwnedFd, Fault> {
    let mut tmpfs = FileSystem::open("tmpfs")?;
    tmpfs.text("size", &bytes.to_string())?;
    tmpfs.text("nr_inodes", &inodes.to_string())?;
    tmpfs.text("mode", &format!("{mode:o}"))?;
    tmpfs.mount(Attributes { read_only: false, no_devices: true, no_exec: false })
}

/// A path that leads to whatever a handle refers to.
fn handle_path(handle: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}
