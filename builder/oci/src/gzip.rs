//! One gzip member (RFC 1952) made of blocks of 256 KiB, each ending on a byte boundary.
//!
//! ```text
//! header  1f 8b 08 00  00 00 00 00  00 ff        no name, no time, unknown system
//! block   deflate with the 32 KiB before it as dictionary, ended by an empty stored block (sync flush)
//! ...
//! block   the last one, ended by deflate's own end
//! trailer CRC-32 and length of the input, modulo 2^32, little endian
//! ```
//! A single member, because some readers stop at the end of the first. A dictionary, because without one
//! each block would begin with nothing to refer to; it is part of the input, so it costs no determinism.

use crate::{
    Error,
    block::{Block, Codec},
};
use std::io;
use zlib_rs::{Deflate, DeflateFlush, Status};

const BLOCK_BYTES: usize = 256 << 10;
const WINDOW_BYTES: usize = 32 << 10;
const WINDOW_BITS: u8 = 15;

pub(crate) struct Gzip {
    level: u8,
}

impl Gzip {
    pub(crate) fn new(level: u8) -> Result<Self, Error> {
        let (low, high) = (1, 9);
        if !(low..=high).contains(&level) {
            return Err(Error::Level { codec: "gzip", low, high, found: level });
        }
        Ok(Self { level })
    }
}

impl Codec for Gzip {
    fn block_bytes(&self) -> usize {
        BLOCK_BYTES
    }
    fn window_bytes(&self) -> usize {
        WINDOW_BYTES
    }
    fn header(&self) -> Vec<u8> {
        vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]
    }
    fn compress(&self, block: &Block) -> io::Result<Vec<u8>> {
        let failed = |reason: &str| io::Error::other(format!("deflate failed: {reason}"));
        let mut deflate = Deflate::new(i32::from(self.level), false, WINDOW_BITS);
        if !block.before.is_empty() {
            deflate.set_dictionary(&block.before).map_err(|e| failed(e.as_str()))?;
        }
        // More than deflate ever needs (level 1 may write nine bits for eight), so that one call does it all and no
        // second flush mark is written.
        let mut out = vec![0; block.data.len() + block.data.len() / 4 + 1024];
        let flush = if block.last { DeflateFlush::Finish } else { DeflateFlush::SyncFlush };
        let status = deflate.compress(&block.data, &mut out, flush).map_err(|e| failed(e.as_str()))?;
        let produced = usize::try_from(deflate.total_out()).unwrap_or(usize::MAX);
        let complete = if block.last { status == Status::StreamEnd } else { produced < out.len() };
        if !complete || deflate.total_in() != block.data.len() as u64 {
            return Err(failed("its output buffer is too small"));
        }
        out.truncate(produced);
        Ok(out)
    }
    fn trailer(&self, crc: u32, length: u64) -> Vec<u8> {
        let length = (length & 0xffff_ffff) as u32;
        [crc.to_le_bytes(), length.to_le_bytes()].concat()
    }
}
