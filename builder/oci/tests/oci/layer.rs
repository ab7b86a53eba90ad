//! Which entries make a layer, and which are refused.

use crate::fixture::*;
use anneal_content::{BlobDigest, EntryKind, MemoryBlobs};
use anneal_oci::*;

fn refused(entries: &[LayerEntry], blobs: &MemoryBlobs) -> String {
    let packing = Packing::new(Compression::Gzip, threads(1), EPOCH);
    pack_layer(entries, blobs, &packing, &mut std::io::sink()).unwrap_err().to_string()
}

#[test]
fn the_order_in_which_entries_are_listed_leaves_no_trace() {
    let (mut entries, blobs) = odd_layer();
    let expected = pack(&entries, &blobs, Compression::Gzip);
    for _ in 0..entries.len() {
        entries.rotate_left(1);
        assert!(pack(&entries, &blobs, Compression::Gzip) == expected);
    }
    entries.reverse();
    assert!(pack(&entries, &blobs, Compression::Gzip) == expected);
}

#[test]
fn the_source_epoch_is_the_only_time_in_a_layer() {
    let (entries, blobs) = odd_layer();
    let at = |epoch_secs| {
        let packing = Packing::new(Compression::Gzip, threads(1), epoch_secs);
        pack_layer(&entries, &blobs, &packing, &mut std::io::sink()).map(|packed| packed.digest)
    };
    assert_eq!(at(EPOCH).unwrap(), at(EPOCH).unwrap());
    assert_ne!(at(EPOCH).unwrap(), at(EPOCH + 1).unwrap());
    assert!(at(0o777_7777_7777).is_ok());
    assert!(at(0o777_7777_7777 + 1).is_err());
}

#[test]
fn a_path_with_two_meanings_is_refused() {
    let mut blobs = MemoryBlobs::new();
    let one = file(&mut blobs, "etc/motd", "one", 0o644);
    let two = file(&mut blobs, "etc/motd", "two", 0o644);
    assert!(refused(&[one.clone(), two], &blobs).contains("`etc/motd` is listed twice"));
    assert!(refused(&[one.clone(), one.clone()], &blobs).contains("listed twice"));
    let dirs = [0o755, 0o700].map(|mode| entry("etc", EntryKind::Directory, mode));
    assert!(refused(&dirs, &blobs).contains("mode 0755"));
    assert!(refused(&[one, link("etc", "usr/etc")], &blobs).contains("lies under `etc`, which is a link"));
    let as_file = file(&mut blobs, "a", "", 0o644);
    let below = file(&mut blobs, "a/b/c", "", 0o644);
    assert!(refused(&[as_file, below], &blobs).contains("lies under `a`, which is a file"));
}

#[test]
fn a_name_that_would_delete_files_below_is_refused() {
    let mut blobs = MemoryBlobs::new();
    for name in ["etc/.wh.passwd", ".wh..wh..opq", ".wh.x/y", ".wh."] {
        let entry = file(&mut blobs, name, "", 0o644);
        assert!(refused(&[entry], &blobs).contains("reads as a deletion"), "{name}");
    }
    let near = file(&mut blobs, "etc/wh.passwd", "", 0o644);
    pack(&[near], &blobs, Compression::Gzip);
}

#[test]
fn modes_targets_and_paths_out_of_range_are_refused() {
    let blobs = MemoryBlobs::new();
    assert!(refused(&[entry("x", EntryKind::Directory, 0o10000)], &blobs).contains("mode 10000"));
    for target in [String::new(), "x".repeat(4096), "a\0b".into()] {
        assert!(refused(&[link("x", &target)], &blobs).contains("expected 1 to 4095"));
    }
    let deep = |length: usize| vec!["d"; length].join("/");
    pack(&[entry(&deep(2048), EntryKind::Directory, 0o755)], &blobs, Compression::Gzip);
    assert!(refused(&[entry(&deep(2049), EntryKind::Directory, 0o755)], &blobs).contains("limit is 4095"));
}

#[test]
fn content_that_is_not_what_the_entry_says_is_refused() {
    let mut blobs = MemoryBlobs::new();
    let digest = blobs.insert("five!");
    for (size, found) in [(4, "5"), (6, "5"), (0, "1"), (1 << 40, "limit")] {
        let wrong = entry("etc/x", EntryKind::File { digest, size }, 0o644);
        assert!(refused(&[wrong], &blobs).contains(found), "{size}");
    }
    let missing = entry("etc/x", EntryKind::File { digest: BlobDigest::of(b"gone"), size: 4 }, 0o644);
    assert!(refused(&[missing], &blobs).contains("cannot read the content of layer entry `etc/x`"));
}

#[test]
fn a_level_that_the_codec_does_not_have_is_refused() {
    for (compression, level) in [(Compression::Gzip, 0), (Compression::Gzip, 10), (Compression::Zstd, 20)] {
        let packing = Packing { level, ..Packing::new(compression, threads(1), EPOCH) };
        let refused = pack_layer(&[], &MemoryBlobs::new(), &packing, &mut std::io::sink());
        assert!(refused.unwrap_err().to_string().contains(&format!("no compression level {level}")));
    }
}

#[test]
fn a_layer_of_nothing_is_an_empty_archive() {
    let (packed, bytes) = pack(&[], &MemoryBlobs::new(), Compression::Zstd);
    assert_eq!(packed.uncompressed, 1024);
    assert_eq!(zstd::decode_all(bytes.as_slice()).unwrap(), [0; 1024]);
}

#[test]
fn values_that_an_engine_would_misread_are_refused_in_a_config() {
    let with = |change: &dyn Fn(&mut ConfigInput)| {
        let mut input = config_input(&[]);
        change(&mut input);
        image_config(&input)
    };
    assert!(with(&|_| ()).is_ok());
    for port in ["", "80", "80/http", "0/tcp", "65536/tcp", "+80/tcp", "080/tcp"] {
        assert!(with(&|input| input.ports = [port.to_owned()].into()).is_err(), "{port}");
    }
    for (key, value) in [("", "x"), ("A=B", "x"), ("A", "x\0y")] {
        assert!(with(&|input| input.env = [(key.to_owned(), value.to_owned())].into()).is_err(), "{key}");
    }
    for workdir in ["srv", "/srv/../etc", ""] {
        assert!(with(&|input| input.workdir = Some(workdir.to_owned())).is_err(), "{workdir}");
    }
}
