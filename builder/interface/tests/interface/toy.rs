//! A library as a package brings it: the shared object, its header, its archive, its `-config` script.

use anneal_content::{Directory, DirectoryNode, EntryName, FileNode, MemoryBlobs, OutputName, SymlinkNode, TreeDigest};
use anneal_interface::Interface;
use std::{collections::BTreeMap, fs, path::Path, process::Command};

pub(crate) const HEADER: &str = "\
#define TOY_LIMIT 16
enum toy_mode { TOY_FAST = 1, TOY_SAFE = 2 };
struct toy { int size; char name[8]; };
static inline int toy_twice(int x) { return x * 2; }
int toy_sum(const struct toy *toy, int n);
int toy_hook(int n);
extern int toy_table[];
extern int toy_other[];
";

pub(crate) const SOURCE: &str = "\
struct toy { int size; char name[8]; };
int toy_table[4] = {1, 2, 3, 4};
__attribute__((weak)) int toy_other[4] = {5, 6, 7, 8};
const char toy_name[4] = \"toy\";
__thread int toy_error = 1;
int toy_sum(const struct toy *toy, int n) { return toy->size + n; }
__attribute__((weak)) int toy_hook(int n) { return n; }
__asm__(\".globl toy_edition\\n.set toy_edition, 5\");
";

pub(crate) const VERSIONS: &str = "TOY_1.0 { global: toy_*; local: *; };\n";
pub(crate) const CONFIG: &str = "#!/bin/sh\necho -ltoy\n";

/// Everything that can be mutated.
#[derive(Clone)]
pub(crate) struct Toy {
    pub(crate) source: String,
    pub(crate) header: String,
    pub(crate) versions: String,
    pub(crate) config: String,
    pub(crate) archive: Vec<u8>,
    pub(crate) flags: Vec<String>,
    pub(crate) file: &'static str,
    pub(crate) link: &'static str,
    pub(crate) mode: u32,
}

/// An entry of an output.
pub(crate) enum Item {
    File(Vec<u8>, u32),
    Link(&'static str),
}

pub(crate) type Items = Vec<(&'static str, Item)>;

impl Default for Toy {
    fn default() -> Self {
        Self {
            source: SOURCE.into(),
            header: HEADER.into(),
            versions: VERSIONS.into(),
            config: CONFIG.into(),
            archive: b"!<arch>\n".to_vec(),
            flags: vec!["-Wl,-soname,libtoy.so.1".into()],
            file: "usr/lib/libtoy.so.1",
            link: "libtoy.so.1",
            mode: 0o755,
        }
    }
}

/// Runs the machine's compiler.
pub(crate) fn cc(dir: &Path, args: &[&str]) {
    let out = Command::new("cc").current_dir(dir).args(args).output().expect("a C compiler is needed");
    assert!(out.status.success(), "cc {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr));
}

impl Toy {
    /// With a text of its source replaced.
    #[track_caller]
    pub(crate) fn source(old: &str, new: &str) -> Self {
        Self { source: replaced(SOURCE, old, new), ..Self::default() }
    }

    /// The shared object.
    pub(crate) fn library(&self) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("toy.c"), &self.source).unwrap();
        fs::write(dir.path().join("toy.map"), &self.versions).unwrap();
        fs::write(dir.path().join("needed.c"), "int needed_by_toy;").unwrap();
        cc(
            dir.path(),
            &["-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libneeded.so.1", "-o", "libneeded.so", "needed.c"],
        );
        let mut args =
            vec!["-shared", "-fPIC", "-O1", "-nostdlib", "-Wl,--build-id=sha1", "-Wl,--version-script=toy.map"];
        args.extend(["-o", "libtoy.so", "toy.c", "-L."]);
        args.extend(self.flags.iter().map(String::as_str));
        cc(dir.path(), &args);
        fs::read(dir.path().join("libtoy.so")).unwrap()
    }

    /// Its outputs.
    pub(crate) fn outputs(&self) -> BTreeMap<&'static str, Items> {
        let out: Items = vec![(self.file, Item::File(self.library(), self.mode))];
        let dev: Items = vec![
            ("usr/include/toy.h", Item::File(self.header.clone().into(), 0o644)),
            ("usr/lib/libtoy.so", Item::Link(self.link)),
            ("usr/bin/toy-config", Item::File(self.config.clone().into(), 0o755)),
        ];
        let archives: Items = vec![("usr/lib/libtoy.a", Item::File(self.archive.clone(), 0o644))];
        BTreeMap::from([("out", out), ("dev", dev), ("static", archives)])
    }

    /// What those see who mount these outputs.
    pub(crate) fn seen(&self, mounted: &[&str]) -> Interface {
        let outputs = self.outputs().into_iter().filter(|(name, _)| mounted.contains(name));
        interface(&outputs.collect())
    }
}

#[track_caller]
pub(crate) fn replaced(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "there is no {old:?}");
    text.replacen(old, new, 1)
}

/// The Interface of some outputs.
pub(crate) fn interface(outputs: &BTreeMap<&'static str, Items>) -> Interface {
    let mut blobs = MemoryBlobs::new();
    let trees = outputs.iter().map(|(name, items)| {
        let items: Vec<_> = items.iter().map(|(path, item)| (*path, item)).collect();
        (OutputName::new(*name).unwrap(), tree(&items, &mut blobs))
    });
    let trees = trees.collect();
    Interface::of(&trees, &blobs).unwrap()
}

fn tree(items: &[(&str, &Item)], blobs: &mut MemoryBlobs) -> TreeDigest {
    let mut directory = Directory::default();
    let mut beneath: BTreeMap<&str, Vec<(&str, &Item)>> = BTreeMap::new();
    for (path, item) in items {
        let Some((name, rest)) = path.split_once('/') else {
            let name = EntryName::new(*path).unwrap();
            match item {
                Item::File(bytes, mode) => {
                    let (digest, size) = (blobs.insert(bytes.clone()), bytes.len() as u64);
                    directory.files.push(FileNode { name, digest, size, mode: *mode });
                }
                Item::Link(target) => directory.symlinks.push(SymlinkNode { name, target: (*target).to_owned() }),
            }
            continue;
        };
        beneath.entry(name).or_default().push((rest, item));
    }
    for (name, items) in beneath {
        let digest = tree(&items, blobs);
        directory.directories.push(DirectoryNode { name: EntryName::new(name).unwrap(), digest, size: 0, mode: 0o755 });
    }
    let (bytes, digest) = directory.encode();
    blobs.insert(bytes);
    digest
}
