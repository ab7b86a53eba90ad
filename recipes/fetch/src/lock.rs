//! The build root's lock: which packages a build root is made of, by digest.
//!
//! ```toml
//! format = 1
//! architecture = "amd64"
//! suite = "bookworm"                     # the suite that apt resolved against
//! wanted = ["gcc", "make"]               # what was asked for; the rest came as dependencies
//!
//! [[package]]
//! name = "make"
//! version = "4.3-4.1"
//! pool = "pool/main/m/make-dfsg/make_4.3-4.1_amd64.deb"     # a `debian:` coordinate
//! sha256 = "64 hex digits"
//! bytes = 396116
//! ```
//! Packages are in the order of their names. The lock's digest covers everything but `wanted` and
//! comments, and also the version of the code that assembles, so a digest names one tree.

use crate::Error;
use anneal_content::{BlobDigest, canonical_json};
use anneal_recipe::Place;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt::Write as _};

/// The version of the lock's format.
const FORMAT: u32 = 1;
/// The version of what [`crate::assemble_build_root`] makes of the same packages; raised with every
/// change to the files made by hand or to what is left out.
const ASSEMBLY: u32 = 1;
/// The largest lock that is read.
pub const MAX_LOCK_BYTES: usize = 1 << 20;
/// The most packages of a lock.
pub const MAX_PACKAGES: usize = 4096;
/// The largest package.
pub const MAX_PACKAGE_BYTES: u64 = 1 << 30;

/// One package of a build root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its file, relative to a mirror of the archive.
    pub pool: String,
    /// The digest of that file.
    #[serde(with = "bare_hex")]
    pub sha256: BlobDigest,
    /// Its size.
    pub bytes: u64,
}

impl LockedPackage {
    /// Where the file is found: a `debian:` coordinate.
    pub fn place(&self) -> Place {
        Place::Debian { pool: self.pool.clone() }
    }
}

/// A build root as a list of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRootLock {
    /// The architecture of its packages, as the distribution names it.
    pub architecture: String,
    /// The suite that was locked.
    pub suite: String,
    /// The packages that were asked for by name.
    pub wanted: Vec<String>,
    /// Every package, in the order of names.
    pub packages: Vec<LockedPackage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    architecture: String,
    suite: String,
    wanted: Vec<String>,
    package: Vec<LockedPackage>,
}

#[derive(Serialize)]
struct Identity<'a> {
    assembly: u32,
    architecture: &'a str,
    packages: &'a [LockedPackage],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    assembly: u32,
    architecture: String,
    packages: Vec<LockedPackage>,
}

impl BuildRootLock {
    /// Reads a lock file.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Lock { reason };
        if text.len() > MAX_LOCK_BYTES {
            return Err(wrong(format!("it has {} bytes: expected at most {MAX_LOCK_BYTES}", text.len())));
        }
        let written: Written = toml::from_str(text).map_err(|e| wrong(e.to_string().trim_end().to_owned()))?;
        if written.format != FORMAT {
            return Err(wrong(format!("it has format {}: expected {FORMAT}", written.format)));
        }
        let Written { architecture, suite, wanted, package: packages, .. } = written;
        let lock = Self { architecture, suite, wanted, packages };
        lock.check()?;
        Ok(lock)
    }

    /// What every lock keeps to, whether read or made.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |reason: String| Err(Error::Lock { reason });
        if self.packages.is_empty() || self.packages.len() > MAX_PACKAGES {
            return wrong(format!("it has {} packages: expected 1 to {MAX_PACKAGES}", self.packages.len()));
        }
        let mut pools = BTreeSet::new();
        for pair in self.packages.windows(2) {
            if let [a, b] = pair
                && a.name >= b.name
            {
                return wrong(format!(
                    "package `{}` stands before `{}`: expected each name once, in order",
                    a.name, b.name
                ));
            }
        }
        for package in &self.packages {
            let LockedPackage { name, pool, bytes, .. } = package;
            if name.is_empty() || package.version.is_empty() {
                return wrong("a package has no name or no version".to_owned());
            }
            let coordinate = format!("debian:{pool}").parse::<Place>();
            if !pool.starts_with("pool/main/") || !pool.ends_with(".deb") || coordinate.is_err() {
                return wrong(format!("package `{name}` has pool path `{pool}`: expected `pool/main/.../*.deb`"));
            }
            if !pools.insert(pool) {
                return wrong(format!("package `{name}` has the pool path of another: `{pool}`"));
            }
            if !(1..=MAX_PACKAGE_BYTES).contains(bytes) {
                return wrong(format!("package `{name}` has {bytes} bytes: expected 1 to {MAX_PACKAGE_BYTES}"));
            }
        }
        Ok(())
    }

    /// Names the tree that the lock's packages are assembled to: the digest of [`Self::identity`].
    pub fn digest(&self) -> Result<BlobDigest, Error> {
        Ok(BlobDigest::of(&self.identity()?))
    }

    /// All that decides what the lock's packages are assembled to, as evidence keeps it; [`Self::of_identity`] reads it
    /// back.
    pub fn identity(&self) -> Result<Vec<u8>, Error> {
        let identity = Identity { assembly: ASSEMBLY, architecture: &self.architecture, packages: &self.packages };
        canonical_json(&identity).map_err(|e| Error::Lock { reason: e.to_string() })
    }

    /// The lock of an identity; what was asked for by name, and of which suite, it does not tell.
    pub fn of_identity(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Lock { reason };
        if bytes.len() > MAX_LOCK_BYTES {
            return Err(wrong(format!("it has {} bytes: expected at most {MAX_LOCK_BYTES}", bytes.len())));
        }
        let kept: Kept = serde_json::from_slice(bytes).map_err(|e| wrong(e.to_string()))?;
        if kept.assembly != ASSEMBLY {
            let found = kept.assembly;
            return Err(wrong(format!("it was assembled in version {found}: this program does it in {ASSEMBLY}")));
        }
        let Kept { architecture, packages, .. } = kept;
        let lock = Self { architecture, suite: String::new(), wanted: Vec::new(), packages };
        lock.check()?;
        Ok(lock)
    }

    /// All packages' bytes together.
    pub fn total_bytes(&self) -> u64 {
        self.packages.iter().map(|p| p.bytes).sum()
    }

    /// The lock as a file; [`Self::parse`] reads it back.
    pub fn to_toml(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let list = self.wanted.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(", ");
        let mut out = format!(
            "# The packages of the build root, by digest. Locked by `anneal recipe lock build-root`: apt resolved\n\
             # `wanted` from an empty system against the main archive of one suite, without recommended packages,\n\
             # updates or security uploads (the security archive deletes what it supersedes).\n\
             format = {FORMAT}\narchitecture = {}\nsuite = {}\nwanted = [{list}]\n",
            quoted(&self.architecture),
            quoted(&self.suite),
        );
        for p in &self.packages {
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "\n[[package]]\nname = {}\nversion = {}\npool = {}\nsha256 = \"{}\"\nbytes = {}\n",
                quoted(&p.name),
                quoted(&p.version),
                quoted(&p.pool),
                p.sha256.hex(),
                p.bytes
            );
        }
        out
    }
}

mod bare_hex {
    use anneal_content::BlobDigest;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(digest: &BlobDigest, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&digest.hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<BlobDigest, D::Error> {
        format!("sha256:{}", String::deserialize(d)?).parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(packages: &[(&str, &str, u64)]) -> String {
        let mut text = "format = 1\narchitecture = \"amd64\"\nsuite = \"s\"\nwanted = [\"a\"]\n".to_owned();
        for (name, pool, bytes) in packages {
            text += &format!(
                "[[package]]\nname = \"{name}\"\nversion = \"1\"\npool = \"{pool}\"\nsha256 = \"{}\"\nbytes = {bytes}\n",
                "ab".repeat(32)
            );
        }
        text
    }

    fn refused(text: &str) -> String {
        BuildRootLock::parse(text).unwrap_err().to_string()
    }

    const GOOD: [(&str, &str, u64); 2] =
        [("a", "pool/main/a/a/a_1_amd64.deb", 5), ("b", "pool/main/b/b/b_1_amd64.deb", 6)];

    #[test]
    fn a_lock_reads_back_as_it_was_written() {
        let lock = BuildRootLock::parse(&text(&GOOD)).unwrap();
        assert_eq!(BuildRootLock::parse(&lock.to_toml()).unwrap(), lock);
        assert_eq!(lock.total_bytes(), 11);
    }

    #[test]
    fn the_digest_follows_the_packages_and_not_what_was_asked_for() {
        let lock = BuildRootLock::parse(&text(&GOOD)).unwrap();
        let mut other = lock.clone();
        other.wanted = vec!["b".to_owned()];
        assert_eq!(lock.digest().unwrap(), other.digest().unwrap());
        other.packages[0].sha256 = BlobDigest::of(b"other");
        assert_ne!(lock.digest().unwrap(), other.digest().unwrap());
    }

    #[test]
    fn a_lock_out_of_order_or_with_a_name_twice_is_refused() {
        assert!(refused(&text(&[GOOD[1], GOOD[0]])).contains("in order"));
        assert!(refused(&text(&[GOOD[0], GOOD[0]])).contains("in order"));
        assert!(refused(&text(&[GOOD[0], ("b", GOOD[0].1, 1)])).contains("pool path of another"));
    }

    #[test]
    fn a_file_outside_the_main_pool_is_refused() {
        for pool in [
            "pool/updates/main/a/a.deb",
            "pool/main/../../etc/a.deb",
            "pool/main/a/a.dsc",
            "https://host.example/pool/main/a.deb",
        ] {
            assert!(refused(&text(&[("a", pool, 1)])).contains("pool/main"), "{pool}");
        }
    }

    #[test]
    fn limits_hold_at_the_limit_and_break_after_it() {
        assert!(BuildRootLock::parse(&text(&[("a", GOOD[0].1, MAX_PACKAGE_BYTES)])).is_ok());
        assert!(refused(&text(&[("a", GOOD[0].1, MAX_PACKAGE_BYTES + 1)])).contains("bytes"));
        assert!(refused(&text(&[("a", GOOD[0].1, 0)])).contains("bytes"));
        assert!(refused(&text(&[])).contains("package"));
        let padded = |n: usize| text(&GOOD) + &"#".repeat(n - text(&GOOD).len());
        assert!(BuildRootLock::parse(&padded(MAX_LOCK_BYTES)).is_ok());
        assert!(refused(&padded(MAX_LOCK_BYTES + 1)).contains("at most"));
    }

    #[test]
    fn an_unknown_key_format_or_digest_is_refused() {
        assert!(refused(&(text(&GOOD) + "postinst = \"sh\"\n")).contains("postinst"));
        assert!(refused(&text(&GOOD).replace("format = 1", "format = 2")).contains("format 2"));
        assert!(refused(&text(&GOOD).replace("abab", "ABAB")).contains("hex"));
    }
}
