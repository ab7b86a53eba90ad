//! What needs what: closures, dependents and the order in which packages can be built.

use crate::catalog::Recipes;
use anneal_content::PackageName;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Which edges of the graph are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// What must be built: what a build requires and what running requires. Tests run later and add nothing.
    Build,
    /// What must be there to run.
    Runtime,
}

/// The packages of some recipes and what each needs. A name without a recipe is a package that needs nothing.
pub(crate) struct Graph<'r>(BTreeMap<&'r PackageName, Edges<'r>>);

struct Edges<'r> {
    build: BTreeSet<&'r PackageName>,
    runtime: &'r BTreeSet<PackageName>,
}

impl<'r> Graph<'r> {
    pub(crate) fn of(recipes: &'r Recipes) -> Self {
        let edges = recipes.packages.iter().map(|(name, recipe)| {
            (name, Edges { build: recipe.build_requires().collect(), runtime: &recipe.runtime_requires })
        });
        Self(edges.collect())
    }

    fn needs(&self, name: &PackageName, needs: Needs) -> impl Iterator<Item = &'r PackageName> + use<'_, 'r> {
        let edges = self.0.get(name);
        let build = edges.filter(|_| needs == Needs::Build).into_iter().flat_map(|edges| edges.build.iter().copied());
        build.chain(edges.into_iter().flat_map(|edges| edges.runtime))
    }

    /// These packages and everything they need.
    pub(crate) fn closure<'n>(
        &self,
        names: impl IntoIterator<Item = &'n PackageName>,
        needs: Needs,
    ) -> BTreeSet<PackageName> {
        let mut found = BTreeSet::new();
        let mut todo: Vec<PackageName> = names.into_iter().cloned().collect();
        while let Some(name) = todo.pop() {
            if !found.contains(&name) {
                todo.extend(self.needs(&name, needs).cloned());
                found.insert(name);
            }
        }
        found
    }

    /// Every package, dependencies first; of those that could come next, the first by name does. Packages on a cycle,
    /// and those that need one, are left out.
    pub(crate) fn topological(&self) -> Vec<PackageName> {
        let mut waiting: BTreeMap<&PackageName, usize> = BTreeMap::new();
        let mut reverse: BTreeMap<&PackageName, Vec<&PackageName>> = BTreeMap::new();
        for name in self.0.keys() {
            let needed: BTreeSet<_> =
                self.needs(name, Needs::Build).filter(|needed| self.0.contains_key(needed)).collect();
            waiting.insert(name, needed.len());
            needed.into_iter().for_each(|needed| reverse.entry(needed).or_default().push(name));
        }
        let free = waiting.iter().filter(|(_, count)| **count == 0);
        let mut ready: BTreeSet<&PackageName> = free.map(|(name, _)| *name).collect();
        let mut order = Vec::new();
        while let Some(name) = ready.pop_first() {
            order.push(name.clone());
            for dependent in reverse.get(name).into_iter().flatten() {
                if let Some(count) = waiting.get_mut(dependent) {
                    *count -= 1;
                    if *count == 0 {
                        ready.insert(dependent);
                    }
                }
            }
        }
        order
    }

    /// Cycles, each as the shortest way from its first package by name back to it; no package is in two of them.
    pub(crate) fn cycles(&self) -> Vec<Vec<PackageName>> {
        let order: BTreeSet<_> = self.topological().into_iter().collect();
        let mut left: BTreeSet<&PackageName> = self.0.keys().copied().filter(|name| !order.contains(*name)).collect();
        let mut cycles = Vec::new();
        while let Some(name) = left.pop_first() {
            if let Some(path) = self.way_back(name, &left) {
                left.retain(|name| !path.contains(name));
                cycles.push(path);
            }
        }
        cycles
    }

    /// The shortest way from a package over some others back to it.
    fn way_back(&self, start: &PackageName, over: &BTreeSet<&PackageName>) -> Option<Vec<PackageName>> {
        let mut came_from: BTreeMap<PackageName, PackageName> = BTreeMap::new();
        let mut todo = VecDeque::from([start.clone()]);
        while let Some(name) = todo.pop_front() {
            for needed in self.needs(&name, Needs::Build) {
                if needed == start {
                    let mut path = vec![start.clone(), name.clone()];
                    let mut at = &name;
                    while let Some(before) = came_from.get(at) {
                        path.push(before.clone());
                        at = before;
                    }
                    if name == *start {
                        path.pop();
                        path.push(start.clone());
                    }
                    path.reverse();
                    return Some(path);
                }
                if over.contains(needed) && !came_from.contains_key(needed) {
                    came_from.insert(needed.clone(), name.clone());
                    todo.push_back(needed.clone());
                }
            }
        }
        None
    }
}
