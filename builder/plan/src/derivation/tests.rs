//! What is taken over from the catalogue before is what would have been derived anew, whatever changed.

use super::*;
use proptest::prelude::*;

const PACKAGES: usize = 8;

/// All that a test changes of a catalogue: for each package what it requires of those before it, for what, and how it
/// is built; and what the images are made of.
#[derive(Debug, Clone, PartialEq)]
struct Written {
    packages: Vec<Option<Package>>,
    images: Vec<(u8, bool)>,
}

/// A package: sets of numbers as bits.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Package {
    build: u8,
    run: u8,
    test: u8,
    step: u8,
    has_home: bool,
}

fn written() -> impl Strategy<Value = Written> {
    let package = prop::option::weighted(0.9, (any::<[u8; 3]>(), 0..3_u8, any::<bool>()));
    let package = package.prop_map(|package| {
        package.map(|([build, run, test], step, has_home)| Package { build, run, test, step, has_home })
    });
    let packages = prop::collection::vec(package, PACKAGES);
    let images = prop::collection::vec((1..=255_u8, any::<bool>()), 1..4);
    (packages, images).prop_map(|(packages, images)| Written { packages, images })
}

/// The same but for one package or image.
fn changed(from: Written, at: usize, to: Written) -> Written {
    let mut from = from;
    if at < PACKAGES {
        from.packages[at] = to.packages[at];
    } else {
        from.images = to.images;
    }
    from
}

fn catalog(written: &Written) -> Catalog {
    let is_there = |number: usize| written.packages[number].is_some();
    let named = |bits: u8, below: usize| {
        let chosen = (0..below).filter(|number| bits & (1 << number) != 0 && is_there(*number));
        chosen.map(|number| format!("\"p{number}\"")).collect::<Vec<_>>().join(", ")
    };
    let mut files = Vec::new();
    for (number, package) in written.packages.iter().enumerate() {
        let Some(Package { build, run, test, step, has_home }) = package else { continue };
        let home = if *has_home { "homepage = \"https://example.org\"\n" } else { "" };
        files.push((
            format!("packages/p{number}.toml"),
            format!(
                "name = \"p{number}\"\nsummary = \"p\"\nlicense = \"MIT\"\nversion = \"1\"\n{home}\
                 [build]\nrequires = [{}]\nsteps = [\"make {step}\"]\n[runtime]\nrequires = [{}]\n\
                 [test]\nrequires = [{}]\nsteps = [\"true\"]\n[[release]]\nversion = \"1\"\ndate = \"2020-01-01\"\n",
                named(*build, number),
                named(*run, number),
                named(test & !(1 << number), PACKAGES),
            ),
        ));
    }
    for (number, (packages, is_long)) in written.images.iter().enumerate() {
        let listed = named(*packages, PACKAGES);
        if listed.is_empty() {
            continue;
        }
        let summary = if *is_long { "an image of some packages" } else { "an image" };
        let text = format!("name = \"i{number}\"\nsummary = \"{summary}\"\npackages = [{listed}]\n");
        files.push((format!("images/i{number}.toml"), text));
    }
    Catalog::parse(&files).unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)))
}

fn toolchain(sandbox: u32) -> Toolchain {
    Toolchain {
        build_root: BlobDigest::of(b"lock"),
        sandbox,
        layer_writer: "writer".into(),
        withdrawn: BTreeSet::new(),
    }
}

proptest! {
    #[test]
    fn what_is_taken_over_is_what_would_be_derived_anew(
        old in written(), to in written(), at in 0..=PACKAGES, sandbox in 1..=2_u32,
    ) {
        let new = changed(old.clone(), at, to);
        let (old, new) = (catalog(&old), catalog(&new));
        let (earlier, now) = (toolchain(1), toolchain(sandbox));
        let derived = derive(&old, &earlier).unwrap();
        let before = Before { catalog: &old, toolchain: &earlier, derived: &derived };
        prop_assert_eq!(derive_after(Some(before), &new, &now).unwrap(), derive(&new, &now).unwrap());
    }
}

#[test]
fn what_is_as_it_was_is_not_derived_again() {
    let packages = (0..PACKAGES as u8)
        .map(|number| Some(Package { build: number, run: number, test: 0, step: 0, has_home: false }))
        .collect();
    let old = Written { packages, images: vec![(0b11, false), (0b1000_0000, false)] };
    let to = Written {
        packages: vec![Some(Package { build: 7, run: 7, test: 0, step: 1, has_home: false }); PACKAGES],
        images: Vec::new(),
    };
    let new = changed(old.clone(), PACKAGES - 1, to);
    let (old, new, toolchain) = (catalog(&old), catalog(&new), toolchain(1));
    let derived = derive(&old, &toolchain).unwrap();
    let after =
        derive_after(Some(Before { catalog: &old, toolchain: &toolchain, derived: &derived }), &new, &toolchain);
    let after = after.unwrap();
    let is_shared = |name: &str| {
        let name = ImageName::new(name).unwrap();
        Arc::ptr_eq(&derived.images[&name], &after.images[&name])
    };
    assert!(is_shared("i0") && !is_shared("i1"), "only the image of the package that changed is derived again");
}
