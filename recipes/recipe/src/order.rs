//! What a checked catalogue's packages need, by number: worked out once, asked often.
//!
//! A package's number is its place among all packages, dependencies first, so a sorted set of numbers already is in an
//! order in which they can be built. Edges are lists of numbers; a question walks them and compares no names.

use crate::{
    catalog::Recipes,
    graph::{Graph, Needs},
};
use anneal_content::PackageName;
use std::collections::BTreeMap;

/// All packages of a catalogue without cycles.
#[derive(Debug)]
pub(crate) struct Order {
    names: Vec<PackageName>,
    numbers: BTreeMap<PackageName, usize>,
    build: Vec<Vec<usize>>,
    runtime: Vec<Vec<usize>>,
}

impl Order {
    pub(crate) fn of(recipes: &Recipes) -> Self {
        let names = Graph::of(recipes).topological();
        let numbers: BTreeMap<PackageName, usize> =
            names.iter().enumerate().map(|(number, name)| (name.clone(), number)).collect();
        let (mut build, mut runtime) = (Vec::new(), Vec::new());
        for name in &names {
            let recipe = recipes.packages.get(name);
            let known = |needed: &PackageName| numbers.get(needed).copied();
            build.push(recipe.into_iter().flat_map(|recipe| recipe.build_requires()).filter_map(known).collect());
            runtime.push(recipe.into_iter().flat_map(|recipe| &recipe.runtime_requires).filter_map(known).collect());
        }
        Self { names, numbers, build, runtime }
    }

    /// Every package, dependencies first.
    pub(crate) fn names(&self) -> &[PackageName] {
        &self.names
    }

    /// These packages and everything they need, dependencies first.
    pub(crate) fn closure<'n>(
        &self,
        names: impl IntoIterator<Item = &'n PackageName>,
        needs: Needs,
    ) -> Vec<PackageName> {
        self.walk(names, |number| {
            let build = self.build.get(number).filter(|_| needs == Needs::Build);
            build.into_iter().chain(self.runtime.get(number)).flatten().copied()
        })
    }

    /// These packages and everything that needs them, dependencies first.
    pub(crate) fn dependents<'n>(
        &self,
        names: impl IntoIterator<Item = &'n PackageName>,
        needs: Needs,
    ) -> Vec<PackageName> {
        let mut reverse: Vec<Vec<usize>> = vec![Vec::new(); self.names.len()];
        let edges = [(Needs::Build, &self.build), (Needs::Runtime, &self.runtime)];
        // what runs must be built, so building follows both
        let followed = edges.into_iter().filter(|(kind, _)| needs == Needs::Build || *kind == needs);
        for (_, edges) in followed {
            for (number, needed) in edges.iter().enumerate() {
                for one in needed {
                    if let Some(list) = reverse.get_mut(*one) {
                        list.push(number);
                    }
                }
            }
        }
        self.walk(names, |number| reverse.get(number).into_iter().flatten().copied())
    }

    fn walk<'n, N: Iterator<Item = usize>>(
        &self,
        names: impl IntoIterator<Item = &'n PackageName>,
        next: impl Fn(usize) -> N,
    ) -> Vec<PackageName> {
        let mut todo: Vec<usize> = names.into_iter().filter_map(|name| self.numbers.get(name).copied()).collect();
        let mut found = std::collections::BTreeSet::new();
        while let Some(number) = todo.pop() {
            if found.insert(number) {
                todo.extend(next(number));
            }
        }
        found.into_iter().filter_map(|number| self.names.get(number).cloned()).collect()
    }
}
