//! A team's catalogue over another one: what it adds, what it replaces, and what it may not have twice.

// Tests read their fixtures from disk; clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use anneal_recipe::{Catalog, UpstreamFiles};

mod catalogue;

fn package(name: &str, more: &str) -> (String, String) {
    let text = format!(
        "name = \"{name}\"\n{more}summary = \"Ours\"\nlicense = \"MIT\"\nversion = \"1\"\n[[release]]\nversion = \"1\"\n\
         date = \"2024-01-01\"\n[build]\nrequires = [\"musl\"]\nsteps = [\"true\"]\n"
    );
    (format!("packages/{name}.toml"), text)
}

fn over(own: &[(String, String)]) -> Result<Catalog, Vec<String>> {
    let upstream = UpstreamFiles { name: "anneal".to_owned(), files: catalogue::files() };
    Catalog::parse_over(own, &[upstream]).map_err(|mistakes| {
        let told = |m: &anneal_recipe::Mistake| {
            format!("{} line {}: {}; {}", m.file(), m.position().0, m, m.error().help().unwrap())
        };
        mistakes.iter().map(told).collect()
    })
}

#[test]
fn a_team_adds_to_what_is_upstream_and_builds_on_it() {
    let catalog = over(&[package("app", "")]).unwrap();
    let theirs = Catalog::parse(&catalogue::changed(&[])).unwrap();
    assert_eq!(catalog.packages().len(), theirs.packages().len() + 1);
    assert_eq!(catalog.images(), theirs.images());
}

#[test]
fn a_name_that_both_have_is_a_mistake_unless_the_team_says_that_it_replaces() {
    assert_eq!(
        over(&[package("zlib", "")]).unwrap_err(),
        [
            "packages/zlib.toml line 1: package `zlib` is also in the upstream catalogue `anneal`; write `replaces = \"anneal\"` \
          if this one is to be built instead, or give it another name"
        ]
    );
    let catalog = over(&[package("zlib", "replaces = \"anneal\"\n")]).unwrap();
    assert_eq!(catalog.package(&"zlib".parse().unwrap()).unwrap().summary, "Ours");
}

#[test]
fn what_is_replaced_must_be_there() {
    assert_eq!(
        over(&[package("app", "replaces = \"anneal\"\n")]).unwrap_err(),
        [
            "packages/app.toml line 2: the upstream catalogue `anneal` has no package `app` to replace; delete `replaces`, or look \
          for the name it has there"
        ]
    );
    let unknown = over(&[package("app", "replaces = \"aneal\"\n")]).unwrap_err();
    assert_eq!(unknown, ["packages/app.toml line 2: there is no upstream catalogue `aneal`; did you mean `anneal`?"]);
    assert!(Catalog::parse(&[package("app", "replaces = \"anneal\"\n"), package("musl", "")]).is_err());
}

#[test]
fn a_mistake_upstream_names_the_catalogue_that_it_is_in() {
    let mut upstream = UpstreamFiles { name: "anneal".to_owned(), files: catalogue::files() };
    upstream.files.push(("packages/odd.toml".to_owned(), "name = 5\n".to_owned()));
    let mistakes = Catalog::parse_over(&[], &[upstream]).unwrap_err();
    assert!(mistakes.iter().all(|mistake| mistake.file() == "anneal: packages/odd.toml"), "{}", mistakes.render(false));
}

#[test]
fn a_recipe_of_upstream_leads_nowhere_out_of_the_catalogue_and_ones_own_may() {
    let leading = |name: &str| {
        let source = format!(
            "[[release.source]]\nsha256 = \"{}\"\nbytes = 1\nfile = \"a.tar\"\nplaces = [\"path:../code\"]\n[build]",
            "0".repeat(64)
        );
        let (path, text) = package(name, "");
        (path, text.replace("[build]", &source).replace("requires = [\"musl\"]\n", ""))
    };
    assert!(over(&[leading("app")]).is_ok());
    let upstream = UpstreamFiles { name: "theirs".to_owned(), files: vec![leading("app")] };
    let mistakes = Catalog::parse_over(&[], &[upstream]).unwrap_err().render(false);
    for told in ["theirs: packages/app.toml", "path:../code", "may not lead out of the catalogue", "replace the recipe"]
    {
        assert!(mistakes.contains(told), "{told} is not in\n{mistakes}");
    }
}
