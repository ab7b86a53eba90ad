//! A disk that lies: no damaged byte reaches a client, and no short body passes for a whole one.

use crate::fixture::*;
use anneal_content::BlobDigest;
use std::{os::unix::fs::FileExt as _, path::PathBuf};

/// The file in which the store keeps a blob, found by its name.
fn blob_file(registry: &Registry, digest: &BlobDigest) -> PathBuf {
    let hex = digest.hex();
    let mut todo = vec![registry.dir.path().join("store/blobs")];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.file_name().unwrap().to_str() == Some(&hex) {
                return path;
            }
        }
    }
    panic!("no file for {digest}");
}

fn flip(registry: &Registry, digest: &BlobDigest, at: u64) {
    let file = std::fs::File::options().read(true).write(true).open(blob_file(registry, digest)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn damage_in_the_middle_breaks_the_connection_off_before_the_bad_chunk() {
    let registry = Registry::start();
    let (path, layer) = (registry.layer_path(), &registry.published.layer);
    flip(&registry, &layer.digest, (3 << 20) + 77);
    let reply = registry.get(&path);
    assert_eq!((reply.status, reply.header("content-length")), (200, &*layer.size.to_string()));
    assert!(!reply.complete(), "a damaged blob left whole");
    assert!(reply.body.len() <= 3 << 20, "{} bytes", reply.body.len());
    assert!(reply.body == registry.published.layer_bytes[..reply.body.len()], "a damaged byte left");
    // found once, it is not even begun again
    let again = registry.get(&path);
    assert_eq!((again.status, again.code().as_str()), (500, "UNKNOWN"));
    assert!(again.complete());
}

#[test]
fn damage_at_the_beginning_is_a_plain_error() {
    let registry = Registry::start();
    flip(&registry, &registry.published.layer.digest, 5);
    let reply = registry.get(&registry.layer_path());
    assert_eq!((reply.status, reply.code().as_str()), (500, "UNKNOWN"));
}

#[test]
fn a_range_beside_the_damage_is_served_and_one_over_it_is_not() {
    let registry = Registry::start();
    let (path, layer) = (registry.layer_path(), &registry.published.layer);
    flip(&registry, &layer.digest, (3 << 20) + 77);
    let beside = registry.send("GET", &path, &[("Range", "bytes=1000-2000")]);
    assert!(beside.status == 206 && beside.body == registry.published.layer_bytes[1000..=2000]);
    let over = registry.send("GET", &path, &[("Range", "bytes=3145730-3145740")]);
    assert_eq!((over.status, over.code().as_str()), (500, "UNKNOWN"));
}

#[test]
fn a_damaged_manifest_is_not_served() {
    let registry = Registry::start();
    flip(&registry, &registry.published.manifest.digest(), 20);
    let reply = registry.get("/v2/team/noise/manifests/latest");
    assert_eq!((reply.status, reply.code().as_str()), (500, "UNKNOWN"));
    assert_eq!(registry.send("HEAD", "/v2/team/noise/manifests/latest", &[]).status, 500);
}

#[test]
fn a_file_that_is_cut_short_is_not_served() {
    let registry = Registry::start();
    let file = blob_file(&registry, &registry.published.layer.digest);
    std::fs::File::options().write(true).open(file).unwrap().set_len(2 << 20).unwrap();
    let reply = registry.get(&registry.layer_path());
    assert!(reply.status == 500 || !reply.complete(), "{}", reply.status);
}
