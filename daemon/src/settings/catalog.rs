//! Where the catalogue is: a directory, or a branch of a git repository that the daemon follows.
//!
//! ```toml
//! catalog = "/etc/anneal/recipes"
//! catalog = "git+https://host/path.git#branch:directory"
//! catalog = { git = "https://host/path.git", branch = "main", directory = "recipes" }   # or git = "/srv/path.git"
//! ```
//! Of a branch, the newest good commit is written beneath the state directory, and read there like any directory:
//!
//! ```text
//! STATE/catalog/KEY/repository/         what was fetched: a bare repository
//!                   commits/COMMIT/     the catalogue of a commit, as the repository has it
//!                   current             a link to the commit that is in force
//! ```

use super::Settings;
use crate::error::{Error, Result, io};
use anneal_content::CommitId;
use anneal_fetch::BranchPlace;
use serde::Deserialize;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// As the settings write it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "a directory, `git+https://host/path#branch:directory`, or { git, branch, directory }")]
pub(super) enum Written {
    /// A directory, or a branch in one text.
    At(PathBuf),
    /// A branch.
    Branch(Table),
}

/// A branch in the configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    git: String,
    branch: String,
    directory: Option<String>,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(path) => write!(f, "{}", path.display()),
            Self::Branch(Table { git, branch, directory }) => {
                let scheme = if git.starts_with('/') { "file://" } else { "" };
                write!(f, "git+{scheme}{git}#{branch}")?;
                directory.as_ref().map_or(Ok(()), |directory| write!(f, ":{directory}"))
            }
        }
    }
}

impl Written {
    /// The directory that the catalogue is read from, and the branch that fills it.
    pub(super) fn resolved(self, state: &Path, poll_seconds: u64) -> Result<(Option<PathBuf>, Option<Follow>)> {
        let text = self.to_string();
        match self {
            Self::At(path) if !text.starts_with("git+") => Ok((Some(path), None)),
            _ => {
                let place: BranchPlace = text.parse()?;
                let home = state.join("catalog").join(place.key());
                let follow = Follow { place, home, poll_seconds };
                Ok((Some(follow.in_force()), Some(follow)))
            }
        }
    }
}

/// A branch that is followed.
#[derive(Debug, Clone)]
pub(crate) struct Follow {
    /// It.
    pub(crate) place: BranchPlace,
    /// Where what was fetched of it is kept.
    pub(crate) home: PathBuf,
    /// How often it is looked at; 0: only when it is asked for.
    pub(crate) poll_seconds: u64,
}

impl Follow {
    /// The catalogue of the commit that is in force.
    fn in_force(&self) -> PathBuf {
        self.within(&self.home.join("current"))
    }

    /// The catalogue in what was written of a commit.
    pub(crate) fn within(&self, written: &Path) -> PathBuf {
        if self.place.directory.is_empty() { written.to_owned() } else { written.join(&self.place.directory) }
    }

    /// Where a commit is written to.
    pub(crate) fn written(&self, commit: &CommitId) -> PathBuf {
        self.home.join("commits").join(commit.as_str())
    }

    /// The commit that is in force, if one was taken yet.
    pub(crate) fn commit(&self) -> Option<CommitId> {
        let target = std::fs::read_link(self.home.join("current")).ok()?;
        CommitId::new(target.file_name()?.to_str()?).ok()
    }

    /// From now on this commit is in force.
    pub(crate) fn put_in_force(&self, commit: &CommitId) -> Result<()> {
        let (link, fresh) = (self.home.join("current"), self.home.join("current.new"));
        match std::fs::remove_file(&fresh) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io("remove", &fresh)(e)),
            _ => {}
        }
        std::os::unix::fs::symlink(Path::new("commits").join(commit.as_str()), &fresh).map_err(io("make", &fresh))?;
        std::fs::rename(&fresh, &link).map_err(io("replace", &link))?;
        std::fs::File::open(&self.home).and_then(|dir| dir.sync_all()).map_err(io("sync", &self.home))
    }
}

/// The lock of the build root in a catalogue or beside it.
pub(super) fn lock_of(catalog: &Path) -> Option<PathBuf> {
    let inside = catalog.join("vendor/build-root.lock");
    let beside = catalog.parent().map(|dir| dir.join("vendor/build-root.lock"));
    [Some(inside), beside].into_iter().flatten().find(|path| path.exists())
}

impl Settings {
    /// The catalogue's directory, or an error that says how to name one.
    pub(crate) fn catalog_dir(&self) -> Result<&Path> {
        let dir = self.catalog.as_deref().ok_or_else(|| {
            Error::Input("no catalogue: there is no anneal.toml and no recipes/ here or above; name one with --catalog DIR, or begin one with \
                 `anneal init`".into())
        })?;
        if let Some(follow) =
            self.follow.as_ref().filter(|follow| dir == follow.in_force() && follow.commit().is_none())
        {
            let (place, state) = (&follow.place, self.state.display());
            return Err(Error::Input(format!(
                "no commit of {place} was taken yet in {state}; start the daemon, which does"
            )));
        }
        Ok(dir)
    }

    /// The catalogue's directory, for a command that changes recipes.
    pub(crate) fn own_catalog_dir(&self) -> Result<&Path> {
        let dir = self.catalog_dir()?;
        if let Some(follow) = self.follow.as_ref().filter(|follow| dir == follow.in_force()) {
            let place = &follow.place;
            return Err(Error::Input(format!(
                "the catalogue is {place}, which the daemon reads and nobody writes: change recipes in a clone of your own \
                 (--catalog DIR names it), and push them"
            )));
        }
        Ok(dir)
    }

    /// The lock of the build root: the one that is named, or what the commit in force has by now.
    pub(crate) fn lock_file(&self) -> Option<PathBuf> {
        self.lock.clone().or_else(|| lock_of(self.catalog.as_deref()?))
    }
}
