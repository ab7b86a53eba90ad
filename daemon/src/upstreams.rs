//! A team's own catalogue over others: `anneal.toml` beside its `packages/` and `images/`.
//!
//! ```toml
//! [[upstream]]
//! name = "anneal"                          # what `replaces` in a recipe calls it
//! place = "git+https://example.org/anneal.git@0123456789abcdef0123456789abcdef01234567"
//! sha256 = "..."                           # of the tar that is there: what is trusted
//! directory = "recipes"                    # where in it packages/ and images/ are; left out: at its top
//! ```
//! What was fetched once is kept in the user's cache by its digest, and read from there.

use crate::{
    builder::fetch_config,
    catalog_files::replace_file,
    error::{Error, Result, io},
    settings::Settings,
};
use anneal_content::{BlobDigest, BlobHasher};
use anneal_fetch::{Fetcher, texts_in};
use anneal_recipe::{Place, UpstreamFiles};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{Read as _, Seek as _},
    path::{Path, PathBuf},
};

/// The file's name.
pub(crate) const PINS: &str = "anneal.toml";
/// How large it may be.
const PINS_BYTES_MAX: u64 = 1 << 20;
/// How large one recipe of an upstream may be; the parser's own limit is lower.
const RECIPE_BYTES_MAX: u64 = 1 << 20;

/// What `anneal.toml` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Pins {
    /// The catalogues that this one builds on.
    #[serde(default)]
    pub(crate) upstream: Vec<Pin>,
}

/// One catalogue at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Pin {
    /// What recipes call it.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) place: Place,
    /// The digest of what is there.
    pub(crate) sha256: String,
    /// Where in it the recipes are.
    pub(crate) directory: Option<String>,
}

/// Whether a directory is a catalogue by its `anneal.toml`.
pub(crate) fn is_catalog(dir: &Path) -> bool {
    dir.join(PINS).is_file()
}

/// What a catalogue's `anneal.toml` says; nothing where there is none.
pub(crate) fn pins(catalog: &Path) -> Result<Pins> {
    let path = catalog.join(PINS);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Pins::default()),
        Err(e) => return Err(io("read", &path)(e)),
    };
    let mut text = String::new();
    file.take(PINS_BYTES_MAX + 1).read_to_string(&mut text).map_err(io("read", &path))?;
    let wrong = |why: String| Error::Input(format!("{}: {why}", path.display()));
    if text.len() as u64 > PINS_BYTES_MAX {
        return Err(wrong(format!("it has more than {PINS_BYTES_MAX} bytes")));
    }
    let pins: Pins = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    for (at, pin) in pins.upstream.iter().enumerate() {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if pin.name.is_empty() || !pin.name.bytes().all(plain) {
            return Err(wrong(format!("`{}` is no name of an upstream; write a-z, 0-9, `.`, `_`, `-`", pin.name)));
        }
        if pins.upstream.iter().skip(at + 1).any(|other| other.name == pin.name) {
            return Err(wrong(format!("two upstreams are called `{}`; rename one", pin.name)));
        }
        pin.digest().map_err(|error| wrong(error.chain()))?;
    }
    Ok(pins)
}

impl Pin {
    pub(crate) fn digest(&self) -> Result<BlobDigest> {
        let wrong = |_| Error::Input(format!("the sha256 of upstream `{}` is not 64 hex digits", self.name));
        format!("sha256:{}", self.sha256).parse().map_err(wrong)
    }

    /// The recipes, and whatever else of it `also` asks for.
    fn texts(&self, file: &mut File, also: &dyn Fn(&str) -> bool) -> Result<Vec<(String, String)>> {
        let directory = self.directory.as_deref().map(|dir| format!("{}/", dir.trim_matches('/'))).unwrap_or_default();
        let keep = |path: &str| path.strip_prefix(&directory).is_some_and(is_recipe) || also(path);
        let texts = texts_in(&format!("upstream {}", self.name), file, RECIPE_BYTES_MAX, &keep)?;
        let beneath = |(path, text): (String, String)| {
            (path.strip_prefix(&directory).filter(|rest| is_recipe(rest)).unwrap_or(&path).to_owned(), text)
        };
        Ok(texts.into_iter().map(beneath).collect())
    }
}

fn is_recipe(path: &str) -> bool {
    let name = path.strip_prefix("packages/").or_else(|| path.strip_prefix("images/"));
    name.is_some_and(|name| name.ends_with(".toml") && !name.contains('/'))
}

/// The recipes of every upstream of a catalogue.
pub(crate) fn upstream_files(settings: &Settings) -> Result<Vec<UpstreamFiles>> {
    let catalog = settings.catalog_dir()?;
    let mut all = Vec::new();
    for pin in pins(catalog)?.upstream {
        let mut file = cached(&pin, catalog, settings)?;
        let files = pin.texts(&mut file, &|_| false)?;
        if files.is_empty() {
            let directory = pin.directory.as_deref().unwrap_or(".");
            return Err(Error::Input(format!(
                "upstream `{}` has no recipes in {directory}/packages; say in {PINS} which `directory` has them",
                pin.name
            )));
        }
        all.push(UpstreamFiles { name: pin.name, files });
    }
    Ok(all)
}

/// A text of an upstream, such as its lock of the build root.
pub(crate) fn upstream_text(pin: &Pin, path: &str, settings: &Settings, catalog: &Path) -> Result<Option<String>> {
    let mut file = cached(pin, catalog, settings)?;
    let texts = pin.texts(&mut file, &|found| found == path)?;
    Ok(texts.into_iter().find(|(found, _)| found == path).map(|(_, text)| text))
}

/// An upstream's tar from the cache, where it is fetched to if it isn't there or not whole.
fn cached(pin: &Pin, catalog: &Path, settings: &Settings) -> Result<File> {
    let digest = pin.digest()?;
    let path = settings.cache.join("upstreams").join(format!("{}.tar", digest.hex()));
    if let Ok(mut file) = File::open(&path)
        && measured(&mut file).map_err(io("read", &path))? == digest
    {
        return Ok(file);
    }
    let mut bytes = Vec::new();
    let found = Fetcher::new(fetch_config(settings)?).measure(&pin.place, catalog, &mut bytes)?;
    if found.sha256 != digest {
        return Err(Error::No(format!(
            "upstream `{}` has changed: {} hashes to {}, and {PINS} pins {digest}; ask why before you pin it anew",
            pin.name, pin.place, found.sha256
        )));
    }
    replace_file(&path, &bytes)?;
    File::open(&path).map_err(io("read", &path))
}

fn measured(file: &mut File) -> std::io::Result<BlobDigest> {
    let mut hasher = BlobHasher::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
    file.rewind()?;
    Ok(hasher.finish().0)
}

/// Where a user's cache is: as the environment says, or beside the state.
pub(crate) fn cache_dir(variable: impl Fn(&str) -> Option<String>, state: &Path) -> PathBuf {
    let named = variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(PathBuf::from(variable("HOME")?).join(".cache")).filter(|path| path.is_absolute());
    named.or_else(home).map_or_else(|| state.join("cache"), |dir| dir.join("anneal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Pins> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(PINS), text).unwrap();
        pins(dir.path())
    }

    #[test]
    fn a_pin_names_its_place_and_its_digest_and_no_name_twice() {
        let digest = BlobDigest::of(b"").hex();
        let one = format!("[[upstream]]\nname = \"a\"\nplace = \"path:a.tar\"\nsha256 = \"{digest}\"\n");
        assert_eq!(read(&one).unwrap().upstream[0].digest().unwrap(), BlobDigest::of(b""));
        assert_eq!(pins(Path::new("/nowhere")).unwrap(), Pins::default());
        for (text, why) in [
            (format!("{one}{one}"), "two upstreams are called `a`"),
            (one.replace(&digest, "12"), "64 hex digits"),
            (one.replace("\"a\"", "\"A b\""), "no name of an upstream"),
            (one.replace("path:a.tar", "a.tar"), "not a place"),
            (format!("{one}branch = \"main\"\n"), "branch"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(PINS), "{error}");
        }
    }

    #[test]
    fn only_recipes_are_recipes() {
        for (path, is) in [
            ("packages/a.toml", true),
            ("images/a.toml", true),
            ("packages/x/a.toml", false),
            ("a.toml", false),
            ("packages/a", false),
        ] {
            assert_eq!(is_recipe(path), is, "{path}");
        }
    }

    #[test]
    fn the_cache_is_where_the_environment_says_or_beside_the_state() {
        let of = |name: &'static str, value: &'static str| {
            cache_dir(move |asked| (asked == name).then(|| value.to_owned()), Path::new("/state"))
        };
        assert_eq!(of("XDG_CACHE_HOME", "/c"), Path::new("/c/anneal"));
        assert_eq!(of("HOME", "/h"), Path::new("/h/.cache/anneal"));
        assert_eq!(of("XDG_CACHE_HOME", "relative"), Path::new("/state/cache"));
    }
}
