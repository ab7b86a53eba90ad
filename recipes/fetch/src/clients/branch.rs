//! A branch of a git repository that is followed: which commit it is at, and the files of a commit.
//!
//! ```text
//! git+https://host/path.git#branch:directory     over https: alone
//! git+file:///srv/path.git#branch:directory      a repository on this machine
//! DIR/repository/                                what was fetched: a bare repository of our own
//! ```
//! Nothing of the repository is run or converted: there is no work tree, so no hook, filter, attribute or submodule of it has a
//! part in anything. Its files are listed by `git ls-tree` and read by `git cat-file`, and written here, regular files alone,
//! with limits on how many and how large. The process's own `GIT_*` variables are not handed down; the machine's git
//! configuration (proxies, certificates, logins) applies.

use super::run::{Given, Run};
use crate::{Error, FetchConfig, error::shown, fetcher::Unavailable};
use anneal_content::CommitId;
use anneal_recipe::Place;
use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// The most files of a commit that are taken.
pub const SNAPSHOT_FILES_MAX: usize = 100_000;
/// The most bytes of them together.
pub const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;
/// The largest recipe, as for files of a directory.
const RECIPE_BYTES_MAX: u64 = 1 << 20;
/// Room for the history of the branch.
const HISTORY_BYTES: u64 = 4 << 30;
/// How long a look at the branch may take; what is fetched has the patience of other downloads.
const LOOK_PATIENCE: Duration = Duration::from_secs(60);
/// The branch in our own repository.
const FOLLOWED: &str = "refs/heads/followed";
/// Where a catalogue's lock of the build root is, in its directory or beside it.
const LOCK: &str = "vendor/build-root.lock";
/// How many things that are never taken one refusal names.
const NAMED_MAX: usize = 20;

/// What every call begins with.
const SETTINGS: [&str; 18] = [
    "-c",
    "protocol.allow=never",
    "-c",
    "protocol.https.allow=always",
    "-c",
    "protocol.file.allow=always",
    "-c",
    "gc.auto=0",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "transfer.bundleURI=false",
    "-c",
    "http.lowSpeedLimit=1000",
    "-c",
    "http.lowSpeedTime=60",
];

/// A branch, and where in it a catalogue is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchPlace {
    /// The repository, as git takes it: it begins with `https://` or `file:///`.
    pub repository: String,
    /// The branch.
    pub branch: String,
    /// Where in the repository packages/ and images/ are; empty: at its top.
    pub directory: String,
}

impl fmt::Display for BranchPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "git+{}#{}", self.repository, self.branch)?;
        if self.directory.is_empty() { Ok(()) } else { write!(f, ":{}", self.directory) }
    }
}

impl FromStr for BranchPlace {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason| Error::BranchPlace { found: shown(text, 200), reason };
        let rest = text.strip_prefix("git+").ok_or_else(|| wrong("it does not begin with `git+`"))?;
        let (repository, branch) = rest.split_once('#').ok_or_else(|| wrong("it has no `#branch`"))?;
        let (branch, directory) = branch.split_once(':').unwrap_or((branch, ""));
        let place = Self {
            repository: repository.to_owned(),
            branch: branch.to_owned(),
            directory: directory.trim_matches('/').to_owned(),
        };
        place.wrong().map_or(Ok(place), |reason| Err(wrong(reason)))
    }
}

impl BranchPlace {
    fn wrong(&self) -> Option<&'static str> {
        let url = &self.repository;
        let local = url.strip_prefix("file://").map(|path| {
            path.starts_with('/') && path.len() < 4096 && !path.chars().any(|c| c.is_control() || "%?#".contains(c))
        });
        // An address is right where that of a source at a commit is.
        let https = || format!("git+{url}@{}", "0".repeat(40)).parse::<Place>().is_ok();
        if !local.unwrap_or_else(|| url.starts_with("https://") && https()) {
            return Some(
                "the repository is no address that begins with `https://`, and no `file://` with a whole path",
            );
        }
        if !self.branch.split('/').all(|part| plain(part) && !part.ends_with(".lock") && !part.ends_with('.'))
            || self.branch.contains("..")
        {
            return Some("the branch is no name of a branch");
        }
        let inside = self.directory.is_empty() || self.directory.split('/').all(plain);
        (!inside).then_some("the directory is no plain path inside of the repository")
    }

    /// The same repository, branch and directory have the same key, which is good for a file's name.
    pub fn key(&self) -> String {
        anneal_content::BlobDigest::of(self.to_string().as_bytes()).hex().chars().take(16).collect()
    }

    /// A path of the catalogue, as the repository has it.
    pub fn path_of(&self, path: &str) -> String {
        if self.directory.is_empty() { path.to_owned() } else { format!("{}/{path}", self.directory) }
    }

    /// Where the lock of the build root would be.
    fn locks(&self) -> Vec<String> {
        let parent = self.directory.rsplit_once('/').map(|(parent, _)| format!("{parent}/{LOCK}"));
        let beside = (!self.directory.is_empty()).then(|| parent.unwrap_or_else(|| LOCK.to_owned()));
        beside.into_iter().collect()
    }
}

fn plain(part: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._+-@".contains(&b);
    (1..=255).contains(&part.len()) && part.bytes().all(allowed) && !part.starts_with(['.', '-'])
}

/// What was fetched of a branch.
pub struct Mirror<'m> {
    /// The machine's programs, and how long they may take.
    pub config: &'m FetchConfig,
    /// The branch.
    pub place: &'m BranchPlace,
    /// A directory that is the mirror's own.
    pub dir: &'m Path,
    /// Whether to give up: the daemon ends.
    pub stop: &'m dyn Fn() -> bool,
}

impl fmt::Debug for Mirror<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("place", self.place).field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A file of a commit.
struct Listed {
    path: String,
    blob: String,
    size: u64,
    executable: bool,
}

impl Mirror<'_> {
    /// The commit that the branch is at. Asks the repository, and fetches nothing.
    pub fn head(&self) -> Result<CommitId, Error> {
        fs::create_dir_all(self.dir).map_err(|e| self.unable(format!("no directory for it: {e}")))?;
        let branch = format!("refs/heads/{}", self.place.branch);
        let words = ["ls-remote", "--quiet", "--", &self.place.repository, &branch];
        let told = self.git(self.dir, &words, None, LOOK_PATIENCE).map_err(|e| self.unable(e.reason))?;
        let of_branch =
            |line: &str| line.split_once('\t').filter(|(_, name)| *name == branch).map(|(id, _)| id.to_owned());
        let id = told.lines().find_map(of_branch);
        let id = id.ok_or_else(|| self.unable(format!("the repository has no branch `{}`", self.place.branch)))?;
        CommitId::new(id).map_err(|e| self.unable(e.to_string()))
    }

    /// Fetches the branch, and says which commit it is at by now.
    pub fn fetch(&self, head: &CommitId) -> Result<CommitId, Error> {
        if self.has(head) {
            return Ok(head.clone());
        }
        let first = match self.fetch_into(head) {
            Ok(found) => return Ok(found),
            Err(first) => first,
        };
        if (self.stop)() || !self.repository().exists() {
            return Err(self.unable(first.reason));
        }
        // The branch could be looked at a moment ago: what was fetched before may be damaged, or locked by a run that was killed.
        tracing::warn!("{} is fetched anew, as a whole: {}", self.place, first.reason);
        fs::remove_dir_all(self.repository()).map_err(|e| self.unable(format!("cannot begin anew: {e}")))?;
        self.fetch_into(head).map_err(|e| self.unable(e.reason))
    }

    fn fetch_into(&self, head: &CommitId) -> Result<CommitId, Unavailable> {
        let repository = self.repository();
        if !repository.join("HEAD").exists() {
            fs::create_dir_all(&repository)
                .map_err(|e| Unavailable::new(format!("no directory for the repository: {e}")))?;
            let format = if head.as_str().len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
            self.ours(&["init", "--quiet", "--bare", "--template=", format, "."])?;
        }
        let refs = format!("+refs/heads/{}:{FOLLOWED}", self.place.branch);
        let fetch = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"];
        let rest = ["--no-auto-maintenance", "--update-head-ok", "--", &self.place.repository, &refs];
        self.ours(&[&fetch[..], &rest[..]].concat())?;
        let found = self.ours(&["rev-parse", "--verify", "--quiet", &format!("{FOLLOWED}^{{commit}}")])?;
        CommitId::new(found.trim()).map_err(|e| Unavailable::new(e.to_string()))
    }

    /// Whether a commit was fetched.
    pub fn has(&self, commit: &CommitId) -> bool {
        let object = format!("{commit}^{{commit}}");
        self.repository().join("HEAD").exists() && self.ours(&["rev-parse", "--verify", "--quiet", &object]).is_ok()
    }

    /// Whether one commit has another among its ancestors. One that is not known any more is no ancestor.
    pub fn descends(&self, new: &CommitId, old: &CommitId) -> Result<bool, Error> {
        if !self.has(old) {
            return Ok(false);
        }
        let range = format!("{new}..{old}");
        let count =
            self.ours(&["rev-list", "--count", "--end-of-options", &range, "--"]).map_err(|e| self.unable(e.reason))?;
        Ok(count.trim() == "0")
    }

    /// Writes the catalogue of a commit, and the lock of the build root beside it, to a directory that is not there yet: in
    /// whole, on the disk, or not at all.
    pub fn write(&self, commit: &CommitId, to: &Path) -> Result<(), Error> {
        let files = self.list(commit)?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::CommitFile { commit: commit.clone(), path, source }
        };
        let partial = to.with_extension("partial");
        for old in [&partial, &to.to_owned()] {
            if old.exists() {
                fs::remove_dir_all(old).map_err(failed(old))?;
            }
        }
        fs::create_dir_all(&partial).map_err(failed(&partial))?;
        let names: String = files.iter().map(|file| format!("{}\n", file.blob)).collect();
        let asked = partial.join(".asked");
        fs::write(&asked, names).map_err(failed(&asked))?;
        let input = fs::File::open(&asked).map_err(failed(&asked))?;
        let cwd = self.repository();
        self.git(&cwd, &["cat-file", "--batch"], Some(input), self.config.patience)
            .map_err(|e| self.unable(e.reason))?;
        let output = self.run(&cwd, self.config.patience).output();
        let mut blobs = BufReader::new(fs::File::open(&output).map_err(failed(&output))?);
        fs::remove_file(&asked).map_err(failed(&asked))?;
        for file in &files {
            let path = partial.join(&file.path);
            next_blob(&mut blobs, file, &path).map_err(failed(&path))?;
        }
        let _ = fs::remove_file(&output);
        sync_tree(&partial).map_err(failed(&partial))?;
        fs::rename(&partial, to).map_err(failed(to))?;
        to.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all()).map_err(failed(to))
    }

    /// The files that are taken of a commit; an error that names what never is.
    fn list(&self, commit: &CommitId) -> Result<Vec<Listed>, Error> {
        let refused = |reason: String| Error::CommitRefused { commit: commit.clone(), reason };
        let locks = self.place.locks();
        let mut words = vec!["ls-tree", "-r", "-z", "--long", "--full-tree", commit.as_str(), "--"];
        if !self.place.directory.is_empty() {
            words.push(&self.place.directory);
            words.extend(locks.iter().map(String::as_str));
        }
        let told = self.ours(&words).map_err(|e| self.unable(e.reason))?;
        if !(told.is_empty() || told.ends_with('\0')) {
            return Err(refused(format!(
                "its list of files is too long; at most {SNAPSHOT_FILES_MAX} files are taken"
            )));
        }
        let (mut files, mut never) = (Vec::new(), Vec::new());
        for entry in told.split_terminator('\0') {
            match listed(entry) {
                Ok(file) => files.push(file),
                Err(reason) => never.push(reason),
            }
        }
        if !never.is_empty() {
            let more = never.len().saturating_sub(NAMED_MAX);
            never.truncate(NAMED_MAX);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            return Err(refused(format!("{}{more}", never.join("; "))));
        }
        if !files.iter().any(|file| file.path.starts_with(&self.place.path_of("packages/"))) {
            let packages = self.place.path_of("packages/");
            return Err(refused(format!(
                "it has no recipes in `{packages}`; name the directory that has them: `#branch:directory`"
            )));
        }
        let bytes = files.iter().map(|file| file.size).fold(0, u64::saturating_add);
        if files.len() > SNAPSHOT_FILES_MAX || bytes > SNAPSHOT_BYTES_MAX {
            let count = files.len();
            return Err(refused(format!(
                "its catalogue has {count} files of {bytes} bytes together; at most {SNAPSHOT_FILES_MAX} files of \
                 {SNAPSHOT_BYTES_MAX} bytes are taken"
            )));
        }
        match only_once(&files) {
            Some(path) => Err(refused(format!("`{path}` is a file and a directory"))),
            None => Ok(files),
        }
    }

    fn repository(&self) -> PathBuf {
        self.dir.join("repository")
    }

    fn unable(&self, reason: String) -> Error {
        Error::Branch { place: self.place.to_string(), reason }
    }

    /// A call in our own repository.
    fn ours(&self, words: &[&str]) -> Result<String, Unavailable> {
        self.git(&self.repository(), words, None, self.config.patience)
    }

    fn run<'r>(&'r self, cwd: &'r Path, patience: Duration) -> Run<'r> {
        Run {
            program: &self.config.clients.git,
            instead: "name a directory as the catalogue",
            dir: self.dir,
            cwd: Some(cwd),
            limit: HISTORY_BYTES.saturating_add(SNAPSHOT_BYTES_MAX.saturating_mul(3)),
            patience,
        }
    }

    fn git(
        &self,
        cwd: &Path,
        words: &[&str],
        input: Option<fs::File>,
        patience: Duration,
    ) -> Result<String, Unavailable> {
        let above = cwd.parent().unwrap_or(cwd).to_string_lossy();
        // A repository around the state directory has no say.
        let mut environment = vec![("GIT_TERMINAL_PROMPT", "0"), ("GIT_CEILING_DIRECTORIES", above.as_ref())];
        if cwd != self.dir {
            environment.push(("GIT_DIR", "."));
        }
        let given = Given { input, without: Some("GIT_"), stop: Some(self.stop) };
        self.run(cwd, patience).answer_given(SETTINGS.iter().chain(words).copied(), &environment, given)
    }
}

/// One entry of a tree: `MODE TYPE OBJECT SIZE<tab>PATH`. An error says why it is never taken.
fn listed(entry: &str) -> Result<Listed, String> {
    let (head, path) = entry.split_once('\t').unwrap_or((entry, ""));
    let named = shown(path, 200);
    let safe = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control);
    if path.len() > 2048 || !path.split('/').all(safe) || path.contains('\u{fffd}') {
        return Err(format!("`{named}` is no name that is taken for a file"));
    }
    let mut fields = head.split_ascii_whitespace();
    let (mode, _, blob, size) = (fields.next(), fields.next(), fields.next(), fields.next());
    let executable = match mode {
        Some("100644" | "100664") => false,
        Some("100755") => true,
        Some("120000") => return Err(format!("`{named}` is a symbolic link; put a file in its place")),
        Some("160000") => return Err(format!("`{named}` is a submodule; submodules are not followed")),
        _ => return Err(format!("`{named}` is no file")),
    };
    let (Some(blob), Some(Ok(size))) = (blob, size.map(str::parse::<u64>)) else {
        return Err(format!("`{named}` has no size"));
    };
    if path.ends_with(".toml") && size > RECIPE_BYTES_MAX {
        return Err(format!("`{named}` has {size} bytes; a recipe has at most {RECIPE_BYTES_MAX}"));
    }
    Ok(Listed { path: path.to_owned(), blob: blob.to_owned(), size, executable })
}

/// A path that stands twice, or beneath a file: a tree that no honest git made.
fn only_once(files: &[Listed]) -> Option<&str> {
    let mut known: BTreeMap<&str, bool> = BTreeMap::new();
    for file in files {
        if known.insert(&file.path, true).is_some() {
            return Some(&file.path);
        }
        let parents = file.path.match_indices('/').filter_map(|(at, _)| file.path.get(..at));
        for parent in parents {
            if *known.entry(parent).or_insert(false) {
                return Some(parent);
            }
        }
    }
    None
}

/// Copies what `cat-file --batch` says next: `OBJECT blob SIZE<newline>CONTENT<newline>`.
fn next_blob(blobs: &mut impl BufRead, file: &Listed, path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let wrong = |found: &str| {
        let (blob, size, found) = (&file.blob, file.size, shown(found, 200));
        std::io::Error::other(format!("git was asked for blob {blob} of {size} bytes and said `{found}`"))
    };
    let mut head = String::new();
    blobs.by_ref().take(512).read_line(&mut head)?;
    if head.trim_end() != format!("{} blob {}", file.blob, file.size) {
        return Err(wrong(head.trim_end()));
    }
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mode = if file.executable { 0o755 } else { 0o644 };
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let copied = std::io::copy(&mut blobs.by_ref().take(file.size), &mut out)?;
    let mut end = [0];
    blobs.read_exact(&mut end)?;
    if copied != file.size || end != *b"\n" {
        return Err(wrong("something else"));
    }
    out.flush()
}

/// Everything that was written is on the disk.
fn sync_tree(dir: &Path) -> std::io::Result<()> {
    let dir = fs::File::open(dir)?;
    nix::unistd::syncfs(&dir).map_err(std::io::Error::from)
}

#[cfg(test)]
mod tests;
