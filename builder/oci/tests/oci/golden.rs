//! What layers and documents look like, as committed text.

use crate::fixture::*;
use anneal_content::BlobDigest;
use anneal_oci::*;
use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

/// The one place that compares with a golden file.
#[track_caller]
fn check(name: &str, found: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden/oci").join(name);
    if std::env::var("UPDATE_GOLDEN").is_ok_and(|v| v == "1") {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, found).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    for (number, (want, have)) in expected.lines().zip(found.lines()).enumerate() {
        assert_eq!(have, want, "line {} of {name}; UPDATE_GOLDEN=1 rewrites it", number + 1);
    }
    assert!(expected == found, "{name} has another length; UPDATE_GOLDEN=1 rewrites it");
}

/// The listing of a tar as the tar crate reads it.
fn listing(tar: &[u8]) -> String {
    let mut text = String::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let target = entry.link_name_bytes().map(|t| format!(" -> {}", String::from_utf8_lossy(&t)));
        let pax: Vec<String> = match entry.pax_extensions().unwrap() {
            Some(records) => records.map(|r| r.unwrap().key().unwrap().to_owned()).collect(),
            None => Vec::new(),
        };
        let pax = if pax.is_empty() { String::new() } else { format!(" [pax {}]", pax.join(" ")) };
        let header = entry.header();
        let kind = char::from(header.entry_type().as_byte());
        let (uid, gid) = (header.uid().unwrap(), header.gid().unwrap());
        let (mode, mtime) = (header.mode().unwrap(), header.mtime().unwrap());
        let names = (header.username().unwrap(), header.groupname().unwrap());
        assert_eq!(names, (Some(""), Some("")));
        writeln!(
            text,
            "{kind} {mode:04o} {uid}:{gid} {mtime} {:>5} {path}{}{pax}",
            entry.size(),
            target.unwrap_or_default()
        )
        .unwrap();
    }
    text
}

#[test]
fn a_layer_is_the_same_tar_and_the_same_bytes_everywhere() {
    let (entries, blobs) = odd_layer();
    let (gzip, gzip_bytes) = pack(&entries, &blobs, Compression::Gzip);
    let (zstd, zstd_bytes) = pack(&entries, &blobs, Compression::Zstd);
    assert_eq!(gzip.diff_id, zstd.diff_id);
    let tar = zstd::decode_all(zstd_bytes.as_slice()).unwrap();
    assert_eq!((BlobDigest::of(&tar), tar.len() as u64), (gzip.diff_id, gzip.uncompressed));
    assert_eq!(BlobDigest::of(&gzip_bytes), gzip.digest);
    let mut text = listing(&tar);
    writeln!(text, "\nwriter {LAYER_WRITER}").unwrap();
    for (name, digest, size) in
        [("tar ", gzip.diff_id, gzip.uncompressed), ("gzip", gzip.digest, gzip.size), ("zstd", zstd.digest, zstd.size)]
    {
        writeln!(text, "{name} {digest} {size}").unwrap();
    }
    check("layer.txt", &text);
}

/// Four mebibytes and a bit of text-like bytes, so that several blocks of either codec are written.
#[test]
fn a_layer_of_many_blocks_has_the_same_bytes_everywhere() {
    let mut blobs = anneal_content::MemoryBlobs::new();
    let mut content = String::new();
    for number in 0_u32..500_000 {
        writeln!(content, "{} {:x}", number, number.wrapping_mul(2_654_435_761) >> 20).unwrap();
    }
    let entries = [file(&mut blobs, "usr/share/numbers", content, 0o644)];
    let mut text = format!("writer {LAYER_WRITER}\n");
    for compression in [Compression::Gzip, Compression::Zstd] {
        for level in [1, compression.default_level(), 9] {
            let packing = Packing { level, ..Packing::new(compression, threads(3), EPOCH) };
            let packed = pack_layer(&entries, &blobs, &packing, &mut std::io::sink()).unwrap();
            writeln!(text, "{compression:?} {level} {} {}", packed.digest, packed.size).unwrap();
        }
    }
    check("blocks.txt", &text);
}

/// A document with line breaks for people, then the digest of its canonical bytes.
fn document_text(document: &Document) -> String {
    let value: serde_json::Value = serde_json::from_slice(&document.bytes).unwrap();
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    let Descriptor { media_type, digest, size, .. } = document.descriptor();
    format!("{pretty}\n\n{media_type}\n{digest} {size}\n")
}

#[test]
fn the_documents_of_an_image_are_the_same_everywhere() {
    let image = image(Compression::Gzip);
    check("config.txt", &document_text(&image.config));
    check("manifest.txt", &document_text(&image.manifest));
    check("index.txt", &document_text(&image.index));
    let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let annotations =
        BTreeMap::from([("dev.sigstore.bundle.predicateType".into(), "https://slsa.dev/provenance/v1".into())]);
    let layer = Descriptor::of(bundle, b"{}");
    let referrer = referrer_manifest(&image.manifest.descriptor(), bundle, &[layer], &annotations).unwrap();
    check("referrer.txt", &document_text(&referrer));
}

#[test]
fn the_reference_library_reads_the_documents_and_finds_what_was_put_in() {
    let image = image(Compression::Zstd);
    let config = oci_spec::image::ImageConfiguration::from_reader(image.config.bytes.as_slice()).unwrap();
    assert_eq!(config.architecture().to_string(), "amd64");
    assert_eq!(config.rootfs().diff_ids(), &[image.layer.0.diff_id.to_string()]);
    let run = config.config().as_ref().unwrap();
    assert_eq!(run.user().as_deref(), Some("65532:65532"));
    assert_eq!(run.env().as_ref().unwrap(), &["LANG=C.UTF-8", "PATH=/usr/bin:/bin"]);
    // that library keeps ports in a map without order
    let ports = run.exposed_ports().iter().flatten().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(ports.into_iter().collect::<Vec<_>>(), ["8080/tcp", "8443/tcp"]);
    assert_eq!(run.stop_signal().as_deref(), Some("SIGQUIT"));
    let manifest = oci_spec::image::ImageManifest::from_reader(image.manifest.bytes.as_slice()).unwrap();
    assert_eq!(manifest.config().digest().to_string(), image.config.digest().to_string());
    let layer = &manifest.layers()[0];
    assert_eq!(layer.media_type(), &oci_spec::image::MediaType::ImageLayerZstd);
    assert_eq!((layer.digest().to_string(), layer.size()), (image.layer.0.digest.to_string(), image.layer.0.size));
    let index = oci_spec::image::ImageIndex::from_reader(image.index.bytes.as_slice()).unwrap();
    assert_eq!(index.manifests()[0].digest().to_string(), image.manifest.digest().to_string());
    let parsed = ImageConfig::parse(&image.config.bytes).unwrap();
    assert_eq!(parsed.config.working_dir, "/var/lib/app");
    assert_eq!(ImageManifest::parse(&image.manifest.bytes).unwrap().layers[0], image.layer.0.descriptor());
}

#[test]
fn a_config_of_another_tool_with_nulls_is_read() {
    let foreign = r#"{"architecture":"arm64","os":"linux","author":"x","config":{"Env":null,"Cmd":null,"Volumes":{},
        "Entrypoint":null,"Labels":null,"ExposedPorts":null},"rootfs":{"type":"layers","diff_ids":[]},"history":[]}"#;
    let config = ImageConfig::parse(foreign.as_bytes()).unwrap();
    assert_eq!((config.architecture.as_str(), config.config), ("arm64", RunConfig::default()));
    let broken = ImageConfig::parse(b"{").unwrap_err().to_string();
    assert!(broken.starts_with("image config does not parse: "), "{broken}");
}
