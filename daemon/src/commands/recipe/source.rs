//! A source that no recipe lists yet: fetched as a build would fetch it, measured, and looked into.

use crate::{
    builder::fetch_config,
    error::{Error, Result, io},
    output::{Output, human_bytes, printable},
    settings::Settings,
};
use anneal_content::{BlobDigest, EntryName};
use anneal_fetch::{Fetcher, Measured, look_into, texts_in};
use anneal_recipe::{Date, Place, Source, SourceFiles};
use std::{collections::BTreeMap, path::Path};

/// Fetches what has no digest yet.
pub(super) struct Measuring<'a> {
    fetcher: Fetcher,
    catalog: &'a Path,
    output: &'a Output,
}

/// What a place had.
pub(super) struct Taken {
    pub(super) sha256: BlobDigest,
    pub(super) bytes: u64,
    /// What is in it, or why it can't be looked into.
    pub(super) files: std::result::Result<SourceFiles, anneal_fetch::Error>,
}

impl Taken {
    pub(super) fn newest_secs(&self) -> Option<u64> {
        self.files.as_ref().ok().and_then(|files| files.newest_secs)
    }
}

impl<'a> Measuring<'a> {
    pub(super) fn new(settings: &'a Settings, output: &'a Output) -> Result<Self> {
        // The state directory need not be there, and may be a daemon's: downloads pass through the temporary one.
        Ok(Self { fetcher: Fetcher::new(fetch_config(settings)?), catalog: settings.catalog_dir()?, output })
    }

    /// The texts of some files of a source that a recipe lists already.
    pub(super) fn texts_in(
        &self,
        source: &Source,
        bytes_max: u64,
        keep: &dyn Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, String>> {
        self.output.note(&printable(&format!("fetching {}", source.file)));
        let spool = &self.fetcher.config().spool;
        let mut file = tempfile::tempfile_in(spool).map_err(io("write in", spool))?;
        self.fetcher.fetch(&source.into(), self.catalog, &mut file)?;
        Ok(texts_in(source.file.as_str(), &mut file, bytes_max, keep)?)
    }

    /// Whether a place is a directory of code, which is packed.
    pub(super) fn is_directory(&self, place: &Place) -> bool {
        matches!(place, Place::Path { path } if anneal_fetch::is_directory(self.catalog, path))
    }

    /// What a place has, without looking into it.
    pub(super) fn measure(&self, place: &Place) -> std::result::Result<Measured, anneal_fetch::Error> {
        self.fetcher.measure(place, self.catalog, &mut std::io::sink())
    }

    pub(super) fn take(&self, place: &Place) -> Result<Taken> {
        self.output.note(&printable(&format!("fetching {place}")));
        let spool = &self.fetcher.config().spool;
        let mut file = tempfile::tempfile_in(spool).map_err(io("write in", spool))?;
        let found = self.fetcher.measure(place, self.catalog, &mut file)?;
        let via = found.via.map(|via| format!(", through {via}")).unwrap_or_default();
        self.output.note(&printable(&format!("  {}{via}", human_bytes(found.bytes))));
        let files = look_into(&place.to_string(), &mut file);
        Ok(Taken { sha256: found.sha256, bytes: found.bytes, files })
    }
}

/// What a place's file is called under /src; a directory's tar is called after it, where it has a name.
pub(super) fn file_name(place: &Place, is_directory: bool) -> Result<EntryName> {
    let last = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let name = match place {
        Place::Https { url } => last(url.split(['?', '#']).next().unwrap_or(url)),
        Place::Path { path } if is_directory => match last(path).as_str() {
            "." | ".." => "source.tar".to_owned(),
            name => format!("{name}.tar"),
        },
        Place::Path { path } => last(path),
        Place::Debian { pool } | Place::DebianSecurity { pool } => last(pool),
        Place::Crate { name, version } => format!("{name}-{version}.tar.gz"),
        Place::Npm { name, version } => format!("{}-{version}.tgz", last(name)),
        Place::Pypi { file, .. } => file.clone(),
        Place::Git { url, commit } => {
            let name = last(url.trim_end_matches('/').trim_end_matches(".git"));
            format!("{name}-{}.tar", commit.get(..12).unwrap_or(commit))
        }
        other => return Err(Error::Input(format!("{other} has no file's name"))),
    };
    Ok(EntryName::new(name)?)
}

/// The day it is, in UTC.
pub(super) fn today() -> Result<Date> {
    let secs = crate::service::now_ms() / 1000;
    Date::of_epoch_secs(secs).ok_or_else(|| Error::Input("this machine's clock shows no day since 1980".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_as_its_place_calls_it() {
        for (place, name) in [
            ("https://a.example/x/app-1.0.tar.gz?raw=1", "app-1.0.tar.gz"),
            ("path:vendor/app.tar", "app.tar"),
            ("debian:pool/main/z/zlib/zlib_1.2.13.orig.tar.gz", "zlib_1.2.13.orig.tar.gz"),
            ("crate:app/1.0.0", "app-1.0.0.tar.gz"),
            ("npm:@team/app/1.0.0", "app-1.0.0.tgz"),
            ("pypi:app/1.0/app-1.0-py3-none-any.whl", "app-1.0-py3-none-any.whl"),
            ("git+https://a.example/team/app.git@0123456789abcdef0123456789abcdef01234567", "app-0123456789ab.tar"),
        ] {
            assert_eq!(file_name(&place.parse().unwrap(), false).unwrap().as_str(), name);
        }
        assert!(file_name(&"https://a.example/x/".parse().unwrap(), false).is_err());
        for (place, name) in [("path:code/app", "app.tar"), ("path:..", "source.tar"), ("path:.", "source.tar")] {
            assert_eq!(file_name(&place.parse().unwrap(), true).unwrap().as_str(), name);
        }
    }
}
