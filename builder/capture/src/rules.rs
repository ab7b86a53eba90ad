//! How much a directory may hold.

/// What a directory may hold at most. What a tree can't express is always refused.
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
}

impl Default for IngestRules {
    fn default() -> Self {
        Self { entries_max: 1_000_000, file_bytes_max: 16 << 30, bytes_max: 64 << 30, names_elsewhere: false }
    }
}

impl IngestRules {
    /// For a tree that the store has made a directory of: its files are links to blobs.
    pub fn of_a_materialized_tree() -> Self {
        Self { names_elsewhere: true, ..Self::default() }
    }
}
