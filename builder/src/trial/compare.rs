//! What differs between two results of one action: which files, and which of their bytes.

use super::{cause::Changes, diffoscope::Described};
use crate::Result;
use anneal_content::{BlobDigest, BlobSource, Entry, EntryKind, OutputName, TreeDigest, TreePath, list};
use anneal_store::Store;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where two results differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The run as a whole.
    Run,
    /// A path of an output.
    At(OutputName, TreePath),
}

/// Every path of a result.
pub(super) type Files = BTreeMap<Place, Entry>;

/// In what one path differs. Two that are equal say that both runs gave the same otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "differs")]
pub enum Change {
    /// The run failed, so there is nothing to compare.
    Failed {
        /// How it ended, with the last lines of its log.
        ended: String,
    },
    /// It is not there any more.
    Gone,
    /// It was not there before.
    New,
    /// It is of another kind.
    Kind {
        /// Before.
        was: String,
        /// Now.
        is: String,
    },
    /// Its permission bits, octal.
    Mode {
        /// Before.
        was: String,
        /// Now.
        is: String,
    },
    /// What a link points to.
    Target {
        /// Before.
        was: String,
        /// Now.
        is: String,
    },
    /// Its bytes.
    Content {
        /// The blob before.
        was: BlobDigest,
        /// The blob now.
        is: BlobDigest,
        /// How large it was.
        was_size: u64,
        /// How large it is.
        is_size: u64,
    },
}

/// A path that differs, with the first bytes that do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceChange {
    /// Where.
    pub place: Place,
    /// In what.
    #[serde(flatten)]
    pub change: Change,
    /// Where bytes differ, the first few places of it; of files of different lengths the first alone, since after an
    /// insertion everything does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<ChangedBytes>,
    /// What `diffoscope` makes of it, of the first few files and where this host has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub described: Option<Described>,
}

/// Bytes that differ, with what stands around them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedBytes {
    /// The first byte that differs.
    pub offset: u64,
    /// Where what is shown begins.
    pub from: u64,
    /// Before, as hexadecimal.
    pub was: String,
    /// Now, as hexadecimal.
    pub is: String,
}

impl ChangedBytes {
    /// The bytes before and now.
    pub fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        (unhex(&self.was), unhex(&self.is))
    }
}

/// Files beyond this size are compared by their digests alone.
const COMPARED_BYTES_MAX: u64 = 64 << 20;
/// How many places of one file are told.
const RANGES_MAX: usize = 4;
/// What is shown begins at a multiple of this, as a hexadecimal dump does.
const ROW: usize = 16;
/// How many rows before, and how many in all.
const ROWS_BEFORE: usize = 2;
const ROWS: usize = 6;

/// Every path of these outputs.
pub(super) fn files(outputs: &BTreeMap<OutputName, TreeDigest>, store: &Store) -> Result<Files> {
    let mut files = Files::new();
    for (output, tree) in outputs {
        for entry in list(tree, store)? {
            files.insert(Place::At(output.clone(), entry.path.clone()), entry);
        }
    }
    Ok(files)
}

/// In what two results differ, path by path.
pub(super) fn changes(before: &Files, now: &Files) -> Changes {
    let mut changes = Changes::new();
    for (place, was) in before {
        let change = match now.get(place) {
            None => Some(Change::Gone),
            Some(is) => change(was, is),
        };
        changes.extend(change.map(|change| (place.clone(), change)));
    }
    let new = now.keys().filter(|place| !before.contains_key(*place));
    changes.extend(new.map(|place| (place.clone(), Change::New)));
    changes
}

/// A run that gave nothing.
pub(super) fn failed(ended: &str) -> Changes {
    Changes::from([(Place::Run, Change::Failed { ended: ended.to_owned() })])
}

fn change(was: &Entry, is: &Entry) -> Option<Change> {
    match (&was.kind, &is.kind) {
        (EntryKind::File { digest: a, size: was_size }, EntryKind::File { digest: b, size: is_size }) if a != b => {
            Some(Change::Content { was: *a, is: *b, was_size: *was_size, is_size: *is_size })
        }
        (EntryKind::Symlink { target: a }, EntryKind::Symlink { target: b }) if a != b => {
            Some(Change::Target { was: a.clone(), is: b.clone() })
        }
        (a, b) if kind(a) != kind(b) => Some(Change::Kind { was: kind(a).to_owned(), is: kind(b).to_owned() }),
        _ if was.mode != is.mode => {
            Some(Change::Mode { was: format!("{:04o}", was.mode), is: format!("{:04o}", is.mode) })
        }
        _ => None,
    }
}

fn kind(kind: &EntryKind) -> &'static str {
    match kind {
        EntryKind::File { .. } => "a file",
        EntryKind::Directory => "a directory",
        EntryKind::Symlink { .. } => "a symbolic link",
    }
}

/// A change with the bytes that differ.
pub(super) fn told(place: &Place, change: &Change, blobs: &dyn BlobSource) -> Result<PlaceChange> {
    let mut ranges = Vec::new();
    if let Change::Content { was, is, was_size, is_size } = change
        && was_size.max(is_size) <= &COMPARED_BYTES_MAX
    {
        let read = |digest: &BlobDigest| {
            blobs.read(digest).map_err(|source| anneal_content::Error::Read { digest: *digest, source })
        };
        ranges = differing(&read(was)?, &read(is)?);
    }
    Ok(PlaceChange { place: place.clone(), change: change.clone(), ranges, described: None })
}

/// Where two files differ, each place once.
fn differing(was: &[u8], is: &[u8]) -> Vec<ChangedBytes> {
    let shorter = was.len().min(is.len());
    let most = if was.len() == is.len() { RANGES_MAX } else { 1 };
    let mut ranges: Vec<ChangedBytes> = Vec::new();
    let mut at = 0;
    while ranges.len() < most {
        let pairs = was.iter().zip(is).skip(at);
        let Some(step) = pairs.clone().position(|(a, b)| a != b).or_else(|| {
            // One goes on where the other ends.
            (was.len() != is.len() && at <= shorter && ranges.is_empty()).then(|| shorter.saturating_sub(at))
        }) else {
            break;
        };
        let first = at + step;
        let from = (first / ROW).saturating_sub(ROWS_BEFORE) * ROW;
        let end = from + ROWS * ROW;
        let shown = |bytes: &[u8]| hex(bytes.get(from..end.min(bytes.len())).unwrap_or_default());
        ranges.push(ChangedBytes { offset: first as u64, from: from as u64, was: shown(was), is: shown(is) });
        at = end;
    }
    ranges
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
    digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, bytes: &[u8], mode: u32) -> (Place, Entry) {
        let path = TreePath::new(path).unwrap();
        let kind = EntryKind::File { digest: BlobDigest::of(bytes), size: bytes.len() as u64 };
        (Place::At(OutputName::out(), path.clone()), Entry { path, kind, mode })
    }

    #[test]
    fn each_path_that_differs_is_named_once_with_what_differs() {
        let before = Files::from([entry("a", b"1", 0o644), entry("b", b"1", 0o644), entry("c", b"1", 0o644)]);
        let now = Files::from([entry("a", b"1", 0o664), entry("b", b"22", 0o664), entry("d", b"1", 0o644)]);
        let changes = changes(&before, &now);
        let of = |path: &str| changes.get(&entry(path, b"", 0).0).unwrap().clone();
        assert_eq!(changes.len(), 4);
        assert_eq!(of("a"), Change::Mode { was: "0644".into(), is: "0664".into() });
        assert!(matches!(of("b"), Change::Content { was_size: 1, is_size: 2, .. }));
        assert_eq!((of("c"), of("d")), (Change::Gone, Change::New));
        assert_eq!(super::changes(&before, &before), Changes::new());
    }

    #[test]
    fn the_first_bytes_that_differ_are_shown_with_what_stands_around_them() {
        let mut was = vec![b'.'; 1000];
        let mut is = was.clone();
        (was[100], is[100], is[101], is[700]) = (b'a', b'b', b'c', b'd');
        let ranges = differing(&was, &is);
        assert_eq!(ranges.iter().map(|r| (r.offset, r.from)).collect::<Vec<_>>(), [(100, 64), (700, 656)]);
        let (one, other) = ranges[0].bytes();
        assert_eq!((one.len(), one[36], other[36], other[37]), (96, b'a', b'b', b'c'));
        assert_eq!(differing(&was, &was), []);
    }

    #[test]
    fn of_files_of_other_lengths_the_first_difference_is_told_also_where_one_only_ends() {
        let ranges = differing(b"one and two", b"one or two and three");
        assert_eq!((ranges.len(), ranges[0].offset, ranges[0].from), (1, 4, 0));
        let ranges = differing(b"one", b"one and more");
        assert_eq!((ranges.len(), ranges[0].offset), (1, 3));
        assert_eq!(ranges[0].bytes(), (b"one".to_vec(), b"one and more".to_vec()));
        assert_eq!(differing(b"", b"x")[0].offset, 0);
    }
}
