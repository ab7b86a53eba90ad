//! Zstandard frames (RFC 8878) of 4 MiB of input each, one after another, without checksums.
//!
//! Every zstd reader takes a sequence of frames as one stream. zstd's own threads are not used: their bytes
//! depend on parameters that it chooses.

use crate::{Error, block::Codec};
use std::io;
use zstd::{bulk::Compressor, zstd_safe::CParameter};

const BLOCK_BYTES: usize = 4 << 20;

pub(crate) struct Zstd {
    level: u8,
}

impl Zstd {
    pub(crate) fn new(level: u8) -> Result<Self, Error> {
        let (low, high) = (1, 19);
        if !(low..=high).contains(&level) {
            return Err(Error::Level { codec: "zstd", low, high, found: level });
        }
        Ok(Self { level })
    }
}

impl Codec for Zstd {
    fn block_bytes(&self) -> usize {
        BLOCK_BYTES
    }
    fn compress(&self, block: &[u8]) -> io::Result<Vec<u8>> {
        let mut compressor = Compressor::new(i32::from(self.level))?;
        compressor.set_parameter(CParameter::ChecksumFlag(false))?;
        compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
        compressor.compress(block)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_layer_writers_name_tells_the_zstd_that_is_compiled_in() {
        let version = zstd::zstd_safe::version_string();
        assert!(crate::LAYER_WRITER.contains(&format!("zstd-{version}")), "{version}");
    }
}
