//! The Interface of a real library, of the files that the end-to-end test built.

use crate::toy::{Item, Items, interface};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

const VERSION: &str = "1.2.13";

/// The trees of zlib among those of a store that have been laid out: what runs, and what is compiled against.
fn outputs(trees: &Path) -> Option<BTreeMap<&'static str, PathBuf>> {
    let mut found = BTreeMap::new();
    for tree in fs::read_dir(trees).ok()? {
        let tree = tree.ok()?.path();
        let header = fs::read_to_string(tree.join("usr/include/zlib.h")).unwrap_or_default();
        if tree.join("usr/lib").join(format!("libz.so.{VERSION}")).exists() {
            found.insert("out", tree);
        } else if header.contains(&format!("#define ZLIB_VERSION \"{VERSION}\"")) {
            found.insert("dev", tree);
        }
    }
    (found.len() == 2).then_some(found)
}

fn items(root: &Path, dir: &Path, items: &mut Items) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap();
        let name: &'static str = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned().leak();
        if kind.is_dir() {
            self::items(root, &path, items);
        } else if kind.is_symlink() {
            let target: &'static str = fs::read_link(&path).unwrap().to_str().unwrap().to_owned().leak();
            items.push((name, Item::Link(target)));
        } else {
            items.push((name, Item::File(fs::read(&path).unwrap(), kind.permissions().mode() & 0o7777)));
        }
    }
}

#[test]
fn the_interface_of_zlib_is_what_its_golden_text_says() {
    let Some(trees) = std::env::var_os("ANNEAL_TREES").and_then(|dir| outputs(Path::new(&dir))) else {
        return println!("skipped: ANNEAL_TREES names no directory of trees with zlib {VERSION}");
    };
    let outputs = trees.into_iter().map(|(name, root)| {
        let mut all = Items::new();
        items(&root, &root, &mut all);
        (name, all)
    });
    let interface = interface(&outputs.collect());
    assert_eq!(interface.executables(), [], "zlib brings nothing that runs in a build");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/interface/zlib.txt");
    let text = format!("{}\n{interface}", interface.digest().unwrap());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap_or_default(), "UPDATE_GOLDEN=1 writes it anew");
}
