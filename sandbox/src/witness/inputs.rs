//! What a spec declares, by the paths at which the payload sees it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Mount, MountSource, Spec};

/// So many files, directories and links of the declared trees are listed.
const ENTRIES: usize = 50_000;

/// Whose a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// The trees that make up `/`.
    Root,
    /// A tree or a file that is declared beside them.
    Input,
    /// The run's own: scratch space, outputs, and what the sandbox makes.
    Own,
}

/// Every place of a sandbox.
#[derive(Debug)]
pub(super) struct Places(Vec<(PathBuf, Holder)>);

impl Places {
    pub(super) fn of(spec: &Spec) -> Self {
        let own = ["/proc", "/dev/pts", "/dev/shm", "/dev/fd"].map(|at| (PathBuf::from(at), Holder::Own));
        let mounts = spec.mounts.iter().map(|mount| {
            let holder = match mount.source {
                MountSource::Trees(_) | MountSource::File(_) => Holder::Input,
                MountSource::Scratch { .. } | MountSource::Output(_) => Holder::Own,
            };
            (mount.at.clone(), holder)
        });
        Self(own.into_iter().chain(mounts).collect())
    }

    /// The deepest place that a path is in.
    fn deepest(&self, path: &Path) -> Option<&(PathBuf, Holder)> {
        self.0.iter().filter(|(at, _)| path.starts_with(at)).max_by_key(|(at, _)| at.components().count())
    }

    /// Whose a path is.
    pub(super) fn holder(&self, path: &Path) -> Holder {
        self.deepest(path).map_or(Holder::Root, |(_, holder)| *holder)
    }
}

/// The files of a spec's inputs, those of the root aside, and whether there were more than could be listed.
pub(super) fn files(spec: &Spec, places: &Places) -> (BTreeSet<PathBuf>, bool) {
    let mut walk = Walk { places, files: BTreeSet::new(), left: ENTRIES, truncated: false };
    for mount in &spec.mounts {
        match &mount.source {
            MountSource::File(_) => walk.add(mount, mount.at.clone()),
            MountSource::Trees(trees) => walk.trees(mount, trees),
            MountSource::Scratch { .. } | MountSource::Output(_) => {}
        }
    }
    (walk.files, walk.truncated)
}

struct Walk<'a> {
    places: &'a Places,
    files: BTreeSet<PathBuf>,
    left: usize,
    truncated: bool,
}

impl Walk<'_> {
    /// Takes a file unless something else is mounted over it.
    fn add(&mut self, mount: &Mount, path: PathBuf) {
        if self.places.deepest(&path).is_some_and(|(at, _)| *at == mount.at) {
            self.files.insert(path);
        }
    }

    /// Trees that are seen as one: what a tree has hides what those beneath it have of the same name, but directories
    /// are joined.
    fn trees(&mut self, mount: &Mount, trees: &[PathBuf]) {
        let mut directories: HashMap<PathBuf, bool> = HashMap::new();
        for tree in trees {
            let mut waiting = vec![PathBuf::new()];
            while let Some(within) = waiting.pop() {
                let Ok(listing) = fs::read_dir(tree.join(&within)) else {
                    self.truncated = true;
                    continue;
                };
                for entry in listing {
                    let Some(left) = self.left.checked_sub(1) else {
                        self.truncated = true;
                        return;
                    };
                    self.left = left;
                    let Ok((name, kind)) = entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))) else {
                        self.truncated = true;
                        continue;
                    };
                    let path = within.join(name);
                    let above = *directories.entry(path.clone()).or_insert(kind.is_dir());
                    if above && kind.is_dir() {
                        waiting.push(path);
                    } else if !above && kind.is_file() {
                        self.add(mount, mount.at.join(path));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn mount(at: &str, source: MountSource) -> Mount {
        Mount { at: at.into(), source }
    }

    #[test]
    fn a_path_belongs_to_the_deepest_place_it_is_in() {
        let mut spec = crate::plan::example(Kind::Build);
        spec.mounts = vec![
            mount("/src", MountSource::Trees(Vec::new())),
            mount("/src/build", MountSource::Scratch { bytes: 1, inodes: 1 }),
            mount("/src/build/key", MountSource::File("/k".into())),
        ];
        let places = Places::of(&spec);
        for (path, holder) in [
            ("/etc/passwd", Holder::Root),
            ("/src/a", Holder::Input),
            ("/srcs/a", Holder::Root),
            ("/src/build/x/y", Holder::Own),
            ("/src/build/key", Holder::Input),
            ("/proc/1/root", Holder::Own),
            ("/dev/kvm", Holder::Root),
        ] {
            assert_eq!(places.holder(Path::new(path)), holder, "{path}");
        }
    }

    #[test]
    fn the_files_of_inputs_are_those_that_a_payload_sees() {
        let dir = tempfile::tempdir().unwrap();
        let tree = |name: &str, files: &[&str]| {
            for file in files {
                let path = dir.path().join(name).join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            dir.path().join(name)
        };
        let upper = tree("upper", &["both", "only/upper", "hides"]);
        let lower = tree("lower", &["both", "only/lower", "hides/this", "covered/file"]);
        std::os::unix::fs::symlink("both", upper.join("link")).unwrap();
        let mut spec = crate::plan::example(Kind::Build);
        spec.mounts = vec![
            mount("/in", MountSource::Trees(vec![upper.clone(), lower])),
            mount("/in/covered", MountSource::Scratch { bytes: 1, inodes: 1 }),
            mount("/one", MountSource::File(upper.join("both"))),
        ];
        let (found, truncated) = files(&spec, &Places::of(&spec));
        let found: Vec<&str> = found.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(found, ["/in/both", "/in/hides", "/in/only/lower", "/in/only/upper", "/one"]);
        assert!(!truncated);
        spec.mounts = vec![mount("/in", MountSource::Trees(vec![dir.path().join("gone")]))];
        assert!(files(&spec, &Places::of(&spec)).1, "a tree that can't be listed");
    }
}
