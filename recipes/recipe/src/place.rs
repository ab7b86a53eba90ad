//! Where a source may be found: an address, a path of the catalogue, or a coordinate of a package registry.
//!
//! ```text
//! https://host/path              an address
//! path:vendor/extra.tar.gz       a file of the catalogue, relative to its root
//! path:app   path:.   path:..    a directory, packed into one tar; with `..` one of the repository that the catalogue is in
//! debian:pool/main/z/zlib/FILE   a file of the distribution's archive; debian-security: of its security archive
//! crate:NAME/VERSION   npm:NAME/VERSION   pypi:NAME/VERSION/FILE
//! go:MODULE@VERSION              the zip of a Go module; go:MODULE@VERSION/go.mod its go.mod alone
//! git+https://host/path@COMMIT   the files of a commit, as one tar
//! ```
//! A coordinate names no host: it is resolved through the mirror that the machine is set up with.

use crate::{Error, error::shown, path::unclean};
use std::{fmt, str::FromStr};

/// One place of a source. What is found there is trusted only if it has the source's digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Place {
    /// The whole address.
    Https {
        /// It begins with `https://`.
        url: String,
    },
    /// A file or a directory of the catalogue, or of the repository that it is in.
    Path {
        /// Clean and relative to the catalogue's root; only its beginning may be `..`.
        path: String,
    },
    /// A file of the distribution's archive.
    Debian {
        /// It begins with `pool/`.
        pool: String,
    },
    /// A file of the distribution's security archive.
    DebianSecurity {
        /// It begins with `pool/`.
        pool: String,
    },
    /// A crate.
    Crate {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// A file of a Python project.
    Pypi {
        /// The project.
        name: String,
        /// Its version.
        version: String,
        /// The file's name.
        file: String,
    },
    /// A package of JavaScript's registry.
    Npm {
        /// Its name, which may have a scope: `@scope/name`.
        name: String,
        /// Its version.
        version: String,
    },
    /// A Go module.
    Go {
        /// Its path, as `go.mod` has it.
        module: String,
        /// Its version, which begins with `v`.
        version: String,
        /// Whether it is the module's `go.mod` alone, and not its zip.
        go_mod: bool,
    },
    /// The files of a commit of a git repository, packed into one tar whose bytes depend on the commit alone.
    Git {
        /// The repository; it begins with `https://`.
        url: String,
        /// The commit, in full.
        commit: String,
    },
}

pub(crate) const FORMS: &str = "`https://...`, `path:...`, `debian:pool/...`, `debian-security:pool/...`, \
     `crate:name/version`, `pypi:name/version/file`, `npm:name/version`, `go:module@version`, `git+https://...@commit`";

const HTTPS_FORM: &str = "an address such as \"https://zlib.net/zlib-1.3.1.tar.gz\"";
const GIT_FORM: &str =
    "a repository and a commit in full, such as \"git+https://example.org/app.git@\" and 40 hex digits";
const PATH_FORM: &str =
    "a path relative to the catalogue's root, such as \"path:vendor/extra.tar.gz\"; `..` may only begin it";
const POOL_FORM: &str = "the file's path in the archive, such as \"debian:pool/main/z/zlib/zlib_1.2.13.orig.tar.gz\"";
const CRATE_FORM: &str = "name and version, such as \"crate:libz-sys/1.1.8\"";
const PYPI_FORM: &str = "project, version and file, such as \"pypi:ziglang/0.11.0/ziglang-0.11.0.tar.gz\"";
const NPM_FORM: &str = "name and version, such as \"npm:left-pad/1.3.0\" or \"npm:@scope/name/1.0.0\"";
const GO_FORM: &str = "module and version, such as \"go:example.org/module@v1.2.3\" or, for its go.mod alone, \
     \"go:example.org/module@v1.2.3/go.mod\"";

impl Place {
    /// Its kind, as before the colon.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Https { .. } => "https",
            Self::Path { .. } => "path",
            Self::Debian { .. } => "debian",
            Self::DebianSecurity { .. } => "debian-security",
            Self::Crate { .. } => "crate",
            Self::Pypi { .. } => "pypi",
            Self::Npm { .. } => "npm",
            Self::Go { .. } => "go",
            Self::Git { .. } => "git+https",
        }
    }

    /// Whether it leads out of the catalogue, into the repository around it.
    pub fn leaves_catalog(&self) -> bool {
        matches!(self, Self::Path { path } if path.split('/').next() == Some(".."))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Https { url } => f.write_str(url),
            Self::Path { path } => write!(f, "path:{path}"),
            Self::Debian { pool } => write!(f, "debian:{pool}"),
            Self::DebianSecurity { pool } => write!(f, "debian-security:{pool}"),
            Self::Crate { name, version } => write!(f, "crate:{name}/{version}"),
            Self::Pypi { name, version, file } => write!(f, "pypi:{name}/{version}/{file}"),
            Self::Npm { name, version } => write!(f, "npm:{name}/{version}"),
            Self::Go { module, version, go_mod } => {
                write!(f, "go:{module}@{version}{}", if *go_mod { GO_MOD } else { "" })
            }
            Self::Git { url, commit } => write!(f, "git+{url}@{commit}"),
        }
    }
}

impl FromStr for Place {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason, form| Error::Place { found: shown(text), reason, form };
        let Some((scheme, rest)) = text.split_once(':') else { return Err(wrong("it has no kind", FORMS)) };
        match scheme {
            "https" => match https(rest) {
                Some(reason) => Err(wrong(reason, HTTPS_FORM)),
                None => Ok(Self::Https { url: text.to_owned() }),
            },
            "http" => Err(wrong("it is not encrypted", HTTPS_FORM)),
            "path" => match uncertain(rest) {
                Some(reason) => Err(Error::UnsafePath { found: shown(rest), reason, form: PATH_FORM }),
                None => Ok(Self::Path { path: rest.to_owned() }),
            },
            "debian" | "debian-security" => match pool(rest) {
                Some(reason) => Err(wrong(reason, POOL_FORM)),
                None if scheme == "debian" => Ok(Self::Debian { pool: rest.to_owned() }),
                None => Ok(Self::DebianSecurity { pool: rest.to_owned() }),
            },
            "crate" => match parts(rest).as_deref() {
                Some([name, version]) => Ok(Self::Crate { name: name.to_string(), version: version.to_string() }),
                _ => Err(wrong("a crate has a name and a version", CRATE_FORM)),
            },
            "pypi" => match parts(rest).as_deref() {
                Some([name, version, file]) => {
                    Ok(Self::Pypi { name: name.to_string(), version: version.to_string(), file: file.to_string() })
                }
                _ => Err(wrong("a project's file has a project, a version and a name", PYPI_FORM)),
            },
            "npm" => npm(rest).ok_or_else(|| wrong("a package has a name and a version", NPM_FORM)),
            "git+https" => git(rest).map_err(|reason| wrong(reason, GIT_FORM)),
            "go" => go(rest).ok_or_else(|| wrong("a Go module has a path and a version", GO_FORM)),
            _ => Err(wrong("its kind is not known", FORMS)),
        }
    }
}
crate::text::serde_as_text!(Place);

/// Why a path might lead elsewhere than it says: `..` behind a name does where the name is a link.
fn uncertain(path: &str) -> Option<&'static str> {
    let mut rest = path;
    while let Some(beneath) = rest.strip_prefix("../") {
        rest = beneath;
    }
    match path {
        "." => None,
        _ if rest == ".." => None,
        _ => unclean(rest),
    }
}

/// Components that may stand in an address and in a file name as they are.
fn parts(text: &str) -> Option<Vec<&str>> {
    text.split('/').map(|part| plain(part).then_some(part)).collect()
}

fn plain(part: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-+~!".contains(&b);
    (1..=255).contains(&part.len()) && part.bytes().all(allowed) && !part.starts_with(['.', '-'])
}

fn npm(text: &str) -> Option<Place> {
    let name_and_version = parts(text.strip_prefix('@').unwrap_or(text))?;
    let scoped = text.starts_with('@');
    let (name, version) = match (scoped, name_and_version.as_slice()) {
        (false, [name, version]) => (name.to_string(), version),
        (true, [scope, name, version]) => (format!("@{scope}/{name}"), version),
        _ => return None,
    };
    Some(Place::Npm { name, version: version.to_string() })
}

/// What follows a Go module's version where its go.mod alone is meant, as in `go.sum`.
const GO_MOD: &str = "/go.mod";

fn go(text: &str) -> Option<Place> {
    let (module, version) = text.split_once('@')?;
    let (version, go_mod) = version.strip_suffix(GO_MOD).map_or((version, false), |version| (version, true));
    let host = module.split('/').next()?;
    (parts(module).is_some()
        && host.contains('.')
        && version.starts_with('v')
        && plain(version)
        && !version.contains('!'))
    .then(|| Place::Go { module: module.to_owned(), version: version.to_owned(), go_mod })
}

fn git(rest: &str) -> Result<Place, &'static str> {
    let (address, commit) = rest.rsplit_once('@').ok_or("it names no commit")?;
    if let Some(reason) = https(address) {
        return Err(reason);
    }
    let hex = commit.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !hex || !matches!(commit.len(), 40 | 64) {
        return Err("a branch, a tag or a shortened commit may be another one tomorrow");
    }
    Ok(Place::Git { url: format!("https:{address}"), commit: commit.to_owned() })
}

fn pool(path: &str) -> Option<&'static str> {
    if !path.starts_with("pool/") {
        return Some("a path of the archive begins with `pool/`");
    }
    let ascii = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+~%:".contains(&b));
    if ascii { unclean(path) } else { Some("it has a character that no path of the archive has") }
}

fn https(rest: &str) -> Option<&'static str> {
    let Some(rest) = rest.strip_prefix("//") else { return Some("`https:` is followed by `//`") };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if host.contains('@') {
        return Some("it has a user or a password: credentials belong to the machine, not to a recipe");
    }
    let host_name = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    if host.is_empty() || !host.bytes().all(host_name) {
        return Some("it has no valid host");
    }
    if path.is_empty() {
        return Some("it has no path");
    }
    if !path.bytes().all(|b| b.is_ascii_graphic()) || path.contains(['#', '"', '<', '>', '\\', '`']) {
        return Some("it has a character that must be percent-encoded, or a fragment");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_place_is_written_as_it_was_read() {
        for text in [
            "https://zlib.net/fossils/zlib-1.2.11.tar.gz",
            "https://example.org:8443/a?b=c&d=%20",
            "path:vendor/extra.tar.gz",
            "path:.",
            "path:..",
            "path:../../team/app",
            "debian:pool/main/z/zlib/zlib_1.2.13.dfsg.orig.tar.bz2",
            "debian-security:pool/updates/main/o/openssl/x_1.1~rc1+b1.dsc",
            "crate:libz-sys/1.1.8+zlib-1.2.11",
            "pypi:ziglang/0.11.0/ziglang-0.11.0-py3-none-any.whl",
            "npm:left-pad/1.3.0",
            "npm:@scope/name/1.0.0-rc.1",
            "go:example.org/Team/module/v2@v2.0.1-0.20200101000000-0123456789ab+incompatible",
            "go:gopkg.in/yaml.v3@v3.0.1/go.mod",
            "git+https://example.org/team/app.git@0123456789abcdef0123456789abcdef01234567",
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), text);
            assert!(text.starts_with(place.scheme()));
        }
    }

    #[test]
    fn only_a_path_that_begins_with_dots_leaves_the_catalogue() {
        for (text, leaves) in [
            ("path:..", true),
            ("path:../app", true),
            ("path:.", false),
            ("path:..app", false),
            ("path:app", false),
            ("https://a.example/../x", false),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().leaves_catalog(), leaves, "{text}");
        }
    }

    #[test]
    fn a_place_that_could_mean_something_else_is_refused() {
        for text in [
            "",
            "zlib.tar.gz",
            "http://zlib.net/x",
            "https:/zlib.net/x",
            "https:///x",
            "https://host",
            "https://host/",
            "https://user:secret@host/x",
            "https://host/a b",
            "https://host/x#y",
            "https://ho st/x",
            "path:",
            "path:/etc/passwd",
            "path:../",
            "path:./a",
            "path:../.",
            "path:...//a",
            "path:a/..",
            "path:a/../b",
            "path:../a/../../etc",
            "debian:main/z",
            "debian:pool/../x",
            "debian:pool/a b",
            "debian-security:",
            "crate:libz-sys",
            "crate:a/b/c",
            "crate:../1.0",
            "crate:a/-1",
            "crate:a/1?x",
            "crate:/1",
            "pypi:a/1",
            "pypi:a/1/../x",
            "npm:a",
            "npm:@a/1",
            "npm:@a/b",
            "npm:a/b/c",
            "ftp://host/x",
            "git+https://host/x@abc",
            "git+https://host/x@main",
            "git+https://host/x",
            "git+https://me:secret@host/x@0123456789abcdef0123456789abcdef01234567",
            "git+https://host/x@0123456789ABCDEF0123456789abcdef01234567",
            "git+http://host/x@0123456789abcdef0123456789abcdef01234567",
            "git+file:///x@0123456789abcdef0123456789abcdef01234567",
            "go:example.org/mod",
            "go:example.org/mod@1.0.0",
            "go:example.org/../mod@v1.0.0",
            "go:mod@v1.0.0",
            "go:example.org/mod@v1.0.0/zip",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text:?}");
        }
    }
}
