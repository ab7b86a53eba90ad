//! Plans over a small catalogue, as text that people can read.

use super::*;
use crate::{Toolchain, derive};
use anneal_content::BlobDigest;
use anneal_recipe::Catalog;

fn package(name: &str, versions: &[&str], requires: &[&str]) -> (String, String) {
    let quoted: Vec<_> = requires.iter().map(|r| format!("{r:?}")).collect();
    let requires = quoted.join(", ");
    let mut text = format!(
        "name = \"{name}\"\nsummary = \"{name}\"\nlicense = \"MIT\"\nversion = \"{}\"\n\
         [build]\nrequires = [{requires}]\nsteps = [\"make\"]\n[runtime]\nrequires = [{requires}]\n",
        versions[0]
    );
    for (at, version) in versions.iter().enumerate() {
        text.push_str(&format!("[[release]]\nversion = \"{version}\"\ndate = \"2020-01-0{}\"\n", at + 1));
    }
    (format!("packages/{name}.toml"), text)
}

fn image(name: &str, packages: &[&str]) -> (String, String) {
    let quoted: Vec<_> = packages.iter().map(|p| format!("{p:?}")).collect();
    let text = format!("name = \"{name}\"\nsummary = \"{name}\"\npackages = [{}]\n", quoted.join(", "));
    (format!("images/{name}.toml"), text)
}

fn catalog() -> Catalog {
    let files = [
        package("musl", &["1.2.5"], &[]),
        package("zlib", &["1.2.11", "1.2.13"], &["musl"]),
        package("pcre2", &["10.42"], &["musl"]),
        package("nginx", &["1.22.1"], &["musl", "pcre2", "zlib"]),
        package("busybox", &["1.35.0"], &["musl"]),
        image("nginx", &["nginx"]),
        image("busybox", &["busybox"]),
    ];
    Catalog::parse(&files).unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)))
}

fn toolchain() -> Toolchain {
    Toolchain {
        build_root: BlobDigest::of(b"lock"),
        sandbox: 1,
        layer_writer: "writer".into(),
        withdrawn: BTreeSet::new(),
    }
}

fn bumped() -> Catalog {
    let zlib = (anneal_content::PackageName::new("zlib").unwrap(), Version::new("1.2.13").unwrap());
    catalog().with_versions(&[zlib].into()).unwrap()
}

fn planned(old: Option<&Derived>, new: &Derived, realised: &BTreeSet<DerivationId>) -> String {
    plan(old, new, &new.images.keys().cloned().collect(), realised, &BTreeMap::new()).to_string()
}

#[test]
fn everything_is_built_once_dependencies_first() {
    let new = derive(&catalog(), &toolchain()).unwrap();
    let expected = "\
build    musl 1.2.5: never built here
build    busybox 1.35.0: never built here
build    pcre2 10.42: never built here
build    zlib 1.2.11: never built here
build    nginx 1.22.1: never built here
assemble image busybox: 2 of 2 packages new: busybox, musl
assemble image nginx: 4 of 4 packages new: musl, nginx, pcre2, zlib
";
    assert_eq!(planned(None, &new, &BTreeSet::new()), expected);
}

#[test]
fn a_fixed_zlib_rebuilds_itself_and_what_is_built_with_it_and_nothing_else() {
    let old = derive(&catalog(), &toolchain()).unwrap();
    let new = derive(&bumped(), &toolchain()).unwrap();
    let realised = old.ids.values().copied().collect();
    let expected = "\
reuse    musl 1.2.5
reuse    busybox 1.35.0
reuse    pcre2 10.42
build    zlib 1.2.13: another release, before it was 1.2.11
build    nginx 1.22.1: built with zlib
keep     image busybox
assemble image nginx: 2 of 4 packages new: nginx, zlib
";
    assert_eq!(planned(Some(&old), &new, &realised), expected);
}

#[test]
fn a_plan_tells_which_builds_were_kept_and_for_which_library() {
    let (old, new) = (derive(&catalog(), &toolchain()).unwrap(), derive(&bumped(), &toolchain()).unwrap());
    let name = |name: &str| anneal_content::PackageName::new(name).unwrap();
    let realised = old.ids.values().copied().collect();
    let before = plan(Some(&old), &new, &new.images.keys().cloned().collect(), &realised, &BTreeMap::new());
    let zlib = KeptBuild { linked: [name("zlib")].into(), ground: KeepGround::InterfaceEqual };
    let kept = [(new.ids[&name("nginx")], zlib)].into();
    let expected = "\
reuse    musl 1.2.5
reuse    busybox 1.35.0
reuse    pcre2 10.42
build    zlib 1.2.13: another release, before it was 1.2.11
kept     nginx 1.22.1: interface equal of zlib
keep     image busybox
assemble image nginx: 1 of 4 packages new: zlib
";
    assert_eq!(before.clone().with_kept(&kept).to_string(), expected);
    assert_eq!(before.clone().with_kept(&BTreeMap::new()), before);
}

#[test]
fn a_package_whose_cut_off_is_withdrawn_is_another_build_and_so_is_what_is_built_with_it_and_nothing_else() {
    let name = |name: &str| anneal_content::PackageName::new(name).unwrap();
    let before = derive(&catalog(), &toolchain()).unwrap();
    let after = derive(&catalog(), &Toolchain { withdrawn: [name("pcre2")].into(), ..toolchain() }).unwrap();
    let moved: Vec<_> =
        before.ids.iter().filter(|(name, id)| after.ids[*name] != **id).map(|(n, _)| n.as_str()).collect();
    assert_eq!(moved, ["nginx", "pcre2"]);
    let images: Vec<_> =
        before.images.iter().filter(|(n, need)| after.images[*n].key != need.key).map(|(n, _)| n.as_str()).collect();
    assert_eq!(images, ["nginx"]);
}

#[test]
fn a_failed_package_blocks_what_needs_it_and_nothing_else() {
    let new = derive(&catalog(), &toolchain()).unwrap();
    let zlib = new.ids[&anneal_content::PackageName::new("zlib").unwrap()];
    let held = [(zlib, "exit 1".to_owned())].into();
    let steps = plan(None, &new, &new.images.keys().cloned().collect(), &BTreeSet::new(), &held).steps;
    let blocked: Vec<_> =
        steps.iter().filter(|s| matches!(s, Step::Blocked { .. })).map(|s| s.package().as_str()).collect();
    assert_eq!(blocked, ["zlib", "nginx"]);
}

#[test]
fn only_the_goal_and_what_it_needs_is_planned() {
    let new = derive(&catalog(), &toolchain()).unwrap();
    let goal = [ImageName::new("busybox").unwrap()].into();
    let steps = plan(None, &new, &goal, &BTreeSet::new(), &BTreeMap::new()).steps;
    let names: Vec<_> = steps.iter().map(|s| s.package().as_str()).collect();
    assert_eq!(names, ["musl", "busybox"]);
}

#[test]
fn an_input_that_comes_out_identical_leaves_the_action_as_it_was() {
    use anneal_content::{OutputName, PackageName, TreeDigest};
    let (old, new) = (derive(&catalog(), &toolchain()).unwrap(), derive(&bumped(), &toolchain()).unwrap());
    let nginx = PackageName::new("nginx").unwrap();
    let action = |derived: &Derived, zlib: u8| {
        let tree = |name: &str| TreeDigest::from_bytes([if name == "zlib" { zlib } else { 1 }; 32]);
        let outputs = |name: &str| [(OutputName::out(), tree(name))].into();
        let built = ["musl", "zlib", "pcre2"].map(|n| (PackageName::new(n).unwrap(), outputs(n))).into();
        let derivation = &derived.derivations[&derived.ids[&nginx]];
        crate::Action::by_content(derivation, &derivation.mounts(&built).unwrap()).digest().unwrap()
    };
    assert_ne!(old.ids[&nginx], new.ids[&nginx], "the derivation follows zlib's");
    assert_eq!(action(&old, 1), action(&new, 1), "the action follows what zlib came out as");
    assert_ne!(action(&old, 1), action(&new, 2));
}

#[test]
fn limits_and_places_do_not_rekey_a_build() {
    let before = derive(&catalog(), &toolchain()).unwrap();
    let mut files = vec![package("musl", &["1.2.5"], &[])];
    files[0].1 = files[0].1.replace("[build]\n", "[build]\ntimeout-minutes = 77\nmemory-mib = 4000\n");
    let after = derive(&Catalog::parse(&files).unwrap(), &toolchain()).unwrap();
    let musl = anneal_content::PackageName::new("musl").unwrap();
    assert_eq!(before.ids[&musl], after.ids[&musl]);
    let other = Toolchain { build_root: BlobDigest::of(b"other"), ..toolchain() };
    assert_ne!(derive(&catalog(), &other).unwrap().ids[&musl], before.ids[&musl]);
}

#[test]
fn an_image_with_a_former_build_names_it_and_is_another_image() {
    let name = |name: &str| anneal_content::PackageName::new(name).unwrap();
    let (old, asked) = (derive(&catalog(), &toolchain()).unwrap(), derive(&bumped(), &toolchain()).unwrap());
    let former = old.ids[&name("nginx")];
    let swap = crate::Swap::of(former, &old).unwrap();
    assert!(swap.derivations.contains_key(&old.ids[&name("zlib")]), "what it was built with is known");
    let swaps = [(asked.ids[&name("nginx")], swap)].into();
    let ships = crate::swap(&asked, &bumped(), &toolchain(), &swaps).unwrap();
    assert_eq!((ships.ids[&name("nginx")], ships.ids[&name("zlib")]), (former, asked.ids[&name("zlib")]));
    assert_eq!(ships.swapped, [(name("nginx"), asked.ids[&name("nginx")])].into());
    let image = anneal_content::ImageName::new("nginx").unwrap();
    let keys = [&old, &asked, &ships].map(|derived| derived.images[&image].key);
    assert!(keys[0] != keys[2] && keys[1] != keys[2], "one key has one digest");
    // The former library is in no image and is not built again.
    assert!(!ships.images[&image].derivations.contains(&old.ids[&name("zlib")]));
    assert!(ships.whole_closure_of(&[name("nginx")]).contains(&old.ids[&name("zlib")]));
    let realised = old.ids.values().copied().collect();
    let expected = "\
reuse    musl 1.2.5
reuse    busybox 1.35.0
reuse    pcre2 10.42
build    zlib 1.2.13: another release, before it was 1.2.11
kept     nginx 1.22.1: runs with zlib as it is now; built again later
keep     image busybox
assemble image nginx: 1 of 4 packages new: zlib
";
    assert_eq!(planned(Some(&old), &ships, &realised), expected);
    // Without any it is what is asked for.
    assert_eq!(crate::swap(&asked, &bumped(), &toolchain(), &crate::Swaps::new()).unwrap(), asked);
}

#[test]
fn a_plan_without_a_package_has_nothing_that_is_built_with_it() {
    let (old, new) = (derive(&catalog(), &toolchain()).unwrap(), derive(&bumped(), &toolchain()).unwrap());
    let zlib = [anneal_content::PackageName::new("zlib").unwrap()].into();
    let whole = plan(Some(&old), &new, &new.images.keys().cloned().collect(), &BTreeSet::new(), &BTreeMap::new());
    let names = |plan: &BuildPlan| plan.steps.iter().map(|step| step.package().to_string()).collect::<Vec<_>>();
    assert_eq!(names(&whole), ["musl", "busybox", "pcre2", "zlib", "nginx"]);
    assert_eq!(names(&whole.without(&zlib, &new)), ["musl", "busybox", "pcre2"]);
}
