//! Bytes by digest, from whichever place still has them.
//!
//! Places are asked in turn: files and directories of the catalogue, then coordinates through a mirror or the machine's own
//! client, then addresses. What comes is kept in a nameless file until its size and digest are right;
//! only then does the caller see a byte of it, so a wrong or half file leaves nothing behind.
//!
//! [`Fetcher::measure`] is for whoever writes a recipe and has no digest yet: it believes the one place that it is told.

use crate::{
    Error, FetchConfig,
    clients::{self, Known},
    directory::{Named, NotPacked, named},
    error::Attempt,
    http::{Http, without_secret},
    mirror::{self, Ask},
};
use anneal_content::{BlobDigest, BlobHasher};
use anneal_recipe::Place;
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

/// The largest source.
pub const MAX_SOURCE_BYTES: u64 = 8 << 30;
/// The largest source that is taken without its size being known: what a recipe may list.
pub const MAX_MEASURED_BYTES: u64 = 4 << 30;

/// What is wanted, and where it may be.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its digest: what is trusted, wherever it comes from.
    pub sha256: BlobDigest,
    /// Its size.
    pub bytes: u64,
    /// Where it may be.
    pub places: &'a [Place],
}

impl<'a> From<&'a anneal_recipe::Source> for Wanted<'a> {
    fn from(source: &'a anneal_recipe::Source) -> Self {
        Self { sha256: source.sha256, bytes: source.bytes, places: &source.places }
    }
}

/// Where something came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The place that had it.
    pub place: Place,
    /// What that place was resolved to: a mirror's address or a client's name.
    pub via: Option<String>,
}

/// What a place had, of which nothing was known before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Its digest.
    pub sha256: BlobDigest,
    /// Its size.
    pub bytes: u64,
    /// What the place was resolved to: a mirror's address or a client's name.
    pub via: Option<String>,
}

/// What is known of a file before it is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// Its digest; none: whatever the place has is taken.
    pub(crate) sha256: Option<BlobDigest>,
    /// Its size; without a digest, the most that it may have.
    pub(crate) bytes: u64,
}

/// Why one place gave nothing.
#[derive(Debug)]
pub(crate) struct Unavailable {
    pub(crate) via: Option<String>,
    pub(crate) reason: String,
}

impl Unavailable {
    pub(crate) fn new(reason: String) -> Self {
        Self { via: None, reason }
    }
}

/// A file without a name that is as expected, with its digest and size.
struct Verified {
    file: File,
    sha256: BlobDigest,
    bytes: u64,
}

/// How one reading went wrong.
enum Unread {
    /// The place's fault.
    Reading { reason: String, may_pass: bool },
    /// Ours: no room to keep it.
    Keeping(io::Error),
}

/// Fetches sources; may be shared between threads.
#[derive(Debug)]
pub struct Fetcher {
    config: FetchConfig,
    http: Http,
    known: Known,
}

impl Fetcher {
    /// A fetcher that asks nothing yet.
    pub fn new(config: FetchConfig) -> Self {
        let http = Http::new(&config);
        Self { config, http, known: Known::default() }
    }

    /// What it was made with.
    pub fn config(&self) -> &FetchConfig {
        &self.config
    }

    /// Writes the wanted bytes to `sink`, from the first place that has them. `base` is what `path:` is relative to.
    pub fn fetch(&self, wanted: &Wanted<'_>, base: &Path, sink: &mut dyn Write) -> Result<Fetched, Error> {
        let Wanted { sha256, bytes, places } = *wanted;
        if bytes > MAX_SOURCE_BYTES {
            return Err(Error::TooLarge { sha256, bytes, limit: MAX_SOURCE_BYTES });
        }
        let mut attempts = Vec::new();
        let expected = Expected { sha256: Some(sha256), bytes };
        for place in in_turn(places) {
            match self.ask_place(expected, place, base, &mut attempts)? {
                Some((Verified { mut file, .. }, via)) => {
                    io::copy(&mut file, sink).map_err(|source| Error::Sink { sha256, source })?;
                    tracing::info!(%sha256, bytes, %place, via, "fetched");
                    return Ok(Fetched { place: place.clone(), via });
                }
                None => tracing::debug!(%sha256, %place, "a place does not have a source"),
            }
        }
        match attempts.iter().find_map(|attempt| Some((attempt.place.clone(), attempt.changed?))) {
            Some((place, found)) => Err(Error::DirectoryChanged { place, expected: sha256, found }),
            None => Err(Error::GoneEverywhere { sha256, bytes, attempts }),
        }
    }

    /// Writes to `sink` whatever a place has, and says what it is. A recipe that lists the digest pins it from then on.
    pub fn measure(&self, place: &Place, base: &Path, sink: &mut dyn Write) -> Result<Measured, Error> {
        let mut attempts = Vec::new();
        let expected = Expected { sha256: None, bytes: MAX_MEASURED_BYTES };
        match self.ask_place(expected, place, base, &mut attempts)? {
            Some((Verified { mut file, sha256, bytes }, via)) => {
                io::copy(&mut file, sink).map_err(|source| Error::Sink { sha256, source })?;
                tracing::info!(%sha256, bytes, %place, via, "measured");
                Ok(Measured { sha256, bytes, via })
            }
            None => Err(Error::NothingThere { attempts }),
        }
    }

    fn ask_place(
        &self,
        expected: Expected,
        place: &Place,
        base: &Path,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Option<(Verified, Option<String>)>, Error> {
        let mut note = |via: Option<String>, reason: String| {
            attempts.push(Attempt { place: place.to_string(), via, reason, changed: None });
        };
        match place {
            Place::Https { url } => match self.ask_address(expected, &Ask::File(url.clone()))? {
                Ok(file) => return Ok(Some((file, None))),
                Err(why) => note(None, why.reason),
            },
            Place::Path { path } => match self.read_path(expected, base, path)? {
                Ok(file) => return Ok(Some((file, None))),
                Err((reason, changed)) => {
                    attempts.push(Attempt { place: place.to_string(), via: None, reason, changed });
                }
            },
            coordinate => {
                let mirrors = mirror::kind_of(coordinate).map_or(&[][..], |kind| self.config.mirrors_of(kind));
                for base in mirrors {
                    let Some(ask) = mirror::ask(base, coordinate, expected.sha256.as_ref()) else { continue };
                    let via = Some(without_secret(base));
                    match self.ask_address(expected, &ask)? {
                        Ok(file) => return Ok(Some((file, via))),
                        Err(why) => note(via, why.reason),
                    }
                }
                if mirrors.is_empty() {
                    match self.ask_client(expected, coordinate)? {
                        Ok((file, via)) => return Ok(Some((file, Some(via)))),
                        Err(why) => note(why.via, why.reason),
                    }
                }
            }
        }
        Ok(None)
    }

    fn ask_client(&self, expected: Expected, place: &Place) -> Result<Result<(Verified, String), Unavailable>, Error> {
        let left = match clients::download(&self.config, &self.known, place, expected) {
            Ok(left) => left,
            Err(why) => return Ok(Err(why)),
        };
        let via = left.via.clone();
        Ok(self
            .read_file(expected, &left.path)?
            .map(|f| (f, via))
            .map_err(|e| Unavailable { via: Some(left.via), ..e }))
    }

    /// A file of the catalogue, or a directory as it is packed; else the reason, and what a directory was packed to.
    fn read_path(
        &self,
        expected: Expected,
        base: &Path,
        path: &str,
    ) -> Result<Result<Verified, (String, Option<BlobDigest>)>, Error> {
        let refused = |reason: String| Ok(Err((reason, None)));
        let directory = match named(base, path) {
            Ok(Named::File(file)) => return Ok(self.take(expected, file)?.map_err(|why| (why.reason, None))),
            Ok(Named::Directory(directory)) => directory,
            Err(reason) => return refused(reason),
        };
        let mut packed = tempfile::tempfile_in(&self.config.spool).map_err(|e| self.no_room(e))?;
        match directory.pack(&mut packed).and_then(|()| packed.rewind().map_err(NotPacked::Writing)) {
            Ok(()) => {}
            Err(NotPacked::Refused(reason)) => return refused(reason),
            Err(NotPacked::Writing(source)) => return Err(self.no_room(source)),
        }
        match self.take(Expected { sha256: None, bytes: MAX_MEASURED_BYTES }, packed)? {
            Err(why) => refused(why.reason),
            Ok(found) if expected.sha256.is_none_or(|sha256| sha256 == found.sha256) => Ok(Ok(found)),
            Ok(found) => Ok(Err((format!("it is packed to {} today", found.sha256), Some(found.sha256)))),
        }
    }

    fn read_file(&self, expected: Expected, path: &Path) -> Result<Result<Verified, Unavailable>, Error> {
        match File::open(path) {
            Ok(file) if file.metadata().is_ok_and(|m| m.is_file()) => self.take(expected, file),
            Ok(_) => Ok(Err(Unavailable::new("it is not a file".to_owned()))),
            Err(error) => Ok(Err(Unavailable::new(error.to_string()))),
        }
    }

    fn take(&self, expected: Expected, file: File) -> Result<Result<Verified, Unavailable>, Error> {
        match self.keep(expected, Box::new(file)) {
            Ok(file) => Ok(Ok(file)),
            Err(Unread::Reading { reason, .. }) => Ok(Err(Unavailable::new(reason))),
            Err(Unread::Keeping(source)) => Err(self.no_room(source)),
        }
    }

    /// Reads an address, again after a pause if the fault may pass.
    fn ask_address(&self, expected: Expected, ask: &Ask) -> Result<Result<Verified, Unavailable>, Error> {
        let mut pauses = self.config.pauses.iter();
        loop {
            let opened = match ask {
                Ask::File(address) => self.http.open(address),
                Ask::Page { address, file } => self.link(address, file).and_then(|found| self.http.open(&found)),
            };
            let (why, may_pass) = match opened.map(|reader| self.keep(expected, reader)) {
                Ok(Ok(file)) => return Ok(Ok(file)),
                Ok(Err(Unread::Keeping(source))) => return Err(self.no_room(source)),
                Ok(Err(Unread::Reading { reason, may_pass })) => (Unavailable::new(reason), may_pass),
                Err(failed) => (failed.why, failed.may_pass),
            };
            match pauses.next().filter(|_| may_pass) {
                Some(pause) => std::thread::sleep(*pause),
                None => return Ok(Err(why)),
            }
        }
    }

    /// Reads an index page and finds the link to a file.
    fn link(&self, address: &str, file: &str) -> Result<String, crate::http::Failed> {
        let failed = |reason, may_pass| crate::http::Failed { why: Unavailable::new(reason), may_pass };
        let mut page = String::new();
        let reader = self.http.open(address)?;
        let read = reader.take(mirror::MAX_PAGE_BYTES).read_to_string(&mut page);
        read.map_err(|e| failed(format!("its index page cannot be read: {e}"), true))?;
        mirror::link_on(&page, address, file)
            .ok_or_else(|| failed(format!("its index page has no link to `{file}`"), false))
    }

    /// Keeps a stream in a nameless file if it has the expected size and digest.
    fn keep(&self, expected: Expected, reader: Box<dyn Read>) -> Result<Verified, Unread> {
        let reading = |reason, may_pass| Unread::Reading { reason, may_pass };
        let mut file = tempfile::tempfile_in(&self.config.spool).map_err(Unread::Keeping)?;
        let mut reader = reader.take(expected.bytes.saturating_add(1));
        let mut hasher = BlobHasher::new();
        let mut buffer = vec![0; 128 << 10];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(reading(format!("it broke off: {error}"), true)),
            };
            let chunk = buffer.get(..count).unwrap_or_default();
            hasher.update(chunk);
            file.write_all(chunk).map_err(Unread::Keeping)?;
        }
        let (found, bytes) = hasher.finish();
        let most = expected.bytes;
        match expected.sha256 {
            None if bytes > most => {
                return Err(reading(format!("it has more than the {most} bytes of a source"), false));
            }
            None if bytes == 0 => return Err(reading("it is empty".to_owned(), false)),
            None => {}
            Some(_) if bytes > most => return Err(reading(format!("it has more than the {most} bytes listed"), false)),
            Some(_) if bytes < most => return Err(reading(format!("it has {bytes} bytes: expected {most}"), false)),
            Some(sha256) if found != sha256 => return Err(reading(format!("it hashes to {found}"), false)),
            Some(_) => {}
        }
        file.seek(SeekFrom::Start(0)).map_err(Unread::Keeping)?;
        Ok(Verified { file, sha256: found, bytes })
    }

    fn no_room(&self, source: io::Error) -> Error {
        Error::Spool { path: self.config.spool.clone(), source }
    }
}

/// Files of the catalogue first, then coordinates, then addresses; otherwise as written.
fn in_turn(places: &[Place]) -> Vec<&Place> {
    let mut places: Vec<&Place> = places.iter().collect();
    places.sort_by_key(|place| match place {
        Place::Path { .. } => 0,
        Place::Https { .. } | Place::Git { .. } => 2,
        _ => 1,
    });
    places
}

#[cfg(test)]
mod measured;
#[cfg(test)]
mod tests;
