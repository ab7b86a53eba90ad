//! Where every mount of a spec goes and where its mount point comes from.
//!
//! A read-only tree can't be given a directory to mount on. So each read-only tree that has mounts beneath it
//! gets one more layer at the bottom, a directory on the base with just those mount points: where the tree has
//! the directory itself, its own is seen.

use std::path::Path;

use anneal_sandbox_op::{Handle, Op};

use crate::{Error, MountSource, Result, Spec, Staging};

/// How much can be written to a root that is writable.
const WRITABLE_ROOT_BYTES: u64 = 512 << 20;
const WRITABLE_ROOT_INODES: u64 = 64 << 10;
/// Where the base keeps what is written to such a root.
const UPPER: &str = "upper";
/// Where it keeps trees that are to be copied.
const COPIES: &str = "copies";
/// Mount points that every sandbox has.
const ALWAYS: &[&str] = &["/dev", "/proc"];
/// Where programs expect anyone to be able to write.
const TEMPORARY: &[&str] = &["/tmp", "/var/tmp"];
/// The kernel stacks no more layers than this, ours included.
pub(crate) const MAX_LAYERS: usize = 499;

/// One mount, checked.
#[derive(Debug)]
struct Placed {
    /// The field of the spec.
    field: String,
    at: String,
    content: Content,
    /// Names in it that something else is mounted on, each with whether that is a file.
    points: Vec<(String, bool)>,
}

#[derive(Debug)]
enum Content {
    Trees(Vec<String>),
    File(String),
    Scratch { bytes: u64, inodes: u64 },
    Output(String),
}

/// All mounts of a spec, parents before what is mounted in them; the first is the root.
#[derive(Debug)]
pub(crate) struct Layout {
    mounts: Vec<Placed>,
    writable_root: bool,
    staging: Staging,
}

/// A path as text; the operations are JSON.
pub(crate) fn text<'a>(field: &str, path: &'a Path) -> Result<&'a str> {
    path.to_str().ok_or_else(|| Error::Spec {
        field: field.to_owned(),
        found: path.display().to_string(),
        expected: "a path in UTF-8",
    })
}

impl Layout {
    /// Sorts the mounts and finds out which one holds the mount point of each.
    pub(crate) fn of(spec: &Spec) -> Result<Self> {
        let mut mounts = vec![Placed {
            field: "root".to_owned(),
            at: "/".to_owned(),
            content: Content::Trees(trees("root", &spec.root)?),
            points: ALWAYS.iter().map(|name| (name.trim_start_matches('/').to_owned(), false)).collect(),
        }];
        for (index, mount) in spec.mounts.iter().enumerate() {
            let field = format!("mounts[{index}].source");
            let content = match &mount.source {
                MountSource::Trees(paths) => Content::Trees(trees(&field, paths)?),
                MountSource::File(path) => Content::File(text(&field, path)?.to_owned()),
                MountSource::Scratch { bytes, inodes } => Content::Scratch { bytes: *bytes, inodes: *inodes },
                MountSource::Output(path) => Content::Output(text(&field, path)?.to_owned()),
            };
            let field = format!("mounts[{index}].at");
            let at = text(&field, &mount.at)?.to_owned();
            mounts.push(Placed { field, at, content, points: Vec::new() });
        }
        mounts.sort_by(|a, b| a.at.split('/').cmp(b.at.split('/')));
        for index in 1..mounts.len() {
            let (before, from) = mounts.split_at_mut(index);
            let Some(mount) = from.first() else { continue };
            let holder =
                before.iter_mut().rev().find_map(|other| beneath(&mount.at, &other.at).map(|rest| (other, rest)));
            if let Some((holder, rest)) = holder {
                if matches!(holder.content, Content::File(_) | Content::Output(_)) {
                    return Err(Error::Spec {
                        field: mount.field.clone(),
                        found: mount.at.clone(),
                        expected: "a place that is not beneath a file or an output",
                    });
                }
                holder.points.push((rest.to_owned(), matches!(mount.content, Content::File(_))));
            }
        }
        Ok(Self { mounts, writable_root: spec.writable_root, staging: spec.staging })
    }

    /// Takes a handle of every host path.
    pub(crate) fn opens(&self) -> Vec<Op> {
        let mut ops: Vec<Op> = Vec::new();
        for mount in &self.mounts {
            let (paths, handle) = match &mount.content {
                Content::Trees(paths) => (paths.as_slice(), Handle::Directory),
                Content::File(path) => (std::slice::from_ref(path), Handle::File),
                Content::Output(path) => (std::slice::from_ref(path), Handle::Directory),
                Content::Scratch { .. } => (&[][..], Handle::Directory),
            };
            for path in paths {
                let op = Op::Open { path: path.clone(), handle };
                if !ops.contains(&op) {
                    ops.push(op);
                }
            }
        }
        ops
    }

    /// Makes `/`.
    pub(crate) fn root(&self) -> Vec<Op> {
        let mut ops = Vec::new();
        // A copy is a file system of this run's own, which can be written as it is.
        let upper = self.writable_root && self.staging == Staging::InPlace;
        if upper {
            ops.push(Op::Directory { at: UPPER.to_owned(), mode: 0o755 });
            let (bytes, inodes) = (WRITABLE_ROOT_BYTES, WRITABLE_ROOT_INODES);
            ops.push(Op::Tmpfs { at: UPPER.to_owned(), bytes, inodes, mode: 0o755 });
            for name in ["upper", "work"] {
                ops.push(Op::Directory { at: format!("{UPPER}/{name}"), mode: 0o755 });
            }
        }
        if let Some(root) = self.mounts.first() {
            ops.extend(self.place(0, root, upper.then(|| UPPER.to_owned())));
        }
        ops
    }

    /// Makes everything beneath `/`.
    pub(crate) fn mounts(&self) -> Vec<Op> {
        self.mounts.iter().enumerate().skip(1).flat_map(|(index, mount)| self.place(index, mount, None)).collect()
    }

    /// Mounts one thing: where it belongs, or beside it first where it is to be copied.
    fn place(&self, index: usize, mount: &Placed, upper: Option<String>) -> Vec<Op> {
        let (Staging::Copied { bytes, inodes, reversed }, Content::Trees(_)) = (self.staging, &mount.content) else {
            return place(index, &mount.at, mount, upper);
        };
        let from = format!("{COPIES}/{index}");
        let writable = self.writable_root && index == 0;
        let mut ops = vec![Op::Directory { at: from.clone(), mode: 0o755 }];
        ops.extend(place(index, &from, mount, upper));
        ops.push(Op::Copy { from, at: mount.at.clone(), bytes, inodes, reversed, writable });
        ops
    }
}

/// The rest of a path after the place it is beneath.
fn beneath<'a>(path: &'a str, place: &str) -> Option<&'a str> {
    if place == "/" { path.strip_prefix('/') } else { path.strip_prefix(place)?.strip_prefix('/') }
}

/// Paths as text, without repeats: the kernel refuses the same layer twice.
fn trees(field: &str, paths: &[std::path::PathBuf]) -> Result<Vec<String>> {
    let mut trees: Vec<String> = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let path = text(&format!("{field}[{index}]"), path)?.to_owned();
        if !trees.contains(&path) {
            trees.push(path);
        }
    }
    if trees.len() > MAX_LAYERS {
        return Err(Error::Spec {
            field: field.to_owned(),
            found: format!("{} directories", trees.len()),
            expected: "at most 499 directories",
        });
    }
    Ok(trees)
}

/// Mounts one thing and makes the mount points in it.
fn place(index: usize, at: &str, mount: &Placed, upper: Option<String>) -> Vec<Op> {
    let at = at.to_owned();
    let bind = |from: &String, writable| Op::Bind {
        from: from.clone(),
        at: at.clone(),
        writable,
        devices: false,
        optional: false,
    };
    match &mount.content {
        Content::Trees(trees) => {
            let base = format!("points/{index}");
            let mut ops = vec![Op::Directory { at: base.clone(), mode: 0o755 }];
            ops.extend(points(&base, mount));
            // One tree is an overlay as well, with nothing but mount points under it: mounted as it is, its files would be
            // the host's own, with their locks, their watchers, and whoever listens at a socket among them.
            ops.push(match trees.as_slice() {
                // A single layer is no overlay; there is nothing but the mount points.
                [] if upper.is_none() && index > 0 => bind(&base, false),
                _ => Op::Overlay { at: at.clone(), lower: trees.clone(), points: Some(base), upper },
            });
            ops
        }
        Content::File(path) => vec![bind(path, false)],
        Content::Output(path) => vec![bind(path, true)],
        Content::Scratch { bytes, inodes } => {
            let mode = if TEMPORARY.contains(&at.as_str()) { 0o1777 } else { 0o755 };
            let mut ops = vec![Op::Tmpfs { at: at.clone(), bytes: *bytes, inodes: *inodes, mode }];
            ops.extend(points(&at, mount));
            ops
        }
    }
}

/// Makes mount points at a place.
fn points(place: &str, mount: &Placed) -> Vec<Op> {
    let mut ops = Vec::new();
    for (point, is_file) in &mount.points {
        let at = format!("{place}/{point}");
        if !is_file {
            ops.push(Op::Directory { at, mode: 0o755 });
            continue;
        }
        if let Some((parent, _)) = at.rsplit_once('/').filter(|(parent, _)| *parent != place) {
            ops.push(Op::Directory { at: parent.to_owned(), mode: 0o755 });
        }
        ops.push(Op::File { at, mode: 0o644, content: String::new() });
    }
    ops
}
