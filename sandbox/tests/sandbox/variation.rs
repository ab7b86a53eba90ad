//! Each aspect of a variation changes what a payload sees of it and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use anneal_sandbox::{Aspect, MountSource, Staging, Variation};

use crate::bench::{Bench, needs_sandbox};

/// What the payload says, by name.
fn seen(bench: &Bench) -> BTreeMap<String, String> {
    let said = bench.says(&["walls", "varied", "/src"]);
    let line = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    said.lines().filter_map(line).collect()
}

/// A bench with inputs whose order can be told, and the environment of a build.
fn furnished() -> Bench {
    let mut bench = Bench::new();
    let tree = bench.tree("inputs", "bravo", "2");
    for name in ["echo", "alpha", "delta", "charlie"] {
        std::fs::write(tree.join(name), name).unwrap();
    }
    std::fs::create_dir(tree.join("foxtrot")).unwrap();
    std::fs::write(tree.join("foxtrot/file"), "x").unwrap();
    std::os::unix::fs::symlink("alpha", tree.join("golf")).unwrap();
    let more = bench.tree("more", "hotel", "8");
    bench.mount("/src", MountSource::Trees(vec![tree, more]));
    for (name, value) in [("TZ", "UTC"), ("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8"), ("HOME", "/nonexistent")] {
        bench.spec.env.insert(name.to_owned(), value.to_owned());
    }
    bench
}

fn expected(aspect: Aspect) -> &'static [&'static str] {
    match aspect {
        Aspect::Hostname => &["hostname"],
        Aspect::User => &["uid"],
        Aspect::Umask => &["umask"],
        Aspect::Timezone => &["env.TZ"],
        Aspect::Locale => &["env.LANG", "env.LANGUAGE", "env.LC_ALL"],
        Aspect::Home => &["env.HOME"],
        Aspect::Environment => &["env.ANNEAL_VARIATION"],
        Aspect::Path => &["env.PATH"],
        Aspect::Cpus => &["cpuinfo", "cpus"],
        Aspect::Addresses => &["fixed-addresses"],
        Aspect::FileSystem | Aspect::InputOrder => &["file-system", "order"],
    }
}

#[test]
fn each_aspect_changes_what_it_names_and_nothing_else() {
    needs_sandbox!();
    let plain = furnished();
    let before = seen(&plain);
    assert_eq!(before, seen(&plain), "two runs of one spec differ");
    let spare_cpu = std::thread::available_parallelism().unwrap().get() > 1;
    for aspect in Aspect::ALL {
        let mut bench = furnished();
        bench.spec = plain.spec.varied(&Variation::only(*aspect));
        let after = seen(&bench);
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let mut changed: Vec<&str> =
            names.into_iter().filter(|name| before.get(*name) != after.get(*name)).map(String::as_str).collect();
        let mut wanted = expected(*aspect).to_vec();
        match aspect {
            // The host's own file system may list names in either order, too.
            Aspect::FileSystem | Aspect::InputOrder => {
                changed.retain(|name| *name != "order");
                wanted.retain(|name| *name != "order");
            }
            Aspect::Cpus if !spare_cpu => wanted.retain(|name| *name != "cpus"),
            _ => {}
        }
        assert_eq!(changed, wanted, "{aspect:?}: {before:#?} {after:#?}");
    }
}

#[test]
fn the_order_of_inputs_is_the_reverse_of_itself() {
    needs_sandbox!();
    let plain = furnished();
    let order = |aspect| {
        let mut bench = furnished();
        bench.spec = plain.spec.varied(&Variation::only(aspect));
        seen(&bench).get("order").unwrap().split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    let (forth, mut back) = (order(Aspect::FileSystem), order(Aspect::InputOrder));
    assert_ne!(forth, back);
    back.reverse();
    assert_eq!(forth, back);
}

#[test]
fn all_aspects_together_change_all_of_it_and_copies_can_not_be_written() {
    needs_sandbox!();
    let plain = furnished();
    let mut bench = furnished();
    bench.spec = plain.spec.varied(&Variation::all());
    let (before, after) = (seen(&plain), seen(&bench));
    for name in Aspect::ALL.iter().flat_map(|aspect| expected(*aspect)) {
        let same = matches!(*name, "order" | "cpus");
        assert!(same || before.get(*name) != after.get(*name), "{name}: {before:#?} {after:#?}");
    }
    assert_eq!(before.get("inputs"), after.get("inputs"));
    for path in ["/src/alpha", "/src/new", "/payload", "/new", "/src/foxtrot/file"] {
        let said = bench.says(&["write", path, "x"]);
        assert!(said.starts_with("held") && said.contains("Read-only"), "{said}");
    }
}

#[test]
fn copies_that_do_not_fit_are_an_error_and_a_writable_root_takes_files() {
    needs_sandbox!();
    let mut bench = furnished();
    bench.spec.staging = Staging::Copied { bytes: 1 << 20, inodes: 3, reversed: false };
    let told = bench.run(&["true"]).unwrap_err().to_string();
    assert!(told.contains("copy"), "{told}");
    bench.spec.staging = Staging::Copied { bytes: 64 << 20, inodes: 1000, reversed: false };
    bench.spec.writable_root = true;
    assert!(bench.says(&["write", "/new", "x"]).starts_with("escaped"));
    assert!(bench.says(&["write", "/src/new", "x"]).starts_with("held"));
}
