//! A binary package of Debian: an `ar` archive of `debian-binary`, `control.tar.*` and `data.tar.*`.
//!
//! Only the last is read; control scripts are never looked at. The format version must be 2.x and
//! the members must come in that order. `data.tar` may be plain or compressed with gzip, xz or zstd.
//! The format is described by `deb(5)`.

use crate::Error;
use std::io::{self, BufReader, Read};

/// How much memory an xz stream may ask for.
const XZ_MEMORY_BYTES: u64 = 256 << 20;
/// How large a window a zstd stream may ask for, as a power of two.
const ZSTD_WINDOW_LOG: u32 = 27;
/// How many members are looked at before `data.tar` must have come.
const MAX_MEMBERS: usize = 8;
/// The longest `debian-binary`.
const MAX_VERSION_BYTES: u64 = 64;

/// Finds `data.tar` in a package and hands it, decompressed, to `use_tar`.
pub(crate) fn with_data_tar<T>(
    package: &str,
    reader: &mut dyn Read,
    use_tar: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
) -> Result<T, Error> {
    let refused = |reason: String| Error::PackageRefused { package: package.to_owned(), reason };
    let mut archive = ar::Archive::new(reader);
    for index in 0..MAX_MEMBERS {
        let Some(member) = archive.next_entry() else { break };
        let mut member = member.map_err(|e| refused(format!("it is not an ar archive: {e}")))?;
        let name = String::from_utf8_lossy(member.header().identifier()).trim_end_matches('/').to_owned();
        if index == 0 {
            check_version(&name, &mut member).map_err(refused)?;
        } else if let Some(compression) = name.strip_prefix("data.tar") {
            let mut tar = decompressed(compression, &mut member).map_err(refused)?;
            return use_tar(&mut tar);
        }
    }
    Err(refused("it has no member `data.tar`".to_owned()))
}

fn check_version(name: &str, member: &mut dyn Read) -> Result<(), String> {
    let mut text = String::new();
    let read = member.take(MAX_VERSION_BYTES).read_to_string(&mut text);
    if name != "debian-binary" || read.is_err() || !text.starts_with("2.") {
        return Err(format!(
            "expected a first member `debian-binary` with version 2.x, found `{}`",
            crate::error::shown(name, 32)
        ));
    }
    Ok(())
}

fn decompressed<'r>(suffix: &str, reader: &'r mut dyn Read) -> Result<Box<dyn Read + 'r>, String> {
    let wrong = |e: io::Error| format!("its data does not decompress: {e}");
    match suffix {
        "" => Ok(Box::new(reader)),
        ".gz" => Ok(Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(reader)))),
        ".xz" => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_BYTES, liblzma::stream::CONCATENATED)
                .map_err(|e| wrong(e.into()))?;
            Ok(Box::new(liblzma::read::XzDecoder::new_stream(reader, stream)))
        }
        ".zst" => {
            let mut decoder = zstd::Decoder::new(reader).map_err(wrong)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(wrong)?;
            Ok(Box::new(decoder))
        }
        other => Err(format!("its data is compressed as `{}`: expected gz, xz or zst", crate::error::shown(other, 16))),
    }
}
