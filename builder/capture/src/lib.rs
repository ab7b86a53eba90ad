//! What a build left, read as a tree: the border between what a payload wrote and everything that trusts a digest.
//!
//! Two steps. A [walk](root) lists the directory and refuses what a tree can't hold; then the files are read, each once,
//! into a [`Sink`], and the directories are encoded from the deepest up. Nothing here writes, and nothing keeps an inode
//! that the build had: the sink gets bytes.
//!
//! **What a caller may rely on.** Every process of the build must be dead before; this crate doesn't lean on it. Everything
//! is opened by `openat2` beneath one handle: no link is followed, no mount is entered, `..` leads nowhere, so no byte from
//! outside of the directory is read, whatever is moved about meanwhile. A file that changes while it is read is an error.
//! The digest depends on names, bytes, permission bits and link targets alone: not on the order of the directory, holes,
//! owners, times, hard links within, or on whether root reads it.
//!
//! ```text
//! refused, with the path                       because
//! socket, fifo, device                         a tree holds files, directories and links
//! setuid, setgid; sticky on a file             nothing that is installed gains rights by a build's word
//! extended attributes but `security.selinux`   they are not part of a tree, so they would be lost without a word
//! a mode that its owner can't read with        root could read it and others not: the result would depend on who asks
//! a name elsewhere (hard link)                 the bytes may be another's
//! a mount, a change while reading              it is not what the build left
//! names, targets, depth, counts, bytes         see `names` and [`IngestRules`]
//! ```
//! Sticky directories (`/tmp`) and names that differ in case alone are ordinary in packages and kept.

mod error;
mod meta;
mod names;
mod parallel;
mod root;
mod rules;
mod take;

pub use error::{Error, Result};
pub use parallel::in_parallel;
pub use rules::IngestRules;
pub use take::{Sink, capture, capture_split, digest_dir};
