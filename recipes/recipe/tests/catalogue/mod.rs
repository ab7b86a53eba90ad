//! A small catalogue that has every key of the format, and changes of it.

use std::{fs, path::Path};

/// Its files: path and text.
pub(crate) fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/catalogue");
    let mut files = Vec::new();
    for folder in ["packages", "images"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            files.push((format!("recipes/{folder}/{name}"), fs::read_to_string(&path).unwrap()));
        }
    }
    files
}

/// Its files with changes: in a file, the first occurrence of one text becomes another.
#[track_caller]
pub(crate) fn changed(changes: &[(&str, &str, &str)]) -> Vec<(String, String)> {
    let mut files = files();
    for (path, old, new) in changes {
        let text = &mut files.iter_mut().find(|(file, _)| file == path).unwrap().1;
        assert!(text.contains(old), "{path} has no {old:?}");
        *text = text.replacen(old, new, 1);
    }
    files
}
