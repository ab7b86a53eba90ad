//! Bytes by digest, from whichever place still has them.
//!
//! Places are asked in turn: files of the catalogue, then coordinates through a mirror or the machine's own
//! client, then addresses. What comes is kept in a nameless file until its size and digest are right;
//! only then does the caller see a byte of it, so a wrong or half file leaves nothing behind.

use crate::{
    Error, FetchConfig,
    clients::{self, Known},
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

/// A verified file without a name.
struct Verified(File);

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
        for place in in_turn(places) {
            match self.ask_place(wanted, place, base, &mut attempts)? {
                Some((Verified(mut file), via)) => {
                    io::copy(&mut file, sink).map_err(|source| Error::Sink { sha256, source })?;
                    tracing::info!(%sha256, bytes, %place, via, "fetched");
                    return Ok(Fetched { place: place.clone(), via });
                }
                None => tracing::debug!(%sha256, %place, "a place does not have a source"),
            }
        }
        Err(Error::GoneEverywhere { sha256, bytes, attempts })
    }

    fn ask_place(
        &self,
        wanted: &Wanted<'_>,
        place: &Place,
        base: &Path,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Option<(Verified, Option<String>)>, Error> {
        let mut note = |via: Option<String>, reason: String| {
            attempts.push(Attempt { place: place.to_string(), via, reason });
        };
        match place {
            Place::Https { url } => match self.ask_address(wanted, &Ask::File(url.clone()))? {
                Ok(file) => return Ok(Some((file, None))),
                Err(why) => note(None, why.reason),
            },
            Place::Path { path } => match self.read_file(wanted, &base.join(path))? {
                Ok(file) => return Ok(Some((file, None))),
                Err(why) => note(None, why.reason),
            },
            coordinate => {
                let mirrors = mirror::kind_of(coordinate).map_or(&[][..], |kind| self.config.mirrors_of(kind));
                for base in mirrors {
                    let Some(ask) = mirror::ask(base, coordinate, &wanted.sha256.hex()) else { continue };
                    let via = Some(without_secret(base));
                    match self.ask_address(wanted, &ask)? {
                        Ok(file) => return Ok(Some((file, via))),
                        Err(why) => note(via, why.reason),
                    }
                }
                if mirrors.is_empty() {
                    match self.ask_client(wanted, coordinate)? {
                        Ok((file, via)) => return Ok(Some((file, Some(via)))),
                        Err(why) => note(why.via, why.reason),
                    }
                }
            }
        }
        Ok(None)
    }

    fn ask_client(&self, wanted: &Wanted<'_>, place: &Place) -> Result<Result<(Verified, String), Unavailable>, Error> {
        let what = (wanted.sha256.hex(), wanted.bytes);
        let left = match clients::download(&self.config, &self.known, place, (&what.0, what.1)) {
            Ok(left) => left,
            Err(why) => return Ok(Err(why)),
        };
        let via = left.via.clone();
        Ok(self.read_file(wanted, &left.path)?.map(|f| (f, via)).map_err(|e| Unavailable { via: Some(left.via), ..e }))
    }

    fn read_file(&self, wanted: &Wanted<'_>, path: &Path) -> Result<Result<Verified, Unavailable>, Error> {
        let read = match File::open(path) {
            Ok(file) if file.metadata().is_ok_and(|m| m.is_file()) => self.keep(wanted, Box::new(file)),
            Ok(_) => return Ok(Err(Unavailable::new("it is not a file".to_owned()))),
            Err(error) => return Ok(Err(Unavailable::new(error.to_string()))),
        };
        match read {
            Ok(file) => Ok(Ok(file)),
            Err(Unread::Reading { reason, .. }) => Ok(Err(Unavailable::new(reason))),
            Err(Unread::Keeping(source)) => Err(self.no_room(source)),
        }
    }

    /// Reads an address, again after a pause if the fault may pass.
    fn ask_address(&self, wanted: &Wanted<'_>, ask: &Ask) -> Result<Result<Verified, Unavailable>, Error> {
        let mut pauses = self.config.pauses.iter();
        loop {
            let opened = match ask {
                Ask::File(address) => self.http.open(address),
                Ask::Page { address, file } => self.link(address, file).and_then(|found| self.http.open(&found)),
            };
            let (why, may_pass) = match opened.map(|reader| self.keep(wanted, reader)) {
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

    /// Keeps a stream in a nameless file if it has the wanted size and digest.
    fn keep(&self, wanted: &Wanted<'_>, reader: Box<dyn Read>) -> Result<Verified, Unread> {
        let reading = |reason, may_pass| Unread::Reading { reason, may_pass };
        let mut file = tempfile::tempfile_in(&self.config.spool).map_err(Unread::Keeping)?;
        let mut reader = reader.take(wanted.bytes.saturating_add(1));
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
        if bytes > wanted.bytes {
            return Err(reading(format!("it has more than the {} bytes listed", wanted.bytes), false));
        }
        if bytes < wanted.bytes {
            return Err(reading(format!("it has {bytes} bytes: expected {}", wanted.bytes), false));
        }
        if found != wanted.sha256 {
            return Err(reading(format!("it hashes to {found}"), false));
        }
        file.seek(SeekFrom::Start(0)).map_err(Unread::Keeping)?;
        Ok(Verified(file))
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
        Place::Https { .. } => 2,
        _ => 1,
    });
    places
}

#[cfg(test)]
mod tests;
