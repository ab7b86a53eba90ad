//! The bytes depend on the input alone, and any reader gets the input back.

use super::*;
use crate::{gzip::Gzip, zstandard::Zstd};
use std::io::Read as _;

const THREADS: [usize; 5] = [1, 2, 3, 8, 1000];

fn packed(codec: &dyn Codec, threads: usize, input: &[u8], step: usize) -> (Vec<u8>, Written) {
    let mut sink = Vec::new();
    let written = compress(codec, threads, &mut sink, |out| {
        input.chunks(step).try_for_each(|c| out.write_all(c)).map_err(|source| Error::Sink { source })
    });
    (sink, written.unwrap())
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// Neither constant nor random: text whose words repeat at all distances.
fn text(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(format!("{:x} ", (state >> 16) % 5000).as_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn the_number_of_threads_and_the_size_of_writes_leave_no_trace() {
    let (gzip, zstd) = (Gzip::new(6).unwrap(), Zstd::new(3).unwrap());
    for codec in [&gzip as &dyn Codec, &zstd] {
        let input = text(codec.block_bytes() * 3 + 12_345);
        let expected = packed(codec, 1, &input, input.len());
        for threads in THREADS {
            for step in [777, 65_536, codec.block_bytes(), codec.block_bytes() + 1] {
                assert!(packed(codec, threads, &input, step) == expected, "{threads} threads, writes of {step}");
            }
        }
    }
}

#[test]
fn every_length_around_a_block_comes_back() {
    let (gzip, zstd) = (Gzip::new(1).unwrap(), Zstd::new(1).unwrap());
    for codec in [&gzip as &dyn Codec, &zstd] {
        let block = codec.block_bytes();
        for length in [0, 1, 511, block - 1, block, block + 1, 2 * block, 2 * block + 1] {
            let input = text(length);
            let (bytes, written) = packed(codec, 2, &input, 4096);
            let plain =
                if bytes.starts_with(&[0x1f, 0x8b]) { gunzip(&bytes) } else { zstd::decode_all(&*bytes).unwrap() };
            assert!(plain == input, "{length} bytes");
            assert_eq!(written.plain, (BlobDigest::of(&input), length as u64));
            assert_eq!(written.packed, (BlobDigest::of(&bytes), bytes.len() as u64));
        }
    }
}

#[test]
fn noise_that_does_not_compress_fits_too() {
    let mut state = 9_u64;
    let mut noise = Vec::new();
    while noise.len() < 600_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(&(state >> 24).to_le_bytes()[..4]);
    }
    for level in 1..=9 {
        assert!(gunzip(&packed(&Gzip::new(level).unwrap(), 2, &noise, 4096).0) == noise, "level {level}");
    }
}

#[test]
fn a_full_sink_stops_the_work_with_its_error() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let codec = Gzip::new(6).unwrap();
    for threads in THREADS {
        for room in [0, 5, 100_000] {
            let outcome = compress(&codec, threads, &mut Full(room), |out| {
                (0..40).try_for_each(|_| out.write_all(&text(100_000))).map_err(|source| Error::Sink { source })
            });
            let Err(Error::Sink { source }) = outcome else { panic!("{threads} threads, room for {room}") };
            assert_eq!(source.kind(), io::ErrorKind::StorageFull);
        }
    }
}
