//! Takes the compression off a layer and notes what in its framing would differ from one run to the next.
//!
//! A layer may be several gzip members or zstd frames, one after the other; each header is looked at. A gzip header
//! can carry a time, a file name, a comment and extra fields; a zstd stream can carry skippable frames, which hold
//! anything.

use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, Read};
use zstd::stream::read::Decoder as ZstdDecoder;

const SKIPPABLE_MASK: u32 = 0xffff_fff0;
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
const ZSTD_MAGIC: u32 = 0xfd2f_b528;
/// How many faults are kept.
const FAULTS_KEPT: usize = 16;

/// A stream of uncompressed bytes.
pub(super) enum Plain<'a, R: BufRead> {
    /// Not compressed.
    Stored(R),
    /// gzip members.
    Gzip { decoder: Option<Box<GzDecoder<R>>>, between: Option<R>, members: usize, faults: Vec<String> },
    /// zstd frames.
    Zstd { decoder: Option<ZstdDecoder<'a, R>>, between: Option<R>, frames: usize, faults: Vec<String> },
}

impl<R: BufRead> Plain<'_, R> {
    /// Chooses by the layer's media type.
    pub(super) fn new(reader: R, media_type: &str) -> Result<Self, String> {
        if media_type.ends_with("+gzip") || media_type.ends_with(".gzip") {
            Ok(Plain::Gzip { decoder: None, between: Some(reader), members: 0, faults: Vec::new() })
        } else if media_type.ends_with("+zstd") {
            Ok(Plain::Zstd { decoder: None, between: Some(reader), frames: 0, faults: Vec::new() })
        } else if media_type.ends_with(".tar") {
            Ok(Plain::Stored(reader))
        } else {
            Err(format!("media type {media_type:?} is not a layer that can be read"))
        }
    }
    /// What was noted so far.
    pub(super) fn faults(&self) -> &[String] {
        match self {
            Plain::Stored(_) => &[],
            Plain::Gzip { faults, .. } | Plain::Zstd { faults, .. } => faults,
        }
    }
}

impl<R: BufRead> Read for Plain<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Plain::Stored(reader) => reader.read(out),
            Plain::Gzip { decoder, between, members, faults } => read_gzip(out, decoder, between, members, faults),
            Plain::Zstd { decoder, between, frames, faults } => read_zstd(out, decoder, between, frames, faults),
        }
    }
}

fn read_gzip<R: BufRead>(
    out: &mut [u8],
    decoder: &mut Option<Box<GzDecoder<R>>>,
    between: &mut Option<R>,
    members: &mut usize,
    faults: &mut Vec<String>,
) -> io::Result<usize> {
    loop {
        if let Some(mut reader) = between.take() {
            if reader.fill_buf()?.is_empty() && *members > 0 {
                *between = Some(reader);
                return Ok(0);
            }
            *members += 1;
            *decoder = Some(Box::new(GzDecoder::new(reader)));
        }
        let Some(member) = decoder.as_mut() else { return Ok(0) };
        let count = member.read(out)?;
        if count > 0 || out.is_empty() {
            return Ok(count);
        }
        if let Some(member) = decoder.take() {
            note_gzip_header(&member, *members, faults);
            *between = Some(member.into_inner());
        }
    }
}

fn note_gzip_header<R: BufRead>(member: &GzDecoder<R>, number: usize, faults: &mut Vec<String>) {
    let Some(header) = member.header() else { return };
    let mut note = |what: String| {
        if faults.len() < FAULTS_KEPT {
            faults.push(format!("gzip member {number} has {what}"));
        }
    };
    if header.mtime() != 0 {
        note(format!("the time {}", header.mtime()));
    }
    if let Some(name) = header.filename() {
        note(format!("the file name {:?}", String::from_utf8_lossy(name)));
    }
    if header.comment().is_some() {
        note("a comment".into());
    }
    if header.extra().is_some() {
        note("extra fields".into());
    }
}

fn read_zstd<R: BufRead>(
    out: &mut [u8],
    decoder: &mut Option<ZstdDecoder<'_, R>>,
    between: &mut Option<R>,
    frames: &mut usize,
    faults: &mut Vec<String>,
) -> io::Result<usize> {
    loop {
        if let Some(mut reader) = between.take() {
            let head = reader.fill_buf()?;
            if head.is_empty() && *frames > 0 {
                *between = Some(reader);
                return Ok(0);
            }
            let magic = head.get(..4).and_then(|b| <[u8; 4]>::try_from(b).ok()).map(u32::from_le_bytes);
            *frames += 1;
            match magic {
                Some(ZSTD_MAGIC) | None => {}
                Some(m) if m & SKIPPABLE_MASK == SKIPPABLE_MAGIC && faults.len() < FAULTS_KEPT => {
                    faults.push(format!("zstd frame {frames} is skippable: it holds bytes that nobody unpacks"));
                }
                Some(_) => {}
            }
            *decoder = Some(ZstdDecoder::with_buffer(reader)?.single_frame());
        }
        let Some(frame) = decoder.as_mut() else { return Ok(0) };
        let count = frame.read(out)?;
        if count > 0 || out.is_empty() {
            return Ok(count);
        }
        if let Some(frame) = decoder.take() {
            *between = Some(frame.finish());
        }
    }
}
