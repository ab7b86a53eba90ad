//! Records of damage: they stay as long as something names the blob, since nothing else says that it is not whole.

use super::{LATER_MS, MEANING, built, collect, root, survey, tree_of};
use crate::{fresh, results};
use anneal_content::BlobDigest;
use anneal_store::{Error, Mended, Node, Store, Sweep};
use std::{collections::BTreeSet, fs};

/// Has the file of a blob rot, and a look at it take it out of service.
fn lose(store: &Store, bytes: &[u8]) -> BlobDigest {
    let digest = BlobDigest::of(bytes);
    let hex = digest.hex();
    fs::write(store.dir().join("blobs/sha256").join(&hex[..2]).join(&hex), "rot").unwrap();
    assert!(matches!(store.mend_blob(&digest).unwrap(), Mended::Lost(_)));
    digest
}

fn lacking(store: &Store) -> Vec<BlobDigest> {
    store.out_of_service().unwrap().into_iter().map(|(digest, _)| digest).collect()
}

#[test]
fn damage_is_forgotten_when_nothing_names_the_blob_any_more_and_not_before() {
    let (_dir, store) = fresh();
    let needed = built(&store, "needed", tree_of(&store, &[("lib/a", b"needed"), ("lib/b", b"sound")]));
    let loose = built(&store, "loose", tree_of(&store, &[("lib/a", b"loose")]));
    store.put_blob(b"nobody's").unwrap();
    let [of_needed, _, _] = [b"needed".as_slice(), b"loose", b"nobody's"].map(|bytes| lose(&store, bytes));
    assert_eq!(lacking(&store).len(), 3);

    let roots = [root(Node::Action(needed))];
    for round in 0..2 {
        let swept = collect(&store, &roots);
        assert_eq!(swept.records, if round == 0 { 2 } else { 0 }, "{swept:?}");
        assert_eq!((results(&store, &needed).len(), results(&store, &loose).len()), (1, 0));
        assert_eq!(lacking(&store), [of_needed], "a result that is kept names it");
        assert!(store.lacks_something().unwrap());
    }
    let backup = tempfile::tempdir().unwrap();
    assert_eq!(store.backup(backup.path(), &|| false).unwrap().seal(b"seal").unwrap().damaged, [of_needed]);

    collect(&store, &[]);
    assert!(results(&store, &needed).is_empty() && !store.lacks_something().unwrap());
    assert_eq!(store.stats().unwrap().damaged_blobs, 0);
    assert_eq!(store.backup(backup.path(), &|| false).unwrap().seal(b"seal").unwrap().damaged, []);
}

#[test]
fn a_result_that_is_looked_up_during_a_collection_keeps_the_record_of_what_it_lacks() {
    let (_dir, store) = fresh();
    let action = built(&store, "loose", tree_of(&store, &[("lib/a", b"lost")]));
    let lost = lose(&store, b"lost");
    let collection = store.collection().unwrap();
    let found = collection.survey(Vec::new(), MEANING, 0, LATER_MS).unwrap();
    assert_eq!(results(&store, &action).len(), 1, "a build finds it, and then asks what is lost");
    collection.sweep(found, &Sweep { meaning: MEANING, remember: &BTreeSet::new(), stop: &|| false }).unwrap();
    assert_eq!((results(&store, &action).len(), lacking(&store)), (1, vec![lost]));
}

#[test]
fn to_ask_what_is_out_of_service_keeps_nothing() {
    let (_dir, store) = fresh();
    store.put_blob(b"nobody's").unwrap();
    lose(&store, b"nobody's");
    let collection = store.collection().unwrap();
    assert!(store.lacks_something().unwrap() && store.stats().unwrap().damaged_blobs == 1);
    let found = collection.survey(Vec::new(), MEANING, 0, LATER_MS).unwrap();
    collection.sweep(found, &Sweep { meaning: MEANING, remember: &BTreeSet::new(), stop: &|| false }).unwrap();
    assert!(!store.lacks_something().unwrap());
}

#[test]
fn what_was_lost_and_is_named_for_ever_was_collected_when_nothing_needs_it_any_more() {
    let (_dir, store) = fresh();
    store.put_blob(b"an old image's").unwrap();
    let lost = lose(&store, b"an old image's");
    let collection = store.collection().unwrap();
    let found = collection.survey(Vec::new(), MEANING, 0, LATER_MS).unwrap();
    let remember = BTreeSet::from([lost]);
    collection.sweep(found, &Sweep { meaning: MEANING, remember: &remember, stop: &|| false }).unwrap();
    assert!(matches!(store.read_blob(&lost, 100).unwrap_err(), Error::Collected { .. }));
    assert!(survey(&store, &[]).gaps().is_empty());
}
