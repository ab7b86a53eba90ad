//! What only a server does to a store: it is gone, cuts transfers, overwrites, or has another store's blobs.

use crate::{CHUNK, fresh_place, held, noise, proxy::Proxy, server, server::Server, told};
use anneal_content::BlobDigest;
use anneal_store::{BucketPlace, ChunkHash, Error, OpenMode, Store};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

fn open(dir: &Path, place: &BucketPlace) -> anneal_store::Result<Store> {
    Store::open_in_bucket(&dir.join("store"), ChunkHash::default(), place)
}

fn refusal(dir: &Path, place: &BucketPlace) -> String {
    let error = open(dir, place).unwrap_err();
    assert!(matches!(error, Error::Bucket(_)), "{error:?}");
    told(&error)
}

/// A store in a bucket behind a proxy.
fn behind_proxy(server: &'static Server) -> (tempfile::TempDir, Proxy, BucketPlace) {
    let (dir, proxy) = (tempfile::tempdir().unwrap(), Proxy::new(server));
    let place = fresh_place(server, dir.path());
    let place = BucketPlace { endpoint: format!("http://127.0.0.1:{}", proxy.port), ..place };
    (dir, proxy, place)
}

fn unfinished_uploads(server: &Server, place: &BucketPlace) -> usize {
    let text = server.get(&format!("{}?uploads=&prefix={}/", place.name, place.prefix.replace('/', "%2F"))).unwrap();
    text.matches("<UploadId>").count()
}

#[test]
fn an_upload_that_is_cut_shows_nothing_and_poisons_nothing_and_works_the_next_time() {
    let Some(server) = server::any() else { return };
    let (dir, proxy, place) = behind_proxy(server);
    let store = open(dir.path(), &place).unwrap();
    for (bytes, cut_at) in [(noise(1, 3 << 20), 1 << 20), (noise(2, 40 << 20), 20 << 20)] {
        let digest = BlobDigest::of(&bytes);
        proxy.vanish_after_sent(cut_at);
        let error = store.put_blob(&bytes).unwrap_err();
        assert!(matches!(error, Error::Bucket(_)), "{error}");
        proxy.heal();
        assert!(!store.has(&digest).unwrap());
        assert!(held(&store, &digest).is_none(), "nothing half is visible");
        assert_eq!(store.put_blob(&bytes).unwrap(), digest);
        assert!(store.read_blob(&digest, u64::MAX).unwrap() == bytes);
    }
    drop(store);
    // the parts of the upload that could not be ended any more
    assert_eq!(unfinished_uploads(server, &place), 1);
    open(dir.path(), &place).unwrap();
    assert_eq!(unfinished_uploads(server, &place), 0);
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_ended() {
    let Some(server) = server::any() else { return };
    let (dir, proxy, place) = behind_proxy(server);
    let store = open(dir.path(), &place).unwrap();
    let bytes = noise(3, 20 << 20);
    let digest = store.put_blob(&bytes).unwrap();
    let mut reader = store.open_blob(&digest).unwrap();
    let mut read = reader.next_chunk().unwrap().unwrap().to_vec();
    proxy.cut_after_received(7_000_000);
    while let Some(chunk) = reader.next_chunk().unwrap() {
        read.extend_from_slice(chunk);
    }
    assert!(proxy.has_cut());
    assert!(read == bytes);
}

#[test]
fn a_server_that_is_gone_is_named_and_nothing_is_given_up_for_lost() {
    let Some(server) = server::any() else { return };
    let (dir, proxy, place) = behind_proxy(server);
    let store = open(dir.path(), &place).unwrap();
    let bytes = noise(4, 2 * CHUNK);
    let digest = store.put_blob(&bytes).unwrap();
    proxy.vanish();
    let error = told(&store.read_blob(&digest, u64::MAX).unwrap_err());
    assert!(error.contains(&place.to_string()) && error.contains("can be reached from here"), "{error}");
    let error = store.put_blob(b"more").unwrap_err();
    assert!(matches!(error, Error::Bucket(_)), "{error}");
    assert!(matches!(store.mend_blob(&digest), Err(Error::Bucket(_))), "nor that it is lost");
    assert!(store.has(&digest).unwrap(), "nobody knows that it is damaged");
    store.append_events(&[b"the journal goes on".to_vec()]).unwrap();
    let survey = store.collection().unwrap();
    assert!(survey.survey(Vec::new(), anneal_store::Meaning { document: &|_| None, records: &[] }, 0, 1).is_err());
    drop((survey, store));
    assert!(refusal(dir.path(), &place).contains("can be reached from here"));
    let reader = Store::open(&dir.path().join("store"), OpenMode::ReadOnly).unwrap();
    assert_eq!(reader.size(&digest).unwrap(), Some(bytes.len() as u64), "what the database knows is known");
    proxy.heal();
    assert!(reader.read_blob(&digest, u64::MAX).unwrap() == bytes);
    let store = open(dir.path(), &place).unwrap();
    store.put_blob(b"more").unwrap();
    assert!(store.read_blob(&digest, u64::MAX).unwrap() == bytes);
}

#[test]
fn a_server_that_overwrites_what_it_is_told_to_leave_alone_is_refused() {
    let Some(server) = server::any() else { return };
    let (dir, proxy, place) = behind_proxy(server);
    proxy.drop_conditions();
    let error = refusal(dir.path(), &place);
    let expected = "the server overwrites what it is told to leave alone (If-None-Match: * has no effect); \
                    use a server that honours conditional writes";
    assert!(error.ends_with(expected), "{error}");
    proxy.heal();
    open(dir.path(), &place).unwrap();
}

#[test]
fn a_bucket_is_one_stores_and_a_store_has_one_bucket() {
    let Some(server) = server::any() else { return };
    let [dir, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let place = fresh_place(server, dir.path());
    let digest = open(dir.path(), &place).unwrap().put_blob(b"mine").unwrap();
    assert!(refusal(other.path(), &place).contains("another store keeps its blobs there"));
    let empty = fresh_place(server, dir.path());
    assert!(refusal(dir.path(), &empty).contains("this store's blobs are not there"));
    let missing = BucketPlace { name: "no-such-bucket".to_owned(), ..place.clone() };
    assert!(refusal(dir.path(), &missing).contains("404 NoSuchBucket; make the bucket"));
    // what was refused has changed nothing
    let store = Store::open(&dir.path().join("store"), OpenMode::ReadWrite).unwrap();
    assert_eq!(store.read_blob(&digest, 10).unwrap(), b"mine");
    drop(store);
    // the same bucket by another address: it has moved
    let moved = BucketPlace { endpoint: format!("http://localhost:{}", server.port()), ..place };
    drop(open(dir.path(), &moved).unwrap());
    assert!(Store::open(&dir.path().join("store"), OpenMode::ReadOnly).unwrap().backend().name().contains("localhost"));
}

#[test]
fn a_store_with_its_blobs_in_its_directory_is_not_taken_to_a_bucket() {
    let Some(server) = server::any() else { return };
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(&dir.path().join("store"), OpenMode::ReadWrite).unwrap());
    let error = open(dir.path(), &fresh_place(server, dir.path())).unwrap_err();
    assert!(matches!(error, Error::OtherBackend { .. }), "{error}");
    drop(Store::open(&dir.path().join("store"), OpenMode::ReadWrite).unwrap());
}

#[test]
fn no_error_and_no_file_of_the_store_tells_the_secret() {
    let Some(server) = server::any() else { return };
    let (dir, proxy, place) = behind_proxy(server);
    drop(open(dir.path(), &place).unwrap());
    proxy.vanish();
    let error = open(dir.path(), &place).unwrap_err();
    assert!(!format!("{error:?} {}", told(&error)).contains(server.secret()));
    let text = fs::read_to_string(dir.path().join("store/BUCKET")).unwrap();
    assert!(text.contains("credentials") && !text.contains(server.secret()), "{text}");
    let credentials = place.credentials.clone().unwrap();
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refusal(dir.path(), &place).contains("can be read by others (mode 0644)"));
}
