//! Any row of changes, with reopenings between them, against a plain map.

use crate::{component, digest, image, package};
use anneal_index::Index;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Change {
    PutImage(u8, u8, Vec<(u8, u8)>),
    RemoveImage(u8, u8),
    PutAdvisory(u8, Vec<u8>, u8, Vec<u8>),
    RemoveAdvisory(u8),
    Reopen,
}

fn change() -> impl Strategy<Value = Change> {
    let contents = proptest::collection::btree_map(0..4_u8, 0..3_u8, 0..4).prop_map(|m| m.into_iter().collect());
    let some = || proptest::collection::btree_set(0..4_u8, 0..3).prop_map(|s| s.into_iter().collect::<Vec<_>>());
    prop_oneof![
        4 => (0..3_u8, 0..2_u8, contents).prop_map(|(m, i, c)| Change::PutImage(m, i, c)),
        1 => (0..3_u8, 0..2_u8).prop_map(|(m, i)| Change::RemoveImage(m, i)),
        4 => (0..3_u8, some(), 0..3_u8, some()).prop_map(|(id, a, r, t)| Change::PutAdvisory(id, a, r, t)),
        1 => (0..3_u8).prop_map(Change::RemoveAdvisory),
        1 => Just(Change::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    images: BTreeMap<(u8, u8), Vec<(u8, u8)>>,
    advisories: BTreeMap<u8, (Vec<u8>, u8, Vec<u8>)>,
}

fn name(n: u8) -> String {
    format!("p{n}")
}

fn apply(index: &Index, model: &mut Model, change: Change) {
    match change {
        Change::PutImage(m, i, contents) => {
            let components: Vec<_> = contents.iter().map(|(p, v)| component(&name(*p), &v.to_string())).collect();
            index.put_image(&digest(&m.to_string()), &image(&name(i)), &components).unwrap();
            model.images.insert((m, i), contents);
        }
        Change::RemoveImage(m, i) => {
            let was = index.remove_image(&digest(&m.to_string()), &image(&name(i))).unwrap();
            assert_eq!(was, model.images.remove(&(m, i)).is_some());
        }
        Change::PutAdvisory(id, aliases, record, touched) => {
            let names: Vec<String> = aliases.iter().map(|a| format!("ALIAS-{a}")).collect();
            let packages: Vec<_> = touched.iter().map(|p| package(&name(*p))).collect();
            index.put_advisory(&format!("ID-{id}"), &names, &digest(&record.to_string()), &packages).unwrap();
            model.advisories.insert(id, (aliases, record, touched));
        }
        Change::RemoveAdvisory(id) => {
            assert_eq!(index.remove_advisory(&format!("ID-{id}")).unwrap(), model.advisories.remove(&id).is_some());
        }
        Change::Reopen => {}
    }
}

fn compare(index: &Index, model: &Model) {
    for p in 0..4 {
        let mut found = index.images_with(&package(&name(p))).unwrap();
        let holds = |contents: &Vec<(u8, u8)>| contents.iter().find(|(q, _)| *q == p).map(|(_, v)| v.to_string());
        let expected = model.images.iter().filter_map(|((m, i), contents)| {
            Some((digest(&m.to_string()), image(&name(*i)), holds(contents)?.parse().unwrap()))
        });
        let mut expected: Vec<_> = expected.collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        let touching = model.advisories.iter().filter(|(_, (_, _, touched))| touched.contains(&p));
        let touching: Vec<String> = touching.map(|(id, _)| format!("ID-{id}")).collect();
        assert_eq!(index.advisories_of(&package(&name(p))).unwrap(), touching);
        let by_alias = model.advisories.values().find(|(aliases, _, _)| aliases.contains(&p));
        let by_alias = by_alias.map(|(_, record, _)| digest(&record.to_string()));
        assert_eq!(index.advisory(&format!("ALIAS-{p}")).unwrap(), by_alias);
    }
    for id in 0..3 {
        let record = model.advisories.get(&id).map(|(_, record, _)| digest(&record.to_string()));
        assert_eq!(index.advisory(&format!("ID-{id}")).unwrap(), record);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_follow_any_row_of_changes(changes in proptest::collection::vec(change(), 1..24)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let mut index = Index::open(&path).unwrap();
        let mut model = Model::default();
        for change in changes {
            if matches!(change, Change::Reopen) {
                drop(index);
                index = Index::open(&path).unwrap();
            }
            let again = change.clone();
            apply(&index, &mut model, change);
            if matches!(again, Change::PutImage(..) | Change::PutAdvisory(..)) {
                apply(&index, &mut model, again);
            }
            compare(&index, &model);
        }
    }
}
