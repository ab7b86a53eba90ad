//! What two builds of a library say of types, by `abidiff`, in a sandbox over a pinned tree of its own.
//!
//! ```text
//! /before, /after     each the outputs `out`, `dev` and `debug` of the library as one tree
//! abidiff --leaf-changes-only ... /before/usr/lib/libz.so.1.2.11 /after/usr/lib/libz.so.1.2.13
//!     exit 0                                                              ──▶ no type changed
//!     exit 4, and all that changed is types that no header describes      ──▶ the library's own types changed
//!     anything else: a type of a header, a function, a limit              ──▶ it is not known to be compatible
//! ```
//! Whether a header describes a type is read off the headers: a name that is only ever declared, `struct internal_state *`,
//! is the library's own. `abidiff` could leave out what lies in other files, but it knows files by their names, and a header is
//! often installed under another one. Added names are nobody's: nothing that was linked before asks for them.

mod leaf;

use crate::{BuildRoot, Builder, Error, Progress, Result, error::io, realise::Both};
use anneal_content::{BlobDigest, BlobSource as _, Entry, EntryKind, OutputName, TreeDigest, TreePath, list};
use anneal_fetch::BuildRootLock;
use anneal_interface::{build_id, has_debug_information};
use anneal_sandbox::{Ended, Kind, Limits, Mount, MountSource, Spec};
use std::{collections::BTreeMap, io::Read as _, path::Path, time::Duration};

/// The packages of the tree that it runs in.
const LOCK: &str = include_str!("../../vendor/abi-tools.lock");
const ARGUMENTS: [&str; 4] = ["/usr/bin/abidiff", "--fail-no-debug-info", "--leaf-changes-only", "--no-added-syms"];
/// How it ends where something changed, and nothing that is incompatible for certain.
const CHANGED: i32 = 4;
const WALL: Duration = Duration::from_secs(5 * 60);
const MEMORY_BYTES: u64 = 2 << 30;
const REPORT_BYTES: u64 = 4 << 20;
const SCRATCH_BYTES: u64 = 256 << 20;
/// The largest file that is looked at for a build id.
const LIBRARY_BYTES_MAX: u64 = 256 << 20;
const INCLUDE: &str = "usr/include/";
/// How much text of headers is read.
const HEADER_BYTES_MAX: usize = 64 << 20;
const DEBUG: &str = "usr/lib/debug";

/// A library in the outputs of its package.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    /// All outputs.
    pub(crate) outputs: &'a BTreeMap<OutputName, TreeDigest>,
    /// Where it lies.
    pub(crate) library: &'a TreePath,
}

/// What came of a comparison.
#[derive(Debug)]
pub(crate) struct Compared {
    /// What it printed.
    pub(crate) report: BlobDigest,
    /// Why it is not known to be compatible.
    pub(crate) obstacle: Option<String>,
}

/// The tree that it runs in, put together when it is first needed.
pub(crate) fn tools(roots: &Path) -> Result<BuildRoot> {
    let wrong = |source| Error::BuildRoot { lock: BlobDigest::of(LOCK.as_bytes()), source: Box::new(source) };
    BuildRoot::new(BuildRootLock::parse(LOCK).map_err(wrong)?, roots)
}

impl Builder {
    /// Compares two builds of a library. The outer error says what is missing to do so.
    pub(crate) fn compare_abi(
        &self,
        before: Side<'_>,
        after: Side<'_>,
        on: &(dyn Fn(Progress) + Sync),
    ) -> Result<std::result::Result<Compared, String>> {
        for (side, when) in [(before, "before"), (after, "now")] {
            if let Err(why) = self.has_types(side)? {
                return Ok(Err(format!("{} as it is {when} {why}", side.library.file_name())));
            }
        }
        if let Err(error) = self.abi_tools.ensure(self, on) {
            return match error.is_of_the_machine() {
                true => Err(error),
                false => Ok(Err(format!("abidiff could not be fetched: {error}"))),
            };
        }
        let spec = self.abi_spec(before, after)?;
        let (mut log, mut text) = (self.store.writer()?, Vec::new());
        let begin = format!("$ {}\n", spec.argv.join(" "));
        std::io::Write::write_all(&mut log, begin.as_bytes()).map_err(io("write", "the report of abidiff"))?;
        let outcome = anneal_sandbox::run(&spec, &mut Both(&mut log, &mut text), &self.cancel)?;
        let (report, _) = log.commit()?;
        let text = String::from_utf8_lossy(&text);
        let obstacle = match outcome.ended {
            Ended::Cancelled => return Err(Error::Stopped),
            Ended::Exited(0 | CHANGED) => leaf::obstacle(&text, &self.headers(before)?, &self.headers(after)?),
            ended => Some(format!("abidiff ended otherwise than with a comparison that may be compatible: {ended}")),
        };
        Ok(Ok(Compared { report, obstacle }))
    }

    fn abi_spec(&self, before: Side<'_>, after: Side<'_>) -> Result<Spec> {
        let mut argv: Vec<String> = ARGUMENTS.iter().map(|one| (*one).to_owned()).collect();
        let mut mounts =
            vec![Mount { at: "/tmp".into(), source: MountSource::Scratch { bytes: SCRATCH_BYTES, inodes: 1 << 12 } }];
        let mut libraries = Vec::new();
        for (number, side, at) in [(1, before, "/before"), (2, after, "/after")] {
            let mut trees = Vec::new();
            for name in [OutputName::out(), OutputName::dev(), debug_output()?] {
                let Some(tree) = side.outputs.get(&name) else { continue };
                trees.push(self.materialized(tree)?);
            }
            mounts.push(Mount { at: at.into(), source: MountSource::Trees(trees) });
            argv.extend([format!("--debug-info-dir{number}"), format!("{at}/{DEBUG}")]);
            libraries.push(format!("{at}/{}", side.library));
        }
        argv.extend(libraries);
        Ok(Spec {
            root: vec![self.abi_tools.dir()?],
            mounts,
            argv,
            env: [("LC_ALL".to_owned(), "C".to_owned()), ("HOME".to_owned(), "/tmp".to_owned())].into(),
            limits: Limits {
                wall: WALL,
                silence: WALL,
                memory_bytes: MEMORY_BYTES,
                log_bytes: REPORT_BYTES,
                ..Limits::default()
            },
            ..Spec::of(Kind::Test)
        })
    }

    /// Whether a library's types are in the debug output, found by its build id.
    fn has_types(&self, side: Side<'_>) -> Result<std::result::Result<(), String>> {
        let Some(debug) = side.outputs.get(&debug_output()?) else { return Ok(Err("has no debug output".to_owned())) };
        let mut library = None;
        for tree in side.outputs.values() {
            library = library.or(file_at(&list(tree, &self.store)?, side.library.as_str()));
        }
        let Some(library) = library else { return Ok(Err("is not in its package".to_owned())) };
        let id = match build_id(&self.head(&library)?) {
            Ok(Some(id)) if id.len() > 2 => id,
            Ok(_) => return Ok(Err("has no build id".to_owned())),
            Err(why) => return Ok(Err(why)),
        };
        let (first, rest) = id.split_at(2);
        let path = format!("{DEBUG}/.build-id/{first}/{rest}.debug");
        let Some(types) = file_at(&list(debug, &self.store)?, &path) else {
            return Ok(Err(format!("has no {path} in its debug output")));
        };
        Ok(match has_debug_information(&self.head(&types)?) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("has no debug information in {path}")),
            Err(why) => Err(why),
        })
    }

    /// The text of every header.
    fn headers(&self, side: Side<'_>) -> Result<String> {
        let mut text = String::new();
        for name in [OutputName::out(), OutputName::dev()] {
            let Some(tree) = side.outputs.get(&name) else { continue };
            for entry in list(tree, &self.store)? {
                if let EntryKind::File { digest, .. } = entry.kind
                    && entry.path.as_str().starts_with(INCLUDE)
                {
                    text.push_str(&String::from_utf8_lossy(&self.head(&digest)?));
                    text.push('\n');
                }
                if text.len() > HEADER_BYTES_MAX {
                    return Err(Error::Missing { what: format!("an end of the headers beside {}", side.library) });
                }
            }
        }
        Ok(text)
    }

    fn head(&self, digest: &BlobDigest) -> Result<Vec<u8>> {
        let damaged = |source| anneal_content::Error::Read { digest: *digest, source };
        let mut bytes = Vec::new();
        let reader = self.store.open(digest).map_err(damaged)?;
        let read = reader.take(LIBRARY_BYTES_MAX).read_to_end(&mut bytes);
        read.map_err(|source| damaged(anneal_content::ReadError::Io { digest: *digest, source }))?;
        Ok(bytes)
    }
}

/// The output that has debug information.
pub(crate) fn debug_output() -> Result<OutputName> {
    Ok(OutputName::new("debug")?)
}

fn file_at(entries: &[Entry], path: &str) -> Option<BlobDigest> {
    entries.iter().find(|entry| entry.path.as_str() == path).and_then(|entry| match entry.kind {
        EntryKind::File { digest, .. } => Some(digest),
        _ => None,
    })
}
