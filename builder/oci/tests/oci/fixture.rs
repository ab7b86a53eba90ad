//! One small image with every kind of entry, and its pieces.

use anneal_content::{BlobDigest, EntryKind, MemoryBlobs, TreePath};
use anneal_oci::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
};

/// 15 January 2017, when zlib 1.2.11 was released.
pub(crate) const EPOCH: u64 = 1_484_438_400;

pub(crate) fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

pub(crate) fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// An entry owned by root.
pub(crate) fn entry(at: &str, kind: EntryKind, mode: u32) -> LayerEntry {
    LayerEntry { path: path(at), kind, mode, uid: 0, gid: 0 }
}

pub(crate) fn file(blobs: &mut MemoryBlobs, at: &str, content: impl Into<Vec<u8>>, mode: u32) -> LayerEntry {
    let content = content.into();
    let size = content.len() as u64;
    entry(at, EntryKind::File { digest: blobs.insert(content), size }, mode)
}

pub(crate) fn link(at: &str, target: &str) -> LayerEntry {
    entry(at, EntryKind::Symlink { target: target.into() }, 0o777)
}

/// A layer that uses all that tar can say, and what it cannot say without pax.
pub(crate) fn odd_layer() -> (Vec<LayerEntry>, MemoryBlobs) {
    let mut blobs = MemoryBlobs::new();
    let long = format!("opt/{}/{}", "long-directory-name".repeat(9), "long-file-name".repeat(8));
    let fits = format!("opt/{}/file", "d".repeat(120));
    let mut entries = vec![
        file(&mut blobs, "usr/bin/tool", "#!/bin/sh\necho tool\n", 0o755),
        file(&mut blobs, "usr/lib/libz.so.1.2.11", vec![7; 5000], 0o555),
        link("usr/lib/libz.so.1", "libz.so.1.2.11"),
        link("usr/lib/far", &"../".repeat(50)),
        file(&mut blobs, "etc/empty", "", 0o644),
        file(&mut blobs, "etc/block", vec![b'x'; 512], 0o600),
        file(&mut blobs, "etc/block+1", vec![b'x'; 513], 0o640),
        file(&mut blobs, "etc-sorts-after-etc/x", "x", 0o644),
        file(&mut blobs, "usr/share/grüße/名前", "unicode\n", 0o644),
        file(&mut blobs, &long, "long\n", 0o644),
        file(&mut blobs, &fits, "fits\n", 0o644),
        entry("tmp", EntryKind::Directory, 0o1777),
        entry("var", EntryKind::Directory, 0o755),
        entry("var", EntryKind::Directory, 0o755),
    ];
    let mut home = entry("var/lib/app", EntryKind::Directory, 0o750);
    (home.uid, home.gid) = (65_532, 65_532);
    let mut big_owner = file(&mut blobs, "var/lib/app/data", "data\n", 0o640);
    (big_owner.uid, big_owner.gid) = (3_000_000, 4_000_000_000);
    entries.extend([home, big_owner]);
    (entries, blobs)
}

/// A layer that unpacks without root: plain owners only.
pub(crate) fn plain_layer() -> (Vec<LayerEntry>, MemoryBlobs) {
    let (mut entries, blobs) = odd_layer();
    for entry in &mut entries {
        (entry.uid, entry.gid) = (0, 0);
    }
    (entries, blobs)
}

/// The same with a file of two and a half MiB, so that it takes several gzip members.
pub(crate) fn large_layer() -> (Vec<LayerEntry>, MemoryBlobs) {
    let (mut entries, mut blobs) = plain_layer();
    let lines: String = (0..200_000_u32).map(|n| format!("{:012x}\n", u64::from(n).pow(2) * 77)).collect();
    entries.push(file(&mut blobs, "opt/large", lines, 0o644));
    (entries, blobs)
}

pub(crate) fn pack(entries: &[LayerEntry], blobs: &MemoryBlobs, compression: Compression) -> (PackedLayer, Vec<u8>) {
    let mut bytes = Vec::new();
    let packed = pack_layer(entries, blobs, &Packing::new(compression, threads(2), EPOCH), &mut bytes).unwrap();
    (packed, bytes)
}

pub(crate) fn config_input(layers: &[PackedLayer]) -> ConfigInput {
    ConfigInput {
        platform: Platform::linux_amd64(),
        created_secs: EPOCH,
        user: "65532:65532".into(),
        entrypoint: vec!["/usr/bin/tool".into()],
        cmd: vec!["--serve".into()],
        env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into()), ("LANG".into(), "C.UTF-8".into())]),
        workdir: Some("/var/lib/app".into()),
        ports: BTreeSet::from(["8443/tcp".into(), "8080/tcp".into()]),
        stop_signal: Some("SIGQUIT".into()),
        labels: BTreeMap::from([("maintainer".into(), "the catalogue".into())]),
        layers: layers
            .iter()
            .map(|layer| ConfigLayer { diff_id: layer.diff_id, created_by: "anneal: zlib 1.2.11".into() })
            .collect(),
    }
}

pub(crate) fn facts() -> ImageFacts {
    ImageFacts {
        title: Some("tool".into()),
        version: Some("1.2.11".into()),
        licenses: Some("Zlib".into()),
        created_secs: Some(EPOCH),
        base: Some(("static-base".into(), BlobDigest::of(b"base"))),
        ..ImageFacts::default()
    }
}

/// An image of one layer: the layer's bytes, the config, the manifest and an index.
pub(crate) struct Image {
    pub(crate) layer: (PackedLayer, Vec<u8>),
    pub(crate) config: Document,
    pub(crate) manifest: Document,
    pub(crate) index: Document,
}

pub(crate) fn image(compression: Compression) -> Image {
    image_of(&plain_layer(), compression)
}

pub(crate) fn image_of((entries, blobs): &(Vec<LayerEntry>, MemoryBlobs), compression: Compression) -> Image {
    let layer = pack(entries, blobs, compression);
    let config = image_config(&config_input(std::slice::from_ref(&layer.0))).unwrap();
    let manifest = image_manifest(&ManifestInput {
        config: config.descriptor(),
        layers: vec![layer.0.descriptor()],
        annotations: facts().annotations().unwrap(),
    })
    .unwrap();
    let on = Descriptor { platform: Some(Platform::linux_amd64()), ..manifest.descriptor() };
    let index = image_index(&[on], &BTreeMap::new()).unwrap();
    Image { layer, config, manifest, index }
}

/// Writes an OCI layout directory with the image under the tag `latest`.
pub(crate) fn write_layout(dir: &std::path::Path, image: &Image) {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    for bytes in [&image.layer.1, &image.config.bytes, &image.manifest.bytes] {
        std::fs::write(blobs.join(BlobDigest::of(bytes).hex()), bytes).unwrap();
    }
    let mut tagged = image.manifest.descriptor();
    tagged.annotations.insert("org.opencontainers.image.ref.name".into(), "latest".into());
    let index = image_index(&[tagged], &BTreeMap::new()).unwrap();
    std::fs::write(dir.join("index.json"), index.bytes).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}
