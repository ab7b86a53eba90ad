//! What a disk was told, and what of it may be left when power goes.
//!
//! ```text
//! W offset bytes   the disk has these in its memory; they may be lost, or be on the disk already, sector by sector
//! F                everything that was written before this is on the disk now
//! ```
//! Positions count entries. A cut at position `p` leaves everything before the last `F` in the first `p` entries; of what
//! came after that `F`, a [`Left`] says what is there: all of it (a prefix), none, or some sectors of some writes, in any
//! combination, which is what reordering, dropping and tearing come to.

use crate::Dice;
use std::{collections::BTreeSet, fs::OpenOptions, io, os::unix::fs::FileExt as _, path::Path, sync::Arc};

/// Images are written out in pieces of this size, where there is anything in them.
const PIECE_BYTES: usize = 64 << 10;

#[derive(Debug, Clone)]
enum Entry {
    Write(u64, Arc<[u8]>),
    Flush,
}

/// Everything that a disk was told, in order.
#[derive(Debug, Clone, Default)]
pub struct Blocks {
    entries: Vec<Entry>,
    /// How many bytes were written.
    pub bytes: u64,
}

/// Where power goes, and what is left of what was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// So many entries came before.
    pub at: usize,
    /// What is left.
    pub left: Left,
}

/// What is left of the writes after the last flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// None.
    Nothing,
    /// All: the prefix of the log.
    Everything,
    /// As dice with this seed say.
    Some(u64),
}

impl Blocks {
    /// The disk was told to write.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.entries.push(Entry::Write(offset, bytes.into()));
    }

    /// The disk was told to put everything in its place.
    pub fn flush(&mut self) {
        self.entries.push(Entry::Flush);
    }

    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the disk was told nothing.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many flushes there are from a position on.
    pub fn flushes(&self, from: usize) -> usize {
        self.boundaries(from).count()
    }

    /// The positions just before each flush from a position on: as much as can be lost is at stake there.
    pub fn boundaries(&self, from: usize) -> impl Iterator<Item = usize> + '_ {
        (from..self.len()).filter(|at| matches!(self.entries[*at], Entry::Flush))
    }

    /// How many writes a cut there puts at stake.
    pub fn at_stake(&self, at: usize) -> usize {
        at - self.flushed(at)
    }

    /// The position after the last flush before a position.
    fn flushed(&self, at: usize) -> usize {
        self.entries[..at].iter().rposition(|entry| matches!(entry, Entry::Flush)).map_or(0, |flush| flush + 1)
    }
}

/// A disk's content, which goes forward along the log.
#[derive(Debug)]
pub struct Image<'a> {
    blocks: &'a Blocks,
    /// What is there for sure after the first `at` entries.
    content: Vec<u8>,
    /// What the disk writes at once or not at all.
    sector_bytes: usize,
    at: usize,
    /// Pieces that anything was written to.
    pieces: BTreeSet<usize>,
}

impl<'a> Image<'a> {
    /// An empty disk before the first entry.
    pub fn new(blocks: &'a Blocks, bytes: usize, sector_bytes: usize) -> Self {
        Self { blocks, content: vec![0; bytes], sector_bytes, at: 0, pieces: BTreeSet::new() }
    }

    /// Writes what a cut leaves to a file. Cuts come in order of their positions.
    pub fn write_out(&mut self, cut: Cut, path: &Path) -> io::Result<()> {
        let flushed = self.blocks.flushed(cut.at);
        assert!(self.at <= flushed, "cuts come in order");
        for entry in &self.blocks.entries[self.at..flushed] {
            if let Entry::Write(offset, bytes) = entry {
                let start = usize::try_from(*offset).unwrap();
                self.content[start..start + bytes.len()].copy_from_slice(bytes);
                self.pieces.extend(start / PIECE_BYTES..=(start + bytes.len() - 1) / PIECE_BYTES);
            }
        }
        self.at = flushed;
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        file.set_len(self.content.len() as u64)?;
        for piece in &self.pieces {
            let start = piece * PIECE_BYTES;
            let end = self.content.len().min(start + PIECE_BYTES);
            file.write_all_at(&self.content[start..end], start as u64)?;
        }
        for (offset, bytes) in left(&self.blocks.entries[flushed..cut.at], cut.left, self.sector_bytes) {
            file.write_all_at(bytes, offset)?;
        }
        Ok(())
    }
}

/// The bytes that are left of some writes.
fn left(entries: &[Entry], left: Left, sector_bytes: usize) -> Vec<(u64, &[u8])> {
    let writes = entries.iter().filter_map(|entry| match entry {
        Entry::Write(offset, bytes) => Some((*offset, &**bytes)),
        Entry::Flush => None,
    });
    let seed = match left {
        Left::Nothing => return Vec::new(),
        Left::Everything => return writes.collect(),
        Left::Some(seed) => seed,
    };
    let mut dice = Dice::new(seed);
    // from nearly nothing to nearly all, so that single writes that are there or lost alone come up too
    let (share, torn) = (1 + dice.below(15), dice.below(3));
    let mut parts = Vec::new();
    for (offset, bytes) in writes {
        if dice.below(16) >= share {
            continue;
        }
        if torn > 0 && dice.below(4) < torn {
            let sectors = bytes.chunks(sector_bytes).enumerate().filter(|_| dice.below(2) == 0);
            parts.extend(sectors.map(|(at, sector)| (offset + (at * sector_bytes) as u64, sector)));
        } else {
            parts.push((offset, bytes));
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two flushed writes, and three that are not.
    fn blocks() -> Blocks {
        let mut blocks = Blocks::default();
        blocks.write(0, &[1; 1024]);
        blocks.write(1024, &[2; 512]);
        blocks.flush();
        for (offset, byte) in [(512, 3), (2048, 4), (3072, 5)] {
            blocks.write(offset, &[byte; 1024]);
        }
        blocks
    }

    fn sectors(cut: Cut) -> Vec<u8> {
        let (blocks, dir) = (blocks(), tempfile::tempdir().unwrap());
        Image::new(&blocks, 4096, 512).write_out(cut, &dir.path().join("image")).unwrap();
        let bytes = std::fs::read(dir.path().join("image")).unwrap();
        assert!(bytes.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])), "a sector is torn");
        bytes.chunks(512).map(|sector| sector[0]).collect()
    }

    #[test]
    fn what_was_flushed_is_there_whatever_else_is_lost() {
        assert_eq!(sectors(Cut { at: 6, left: Left::Nothing }), [1, 1, 2, 0, 0, 0, 0, 0]);
        assert_eq!(sectors(Cut { at: 6, left: Left::Everything }), [1, 3, 3, 0, 4, 4, 5, 5]);
        assert_eq!(sectors(Cut { at: 2, left: Left::Nothing }), [0; 8], "before the flush nothing is sure");
        assert_eq!(sectors(Cut { at: 4, left: Left::Everything }), [1, 3, 3, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn writes_after_the_last_flush_are_lost_and_torn_in_any_combination() {
        let seen: BTreeSet<Vec<u8>> = (0..400).map(|seed| sectors(Cut { at: 6, left: Left::Some(seed) })).collect();
        for expected in [[1, 1, 2, 0, 0, 0, 5, 5], [1, 3, 3, 0, 0, 0, 0, 0], [1, 1, 2, 0, 4, 4, 0, 5]] {
            assert!(seen.contains(expected.as_slice()), "{expected:?} never came up");
        }
        assert!(seen.iter().all(|sectors| sectors[0] == 1 && sectors[3] == 0), "something flushed was lost");
    }
}
