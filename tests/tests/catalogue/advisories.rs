//! Real advisories, one after the other: from an OSV record to rebuilt, approved images.
//!
//! What had to be rebuilt is worked out from the recipes alone, beside what the daemon says: the package, and whatever is
//! built with something that is rebuilt. A dependent may be missing from what was built only where it was kept with a proof.

use super::{IMAGE_OF_ONE, read, with_every_package, write_image_of_one};
use anneal_content::{ImageName, PackageName};
use anneal_recipe::{Catalog, Needs};
use anneal_tests::{Facts, Place, broken_promises, golden, scratch, top, wait_for};
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path, time::Duration, time::Instant};

/// Advisory, package, and the listed release that it leads to.
type Flaw = (&'static str, &'static str, &'static str);

const FLAWS: [Flaw; 10] = [
    ("CVE-2022-37434", "zlib", "1.2.13"),
    ("CVE-2023-44487", "nginx", "1.26.3"),
    ("CVE-2023-7104", "sqlite", "3.44.2"),
    ("CVE-2023-37920", "ca-certificates", "2023.7.22"),
    ("CVE-2023-52425", "expat", "2.8.3"),
    ("CVE-2019-12900", "bzip2", "1.0.8"),
    ("CVE-2023-32067", "c-ares", "1.34.5"),
    ("CVE-2021-3520", "lz4", "1.9.4"),
    ("CVE-2025-64720", "libpng", "1.6.58"),
    ("CVE-2024-28182", "nghttp2", "1.64.0"),
];
const IMAGES: &str =
    "nginx package/bzip2 package/c-ares package/expat package/libpng package/lz4 package/nghttp2 sqlite static-base";
/// Images that nobody ships, so that a package is looked at alone.
const ALONE: [&str; 6] = ["bzip2", "c-ares", "expat", "libpng", "lz4", "nghttp2"];
/// The image that may ship its program as it was built, with the library as it is now.
const MAY_SWAP: &str = "nginx";
const PATIENCE: Duration = Duration::from_secs(1800);

/// The candidates that open together.
#[derive(Default)]
struct Wave {
    images: BTreeSet<String>,
    /// For a client of each image; what two images share counts for both.
    layers_new: u64,
    bytes: u64,
    /// Since the record landed.
    seconds: f64,
}

/// What came of a record.
struct Answered {
    rebuilt: BTreeSet<String>,
    /// Kept because they see the same of what they link, and proved.
    kept: BTreeSet<String>,
    /// Shipped as they were built, judged to be as good, and built afterwards.
    swapped: BTreeSet<String>,
    /// Of packages that the images would have allowed to ship as they were.
    refused: BTreeSet<String>,
    first: Wave,
    /// What a swap that is settled as another build opened.
    settled: Wave,
}

impl Answered {
    /// One line of the table.
    fn row(&self, id: &str, package: &str) -> String {
        let proofs = self.kept.iter().map(|name| format!("{name} (same interface)"));
        let proofs: Vec<_> = proofs.chain(self.swapped.iter().map(|name| format!("{name} (drop-in)"))).collect();
        let mut text = String::new();
        for (title, wave) in [("", &self.first), ("  then, by settling", &self.settled)] {
            if wave.images.is_empty() {
                continue;
            }
            let Wave { images, layers_new, bytes, seconds } = wave;
            let (what, of, rebuilt, kept) = match title {
                // What was kept at first is built in the second wave alone.
                "" => (id, package, self.rebuilt.difference(&self.swapped).cloned().collect(), proofs.join(", ")),
                title => (title, "", self.swapped.clone(), String::new()),
            };
            text += &format!(
                "{what:<20} {of:<16} {:<20} {kept:<32} {:<20} {layers_new:>6} {bytes:>9} {seconds:>8.1}\n",
                names(&rebuilt),
                names(images)
            );
        }
        text
    }
}

fn names(all: &BTreeSet<String>) -> String {
    all.iter().cloned().collect::<Vec<_>>().join(" ")
}

#[test]
fn ten_real_advisories_each_rebuild_what_they_must_and_nothing_else() {
    let dir = scratch();
    let recipes = dir.path().join("recipes");
    let catalog = catalogue(&recipes);
    let place = Place::new(&dir.path().join("state"), &recipes).of_images(IMAGES);
    fs::create_dir_all(&place.state).unwrap();
    let daemon = place.daemon();
    let begun = Instant::now();
    place.anneal(&["build", "--quiet"]).fine();
    eprintln!("built {IMAGES} in {:.1} minutes", begun.elapsed().as_secs_f64() / 60.0);
    let key = place.approver("ada");
    for candidate in place.candidates() {
        release(&place, &candidate, &key);
    }
    let images: BTreeSet<ImageName> = IMAGES.split(' ').map(|name| name.parse().unwrap()).collect();
    let (mut table, mut moved) = (String::new(), String::new());
    for (id, package, release) in FLAWS {
        let (must, holders) = expected(&catalog, &images, &package.parse().unwrap());
        let answered = answer(&place, &key, id, &holders);
        let row = answered.row(id, package);
        eprint!("{row}");
        table += &row;
        let built_or_kept: BTreeSet<String> = answered.rebuilt.union(&answered.kept).cloned().collect();
        assert_eq!(built_or_kept, must, "{id}: what had to be, and nothing else");
        assert!(answered.rebuilt.is_disjoint(&answered.kept), "{id}: the proof of what is kept is no build that ships");
        assert_eq!(answered.first.images, holders, "{id}");
        if package == "zlib" {
            assert!(answered.swapped.contains("nginx"), "{id}: zlib is a drop-in for nginx: {:?}", answered.refused);
            assert_eq!(answered.settled.images, answered.swapped, "{id}: an image each, of the same name");
        }
        let text = place.anneal(&["case", "certificate", id]).fine().out;
        assert!(text.contains(&format!(" -> {release}: ")), "{id}:\n{text}");
        let Answered { rebuilt, kept, swapped, refused, first, .. } = &answered;
        moved += &format!(
            "{id} {package} -> {release}: rebuilt {}; kept {}; swapped {}; not swapped {}; images {}\n",
            names(rebuilt),
            names(kept),
            names(swapped),
            names(refused),
            names(&first.images)
        );
    }
    eprintln!(
        "{:<20} {:<16} {:<20} {:<32} {:<20} {:>6} {:>9} {:>8}\n{table}",
        "advisory", "package", "rebuilt", "kept, with proof", "images", "layers", "bytes", "seconds"
    );
    daemon.stop();
    let promises = broken_promises(&Facts::read(&place.state).unwrap());
    assert!(promises.is_empty(), "{promises:?}");
    golden("catalogue/advisories.txt", &moved);
}

/// The catalogue that ships, with the images of this test, and a policy for the one that may swap.
fn catalogue(recipes: &Path) -> Catalog {
    let catalog = with_every_package(recipes);
    for name in ALONE {
        if !catalog.images().keys().any(|image| image.as_str() == format!("{IMAGE_OF_ONE}{name}")) {
            write_image_of_one(recipes, name);
        }
    }
    let path = recipes.join(format!("images/{MAY_SWAP}.toml"));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n[policy]\ncompatible-swap = \"security\"\n")).unwrap();
    read(recipes)
}

/// What must be built again when a package becomes another, of all that the images need; and the images that hold any of it.
fn expected(
    catalog: &Catalog,
    images: &BTreeSet<ImageName>,
    package: &PackageName,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let asked = images.iter().flat_map(|image| &catalog.images()[image].packages);
    let needed = catalog.closure(asked, Needs::Build).unwrap();
    let mut again = BTreeSet::from([package.clone()]);
    // Dependencies first.
    for name in &needed {
        if catalog.build_sysroot(name).unwrap().iter().any(|input| again.contains(input)) {
            again.insert(name.clone());
        }
    }
    let holds = |image: &&ImageName| catalog.image_packages(image).unwrap().iter().any(|name| again.contains(name));
    let holders = images.iter().filter(holds).map(ToString::to_string).collect();
    (again.iter().map(ToString::to_string).collect(), holders)
}

/// Lets a record land, and releases whatever opens until nothing is to be done any more.
fn answer(place: &Place, key: &Path, id: &str, holders: &BTreeSet<String>) -> Answered {
    let record = fs::read(top().join(format!("tests/advisories/{id}.json"))).unwrap();
    let since = place.events().len();
    let begun = Instant::now();
    place.feed(&format!("{id}.json"), &record);
    let (mut first, mut settled) = (Wave::default(), Wave::default());
    // Each as soon as it is there, so that none is superseded by what settles a swap.
    wait_for(&format!("the candidates that answer {id}"), PATIENCE, || {
        for candidate in open(place) {
            let again = first.images.contains(candidate["image"].as_str().unwrap());
            if again { &mut settled } else { &mut first }.take(place, &candidate, begun);
            release(place, &candidate, key);
        }
        holders.is_subset(&first.images).then_some(())
    });
    place.until_it_rests(PATIENCE);
    for candidate in open(place) {
        settled.take(place, &candidate, begun);
        release(place, &candidate, key);
    }
    place.until_it_rests(PATIENCE);
    assert!(open(place).is_empty(), "{id}");
    let events: Vec<Value> = place.events().into_iter().skip(since).collect();
    let packages = |kind: &str, is_one: &dyn Fn(&Value) -> bool| -> BTreeSet<String> {
        let of_kind = events.iter().filter(|event| event["event"] == kind && is_one(event));
        of_kind.map(|event| event["package"].as_str().unwrap().to_owned()).collect()
    };
    let is_swap = |event: &Value| event["ground"]["kind"] == "swapped";
    let kept = packages("package-kept", &|event| !is_swap(event));
    assert_eq!(kept, packages("kept-proved", &|_| true), "{id}: each that was kept has its proof");
    let swapped = packages("package-kept", &is_swap);
    assert_eq!(
        swapped,
        packages("swap-settled", &|event| ["identical", "differs"]
            .contains(&event["settling"]["settling"].as_str().unwrap())),
        "{id}: each that was swapped was built since"
    );
    let refused = packages("swap-refused", &|_| true);
    for event in events.iter().filter(|event| event["event"] == "swap-refused") {
        eprintln!("{id}: {} is built, and not swapped: {}", event["package"], event["why"]);
    }
    // What settles a swap was built for it, and is not told a second time.
    let mut rebuilt = packages("package-built", &|event| event["cached"] == false);
    rebuilt.extend(swapped.iter().cloned());
    Answered { rebuilt, kept, swapped, refused, first, settled }
}

impl Wave {
    /// Counts a candidate in.
    fn take(&mut self, place: &Place, candidate: &Value, begun: Instant) {
        let diff = place.anneal(&["candidate", "diff", &format!("c{}", candidate["id"]), "--json"]).fine().json();
        self.layers_new += diff["layers_new"].as_u64().unwrap();
        self.bytes += diff["bytes_to_pull"].as_u64().unwrap();
        self.images.insert(candidate["image"].as_str().unwrap().to_owned());
        self.seconds = begun.elapsed().as_secs_f64();
    }
}

fn open(place: &Place) -> Vec<Value> {
    place.candidates().into_iter().filter(|candidate| candidate["status"] == "open").collect()
}

/// Approves a candidate, and waits until it is published.
fn release(place: &Place, candidate: &Value, key: &Path) {
    place.approve(&format!("c{}", candidate["id"]), key).fine();
    wait_for("the publication", Duration::from_secs(120), || {
        place.candidates().iter().any(|one| one["id"] == candidate["id"] && one["status"] == "published").then_some(())
    });
}
