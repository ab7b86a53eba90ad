//! `anneal recipe why`: by which ways one recipe depends on another.

use super::with_help;
use crate::{
    error::{Error, Result},
    output::Output,
};
use anneal_content::{ImageName, PackageName};
use anneal_recipe::{Catalog, Needs};
use serde::Serialize;
use serde_json::json;
use std::{collections::BTreeSet, fmt::Write as _};

/// How many ways are told; a catalogue can have very many.
const WAYS_MAX: usize = 20;
/// How many steps are looked at for them.
const STEPS_MAX: usize = 100_000;

/// Why one is needed by the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Because {
    /// The image contains it.
    Contains,
    /// It must be there for the other to run.
    Runs,
    /// The other is built with it and does not need it afterwards.
    Builds,
    /// The other is tested with it, which adds nothing to what it is.
    Tests,
}

/// One step of a way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Step {
    because: Because,
    package: PackageName,
}

type Way = Vec<Step>;

pub(super) fn why(catalog: &Catalog, from: &str, to: &PackageName, output: &Output) -> Result<()> {
    catalog.package(to).map_err(|error| with_help(&error))?;
    let package = PackageName::new(from).ok().filter(|name| catalog.packages().contains_key(name));
    let image = ImageName::new(from).ok().filter(|name| catalog.images().contains_key(name));
    let mut lines = Vec::new();
    let mut all = Vec::new();
    let mut more = false;
    if package.is_none() && image.is_none() {
        // The nearest name of either kind.
        let name = PackageName::new(from)?;
        return match catalog.package(&name) {
            Err(error) => Err(with_help(&error)),
            Ok(_) => Err(Error::Internal(format!("{name} is a package and is not"))),
        };
    }
    for (kind, first) in [
        ("image", image.as_ref().map(|name| of_image(catalog, name))),
        ("package", package.as_ref().map(|n| of_package(catalog, n))),
    ] {
        let Some(first) = first else { continue };
        let (ways, cut) = ways(catalog, first, to);
        more |= cut;
        lines.extend(ways.iter().map(|way| way_text(kind, from, way)));
        all.extend(ways.into_iter().map(|way| json!({ "from": { "kind": kind, "name": from }, "way": way })));
    }
    if all.is_empty() {
        return Err(Error::No(format!("{from} does not depend on {to}")));
    }
    let text = || {
        let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        if more {
            let _ = writeln!(text, "and more ways than the {} shortest", lines.len());
        }
        text
    };
    output.result(text, &json!({ "ways": all, "more": more }))
}

fn of_image(catalog: &Catalog, name: &ImageName) -> Way {
    let packages = catalog.image(name).map(|image| image.packages.iter().cloned().collect::<Vec<_>>());
    packages.unwrap_or_default().into_iter().map(|package| Step { because: Because::Contains, package }).collect()
}

/// What a package needs, each once: to run before to be built before to be tested.
fn of_package(catalog: &Catalog, name: &PackageName) -> Way {
    let Ok(recipe) = catalog.package(name) else { return Vec::new() };
    let mut seen = BTreeSet::new();
    let runs = recipe.runtime_requires.iter().map(|name| (Because::Runs, name.clone()));
    let builds = recipe.build.requires.iter().map(|required| (Because::Builds, required.package.clone()));
    let tests = recipe.test.requires.iter().map(|name| (Because::Tests, name.clone()));
    let each = runs.chain(builds).chain(tests);
    each.filter(|(_, name)| seen.insert(name.clone())).map(|(because, package)| Step { because, package }).collect()
}

/// The ways that begin with one of these steps, the shortest first, and whether there are more. What a test needs is
/// followed no further: it is no part of what is built.
fn ways(catalog: &Catalog, first: Way, to: &PackageName) -> (Vec<Way>, bool) {
    // Only what depends on the goal can lead there.
    let leads = catalog.dependents([to], Needs::Build).unwrap_or_default();
    let leads: BTreeSet<_> = leads.into_iter().collect();
    let on_the_way =
        |step: &Step| step.package == *to || (leads.contains(&step.package) && step.because != Because::Tests);
    let mut open: Vec<Way> = first.into_iter().filter(on_the_way).map(|step| vec![step]).collect();
    let (mut found, mut steps) = (Vec::new(), 0);
    while !open.is_empty() {
        let mut next = Vec::new();
        for way in open {
            let Some(last) = way.last() else { continue };
            steps += 1;
            if last.package == *to {
                found.push(way);
            } else {
                let on = of_package(catalog, &last.package).into_iter().filter(|s| s.because != Because::Tests);
                next.extend(on.filter(on_the_way).map(|step| way.iter().cloned().chain([step]).collect::<Way>()));
            }
            if found.len() > WAYS_MAX || steps > STEPS_MAX {
                found.truncate(WAYS_MAX);
                return (found, true);
            }
        }
        open = next;
    }
    (found, false)
}

fn way_text(kind: &str, from: &str, way: &Way) -> String {
    let mut text = if kind == "image" { format!("image {from}") } else { from.to_owned() };
    for step in way {
        let because = match step.because {
            Because::Contains => "contains",
            Because::Runs => "runs with",
            Because::Builds => "is built with",
            Because::Tests => "is tested with",
        };
        let _ = write!(text, " {because} {}", step.package);
        if way.last() != Some(step) {
            text.push_str(", which");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A package that runs with, is built with and is tested with others.
    fn recipe(name: &str, [runs, builds, tests]: [&[&str]; 3]) -> (String, String) {
        let text = format!(
            "name = \"{name}\"\nsummary = \"s\"\nlicense = \"MIT\"\nversion = \"1\"\n[[release]]\nversion = \"1\"\n\
             date = \"2024-01-01\"\n[build]\nrequires = {builds:?}\nsteps = [\"true\"]\n[runtime]\nrequires = {runs:?}\n\
             [test]\nrequires = {tests:?}\nsteps = [\"true\"]\n"
        );
        (format!("packages/{name}.toml"), text)
    }

    fn catalog() -> Catalog {
        let image = "name = \"web\"\nsummary = \"s\"\npackages = [\"web\"]\n";
        Catalog::parse(&[
            recipe("libc", [&[], &[], &[]]),
            recipe("make", [&[], &["libc"], &[]]),
            recipe("zip", [&["libc"], &["libc"], &[]]),
            recipe("web", [&["zip"], &["make", "zip"], &["make"]]),
            recipe("probe", [&[], &[], &["web"]]),
            ("images/web.toml".to_owned(), image.to_owned()),
        ])
        .unwrap()
    }

    #[track_caller]
    fn check(from: &str, to: &str, expected: &[&str]) {
        let (catalog, to) = (catalog(), to.parse().unwrap());
        let (ways, more) = ways(&catalog, of_package(&catalog, &from.parse().unwrap()), &to);
        let texts: Vec<_> = ways.iter().map(|way| way_text("package", from, way)).collect();
        assert_eq!(texts, expected);
        assert!(!more);
    }

    #[test]
    fn every_way_is_told_with_why_each_needs_the_next() {
        check(
            "web",
            "libc",
            &["web runs with zip, which runs with libc", "web is built with make, which is built with libc"],
        );
        check("web", "make", &["web is built with make"]);
        check("zip", "make", &[]);
        check("libc", "libc", &[]);
    }

    #[test]
    fn what_only_a_test_needs_leads_no_further() {
        check("probe", "web", &["probe is tested with web"]);
        check("probe", "libc", &[]);
    }

    #[test]
    fn an_image_depends_on_what_it_contains() {
        let catalog = catalog();
        let (found, _) = ways(&catalog, of_image(&catalog, &"web".parse().unwrap()), &"zip".parse().unwrap());
        assert_eq!(way_text("image", "web", &found[0]), "image web contains web, which runs with zip");
    }

    #[test]
    fn of_very_many_ways_the_shortest_are_told() {
        // Ten layers of three packages: 3^9 ways.
        let mut files = Vec::new();
        for layer in 0..10 {
            for at in 0..3 {
                let below: Vec<String> =
                    if layer == 0 { Vec::new() } else { (0..3).map(|b| format!("p{}-{b}", layer - 1)).collect() };
                let below: Vec<&str> = below.iter().map(String::as_str).collect();
                files.push(recipe(&format!("p{layer}-{at}"), [&below, &[], &[]]));
            }
        }
        let catalog = Catalog::parse(&files).unwrap();
        let (found, more) = ways(&catalog, of_package(&catalog, &"p9-0".parse().unwrap()), &"p0-0".parse().unwrap());
        assert_eq!((found.len(), more), (WAYS_MAX, true));
    }
}
