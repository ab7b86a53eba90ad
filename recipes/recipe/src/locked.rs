//! A source that a program's own lock file names, as one line of a recipe.
//!
//! ```text
//! crate:itoa/1.0.5 fad582f4b9e86b6caa621cabeb0963332d92eea04729ab12892c2533951e6440 11285
//! place            sha256                                                           bytes
//! ```
//! A program has hundreds of them, each with one place, and the place says what the file is called under `/src`. A list of
//! them is made from the lock file ([`crate::read_lock_file`]) and the files themselves; nobody writes it by hand.

use crate::{Error, Place, Source, error::format_error};
use anneal_content::{BlobDigest, EntryName};
use std::{fmt, str::FromStr};

/// How many a release may have.
pub(crate) const LOCKED_MAX: usize = 2_000;
/// How large one may be.
const BYTES_MAX: u64 = 4 << 30;

/// One file of a registry, by digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockedSource {
    place: Place,
    sha256: BlobDigest,
    bytes: u64,
}

impl LockedSource {
    /// A file of a registry.
    pub fn new(place: Place, sha256: BlobDigest, bytes: u64) -> Result<Self, Error> {
        match file_of(&place) {
            Some(_) if (1..=BYTES_MAX).contains(&bytes) => Ok(Self { place, sha256, bytes }),
            _ => Err(wrong(&format!("{place} {} {bytes}", sha256.hex()))),
        }
    }
    /// The source that it stands for. It isn't unpacked: how each is laid out is the toolchain's own business.
    pub fn to_source(&self) -> Option<Source> {
        let (file, places) = (file_of(&self.place)?, vec![self.place.clone()]);
        Some(Source { sha256: self.sha256, bytes: self.bytes, file, unpack: None, places })
    }
    /// What such a source was written as; none for a source that a recipe writes out.
    pub fn from_source(source: &Source) -> Option<Self> {
        let [place] = source.places.as_slice() else { return None };
        let locked = Self::new(place.clone(), source.sha256, source.bytes).ok()?;
        locked.to_source().filter(|same| same == source).map(|_| locked)
    }
}

/// What a file is called under `/src`: as its registry calls it. A Go module's name has slashes, and no comma.
fn file_of(place: &Place) -> Option<EntryName> {
    let name = match place {
        Place::Crate { name, version } => format!("{name}-{version}.crate"),
        Place::Pypi { file, .. } => file.clone(),
        Place::Npm { name, version } => format!("{}-{version}.tgz", name.trim_start_matches('@').replace('/', "-")),
        Place::Go { module, version, go_mod } => {
            let ending = if *go_mod { "mod" } else { "zip" };
            format!("{}@{version}.{ending}", module.replace('/', ","))
        }
        _ => return None,
    };
    EntryName::new(name).ok()
}

fn wrong(text: &str) -> Error {
    let form = "a registry's file, its digest and its size, such as \"crate:itoa/1.0.5 <64 hex digits> 11285\"";
    format_error("locked source", form, text)
}

impl fmt::Display for LockedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.place, self.sha256.hex(), self.bytes)
    }
}

impl FromStr for LockedSource {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let words: Vec<&str> = text.split(' ').collect();
        let [place, sha256, bytes] = words.as_slice() else { return Err(wrong(text)) };
        let sha256 = format!("sha256:{sha256}").parse().map_err(|_| wrong(text))?;
        let bytes = bytes.parse().map_err(|_| wrong(text))?;
        let locked = Self::new(place.parse()?, sha256, bytes)?;
        // One spelling each, so that none stands twice.
        if locked.to_string() == text { Ok(locked) } else { Err(wrong(text)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(place: &str) -> String {
        format!("{place} {} 7", BlobDigest::of(b"x").hex())
    }

    #[test]
    fn a_line_is_a_source_that_is_called_as_its_registry_calls_it() {
        for (place, file) in [
            ("crate:openssl-src/300.0.11+3.0.7", "openssl-src-300.0.11+3.0.7.crate"),
            ("pypi:six/1.16.0/six-1.16.0-py2.py3-none-any.whl", "six-1.16.0-py2.py3-none-any.whl"),
            ("npm:@scope/name/1.0.0", "scope-name-1.0.0.tgz"),
            ("go:example.org/Team/a@v1.0.0", "example.org,Team,a@v1.0.0.zip"),
            ("go:example.org/Team/a@v1.0.0/go.mod", "example.org,Team,a@v1.0.0.mod"),
        ] {
            let locked: LockedSource = line(place).parse().unwrap();
            assert_eq!(locked.to_string(), line(place));
            let source = locked.to_source().unwrap();
            assert_eq!((source.file.as_str(), source.bytes, source.unpack.as_ref()), (file, 7, None));
            assert_eq!(LockedSource::from_source(&source), Some(locked));
        }
    }

    #[test]
    fn a_source_that_a_recipe_writes_out_is_no_locked_one() {
        let mut source = line("crate:a/1").parse::<LockedSource>().unwrap().to_source().unwrap();
        source.unpack = Some(".".parse().unwrap());
        assert_eq!(LockedSource::from_source(&source), None);
    }

    #[test]
    fn a_line_that_could_be_read_otherwise_is_refused() {
        let digest = BlobDigest::of(b"x").hex();
        for text in [
            String::new(),
            line("crate:a"),
            line("https://a.example/x"),
            line("path:x"),
            format!("crate:a/1 {digest}"),
            format!("crate:a/1 {digest} 0"),
            format!("crate:a/1 {digest} 07"),
            format!("crate:a/1 {digest} 7 "),
            format!("crate:a/1  {digest} 7"),
            format!("crate:a/1 {} 7", digest.to_uppercase()),
            format!("crate:a/1 {digest} 5000000000"),
        ] {
            assert!(text.parse::<LockedSource>().is_err(), "{text}");
        }
    }
}
