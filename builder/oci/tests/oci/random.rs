//! Random trees: what is packed is what is read, whatever the threads and the order.

use crate::fixture::*;
use anneal_content::MemoryBlobs;
use anneal_oci::*;
use proptest::prelude::*;
use std::{collections::BTreeMap, io::Read as _};

fn names() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,2}", "[a-z]{90,120}", "[à-ü漢]{1,40}"]
}

fn leaves() -> impl Strategy<Value = BTreeMap<String, (Vec<u8>, u32)>> {
    let path = prop::collection::vec(names(), 1..4).prop_map(|parts| parts.join("/"));
    let content = prop::collection::vec(any::<u8>(), 0..2000);
    prop::collection::btree_map(path, (content, 0_u32..0o10000), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_packed_is_what_is_read(leaves in leaves(), workers in 1_usize..5) {
        // Leave out paths that lie under another, which the layer writer rightly refuses.
        let leaves: BTreeMap<_, _> = leaves.iter()
            .filter(|(path, _)| !leaves.keys().any(|other| path.starts_with(&format!("{other}/"))))
            .collect();
        let mut blobs = MemoryBlobs::new();
        let entries: Vec<_> =
            leaves.iter().map(|(path, (content, mode))| file(&mut blobs, path, content.clone(), *mode)).collect();
        let mut bytes = Vec::new();
        let packing = Packing::new(Compression::Gzip, threads(workers), EPOCH);
        let packed = pack_layer(&entries, &blobs, &packing, &mut bytes).unwrap();
        let turned: Vec<_> = entries.iter().rev().cloned().collect();
        prop_assert_eq!(&packed, &pack(&turned, &blobs, Compression::Gzip).0);
        let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(bytes.as_slice()));
        let mut found = BTreeMap::new();
        let mut directories = std::collections::BTreeSet::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let path = path.trim_end_matches('/').to_owned();
            let above = path.rsplit_once('/').map(|(above, _)| above.to_owned());
            prop_assert!(above.is_none_or(|above| directories.contains(&above)), "{} before its parent", path);
            if entry.header().entry_type().is_dir() {
                prop_assert!(directories.insert(path));
                continue;
            }
            let mode = entry.header().mode().unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            prop_assert!(found.insert(path, (content, mode)).is_none());
        }
        let expected: BTreeMap<_, _> = leaves.into_iter().map(|(path, leaf)| (path.clone(), leaf.clone())).collect();
        prop_assert_eq!(found, expected);
    }
}
