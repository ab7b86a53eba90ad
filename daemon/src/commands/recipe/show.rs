//! A recipe in words.

use super::with_help;
use crate::{
    error::{Error, Result},
    output::{Output, human_bytes, printable},
};
use anneal_content::{ImageName, PackageName};
use anneal_recipe::{Catalog, ImageRecipe, Needs, PackageRecipe, Release};
use serde_json::json;
use std::fmt::{Display, Write as _};

pub(super) fn show(catalog: &Catalog, name: &str, output: &Output) -> Result<()> {
    let package = PackageName::new(name).ok().map(|name| catalog.package(&name));
    let image = ImageName::new(name).ok().map(|name| catalog.image(&name));
    let (package, image) = match (package, image) {
        (Some(Ok(package)), image) => (Some(package), image.and_then(|image| image.ok())),
        (_, Some(Ok(image))) => (None, Some(image)),
        (package, image) => return Err(unknown(name, [package.and_then(|p| p.err()), image.and_then(|i| i.err())])),
    };
    let mut text = String::new();
    if let Some(recipe) = package {
        text.push_str(&package_text(recipe, catalog)?);
    }
    if let Some(recipe) = image {
        text.push_str(&image_text(recipe, catalog)?);
    }
    output.result(|| printable(&text), &json!({ "package": package, "image": image }))
}

/// No recipe has the name: the nearest one that there is, of whichever kind.
fn unknown(name: &str, errors: [Option<anneal_recipe::Error>; 2]) -> Error {
    let near = |error: &&anneal_recipe::Error| matches!(error, anneal_recipe::Error::Unknown { near: Some(_), .. });
    match errors.iter().flatten().find(near) {
        Some(error) => with_help(error),
        None => {
            Error::Input(format!("there is no package and no image `{name}`; `anneal recipe graph` names them all"))
        }
    }
}

/// Names in one line.
fn names<T: Display>(all: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = all.into_iter().map(|name| name.to_string()).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

fn package_text(recipe: &PackageRecipe, catalog: &Catalog) -> Result<String> {
    let mut text = format!("package {} {}\n", recipe.name, recipe.version());
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:10} {value}");
    };
    line("summary", &recipe.summary);
    line("licence", recipe.license.as_str());
    if let Some(homepage) = &recipe.homepage {
        line("homepage", homepage);
    }
    let upstream = &recipe.upstream;
    let identities = upstream.purl.iter().chain(&upstream.cpe).chain(&upstream.repository).cloned();
    line("upstream", &names(identities.chain(upstream.names.iter().map(ToString::to_string))));
    line("builds on", &names(&recipe.build.requires));
    line("runs with", &names(&recipe.runtime_requires));
    let needed = catalog.dependents([&recipe.name], Needs::Build)?;
    line("needed by", &names(needed.into_iter().filter(|name| *name != recipe.name)));
    line("built in", &format!("{}, with {} CPUs", recipe.workdir(), recipe.build.cpus));
    for (name, value) in &recipe.build.env {
        line("env", &format!("{name}={value}"));
    }
    for step in &recipe.build.steps {
        line("step", &indented(step));
    }
    for step in &recipe.test.steps {
        line("test", &indented(step));
    }
    for waiver in &recipe.allow {
        line("allows", &format!("{}: {}", waiver.check, waiver.reason));
    }
    for release in recipe.releases.listed() {
        text.push_str(&release_text(release, release.version == *recipe.version()));
    }
    Ok(text)
}

/// A step of several lines, each beneath the first, without the margin that all of them have.
fn indented(step: &str) -> String {
    let lines = || step.trim_end().lines().filter(|line| !line.trim().is_empty());
    let margin = lines().map(|line| line.len() - line.trim_start_matches(' ').len()).min().unwrap_or_default();
    lines().filter_map(|line| line.get(margin..)).collect::<Vec<_>>().join("\n             ")
}

fn release_text(release: &Release, selected: bool) -> String {
    let mark = if selected { "  <- is built" } else { "" };
    let mut text = format!("  {:10} {} of {}{mark}\n", "release", release.version, release.date);
    for source in &release.sources {
        let (size, unpacked) = (human_bytes(source.bytes), source.unpack.as_ref());
        let unpacked = unpacked.map(|dir| format!(", unpacked into {dir}")).unwrap_or_default();
        let _ = writeln!(text, "    {} ({size}{unpacked})\n      {}", source.file, source.sha256);
        for place in &source.places {
            let _ = writeln!(text, "      from {place}");
        }
    }
    text
}

fn image_text(recipe: &ImageRecipe, catalog: &Catalog) -> Result<String> {
    let mut text = format!("image {}\n", recipe.name);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:10} {value}");
    };
    line("summary", &recipe.summary);
    line("packages", &names(&recipe.packages));
    let all = catalog.image_packages(&recipe.name)?;
    line("brings", &names(all.iter().filter(|name| !recipe.packages.contains(*name))));
    line("tags", &names(catalog.tags(&recipe.name)?));
    line("runs", &names([recipe.run_argv().join(" ")]));
    line("as", &recipe.user.to_string());
    line("in", recipe.workdir.as_str());
    for (name, value) in &recipe.env {
        line("env", &format!("{name}={value}"));
    }
    if !recipe.ports.is_empty() {
        line("ports", &names(&recipe.ports));
    }
    for file in &recipe.files {
        line("file", &format!("{} ({})", file.path.as_str(), human_bytes(file.content.len() as u64)));
    }
    for directory in &recipe.directories {
        line("directory", &format!("{} of {}", directory.path.as_str(), directory.owner));
    }
    for waiver in &recipe.allow {
        line("allows", &format!("{}: {}", waiver.check, waiver.reason));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_step_keep_their_shape_and_lose_their_common_margin() {
        assert_eq!(indented("\n  if x; then\n    y\n  fi\n"), "if x; then\n               y\n             fi");
        assert_eq!(indented("make"), "make");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_of_either_kind() {
        let near = |near: Option<&str>| {
            let (kind, name) = ("image", "ngnix".to_owned());
            Some(anneal_recipe::Error::Unknown { kind, name, near: near.map(str::to_owned) })
        };
        let said = unknown("ngnix", [near(None), near(Some("nginx"))]).to_string();
        assert!(said.ends_with("did you mean `nginx`?"), "{said}");
        assert!(unknown("ngnix", [None, near(None)]).to_string().contains("no package and no image"));
    }
}
