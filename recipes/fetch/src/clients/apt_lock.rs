//! Locks a build root through apt.
//!
//! apt gets a state of its own: nothing installed, lists fetched anew, the machine's own archives and
//! keys. Only the main archive of one suite may provide packages; updates and security uploads are
//! pinned away, since their files are deleted when they are superseded. apt checks the signatures
//! and resolves; the lock takes names, paths, sizes and digests from the signed lists.

use super::run::{Run, directory};
use crate::{BuildRootLock, Error, FetchConfig, LockedPackage, fetcher::Unavailable, lock::MAX_PACKAGES};
use anneal_content::BlobDigest;
use std::{collections::BTreeMap, fs, path::Path};

/// The only architecture that is built on today.
const ARCHITECTURE: &str = "amd64";
const INSTEAD: &str = "lock the build root on a machine that has apt";
const NEXT: &str = "see that `apt-get update` works on this machine";

/// Resolves `wanted` packages and what they need, and locks what apt chose.
pub fn lock_build_root(config: &FetchConfig, wanted: &[&str]) -> Result<BuildRootLock, Error> {
    let failed = |step| move |e: Unavailable| Error::Apt { step, reason: e.reason, next: NEXT };
    let own = directory(&config.spool).map_err(failed("make a directory for apt"))?;
    let apt = Apt { config, dir: own.path() };
    apt.prepare().map_err(|e| Error::Apt {
        step: "make a state for apt",
        reason: e.to_string(),
        next: "free some room in the directory for downloads",
    })?;
    apt.get(&["update"]).map_err(failed("read the archives' lists"))?;
    let suite = apt.main_suite()?;
    apt.pin(&suite).map_err(failed("choose the main archive"))?;
    let mut arguments = vec!["install", "--yes", "--print-uris", "--no-install-recommends", "--"];
    arguments.extend(wanted);
    let chosen = chosen_files(&apt.get(&arguments).map_err(failed("resolve the wanted packages"))?);
    if chosen.is_empty() || chosen.len() > MAX_PACKAGES {
        let reason = format!("apt chose {} packages: expected 1 to {MAX_PACKAGES}", chosen.len());
        return Err(Error::Apt { step: "resolve the wanted packages", reason, next: NEXT });
    }
    let specs: Vec<String> = chosen.iter().map(|(name, version)| format!("{name}={version}")).collect();
    let mut arguments = vec!["show", "--"];
    arguments.extend(specs.iter().map(String::as_str));
    let described = apt.cache(&arguments).map_err(failed("describe the chosen packages"))?;
    let mut wanted: Vec<String> = wanted.iter().map(|w| (*w).to_owned()).collect();
    wanted.sort();
    wanted.dedup();
    let packages = locked_packages(&chosen, &described)?;
    let lock = BuildRootLock { architecture: ARCHITECTURE.to_owned(), suite, wanted, packages };
    lock.check()?;
    Ok(lock)
}

struct Apt<'a> {
    config: &'a FetchConfig,
    dir: &'a Path,
}

impl Apt<'_> {
    fn prepare(&self) -> std::io::Result<()> {
        let dir = self.dir.display();
        fs::create_dir_all(self.dir.join("state/lists/partial"))?;
        fs::create_dir_all(self.dir.join("cache/archives/partial"))?;
        fs::write(self.dir.join("status"), "")?;
        fs::write(self.dir.join("preferences"), "")?;
        fs::write(
            self.dir.join("apt.conf"),
            format!(
                "Dir::State \"{dir}/state\";\nDir::State::status \"{dir}/status\";\nDir::Cache \"{dir}/cache\";\n\
                 Dir::Etc::Preferences \"{dir}/preferences\";\nDir::Etc::PreferencesParts \"/dev/null\";\n\
                 APT::Architecture \"{ARCHITECTURE}\";\n#clear APT::Architectures;\n\
                 APT::Architectures {{ \"{ARCHITECTURE}\"; }};\n\
                 APT::Install-Recommends \"false\";\nAPT::Install-Suggests \"false\";\n\
                 APT::Get::AllowUnauthenticated \"false\";\n\
                 Acquire::AllowInsecureRepositories \"false\";\n\
                 Acquire::Languages \"none\";\nAcquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
                 Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled \"false\";\n\
                 #clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
                 #clear APT::Update::Post-Invoke-Success;\n\
                 Debug::NoLocking \"true\";\n"
            ),
        )
    }

    fn get(&self, arguments: &[&str]) -> Result<String, Unavailable> {
        self.run(&self.config.clients.apt_get, arguments)
    }

    fn cache(&self, arguments: &[&str]) -> Result<String, Unavailable> {
        self.run(&self.config.clients.apt_cache, arguments)
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> Result<String, Unavailable> {
        let run = Run {
            program,
            instead: INSTEAD,
            dir: self.dir,
            cwd: None,
            limit: u64::MAX,
            patience: self.config.patience,
        };
        let conf = self.dir.join("apt.conf");
        let conf = conf.to_string_lossy();
        run.answer(["-q=1", "-c", &conf].into_iter().chain(arguments.iter().copied()), &[])
    }

    /// The code name of the first main archive that apt is set up with.
    fn main_suite(&self) -> Result<String, Error> {
        let step = "find the main archive";
        let format = "$(ORIGIN)|$(LABEL)|$(CODENAME)|$(COMPONENT)";
        let answer = self
            .get(&["indextargets", "--format", format, "Created-By: Packages"])
            .map_err(|e| Error::Apt { step, reason: e.reason, next: NEXT })?;
        main_suite_in(&answer).ok_or(Error::Apt {
            step,
            reason: "no archive with origin and label `Debian` and a component `main` is set up".to_owned(),
            next: "add one to apt's sources",
        })
    }

    fn pin(&self, suite: &str) -> Result<(), Unavailable> {
        let text = format!(
            "Package: *\nPin: release o=Debian,l=Debian,n={suite},c=main\nPin-Priority: 900\n\n\
             Package: *\nPin: release n=*\nPin-Priority: -1\n"
        );
        fs::write(self.dir.join("preferences"), text)
            .map_err(|e| Unavailable::new(format!("cannot write apt's preferences: {e}")))
    }
}

fn main_suite_in(answer: &str) -> Option<String> {
    answer.lines().find_map(|line| match line.split('|').collect::<Vec<_>>().as_slice() {
        ["Debian", "Debian", suite, "main"] if !suite.contains('-') => Some((*suite).to_owned()),
        _ => None,
    })
}

/// Name to version of what apt would install, out of lines `'ADDRESS' NAME_VERSION_ARCH.deb BYTES HASH`.
fn chosen_files(answer: &str) -> BTreeMap<String, String> {
    let files = answer.lines().filter(|l| l.starts_with('\'')).filter_map(|l| l.split(' ').nth(1));
    files
        .filter_map(|file| {
            let mut parts = file.strip_suffix(".deb")?.split('_');
            // A colon, which only a version has, is written as %3a.
            Some((parts.next()?.to_owned(), parts.next()?.replace("%3a", ":")))
        })
        .collect()
}

/// Reads the stanzas that apt printed for the chosen packages.
fn locked_packages(chosen: &BTreeMap<String, String>, described: &str) -> Result<Vec<LockedPackage>, Error> {
    let wrong = |reason: String| Error::Apt { step: "describe the chosen packages", reason, next: NEXT };
    let mut packages = BTreeMap::new();
    for stanza in described.split("\n\n") {
        let fields: BTreeMap<&str, &str> = stanza
            .lines()
            .filter(|line| !line.starts_with([' ', '\t']))
            .filter_map(|line| line.split_once(':').map(|(key, value)| (key, value.trim())))
            .collect();
        let Some((name, version)) = fields.get("Package").zip(fields.get("Version")) else { continue };
        if chosen.get(*name).is_none_or(|v| v != version) {
            continue;
        }
        let field = |key| fields.get(key).copied().ok_or_else(|| wrong(format!("`{name}` has no field `{key}`")));
        let package = LockedPackage {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            pool: field("Filename")?.to_owned(),
            sha256: format!("sha256:{}", field("SHA256")?)
                .parse::<BlobDigest>()
                .map_err(|e| wrong(format!("`{name}`: {e}")))?,
            bytes: field("Size")?.parse().map_err(|_| wrong(format!("`{name}` has no size")))?,
        };
        packages.insert((*name).to_owned(), package);
    }
    match chosen.keys().find(|name| !packages.contains_key(*name)) {
        Some(name) => Err(wrong(format!("apt does not describe `{name}`"))),
        None => Ok(packages.into_values().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_archive_is_neither_updates_nor_security_nor_a_stranger() {
        let answer = "Acme|Acme|stable|main\nDebian|Debian-Security|s-security|main\nDebian|Debian|s-updates|main\n\
            Debian|Debian|s|contrib\nDebian|Debian|s|main\n";
        assert_eq!(main_suite_in(answer).as_deref(), Some("s"));
        assert_eq!(main_suite_in("Debian|Debian|s-updates|main\n"), None);
    }

    #[test]
    fn the_chosen_files_are_read_with_their_epochs() {
        let answer = "Reading...\n'http://a.example/pool/main/g/gawk_5%3a.deb' gawk_1%3a5.2.1-2_amd64.deb 672772 MD5Sum:00\n\
            'http://a.example/x' make_4.3-4.1_amd64.deb 1 MD5Sum:00\n";
        let chosen: Vec<_> = chosen_files(answer).into_iter().collect();
        assert_eq!(chosen, [("gawk".into(), "1:5.2.1-2".into()), ("make".into(), "4.3-4.1".into())]);
    }

    #[test]
    fn a_package_is_locked_in_its_chosen_version_only() {
        let chosen = BTreeMap::from([("make".to_owned(), "4.3".to_owned())]);
        let stanza = |version: &str, byte: &str| {
            format!(
                "Package: make\nVersion: {version}\nDescription: x\n Package: no\nFilename: pool/main/m/make_{version}_amd64.deb\n\
                 Size: 7\nSHA256: {}\n",
                byte.repeat(32)
            )
        };
        let packages = locked_packages(&chosen, &format!("{}\n{}", stanza("4.4", "cd"), stanza("4.3", "ab"))).unwrap();
        assert_eq!(packages.len(), 1);
        assert_eq!((packages[0].version.as_str(), packages[0].sha256.hex()), ("4.3", "ab".repeat(32)));
        assert!(locked_packages(&chosen, &stanza("4.4", "cd")).unwrap_err().to_string().contains("`make`"));
        assert!(locked_packages(&chosen, &stanza("4.3", "zz")).is_err());
    }
}
