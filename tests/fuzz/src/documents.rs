//! Documents that others write: advisories, recipes, images; and trees and names, which everything else is made of.

use crate::check_message;
use anneal_advisory::{Component, compare, judge};
use anneal_content::{
    BlobDigest, Directory, EntryName, ImageName, OutputName, PackageName, Tag, TreeDigest, TreePath, Version,
};
use anneal_interface::SharedObject;
use anneal_oci::{ImageConfig, ImageIndex, ImageManifest};
use anneal_recipe::{Catalog, Place};

/// A tree has one encoding: what is decoded has exactly the bytes that it came from.
pub(crate) fn tree(input: &[u8]) {
    let digest = TreeDigest::from_bytes(*BlobDigest::of(input).as_bytes());
    match Directory::decode(&digest, input) {
        Ok(directory) => assert_eq!(directory.encode(), (input.to_vec(), digest)),
        Err(error) => check_message(&error),
    }
}

/// A library is reduced or refused, and to the same each time: two orders of symbols would be two interfaces.
pub(crate) fn shared_object(input: &[u8]) {
    if let Ok(object) = SharedObject::read(input) {
        assert_eq!(SharedObject::read(input).as_ref(), Ok(&object));
        assert!(object.symbols.is_sorted());
    }
}

/// A record is judged, whatever it says, and the same each time.
pub(crate) fn advisory(input: &[u8]) {
    let record = match anneal_advisory::parse(input) {
        Ok(record) => record,
        Err(error) => return check_message(&error),
    };
    for version in ["1.2.11", "0", "1.2.13-1", "v2.0.0-rc.1", "1:2~3"] {
        let component = Component {
            name: PackageName::new("zlib").unwrap(),
            version: Version::new(version).unwrap(),
            purl: Some("pkg:generic/zlib".to_owned()),
            repository: Some("https://github.com/madler/zlib".to_owned()),
            names: vec![("Debian".to_owned(), "zlib".to_owned()), ("OSS-Fuzz".to_owned(), "zlib".to_owned())],
        };
        assert_eq!(judge(&record, &component), judge(&record, &component));
    }
    assert_eq!(anneal_advisory::parse(input).unwrap(), record);
}

/// A catalogue of one recipe: every mistake has a place in the text, and what is accepted survives its own JSON.
pub(crate) fn recipe(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for path in ["recipes/packages/a.toml", "recipes/images/a.toml"] {
        match Catalog::parse(&[(path.to_owned(), text.to_owned())]) {
            Ok(catalog) => {
                let json = catalog.to_json().unwrap();
                let again = Catalog::from_json(&json).unwrap();
                assert_eq!(again.digest().unwrap(), catalog.digest().unwrap());
            }
            Err(mistakes) => check_message(&mistakes),
        }
    }
    if let Err(error) = Catalog::from_json(input) {
        check_message(&error);
    }
}

/// Manifests, indexes and configs as registries give them.
pub(crate) fn image(input: &[u8]) {
    match ImageManifest::parse(input) {
        Ok(manifest) => {
            let again = ImageManifest::parse(&serde_json::to_vec(&manifest).unwrap()).unwrap();
            assert_eq!(again, manifest);
        }
        Err(error) => check_message(&error),
    }
    match ImageIndex::parse(input) {
        Ok(index) => {
            let again = ImageIndex::parse(&serde_json::to_vec(&index).unwrap()).unwrap();
            assert_eq!(again, index);
        }
        Err(error) => check_message(&error),
    }
    match ImageConfig::parse(input) {
        Ok(config) => {
            let again = ImageConfig::parse(&serde_json::to_vec(&config).unwrap()).unwrap();
            assert_eq!(again, config);
        }
        Err(error) => check_message(&error),
    }
}

/// Names, digests, places and versions: a value is its text, and two versions are ordered the same from both sides.
pub(crate) fn names(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    macro_rules! same {
        ($($kind:ty),*) => { $(match text.parse::<$kind>() {
            Ok(value) => assert_eq!(value.to_string(), text),
            Err(error) => check_message(&error),
        })* };
    }
    same!(PackageName, ImageName, OutputName, Tag, Version, EntryName, BlobDigest, TreeDigest);
    match TreePath::new(text) {
        Ok(path) => assert!(!path.as_str().split('/').any(|part| part.is_empty() || part == "." || part == "..")),
        Err(error) => check_message(&error),
    }
    if let Ok(place) = text.parse::<Place>() {
        assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
    }
    let (a, b) = text.split_once('\n').unwrap_or((text, "1.0"));
    for ecosystem in ["generic", "Debian:12", "Alpine:v3.20", "npm", "PyPI", "Go", "crates.io", text] {
        match (compare(ecosystem, a, b), compare(ecosystem, b, a)) {
            (Ok(there), Ok(back)) => assert_eq!(there, back.reverse(), "{ecosystem}"),
            (Err(_), Err(_)) => {}
            (there, back) => panic!("{ecosystem}: {there:?} from one side, {back:?} from the other"),
        }
        if let Ok(order) = compare(ecosystem, a, a) {
            assert!(order.is_eq(), "{ecosystem}: a version is not equal to itself");
        }
    }
}
