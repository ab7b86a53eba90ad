//! The API's paths, headers, ranges, lists and refusals.

use crate::fixture::*;
use anneal_content::BlobDigest;
use anneal_oci::{ImageIndex, MediaType};

#[test]
fn the_base_answers_so_that_a_client_goes_on() {
    let registry = Registry::start();
    for path in ["/v2/", "/v2"] {
        let reply = registry.get(path);
        assert_eq!((reply.status, reply.body.as_slice()), (200, b"{}".as_slice()));
        assert_eq!(reply.header("docker-distribution-api-version"), "registry/2.0");
    }
}

#[test]
fn a_manifest_is_served_by_tag_and_by_digest_byte_for_byte() {
    let registry = Registry::start();
    let manifest = &registry.published.manifest;
    for reference in ["latest", "1.0", &manifest.digest().to_string()] {
        let reply = registry.get(&format!("/v2/team/noise/manifests/{reference}"));
        assert_eq!((reply.status, &reply.body), (200, &manifest.bytes), "{reference}");
        assert_eq!(reply.header("content-type"), MediaType::MANIFEST);
        assert_eq!(reply.header("docker-content-digest"), manifest.digest().to_string());
        assert!(reply.complete());
    }
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let registry = Registry::start();
    let manifest = registry.published.manifest.digest();
    for path in [
        "/v2/".to_owned(),
        "/v2/team/noise/manifests/latest".to_owned(),
        format!("/v2/team/noise/manifests/{manifest}"),
        registry.layer_path(),
        "/v2/team/noise/tags/list?n=1".to_owned(),
        format!("/v2/team/noise/referrers/{manifest}?artifactType=x/y"),
        "/v2/team/noise/manifests/none".to_owned(),
        "/v2/none/tags/list".to_owned(),
    ] {
        let (get, head) = (registry.get(&path), registry.send("HEAD", &path, &[]));
        assert_eq!((get.status, &get.headers), (head.status, &head.headers), "{path}");
        assert!(get.complete(), "{path}");
        assert!(head.body.is_empty() && !head.header("content-length").is_empty(), "{path}");
    }
    // a range is a matter of GET alone
    let head = registry.send("HEAD", &registry.layer_path(), &[("Range", "bytes=0-1")]);
    assert_eq!((head.status, head.header("content-length")), (200, &*registry.published.layer.size.to_string()));
}

#[test]
fn a_blob_is_streamed_whole_or_in_ranges() {
    let registry = Registry::start();
    let (path, bytes) = (registry.layer_path(), &registry.published.layer_bytes);
    let size = bytes.len();
    let whole = registry.get(&path);
    assert!(whole.status == 200 && whole.body == *bytes);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    assert_eq!(whole.header("content-encoding"), "");
    let chunk = 1 << 20;
    for (range, from, to) in [
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=500-1499".to_owned(), 500, 1500),
        (format!("bytes={}-{}", chunk - 1, 2 * chunk), chunk - 1, 2 * chunk + 1),
        (format!("bytes={chunk}-"), chunk, size),
        ("bytes=-500".to_owned(), size - 500, size),
        (format!("bytes={}-{}", size - 10, size + 10), size - 10, size),
    ] {
        let reply = registry.send("GET", &path, &[("Range", &range)]);
        assert!(reply.status == 206 && reply.body == bytes[from..to] && reply.complete(), "{range}");
        assert_eq!(reply.header("content-range"), format!("bytes {from}-{}/{size}", to - 1));
        assert_eq!(reply.header("docker-content-digest"), registry.published.layer.digest.to_string());
    }
    for range in ["bytes=0-1,5-6", "bytes=x", "items=0-1"] {
        let reply = registry.send("GET", &path, &[("Range", range)]);
        assert!(reply.status == 200 && reply.body == *bytes, "{range}");
    }
    for range in [format!("bytes={size}-"), "bytes=500-0".into(), "bytes=-0".into()] {
        let reply = registry.send("GET", &path, &[("Range", &range)]);
        assert_eq!((reply.status, reply.code().as_str()), (416, "RANGE_INVALID"), "{range}");
        assert_eq!(reply.header("content-range"), format!("bytes */{size}"));
    }
}

#[test]
fn a_range_of_other_content_is_not_continued() {
    let registry = Registry::start();
    let (path, size) = (registry.layer_path(), registry.published.layer_bytes.len());
    let tag = registry.get(&path).header("etag").to_owned();
    let resume = |tag: &str| registry.send("GET", &path, &[("Range", "bytes=10-"), ("If-Range", tag)]);
    assert_eq!((resume(&tag).status, resume(&tag).body.len()), (206, size - 10));
    assert_eq!((resume("\"other\"").status, resume("\"other\"").body.len()), (200, size));
}

#[test]
fn what_is_not_published_is_not_there() {
    let registry = Registry::start();
    let hidden = &registry.unpublished;
    for digest in [hidden.manifest.digest(), hidden.config.digest(), hidden.layer.digest] {
        assert!(registry.store.has(&digest).unwrap());
        let blob = registry.get(&format!("/v2/team/noise/blobs/{digest}"));
        assert_eq!((blob.status, blob.code().as_str()), (404, "BLOB_UNKNOWN"));
        let manifest = registry.get(&format!("/v2/team/noise/manifests/{digest}"));
        assert_eq!((manifest.status, manifest.code().as_str()), (404, "MANIFEST_UNKNOWN"));
    }
    // a digest that is published in one repository is not there in another
    let elsewhere = registry.get(&format!("/v2/other/blobs/{}", registry.published.layer.digest));
    assert_eq!(elsewhere.status, 404);
    // the same answer whether the blob exists or not, but for the digest that was asked for
    let (there, absent) = (hidden.layer.digest, BlobDigest::of(b"nowhere"));
    let ask = |digest: BlobDigest| {
        let reply = registry.get(&format!("/v2/team/noise/blobs/{digest}"));
        (reply.status, reply.headers, String::from_utf8(reply.body).unwrap().replace(&digest.to_string(), "DIGEST"))
    };
    assert_eq!(ask(there), ask(absent));
    // a blob is no manifest
    let layer = registry.get(&format!("/v2/team/noise/manifests/{}", registry.published.layer.digest));
    assert_eq!(layer.status, 404);
}

#[test]
fn a_publication_and_its_end_are_seen_at_once() {
    let registry = Registry::start();
    let image = registry.unpublished.clone();
    let path = format!("/v2/team/noise/manifests/{}", image.manifest.digest());
    assert_eq!(registry.get(&path).status, 404);
    registry.change(|repositories| {
        let repository = repositories.get_mut(&name("team/noise")).unwrap();
        repository.manifests.insert(image.manifest.digest(), MediaType::MANIFEST.to_owned());
        repository.tags.insert(tag("latest"), image.manifest.digest());
    });
    assert_eq!(registry.get(&path).body, image.manifest.bytes);
    assert_eq!(registry.get("/v2/team/noise/manifests/latest").body, image.manifest.bytes);
    registry.change(|repositories| {
        repositories.remove(&name("team/noise"));
    });
    let gone = registry.get(&path);
    assert_eq!((gone.status, gone.code().as_str()), (404, "NAME_UNKNOWN"));
}

#[test]
fn every_other_method_is_refused_everywhere() {
    let registry = Registry::start();
    let layer = registry.layer_path();
    for path in ["/v2/", "/v2/team/noise/manifests/latest", "/v2/team/noise/blobs/uploads/", &layer, "/v2/x"] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "ANNEAL"] {
            let reply = registry.send(method, path, &[("Content-Length", "0")]);
            assert_eq!((reply.status, reply.code().as_str()), (405, "UNSUPPORTED"), "{method} {path}");
            assert_eq!(reply.header("allow"), "GET, HEAD");
        }
    }
    assert_eq!(registry.get(&layer).status, 200);
}

#[test]
fn a_malformed_request_gets_a_json_error_that_names_it() {
    let registry = Registry::start();
    for (path, status, code) in [
        ("/v2/Team/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/team/noise/manifests/sha256:baddigeststring", 400, "DIGEST_INVALID"),
        ("/v2/team/noise/blobs/md5:00", 400, "DIGEST_INVALID"),
        ("/v2/team/noise/referrers/none", 400, "DIGEST_INVALID"),
        ("/v2/team/noise/manifests/.hidden", 400, "MANIFEST_INVALID"),
        ("/v2/team/noise/tags/list?n=x", 400, "PAGINATION_NUMBER_INVALID"),
        ("/v2/team/noise/manifests/none", 404, "MANIFEST_UNKNOWN"),
        ("/v2/none/manifests/latest", 404, "NAME_UNKNOWN"),
        ("/v2/none/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/_catalog", 404, "UNSUPPORTED"),
        ("/v2/team%2Fnoise/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/../v2/team/noise/manifests/latest", 400, "NAME_INVALID"),
    ] {
        let reply = registry.get(path);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path}");
        assert_eq!(reply.header("content-type"), "application/json");
    }
    let sha512 = registry.get(&format!("/v2/team/noise/blobs/sha512:{}", "0".repeat(128)));
    assert_eq!((sha512.status, sha512.code().as_str()), (404, "BLOB_UNKNOWN"));
}

#[test]
fn tags_come_in_pages_that_link_to_each_other() {
    let registry = Registry::start();
    registry.change(|repositories| {
        let repository = repositories.get_mut(&name("team/noise")).unwrap();
        let manifest = registry.published.manifest.digest();
        repository.tags.extend(["1.1", "Beta", "alpha"].map(|text| (tag(text), manifest)));
    });
    let whole = registry.get("/v2/team/noise/tags/list?ns=docker.example");
    assert_eq!(
        whole.json(),
        serde_json::json!({"name": "team/noise", "tags": ["1.0", "1.1", "alpha", "Beta", "latest"]})
    );
    assert_eq!(whole.header("link"), "");
    let first = registry.get("/v2/team/noise/tags/list?n=2");
    assert_eq!(first.header("link"), "</v2/team/noise/tags/list?n=2&last=1.1>; rel=\"next\"");
    let (mut seen, mut path) = (Vec::new(), "/v2/team/noise/tags/list?n=2".to_owned());
    while !path.is_empty() {
        let page = registry.get(&path);
        seen.extend(page.json()["tags"].as_array().unwrap().clone());
        path = page.header("link").split(['<', '>']).nth(1).unwrap_or_default().to_owned();
    }
    assert_eq!(serde_json::Value::from(seen), whole.json()["tags"]);
    let none = registry.get("/v2/team/noise/tags/list?n=0");
    assert_eq!((none.json()["tags"].as_array().unwrap().len(), none.header("link")), (0, ""));
    assert_eq!(registry.get("/v2/other/tags/list").json()["tags"], serde_json::json!([]));
}

#[test]
fn referrers_are_one_index_in_the_order_given_and_can_be_filtered() {
    let registry = Registry::start();
    let path = format!("/v2/team/noise/referrers/{}", registry.published.manifest.digest());
    let all = registry.get(&path);
    assert_eq!((all.status, all.header("content-type")), (200, MediaType::INDEX));
    assert_eq!(all.header("oci-filters-applied"), "");
    assert_eq!(ImageIndex::parse(&all.body).unwrap().manifests, registry.attached);
    // clients differ in whether they escape the plus
    for kind in ["application/vnd.dev.sigstore.bundle.v0.3%2Bjson", "application/vnd.dev.sigstore.bundle.v0.3+json"] {
        let signed = registry.get(&format!("{path}?artifactType={kind}"));
        assert_eq!(signed.header("oci-filters-applied"), "artifactType");
        assert_eq!(ImageIndex::parse(&signed.body).unwrap().manifests, registry.attached[..1]);
    }
    let none = registry.get(&format!("{path}?artifactType=application/none"));
    assert!(ImageIndex::parse(&none.body).unwrap().manifests.is_empty());
    // a subject without referrers, known or not, has an empty list and is no error
    let unknown = registry.get(&format!("/v2/other/referrers/{}", BlobDigest::of(b"nothing")));
    assert_eq!((unknown.status, unknown.header("content-type")), (200, MediaType::INDEX));
    assert!(ImageIndex::parse(&unknown.body).unwrap().manifests.is_empty());
    // what is attached can be pulled
    for referrer in &registry.attached {
        let manifest = registry.get(&format!("/v2/team/noise/manifests/{}", referrer.digest));
        assert_eq!(BlobDigest::of(&manifest.body), referrer.digest);
        let evidence = manifest.json()["layers"][0]["digest"].as_str().unwrap().to_owned();
        assert_eq!(registry.get(&format!("/v2/team/noise/blobs/{evidence}")).status, 200);
        let config = manifest.json()["config"]["digest"].as_str().unwrap().to_owned();
        assert_eq!(registry.get(&format!("/v2/team/noise/blobs/{config}")).body, b"{}");
    }
}

#[test]
fn slow_clients_do_not_keep_others_waiting() {
    use std::io::Write as _;
    let registry = Registry::start();
    let path = registry.layer_path();
    let idle: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(registry.address).unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
            stream
        })
        .collect();
    let begun = std::time::Instant::now();
    assert!(registry.get(&path).body == registry.published.layer_bytes);
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(idle);
}
