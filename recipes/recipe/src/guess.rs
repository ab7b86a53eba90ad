//! A first recipe for a source that nobody has packaged yet: read off its files, with every guess marked as one.
//!
//! What can't be read off is said to be unknown: a licence that isn't recognised becomes `LicenseRef-unknown`, a missing
//! summary a line that asks for one. The draft is a recipe that checks, not one that is finished.

mod terms;

use crate::{Date, Kind, License, Place, format};
use anneal_content::{BlobDigest, EntryName, PackageName, Version};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// How much of a file's head is looked at for what its licence is.
const HEAD_CHARS: usize = 4096;
/// The longest summary that is taken from a source.
const SUMMARY_CHARS_MAX: usize = 120;

/// What is in a source, less the directory that holds all of it.
#[derive(Debug, Clone, Default)]
pub struct SourceFiles {
    /// Every file.
    pub paths: BTreeSet<String>,
    /// The text of those that are telling.
    pub texts: BTreeMap<String, String>,
    /// The directory that held all of it, such as `zlib-1.3.1`; the build leaves it out, too.
    pub directory: Option<String>,
    /// When the newest file was changed, in seconds since 1970.
    pub newest_secs: Option<u64>,
}

/// Whether a file's text is worth reading for a draft: what says how to build, under which terms, and what it is.
pub fn is_telling(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let upper = name.to_ascii_uppercase();
    let terms =
        ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "UNLICENSE"].iter().any(|start| upper.starts_with(start));
    let build = [
        "meson.build",
        "CMakeLists.txt",
        "configure.ac",
        "configure.in",
        "Cargo.toml",
        "go.mod",
        "pyproject.toml",
        "setup.py",
        "setup.cfg",
        "PKG-INFO",
    ];
    let source = [".c", ".h", ".cc", ".cpp"].iter().any(|end| name.ends_with(end));
    match folder {
        "" => terms || build.contains(&name) || source,
        "LICENSES" => true,
        "src" | "lib" => source,
        _ => false,
    }
}

/// What makes a source, in the order in which it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BuildSystem {
    /// A `configure` that is there.
    Configure,
    /// A `configure` that must be made first.
    Autoreconf,
    /// `meson.build`
    Meson,
    /// `CMakeLists.txt`
    Cmake,
    /// `Cargo.toml`
    Cargo,
    /// `go.mod`
    Go,
    /// `pyproject.toml` or `setup.py`
    Python,
    /// A makefile alone.
    Make,
}

impl BuildSystem {
    /// Every one, by the file that shows it.
    const SHOWN_BY: [(&'static str, Self); 12] = [
        ("configure", Self::Configure),
        ("configure.ac", Self::Autoreconf),
        ("configure.in", Self::Autoreconf),
        ("meson.build", Self::Meson),
        ("CMakeLists.txt", Self::Cmake),
        ("Cargo.toml", Self::Cargo),
        ("go.mod", Self::Go),
        ("pyproject.toml", Self::Python),
        ("setup.py", Self::Python),
        ("GNUmakefile", Self::Make),
        ("makefile", Self::Make),
        ("Makefile", Self::Make),
    ];

    /// What these files are made by, and the file that shows it.
    pub fn of(paths: &BTreeSet<String>) -> Option<(Self, &'static str)> {
        Self::SHOWN_BY.into_iter().find(|(file, _)| paths.contains(*file)).map(|(file, system)| (system, file))
    }

    /// A package that must be there, because the build root has nothing of it.
    fn tool(self) -> Option<&'static str> {
        match self {
            Self::Configure | Self::Autoreconf | Self::Make => None,
            Self::Meson => Some("meson"),
            Self::Cmake => Some("cmake"),
            Self::Cargo => Some("rust"),
            Self::Go => Some("go"),
            Self::Python => Some("python"),
        }
    }

    /// Whether it calls a C compiler by the variables of the environment.
    fn compiles_c(self) -> bool {
        !matches!(self, Self::Cargo | Self::Go | Self::Python)
    }

    fn steps(self, name: &str) -> Vec<String> {
        let plain = ["make -j\"$JOBS\"", "make install DESTDIR=\"$OUT\""];
        let steps: Vec<&str> = match self {
            Self::Configure => vec!["./configure --prefix=/usr", plain[0], plain[1]],
            Self::Autoreconf => vec!["autoreconf -fi", "./configure --prefix=/usr", plain[0], plain[1]],
            Self::Make => vec![
                "make -j\"$JOBS\" CC=\"$CC\" CFLAGS=\"$CFLAGS\" LDFLAGS=\"$LDFLAGS\"",
                "make install DESTDIR=\"$OUT\" PREFIX=/usr prefix=/usr",
            ],
            Self::Meson => vec![
                "meson setup /tmp/made --prefix=/usr --buildtype=plain",
                "meson compile -C /tmp/made -j \"$JOBS\"",
                "DESTDIR=\"$OUT\" meson install -C /tmp/made --no-rebuild",
            ],
            Self::Cmake => vec![
                "cmake -S . -B /tmp/made -DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_BUILD_TYPE=None",
                "cmake --build /tmp/made -j \"$JOBS\"",
                "DESTDIR=\"$OUT\" cmake --install /tmp/made",
            ],
            Self::Cargo => {
                let install = format!("install -Dm755 -t \"$OUT/usr/bin\" target/release/{name}");
                return vec!["cargo build --release --offline --locked -j \"$JOBS\"".to_owned(), install];
            }
            Self::Go => {
                return vec![format!("go build -mod=vendor -trimpath -buildvcs=false -o \"$OUT/usr/bin/{name}\" .")];
            }
            Self::Python => {
                vec!["python3 -m pip install --no-index --no-deps --no-build-isolation --root \"$OUT\" --prefix /usr ."]
            }
        };
        steps.into_iter().map(str::to_owned).collect()
    }
}

/// What a draft is made from.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// What the package is to be called.
    pub name: &'a PackageName,
    /// Where the source is.
    pub place: &'a Place,
    /// The file's name, as upstream or the place has it.
    pub file: &'a EntryName,
    /// Its digest.
    pub sha256: BlobDigest,
    /// Its size.
    pub bytes: u64,
    /// What is in it; nothing where it could not be looked into.
    pub files: &'a SourceFiles,
    /// The packages that the catalogue has.
    pub known: &'a BTreeSet<PackageName>,
    /// The day, for a source that doesn't say when it was released.
    pub today: Date,
    /// The version, where it is told and not to be guessed.
    pub version: Option<&'a Version>,
}

/// A recipe's text, and what is to be looked at in it, one line each.
pub fn draft(draft: &Draft<'_>) -> (String, Vec<String>) {
    let mut notes = Vec::new();
    let mut note = |what: &str| {
        notes.push(what.to_owned());
        format!("# {what}\n")
    };
    let (version, why) = version(draft);
    let (license, why_license) = license(draft);
    let mut text = format!("name = \"{}\"\n", draft.name);
    match summary(draft) {
        Some(found) => {
            let _ = write!(text, "{}", note("summary: taken from the source; say in one line what it is"));
            let _ = writeln!(text, "summary = {}", quoted(&found));
        }
        None => {
            let _ = write!(text, "{}", note("summary: the source doesn't say; say in one line what it is"));
            let _ = writeln!(text, "summary = {}", quoted(&format!("The package {}", draft.name)));
        }
    }
    let _ = writeln!(text, "{}license = \"{license}\"", note(&format!("license: {why_license}")));
    let _ = writeln!(text, "{}version = \"{version}\"", note(&format!("version: {why}")));
    text.push_str(&upstream(draft, &mut note));
    let (date, why) = date(draft);
    let _ =
        write!(text, "\n[[release]]\nversion = \"{version}\"\n{}date = \"{date}\"\n", note(&format!("date: {why}")));
    let _ = writeln!(text, "[[release.source]]\nsha256 = \"{}\"\nbytes = {}", draft.sha256.hex(), draft.bytes);
    let _ = writeln!(text, "file = {}", quoted(draft.file.as_str()));
    if draft.files.paths.is_empty() {
        text.push_str(&note("unpack: the source could not be looked into; the build's own tools unpack it"));
    } else if draft.files.directory.is_none() {
        text.push_str(&note("unpack: the source has no directory that holds all of it, and unpacking leaves one out"));
    }
    let _ = writeln!(text, "unpack = \"{}\"\nplaces = [{}]", draft.name, quoted(&draft.place.to_string()));
    text.push_str(&build(draft, &mut note));
    text.push_str("\n# A test that runs what was built:\n# [test]\n# steps = [\"...\"]\n");
    // What doesn't format is shown as it is.
    let formatted = format(Kind::Package, &format!("packages/{}.toml", draft.name), &text);
    (formatted.unwrap_or(text), notes)
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn build(draft: &Draft<'_>, note: &mut dyn FnMut(&str) -> String) -> String {
    let has = |name: &str| draft.known.iter().any(|known| known.as_str() == name);
    let mut text = "\n".to_owned();
    let found = BuildSystem::of(&draft.files.paths);
    let mut requires: Vec<&str> = Vec::new();
    match found {
        Some((system, file)) => {
            text.push_str(&note(&format!("build: guessed from `{file}`; look at what the source says about options")));
            match system.tool() {
                Some(tool) if has(tool) => requires.push(tool),
                Some(tool) => {
                    let line =
                        format!("build.requires: `{tool}` is needed, and no package of the catalogue is called so");
                    text.push_str(&note(&line));
                }
                None => {}
            }
            if matches!(system, BuildSystem::Cargo | BuildSystem::Go | BuildSystem::Python) {
                text.push_str(&note("build: there is no network; list what it depends on as further sources"));
            }
        }
        None => text
            .push_str(&note("build: nothing shows how it is built; these steps only put its files into the package")),
    }
    let compiled = found.is_some_and(|(system, _)| system.compiles_c()) && has("musl");
    if compiled {
        requires.push("musl");
    }
    requires.sort_unstable();
    let list = |names: &[&str]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "[build]");
    if !requires.is_empty() {
        let _ = writeln!(text, "requires = [{}]", list(&requires));
    }
    let steps = match found {
        Some((system, _)) => system.steps(draft.name.as_str()),
        None => vec![format!("mkdir -p \"$OUT/usr/share/{0}\" && cp -R . \"$OUT/usr/share/{0}/\"", draft.name)],
    };
    let steps: Vec<_> = steps.iter().chain(&license_step(draft)).map(|step| literal(step)).collect();
    let _ = writeln!(text, "steps = [{}]", steps.join(", "));
    if found.is_some_and(|(system, _)| system.compiles_c()) {
        let compiler = if compiled { "musl-gcc" } else { "gcc" };
        let _ = writeln!(
            text,
            "\n[build.env]\nCC = \"{compiler}\"\nCFLAGS = \"-O2 -fstack-protector-strong\"\nLDFLAGS = \"-Wl,-z,relro,-z,now\""
        );
    }
    if compiled {
        text.push_str("\n[runtime]\nrequires = [\"musl\"]\n");
    }
    text
}

/// A step as a text that is taken literally, where it may be.
fn literal(step: &str) -> String {
    if step.contains('\'') { quoted(step) } else { format!("'{step}'") }
}

/// Puts the licence's files into the package, where it has some whose names are plain.
fn license_step(draft: &Draft<'_>) -> Option<String> {
    let plain = |path: &&String| path.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    let files: Vec<_> = license_files(draft.files).map(|(path, _)| path).filter(plain).map(String::as_str).collect();
    let into = format!("$OUT/usr/share/licenses/{}", draft.name);
    (!files.is_empty()).then(|| format!("install -Dm644 -t \"{into}\" {}", files.join(" ")))
}

fn license_files(files: &SourceFiles) -> impl Iterator<Item = (&String, &String)> {
    let upper = |path: &str| path.to_ascii_uppercase();
    let of_terms = move |path: &str| {
        let path = upper(path);
        path.starts_with("LICENSES/")
            || ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "UNLICENSE"]
                .iter()
                .any(|s| path.starts_with(s) && !path.contains('/'))
    };
    files.texts.iter().filter(move |(path, _)| of_terms(path))
}

/// The licence, and how that is known.
fn license(draft: &Draft<'_>) -> (String, String) {
    let declared = ["Cargo.toml", "pyproject.toml"].into_iter().find_map(|file| {
        let table: toml::Table = draft.files.texts.get(file)?.parse().ok()?;
        let package = table.get("package").or_else(|| table.get("project"))?;
        let license = package.get("license")?;
        let text = license.as_str().or_else(|| license.get("text")?.as_str())?.replace('/', " OR ");
        text.parse::<License>().ok().map(|license| (license, file))
    });
    if let Some((license, file)) = declared {
        return (license.to_string(), format!("as `{file}` says"));
    }
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut unknown = Vec::new();
    let mut narrower = false;
    for (path, text) in license_files(draft.files) {
        let known = terms::licenses_in(text);
        if known.is_empty() {
            unknown.push(path.as_str());
        }
        for id in known {
            let (id, is_guess) = with_later_version(id, draft.files);
            narrower |= is_guess;
            found.entry(id).or_default().push(path);
        }
    }
    let files = |paths: &[&str]| paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
    if found.is_empty() {
        let why = if unknown.is_empty() {
            "no file of the source says".to_owned()
        } else {
            format!("{} was not recognised", files(&unknown))
        };
        return ("LicenseRef-unknown".to_owned(), format!("unknown: {why}; look, and write an SPDX expression"));
    }
    let ids: Vec<_> = found.keys().map(String::as_str).collect();
    let paths: BTreeSet<_> = found.values().flatten().copied().collect();
    let mut why = format!("guessed from {}", files(&paths.into_iter().collect::<Vec<_>>()));
    if ids.len() > 1 {
        why.push_str("; whether all hold or one may be chosen (`OR`), the source says");
    }
    if narrower {
        why.push_str("; no file says whether a later version may be chosen, so it is taken not to be");
    }
    if !unknown.is_empty() {
        let _ = write!(why, "; {} was not recognised", files(&unknown));
    }
    (ids.join(" AND "), why)
}

/// A GNU licence with what the heads of files say of later versions, and whether that is a guess.
fn with_later_version(id: &str, files: &SourceFiles) -> (String, bool) {
    if !["GPL-", "LGPL-", "AGPL-"].iter().any(|start| id.starts_with(start)) {
        return (id.to_owned(), false);
    }
    let head = |text: &String| text.chars().take(HEAD_CHARS).collect::<String>();
    let sources =
        files.texts.iter().filter(|(path, _)| [".c", ".h", ".cc", ".cpp"].iter().any(|end| path.ends_with(end)));
    let said: BTreeSet<bool> = sources.filter_map(|(_, text)| terms::later_version(&head(text))).collect();
    match (said.contains(&true), said.contains(&false)) {
        (true, false) => (format!("{id}-or-later"), false),
        (_, said) => (format!("{id}-only"), !said),
    }
}

/// The version, and how that is known.
fn version(draft: &Draft<'_>) -> (Version, String) {
    if let Some(version) = draft.version {
        return (version.clone(), "as it was told".to_owned());
    }
    let of_place = match draft.place {
        Place::Crate { version, .. } | Place::Npm { version, .. } | Place::Pypi { version, .. } => {
            Some(version.clone())
        }
        _ => None,
    };
    let directory = draft.files.directory.as_deref().unwrap_or_default();
    let candidates = [
        (of_place, "of the place"),
        (numbers_in(directory), "read off the source's directory"),
        (numbers_in(draft.file.as_str()), "read off the file's name"),
        (declared_version(draft.files), "as the source's build files say"),
    ];
    let found = candidates.into_iter().find_map(|(text, why)| Some((Version::new(text?).ok()?, why.to_owned())));
    found.unwrap_or_else(|| (unknown_version(), "unknown: nothing shows it".to_owned()))
}

/// `0` always is a version.
fn unknown_version() -> Version {
    #[allow(clippy::expect_used, reason = "a digit is a version")]
    Version::new("0").expect("a digit is a version")
}

/// The version in a name such as `zlib-1.3.1.tar.gz` or `tzdata2025b`.
fn numbers_in(name: &str) -> Option<String> {
    let mut stem = name;
    for end in [".gz", ".xz", ".bz2", ".zst", ".tar", ".tgz", ".zip", ".whl", ".crate", ".orig", ".src"] {
        stem = stem.strip_suffix(end).unwrap_or(stem);
    }
    let starts = stem.char_indices().filter(|(at, c)| {
        let before = stem.get(..*at).and_then(|text| text.chars().next_back());
        c.is_ascii_digit() && before.is_none_or(|b| !b.is_ascii_digit() && b != '.')
    });
    let version = |(at, _): (usize, char)| {
        let rest: String =
            stem.get(at..)?.chars().take_while(|c| c.is_ascii_alphanumeric() || ".+~".contains(*c)).collect();
        let rest = rest.trim_end_matches('.').to_owned();
        (rest.contains('.') || rest.len() >= 4).then_some(rest)
    };
    starts.rev().find_map(version)
}

fn declared_version(files: &SourceFiles) -> Option<String> {
    let of_toml = |file: &str| {
        let table: toml::Table = files.texts.get(file)?.parse().ok()?;
        let package = table.get("package").or_else(|| table.get("project"))?;
        Some(package.get("version")?.as_str()?.to_owned())
    };
    let quoted = |file: &str, before: &str| {
        let text = files.texts.get(file)?;
        let rest = text.get(text.find(before)? + before.len()..)?;
        let found = rest
            .split(['\'', '"', '[', ']', ',', '(', ')', ' ', '\n'])
            .find(|word| !word.is_empty() && *word != ":")?;
        found.starts_with(|c: char| c.is_ascii_digit()).then(|| found.to_owned())
    };
    let of_autoconf = || {
        let text = files.texts.get("configure.ac").or_else(|| files.texts.get("configure.in"))?;
        let rest = text.get(text.find("AC_INIT(")? + "AC_INIT(".len()..)?;
        let version = rest.split(')').next()?.split(',').nth(1)?.trim().trim_matches(['[', ']', '"']);
        version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
    };
    of_toml("Cargo.toml")
        .or_else(|| of_toml("pyproject.toml"))
        .or_else(of_autoconf)
        .or_else(|| quoted("meson.build", "version"))
        .or_else(|| quoted("CMakeLists.txt", " VERSION "))
}

/// When it was released, and how that is known.
fn date(draft: &Draft<'_>) -> (Date, String) {
    let newest = draft.files.newest_secs.and_then(Date::of_epoch_secs).filter(|date| *date <= draft.today);
    // Some archives give every file one time that means nothing.
    match newest.filter(|date| *date >= Date::new(1985, 1, 1).unwrap_or(*date)) {
        Some(date) => (date, "of the newest file in the source; write the day of the release".to_owned()),
        None => (draft.today, "today, because the source shows none; write the day of the release".to_owned()),
    }
}

fn summary(draft: &Draft<'_>) -> Option<String> {
    let described = ["Cargo.toml", "pyproject.toml"].into_iter().find_map(|file| {
        let table: toml::Table = draft.files.texts.get(file)?.parse().ok()?;
        let package = table.get("package").or_else(|| table.get("project"))?;
        Some(package.get("description")?.as_str()?.to_owned())
    });
    let line = described?.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.trim_end_matches('.').chars().filter(|c| !c.is_control()).take(SUMMARY_CHARS_MAX).collect();
    let line = line.trim().to_owned();
    (!line.is_empty()).then_some(line)
}

/// Who it is upstream, as far as its place says.
fn upstream(draft: &Draft<'_>, note: &mut dyn FnMut(&str) -> String) -> String {
    let lines = match draft.place {
        Place::Crate { name, .. } => {
            format!("purl = \"pkg:cargo/{name}\"\nnames = [{}]\n", quoted(&format!("crates.io:{name}")))
        }
        Place::Npm { name, .. } => {
            format!("purl = \"pkg:npm/{}\"\nnames = [{}]\n", name.replace('@', "%40"), quoted(&format!("npm:{name}")))
        }
        Place::Pypi { name, .. } => {
            format!("purl = \"pkg:pypi/{name}\"\nnames = [{}]\n", quoted(&format!("PyPI:{name}")))
        }
        Place::Debian { pool } | Place::DebianSecurity { pool } => match pool.rsplit('/').nth(1) {
            Some(name) => {
                format!("purl = \"pkg:generic/{}\"\nnames = [{}]\n", draft.name, quoted(&format!("Debian:{name}")))
            }
            None => String::new(),
        },
        _ => format!("purl = \"pkg:generic/{}\"\n", draft.name),
    };
    let why = note("upstream: guessed from the name and the place; advisories are matched by it");
    format!("\n{why}[upstream]\n{lines}")
}

#[cfg(test)]
mod tests;
