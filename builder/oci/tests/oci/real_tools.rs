//! GNU tar, gzip, pigz, zstd, skopeo and umoci on what we write. A tool that is not installed is skipped with a line.

use crate::fixture::*;
use anneal_oci::*;
use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::{Command, Output},
};

/// Runs a tool; `None`, and a line in the test's output, where it is not installed.
#[track_caller]
fn tool(name: &str, arguments: &[&str]) -> Option<Output> {
    let output = match Command::new(name).args(arguments).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: no {name}");
            return None;
        }
        other => other.unwrap(),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {errors}");
    Some(output)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_compressors_own_programs_read_the_layers() {
    let dir = tempfile::tempdir().unwrap();
    let (entries, blobs) = large_layer();
    let expected = zstd::decode_all(pack(&entries, &blobs, Compression::Zstd).1.as_slice()).unwrap();
    let python = "import gzip, sys; sys.stdout.buffer.write(gzip.open(sys.stdin.buffer).read())";
    let readers = [
        (Compression::Gzip, "gzip", &["-d", "-c"][..]),
        (Compression::Gzip, "pigz", &["-d", "-c"]),
        (Compression::Gzip, "busybox", &["gunzip", "-c"]),
        (Compression::Gzip, "python3", &["-c", python]),
        (Compression::Zstd, "zstd", &["-d", "-c"]),
    ];
    for (compression, name, arguments) in readers {
        let file = dir.path().join(name);
        std::fs::write(&file, pack(&entries, &blobs, compression).1).unwrap();
        let file = std::fs::File::open(&file).unwrap();
        let run = Command::new(name).args(arguments).stdin(file).output();
        match run {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => eprintln!("skipped: no {name}"),
            other => {
                let output = other.unwrap();
                // A warning, about trailing bytes say, is on standard error.
                assert!(output.status.success() && output.stderr.is_empty(), "{name}: {output:?}");
                assert!(output.stdout == expected, "{name} reads other bytes");
            }
        }
    }
}

#[test]
fn gnu_tar_lists_every_entry_as_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let (entries, blobs) = odd_layer();
    let archive = dir.path().join("layer.tar");
    let tar = zstd::decode_all(pack(&entries, &blobs, Compression::Zstd).1.as_slice()).unwrap();
    std::fs::write(&archive, tar).unwrap();
    let arguments = ["--list", "--verbose", "--numeric-owner", "--quoting-style=literal", "--full-time", "-f"];
    let Some(output) = tool("tar", &[&arguments[..], &[text(&archive)]].concat()) else { return };
    assert!(output.stderr.is_empty(), "{output:?}");
    let listing = String::from_utf8(output.stdout).unwrap();
    for wanted in [
        "-rwxr-xr-x 0/0              20 2017-01-15 00:00:00 usr/bin/tool",
        "-r-xr-xr-x 0/0            5000 2017-01-15 00:00:00 usr/lib/libz.so.1.2.11",
        "lrwxrwxrwx 0/0               0 2017-01-15 00:00:00 usr/lib/libz.so.1 -> libz.so.1.2.11",
        "drwxrwxrwt 0/0               0 2017-01-15 00:00:00 tmp/",
        "drwxr-x--- 65532/65532       0 2017-01-15 00:00:00 var/lib/app/",
        "-rw-r----- 3000000/4000000000 5 2017-01-15 00:00:00 var/lib/app/data",
        "-rw-r--r-- 0/0               8 2017-01-15 00:00:00 usr/share/grüße/名前",
    ] {
        assert!(listing.lines().any(|line| line == wanted), "no line `{wanted}` in\n{listing}");
    }
}

#[test]
fn skopeo_sees_the_image_that_was_described() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let dir = tempfile::tempdir().unwrap();
        let image = image_of(&large_layer(), compression);
        write_layout(dir.path(), &image);
        let name = format!("oci:{}:latest", text(dir.path()));
        let Some(output) = tool("skopeo", &["inspect", &name]) else { return };
        let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(seen["Digest"], image.manifest.digest().to_string());
        assert_eq!(seen["Layers"][0], image.layer.0.digest.to_string());
        assert_eq!(seen["Created"], "2017-01-15T00:00:00Z");
        assert_eq!(seen["Env"][1], "PATH=/usr/bin:/bin");
        assert_eq!(seen["Architecture"], "amd64");
        assert_eq!(seen["Labels"]["maintainer"], "the catalogue");
        // A copy decompresses the layer, compares its digest with the config's, and keeps the manifest's bytes.
        let copy = format!("oci:{}:copied", text(&dir.path().join("copy")));
        tool("skopeo", &["--insecure-policy", "copy", "--preserve-digests", &name, &copy]);
        let copied = dir.path().join("copy/blobs/sha256").join(image.manifest.digest().hex());
        assert_eq!(std::fs::read(copied).unwrap(), image.manifest.bytes);
    }
}

#[test]
fn umoci_unpacks_the_image_to_the_files_that_were_packed() {
    let dir = tempfile::tempdir().unwrap();
    let image = image_of(&large_layer(), Compression::Gzip);
    write_layout(&dir.path().join("image"), &image);
    let (layout, bundle) = (dir.path().join("image"), dir.path().join("bundle"));
    let name = format!("{}:latest", text(&layout));
    if tool("umoci", &["unpack", "--rootless", "--image", &name, text(&bundle)]).is_none() {
        return;
    }
    let root = bundle.join("rootfs");
    assert_eq!(std::fs::read(root.join("usr/lib/libz.so.1")).unwrap(), vec![7; 5000]);
    assert_eq!(std::fs::read_to_string(root.join("usr/share/grüße/名前")).unwrap(), "unicode\n");
    let about = |path: &str| std::fs::symlink_metadata(root.join(path)).unwrap();
    assert_eq!(about("usr/bin/tool").permissions().mode() & 0o7777, 0o755);
    assert_eq!(about("tmp").permissions().mode() & 0o7777, 0o1777);
    assert_eq!(about("etc/block").mtime(), i64::try_from(EPOCH).unwrap());
    assert_eq!(about("etc/block+1").len(), 513);
    assert_eq!(about("opt/large").len(), 2_600_000);
    let spec: serde_json::Value = serde_json::from_slice(&std::fs::read(bundle.join("config.json")).unwrap()).unwrap();
    assert_eq!(spec["process"]["args"], serde_json::json!(["/usr/bin/tool", "--serve"]));
    assert_eq!(spec["process"]["cwd"], "/var/lib/app");
}
