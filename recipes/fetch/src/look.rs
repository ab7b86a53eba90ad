//! Looks into a source without unpacking it: what is in it, and the text of a few of its files.
//!
//! For whoever writes a recipe. Nothing is written to the disk and nothing is run, so paths of a hostile archive lead
//! nowhere; its size, its number of entries and what is kept of it have limits. A build unpacks by itself, in a sandbox.

use crate::{
    Error,
    unpack::{MAX_ENTRIES, MAX_PATH_BYTES},
};
use anneal_recipe::{SourceFiles, is_telling};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

/// The most bytes that are read of an archive, uncompressed.
const MAX_BYTES: u64 = 4 << 30;
/// The largest file whose text is kept; of a larger one the beginning is.
const MAX_TEXT_BYTES: u64 = 256 << 10;
/// The most texts that are kept.
const MAX_TEXTS: usize = 400;

/// What is in a source. An archive that can't be looked into is refused with the reason.
pub fn look_into(name: &str, file: &mut File) -> Result<SourceFiles, Error> {
    let mut found = Found::default();
    each_entry(name, file, &mut |path, entry| found.entry(path, entry))?;
    if found.files.is_empty() {
        let reason = "it is no tar, or one with nothing in it".to_owned();
        return Err(Error::PackageRefused { package: name.to_owned(), reason });
    }
    Ok(found.into_files())
}

/// The texts of some files in a tar, less the one directory that each path begins with. A text that is not UTF-8 or larger
/// than `bytes_max` refuses the whole.
pub fn texts_in(
    name: &str,
    file: &mut File,
    bytes_max: u64,
    keep: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, String>, Error> {
    let mut texts = BTreeMap::new();
    each_entry(name, file, &mut |path, entry| {
        let Some((_, path)) = path.split_once('/') else { return Ok(()) };
        if keep(path) {
            let mut text = String::new();
            entry.take(bytes_max + 1).read_to_string(&mut text)?;
            if text.len() as u64 > bytes_max {
                return Err(io::Error::other(format!("{path} has more than {bytes_max} bytes")));
            }
            texts.insert(path.to_owned(), text);
        }
        Ok(())
    })?;
    Ok(texts)
}

/// What is done with each file of an archive, by its path.
type EachEntry<'f> = dyn FnMut(&str, &mut tar::Entry<'_, io::Take<Box<dyn Read + '_>>>) -> io::Result<()> + 'f;

/// Goes through the files of an archive.
fn each_entry(name: &str, file: &mut File, each: &mut EachEntry<'_>) -> Result<(), Error> {
    let refused = |reason: String| Error::PackageRefused { package: name.to_owned(), reason };
    let broken = |error: io::Error| refused(format!("it can't be read: {error}"));
    let mut magic = [0; 6];
    let read = read_start(file, &mut magic).map_err(broken)?;
    let reader: Box<dyn Read + '_> = match magic.get(..read).unwrap_or_default() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(file)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(liblzma::read::XzDecoder::new_multi_decoder(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::new(file).map_err(broken)?),
        [b'B', b'Z', b'h', ..] => {
            return Err(refused("it is compressed by bzip2, which is not looked into".to_owned()));
        }
        [b'P', b'K', 3, 4, ..] => return Err(refused("it is a zip, which is not looked into".to_owned())),
        _ => Box::new(file),
    };
    let mut archive = tar::Archive::new(reader.take(MAX_BYTES));
    for (index, entry) in archive.entries().map_err(broken)?.enumerate() {
        if index >= MAX_ENTRIES {
            return Err(refused(format!("it has more than {MAX_ENTRIES} entries")));
        }
        let mut entry = entry.map_err(|e| refused(format!("it can't be read as a tar: {e}")))?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let Ok(path) = String::from_utf8(entry.path_bytes().into_owned()) else { continue };
        let path = path.strip_prefix("./").unwrap_or(&path);
        if !path.is_empty() && path.len() <= MAX_PATH_BYTES {
            each(path, &mut entry).map_err(broken)?;
        }
    }
    Ok(())
}

fn read_start(file: &mut File, start: &mut [u8]) -> io::Result<usize> {
    file.seek(SeekFrom::Start(0))?;
    let mut read = 0;
    while read < start.len() {
        match file.read(start.get_mut(read..).unwrap_or_default())? {
            0 => break,
            count => read += count,
        }
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(read)
}

/// Files by their path in the archive, with the text of those that are telling wherever the archive begins.
#[derive(Default)]
struct Found {
    files: BTreeMap<String, Option<String>>,
    texts: usize,
    newest_secs: Option<u64>,
}

impl Found {
    fn entry(&mut self, path: &str, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<()> {
        let changed = entry.header().mtime().ok().filter(|secs| *secs > 0);
        self.newest_secs = self.newest_secs.max(changed);
        let beneath = path.split_once('/').map_or(path, |(_, rest)| rest);
        let mut text = None;
        if (is_telling(path) || is_telling(beneath)) && self.texts < MAX_TEXTS {
            let mut bytes = Vec::new();
            entry.take(MAX_TEXT_BYTES).read_to_end(&mut bytes)?;
            text = Some(String::from_utf8_lossy(&bytes).into_owned());
            self.texts += 1;
        }
        self.files.insert(path.to_owned(), text);
        Ok(())
    }

    /// Less the one directory that holds all of it, if there is one.
    fn into_files(self) -> SourceFiles {
        let first = |path: &String| path.split_once('/').map(|(first, _)| first.to_owned());
        let directory = self.files.keys().next().and_then(first);
        let directory = directory.filter(|dir| self.files.keys().all(|path| first(path).as_ref() == Some(dir)));
        let mut files = SourceFiles { newest_secs: self.newest_secs, ..SourceFiles::default() };
        for (path, text) in self.files {
            let path = directory.as_ref().and_then(|dir| path.strip_prefix(dir)?.strip_prefix('/')).unwrap_or(&path);
            files.paths.insert(path.to_owned());
            files.texts.extend(text.filter(|_| is_telling(path)).map(|text| (path.to_owned(), text)));
        }
        files.directory = directory;
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{dir, file, hard_link, packed, symlink};
    use std::io::Write as _;

    fn looked(bytes: &[u8]) -> Result<SourceFiles, Error> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        look_into("a.tar", &mut file)
    }

    fn archive() -> Vec<u8> {
        packed(&[
            dir("a-1.0/"),
            file("a-1.0/configure", 0o755, b"#!/bin/sh"),
            file("a-1.0/COPYING", 0o644, b"terms"),
            file("a-1.0/doc/COPYING", 0o644, b"not at the top"),
            file("a-1.0/src/main.c", 0o644, b"/* head */"),
            symlink("a-1.0/link", "/etc/passwd"),
            hard_link("a-1.0/again", "a-1.0/COPYING"),
        ])
    }

    #[test]
    fn an_archive_is_looked_into_whatever_it_is_compressed_with() {
        let tar = archive();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&tar).unwrap();
        for bytes in [tar.clone(), gzip.finish().unwrap(), xz.finish().unwrap(), zstd::encode_all(&*tar, 1).unwrap()] {
            let files = looked(&bytes).unwrap();
            assert_eq!(files.directory.as_deref(), Some("a-1.0"));
            let paths: Vec<_> = files.paths.iter().map(String::as_str).collect();
            assert_eq!(paths, ["COPYING", "configure", "doc/COPYING", "src/main.c"]);
            let texts: Vec<_> = files.texts.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            assert_eq!(texts, [("COPYING", "terms"), ("src/main.c", "/* head */")]);
            assert_eq!(files.newest_secs, Some(1_700_000_000));
        }
    }

    #[test]
    fn files_without_a_directory_around_them_keep_their_paths() {
        let files = looked(&packed(&[file("Makefile", 0o644, b""), file("src/a.c", 0o644, b"")])).unwrap();
        assert_eq!((files.directory, files.paths.len()), (None, 2));
        assert!(files.paths.contains("src/a.c"));
    }

    #[test]
    fn what_is_no_archive_is_refused_with_the_reason() {
        for (bytes, why) in [
            (&b"BZh9abcdef"[..], "bzip2"),
            (b"PK\x03\x04abcd", "zip"),
            (b"", "nothing in it"),
            (b"\x1f\x8bnot really", "can't be read"),
        ] {
            let error = looked(bytes).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(looked(&[7; 2000]).is_err());
    }

    #[test]
    fn the_texts_that_are_asked_for_come_out_and_one_that_is_too_large_refuses_all() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&archive()).unwrap();
        let keep = |path: &str| path.ends_with("COPYING");
        let texts = texts_in("a.tar", &mut file, 20, &keep).unwrap();
        assert_eq!(texts.keys().collect::<Vec<_>>(), ["COPYING", "doc/COPYING"]);
        let error = texts_in("a.tar", &mut file, 10, &keep).unwrap_err().to_string();
        assert!(error.contains("doc/COPYING has more than 10 bytes"), "{error}");
    }

    #[test]
    fn of_a_large_text_the_beginning_is_kept() {
        let long = vec![b'a'; (MAX_TEXT_BYTES + 1) as usize];
        let files = looked(&packed(&[file("COPYING", 0o644, &long)])).unwrap();
        assert_eq!(files.texts["COPYING"].len() as u64, MAX_TEXT_BYTES);
    }
}
