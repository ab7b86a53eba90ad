//! How much a directory may hold, and what of it is kept.

/// What a directory may hold at most, and what of it is kept. What a tree can't express is always refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestRules {
    /// Files, directories and links together.
    pub entries_max: usize,
    /// Bytes in one file. Holes count, since a tree has none.
    pub file_bytes_max: u64,
    /// Bytes in all files together.
    pub bytes_max: u64,
    /// Whether a file may have a name (a hard link) outside of the directory.
    pub names_elsewhere: bool,
    /// Whether what its group may write, and not everybody, stays so. In what a build made this bit is the umask's, and
    /// says nothing more: all files of a package belong to root and its group.
    pub group_writes: bool,
}

impl Default for IngestRules {
    fn default() -> Self {
        Self {
            entries_max: 1_000_000,
            file_bytes_max: 16 << 30,
            bytes_max: 64 << 30,
            names_elsewhere: false,
            group_writes: true,
        }
    }
}

impl IngestRules {
    /// For a tree that the store has made a directory of: its files are links to blobs.
    pub fn of_a_materialized_tree() -> Self {
        Self { names_elsewhere: true, ..Self::default() }
    }

    /// The permission bits that are kept of a mode. What everybody may write, as `/tmp`, no umask made so.
    pub(crate) fn kept(&self, mode: u32) -> u32 {
        let bits = mode & 0o7777;
        if self.group_writes || bits & 0o002 != 0 { bits } else { bits & !0o020 }
    }
}
