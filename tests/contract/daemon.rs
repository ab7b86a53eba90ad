//! A whole daemon whose blobs are in a bucket: built, approved, published, pulled, collected, damaged, started again.

use crate::{fresh_place, server, server::Server};
use anneal_store::BucketPlace;
use anneal_tests::{Answer, Daemon, Notes, scratch, sha256};
use serde_json::Value;

/// The environment that puts a daemon's blobs into a bucket, as words for `env`.
fn in_bucket(place: &BucketPlace) -> Vec<String> {
    let credentials = place.credentials.as_ref().unwrap().display().to_string();
    let named = [("BUCKET", &place.name), ("ENDPOINT", &place.endpoint), ("PREFIX", &place.prefix)];
    let named = named.into_iter().chain([("CREDENTIALS", &credentials)]);
    let set = named.map(|(name, value)| format!("ANNEAL_BLOBS_{name}={value}"));
    ["env".to_owned(), "ANNEAL_KEEP_DAYS=0".to_owned()].into_iter().chain(set).collect()
}

/// Everything that a tag leads to: paths, each with the digest that its bytes must have.
fn pulled(daemon: &Daemon, tag: &str) -> Vec<(String, Answer)> {
    let mut todo = vec![format!("/v2/note/manifests/{tag}")];
    let mut all = Vec::new();
    while let Some(path) = todo.pop() {
        let answer = daemon.get(&path);
        let parts: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let digests = |field: &str| {
            let listed = parts[field].as_array().cloned().unwrap_or_default();
            listed.into_iter().filter_map(|part| Some(part["digest"].as_str()?.to_owned())).collect::<Vec<_>>()
        };
        if path.contains("/manifests/") {
            todo.extend(digests("manifests").iter().map(|digest| format!("/v2/note/manifests/{digest}")));
            let config = parts["config"]["digest"].as_str().map(str::to_owned);
            todo.extend(digests("layers").into_iter().chain(config).map(|d| format!("/v2/note/blobs/{d}")));
        }
        all.push((path, answer));
    }
    all
}

/// That everything came, with the bytes that its name promises.
#[track_caller]
fn whole(all: &[(String, Answer)]) {
    for (path, answer) in all {
        assert_eq!(answer.status, 200, "{path}: {}", answer.head);
        if let Some((_, hex)) = path.split_once("sha256:") {
            assert_eq!(sha256(&answer.body), hex, "{path}");
        }
    }
}

#[test]
fn a_daemon_serves_from_a_bucket_what_it_built_into_it_and_nothing_that_went_bad_there() {
    let Some(server): Option<&'static Server> = server::any() else { return };
    let dir = scratch();
    let bucket = fresh_place(server, dir.path());
    let words = in_bucket(&bucket);
    let env: Vec<&str> = words.iter().map(String::as_str).collect();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;

    let daemon = Daemon::start(place, &env);
    place.anneal(&["build", "--quiet"]).fine();
    let key = place.approver("ada");
    let candidate = format!("c{}", place.candidates()[0]["id"]);
    place.approve(&candidate, &key).fine();
    anneal_tests::wait_for("the publication", std::time::Duration::from_secs(60), || {
        (daemon.get("/v2/note/manifests/latest").status == 200).then_some(())
    });
    let first = pulled(&daemon, "latest");
    assert!(first.len() >= 4, "an index, a manifest, a configuration and a layer, not only {}", first.len());
    whole(&first);
    place.anneal(&["store", "gc"]).fine();
    daemon.stop();

    let here = place.state.join("store/blobs");
    let files = std::process::Command::new("find").arg(&here).args(["-type", "f"]).output().unwrap();
    assert!(files.stdout.is_empty(), "bytes are in the bucket alone: {}", String::from_utf8_lossy(&files.stdout));
    // the directory says in which bucket, so that a command needs no setting
    place.anneal(&["store", "scrub"]).fine();

    // a layer rots in the bucket
    let layer = first.iter().find(|(path, answer)| path.contains("/blobs/") && answer.body.starts_with(&[0x1f, 0x8b]));
    let (path, answer) = layer.expect("a layer is gzip");
    let hex = path.rsplit(':').next().unwrap();
    let mut bad = answer.body.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    let object = format!("{}/{}/blobs/sha256/{hex}", bucket.name, bucket.prefix);
    assert_eq!(server.ask("PUT", &object, &bad), 200);

    let daemon = Daemon::start(place, &env);
    let again = pulled(&daemon, "latest");
    let (rotten, rest): (Vec<_>, Vec<_>) = again.into_iter().partition(|(it, _)| it == path);
    assert!(rotten.iter().all(|(_, answer)| answer.body != bad), "what went bad is not served");
    whole(&rest);
    let report = place.anneal(&["store", "scrub", "--json"]);
    assert_eq!(report.code, 1, "{}", report.err);
    assert!(report.out.contains(hex), "the damage is named: {}", report.out);
    daemon.stop();
}
