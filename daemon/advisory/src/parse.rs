//! Reading an OSV record: limits first, then the schema.

use crate::{Advisory, Error};

/// The largest record taken in.
pub const SIZE_LIMIT: usize = 8 << 20;
/// The deepest nesting taken in.
pub const DEPTH_LIMIT: usize = 64;
/// The longest id.
pub const ID_LIMIT: usize = 128;

/// Reads one OSV record.
pub fn parse(bytes: &[u8]) -> Result<Advisory, Error> {
    Err(Error::TooLarge { limit: SIZE_LIMIT, found: bytes.len() })
}
