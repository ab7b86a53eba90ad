//! gzip members (RFC 1952) of 1 MiB of input each, one after another.
//!
//! ```text
//! member  1f 8b 08 00  00 00 00 00  xx ff        no name, no time; xx: 04 at level 1, 02 from level 8 on; unknown system
//!         deflate of 1 MiB of input, of less in the last
//!         CRC-32 and length of that input, little endian
//! ...
//! ```
//! A sequence of members is one file to a gzip reader (RFC 1952, 2.2). One that stops at the end of the first reads no wrong
//! layer: what it has then is not what the config's `diff_id` names. `docs/decisions/0013` says why it is not one member.

use crate::{Error, block::Codec};
use libdeflater::{CompressionLvl, Compressor};
use std::io;

const BLOCK_BYTES: usize = 1 << 20;

pub(crate) struct Gzip {
    level: CompressionLvl,
}

impl Gzip {
    pub(crate) fn new(level: u8) -> Result<Self, Error> {
        let (low, high) = (1, 9);
        let wrong = Error::Level { codec: "gzip", low, high, found: level };
        if !(low..=high).contains(&level) {
            return Err(wrong);
        }
        CompressionLvl::new(i32::from(level)).map(|level| Self { level }).map_err(|_| wrong)
    }
}

impl Codec for Gzip {
    fn block_bytes(&self) -> usize {
        BLOCK_BYTES
    }
    fn compress(&self, block: &[u8]) -> io::Result<Vec<u8>> {
        let mut compressor = Compressor::new(self.level);
        let mut member = vec![0; compressor.gzip_compress_bound(block.len())];
        let length = compressor.gzip_compress(block, &mut member).map_err(io::Error::other)?;
        member.truncate(length);
        Ok(member)
    }
}
