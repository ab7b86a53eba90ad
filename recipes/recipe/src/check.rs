//! What must hold between recipes: names resolve, nothing needs itself, tags name what is there.

use crate::{
    Error, PackageRecipe,
    catalog::Recipes,
    graph::{Graph, Needs},
    near::nearest,
    output::possible_outputs,
};
use anneal_content::{ImageName, OutputName, PackageName};
use std::collections::BTreeSet;

/// Whose mistake it is.
pub(crate) enum Whose {
    /// A package recipe's.
    Package(PackageName),
    /// An image recipe's.
    Image(ImageName),
}

/// A mistake between recipes.
pub(crate) struct Problem {
    /// In which recipe it is shown.
    pub(crate) whose: Whose,
    /// At which value, such as `build.requires[zlib]`.
    pub(crate) field: String,
    /// What is wrong.
    pub(crate) error: Error,
}

/// Everything that is wrong between recipes. `known` are the names that exist, also of recipes that are not complete.
pub(crate) fn check(recipes: &Recipes, known: &BTreeSet<PackageName>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let unknown = |name: &PackageName| {
        (!known.contains(name)).then(|| {
            let near = nearest(name.as_str(), known.iter().map(PackageName::as_str));
            Error::Unknown { kind: "package", name: name.to_string(), near }
        })
    };
    for (key, recipe) in &recipes.packages {
        let whose = || Whose::Package(key.clone());
        if recipe.name != *key {
            let error = Error::Misfiled { kind: "package", name: recipe.name.to_string(), key: key.to_string() };
            problems.push(Problem { whose: whose(), field: "name".into(), error });
        }
        for required in &recipe.build.requires {
            let no_output = |output: &OutputName| no_such_output(recipes.packages.get(&required.package)?, output);
            let error = unknown(&required.package).or_else(|| no_output(required.output.as_ref()?));
            let field = format!("build.requires[{required}]");
            problems.extend(error.map(|error| Problem { whose: whose(), field, error }));
        }
        let lists = [("runtime.requires", &recipe.runtime_requires), ("test.requires", &recipe.test.requires)];
        for (list, name) in lists.into_iter().flat_map(|(list, names)| names.iter().map(move |name| (list, name))) {
            let problem = |error| Problem { whose: whose(), field: format!("{list}[{name}]"), error };
            problems.extend(unknown(name).map(problem));
        }
    }
    let graph = Graph::of(recipes);
    for path in graph.cycles() {
        problems.extend(cycle(recipes, path));
    }
    for (key, recipe) in &recipes.images {
        let whose = || Whose::Image(key.clone());
        if recipe.name != *key {
            let error = Error::Misfiled { kind: "image", name: recipe.name.to_string(), key: key.to_string() };
            problems.push(Problem { whose: whose(), field: "name".into(), error });
        }
        for name in &recipe.packages {
            let problem = |error| Problem { whose: whose(), field: format!("packages[{name}]"), error };
            problems.extend(unknown(name).map(problem));
        }
        let Some(package) = &recipe.version_of else { continue };
        // Whether a recipe that isn't complete brings the package along can't be said.
        let closure = graph.closure(&recipe.packages, Needs::Runtime);
        let whole = closure.iter().all(|name| recipes.packages.contains_key(name));
        let absent = || Error::VersionOfAbsent { image: key.to_string(), package: package.clone() };
        let error = unknown(package).or_else(|| (whole && !closure.contains(package)).then(absent));
        problems.extend(error.map(|error| Problem { whose: whose(), field: "version-of".into(), error }));
    }
    problems
}

/// An output of which no file of the package can be.
fn no_such_output(package: &PackageRecipe, output: &OutputName) -> Option<Error> {
    let possible = possible_outputs(package);
    if possible.contains(output) {
        return None;
    }
    let near = nearest(output.as_str(), possible.iter().map(OutputName::as_str));
    Some(Error::UnknownOutput { package: package.name.clone(), output: output.clone(), near, possible })
}

/// A cycle is shown where its first package names the second.
fn cycle(recipes: &Recipes, path: Vec<PackageName>) -> Option<Problem> {
    let (first, second) = (path.first()?.clone(), path.get(1)?);
    let recipe = recipes.packages.get(&first)?;
    let field = match recipe.build.requires.iter().find(|required| required.package == *second) {
        Some(required) => format!("build.requires[{required}]"),
        None => format!("runtime.requires[{second}]"),
    };
    Some(Problem { whose: Whose::Package(first), field, error: Error::Cycle { path } })
}
