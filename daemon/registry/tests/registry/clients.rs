//! skopeo, podman and buildah pull by digest and by tag. A tool that is not installed is skipped with a line.

use crate::fixture::*;
use std::{path::Path, process::Command};

/// Runs a tool; `None`, and a line in the test's output, where it is not installed.
#[track_caller]
fn tool(name: &str, arguments: &[&str]) -> Option<String> {
    // nothing of this machine's proxy may come between the client and the server
    let run = Command::new(name).args(arguments).env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1").output();
    let output = match run {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: no {name}");
            return None;
        }
        other => other.unwrap(),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {errors}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn skopeo_pulls_the_published_image_by_digest_and_by_tag() {
    let registry = Registry::start();
    let image = &registry.published;
    let digest = image.manifest.digest();
    for reference in [format!("@{digest}"), ":latest".to_owned()] {
        let from = format!("docker://{}/team/noise{reference}", registry.address);
        let to = registry.dir.path().join(reference.trim_start_matches(['@', ':']).replace(':', "-"));
        let layout = format!("oci:{}:pulled", text(&to));
        let copy = ["--insecure-policy", "copy", "--src-tls-verify=false", "--preserve-digests", &from, &layout];
        if tool("skopeo", &copy).is_none() {
            return;
        }
        let blob = |hex: String| std::fs::read(to.join("blobs/sha256").join(hex)).unwrap();
        assert_eq!(blob(digest.hex()), image.manifest.bytes);
        assert_eq!(blob(image.config.digest().hex()), image.config.bytes);
        assert!(blob(image.layer.digest.hex()) == image.layer_bytes);
    }
    let listed =
        tool("skopeo", &["list-tags", "--tls-verify=false", &format!("docker://{}/team/noise", registry.address)]);
    let tags: serde_json::Value = serde_json::from_str(&listed.unwrap()).unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["1.0", "latest"]));
}

#[test]
fn skopeo_cannot_pull_what_is_not_published() {
    let registry = Registry::start();
    let from = format!("docker://{}/team/noise@{}", registry.address, registry.unpublished.manifest.digest());
    let output = Command::new("skopeo").args(["inspect", "--tls-verify=false", &from]).output();
    match output {
        Err(_) => eprintln!("skipped: no skopeo"),
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr).to_lowercase();
            assert!(!output.status.success() && errors.contains("manifest"), "{errors}");
        }
    }
}

/// Arguments of a tool whose images are kept in these directories.
fn with<'a>(root: &'a str, run: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["--root", root, "--runroot", run, "--storage-driver", "vfs"], rest].concat()
}

#[test]
fn podman_and_buildah_pull_the_image_and_find_its_file() {
    let registry = Registry::start();
    let (root, run) = (registry.dir.path().join("storage"), registry.dir.path().join("run"));
    let from = format!("{}/team/noise@{}", registry.address, registry.published.manifest.digest());
    let (root, run) = (text(&root), text(&run));
    if tool("podman", &with(root, run, &["pull", "--quiet", "--tls-verify=false", &from])).is_some() {
        let format = ["image", "inspect", "--format", "{{.Digest}} {{.Config.User}}", &from];
        let seen = tool("podman", &with(root, run, &format)).unwrap();
        assert_eq!(seen.trim(), format!("{} 65532:65532", registry.published.manifest.digest()));
    }
    if let Some(container) = tool("buildah", &with(root, run, &["from", "--tls-verify=false", &from])) {
        let mounted = tool("buildah", &with(root, run, &["mount", container.trim()])).unwrap();
        let file = Path::new(mounted.trim()).join("usr/share/noise");
        assert!(std::fs::read(file).unwrap() == registry.published.payload);
        tool("buildah", &with(root, run, &["rm", container.trim()]));
    }
}
