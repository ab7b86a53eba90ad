//! The plan: immutable, ordered, with no choice left for execution.

use crate::{Derived, ImageNeed};
use anneal_content::{DerivationId, ImageName, PackageName, Version};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Why a package must be built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Reason {
    /// It was never built here.
    New,
    /// Another release.
    Release {
        /// The release before.
        from: Version,
    },
    /// The same release, another recipe, build root or sandbox.
    Recipe,
    /// Something it is built with is built anew; if that comes out identical, or shows it the same, this is cut off.
    Follows {
        /// What it follows.
        inputs: Vec<PackageName>,
    },
}

/// Why a former result may be used with libraries that it was not built with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepGround {
    /// It sees the same of them.
    #[default]
    InterfaceEqual,
    /// It runs with them, and is built again when there is time.
    Swapped,
}

impl KeepGround {
    fn is_interface(&self) -> bool {
        *self == Self::InterfaceEqual
    }
}

/// A build that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBuild {
    /// The libraries that it was not built with.
    pub linked: BTreeSet<PackageName>,
    /// Why.
    pub ground: KeepGround,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// The derivation was built before.
    Reuse {
        /// The package.
        package: PackageName,
        /// Its version.
        version: Version,
        /// Its derivation.
        derivation: DerivationId,
    },
    /// It was built with other libraries, and its former result is used.
    Keep {
        /// The package.
        package: PackageName,
        /// Its version.
        version: Version,
        /// Its derivation.
        derivation: DerivationId,
        /// The libraries.
        linked: BTreeSet<PackageName>,
        /// Why it may be.
        #[serde(default, skip_serializing_if = "KeepGround::is_interface")]
        ground: KeepGround,
    },
    /// It must be built.
    Build {
        /// The package.
        package: PackageName,
        /// Its version.
        version: Version,
        /// Its derivation.
        derivation: DerivationId,
        /// Why.
        reason: Reason,
        /// What must be done before.
        after: BTreeSet<PackageName>,
    },
    /// It cannot be built now.
    Blocked {
        /// The package.
        package: PackageName,
        /// Its version.
        version: Version,
        /// Its derivation.
        derivation: DerivationId,
        /// What stands in the way.
        why: String,
    },
}

impl Step {
    /// The package.
    pub fn package(&self) -> &PackageName {
        match self {
            Self::Reuse { package, .. }
            | Self::Keep { package, .. }
            | Self::Build { package, .. }
            | Self::Blocked { package, .. } => package,
        }
    }
    /// Its version.
    pub fn version(&self) -> &Version {
        match self {
            Self::Reuse { version, .. }
            | Self::Keep { version, .. }
            | Self::Build { version, .. }
            | Self::Blocked { version, .. } => version,
        }
    }
    /// Its derivation.
    pub fn derivation(&self) -> DerivationId {
        match self {
            Self::Reuse { derivation, .. }
            | Self::Keep { derivation, .. }
            | Self::Build { derivation, .. }
            | Self::Blocked { derivation, .. } => *derivation,
        }
    }
}

/// What a plan means for one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageStep {
    /// The image.
    pub image: ImageName,
    /// Names the image before it is built.
    pub key: DerivationId,
    /// Its packages, dependencies first.
    pub packages: Vec<PackageName>,
    /// Those whose layer may change.
    pub rebuilt: BTreeSet<PackageName>,
    /// Whether it is as it was before.
    pub untouched: bool,
}

/// What will be done, dependencies first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildPlan {
    /// Steps in an order in which they can be done.
    pub steps: Vec<Step>,
    /// The images of the goal, and those that are untouched.
    pub images: Vec<ImageStep>,
}

/// Builds that are kept.
pub type KeptBuilds = BTreeMap<DerivationId, KeptBuild>;

impl BuildPlan {
    /// The plan as it came out: what was kept in place of a build says so.
    #[must_use]
    pub fn with_kept(mut self, kept: &KeptBuilds) -> Self {
        let mut packages = BTreeSet::new();
        for step in &mut self.steps {
            if let Some(KeptBuild { linked, ground }) = kept.get(&step.derivation()) {
                let (package, version, linked) = (step.package().clone(), step.version().clone(), linked.clone());
                packages.insert(package.clone());
                *step = Step::Keep { package, version, derivation: step.derivation(), linked, ground: *ground };
            }
        }
        for image in &mut self.images {
            image.rebuilt.retain(|name| !packages.contains(name));
        }
        self
    }

    /// The plan as far as it goes without these packages and what is built with them.
    #[must_use]
    pub fn without(mut self, packages: &BTreeSet<PackageName>, derived: &Derived) -> Self {
        let mut out = packages.clone();
        // Steps stand in the order of dependencies.
        self.steps.retain(|step| {
            let task = derived.derivations.get(&step.derivation());
            let is_built_with = task.is_some_and(|task| task.requires.keys().any(|input| out.contains(input)));
            let goes = matches!(step, Step::Build { .. }) && (is_built_with || out.contains(step.package()));
            if goes {
                out.insert(step.package().clone());
            }
            !goes
        });
        self
    }
}

/// Plans the images `goal` of `new`.
///
/// `realised` are derivations whose result is known; `held` are those that may not be tried now, with the reason.
/// `old` only explains: what it says about reasons never changes what is done.
pub fn plan(
    old: Option<&Derived>,
    new: &Derived,
    goal: &BTreeSet<ImageName>,
    realised: &BTreeSet<DerivationId>,
    held: &BTreeMap<DerivationId, String>,
) -> BuildPlan {
    let needs = goal.iter().filter_map(|g| new.images.get(g));
    let mut needed: Vec<DerivationId> = needs.flat_map(|n| n.derivations.iter().copied()).collect();
    needed.sort_unstable();
    needed.dedup();
    let (steps, rebuilt) = steps(old, new, &needed, realised, held);
    let mut plan = BuildPlan { steps, images: Vec::new() };
    for (image, need) in &new.images {
        let untouched = old.and_then(|old| old.images.get(image)).is_some_and(|before| before.key == need.key);
        plan.images.push(image_step(image, need, &rebuilt, untouched));
    }
    plan
}

/// Plans packages, whether or not an image needs them, and what is built for them.
pub fn plan_packages(
    new: &Derived,
    packages: &[PackageName],
    realised: &BTreeSet<DerivationId>,
    held: &BTreeMap<DerivationId, String>,
) -> BuildPlan {
    let (steps, _) = steps(None, new, &new.closure_of(packages).into_iter().collect::<Vec<_>>(), realised, held);
    BuildPlan { steps, images: Vec::new() }
}

/// The steps of what is needed, in order of the ids, and the packages that are built by them.
fn steps(
    old: Option<&Derived>,
    new: &Derived,
    needed: &[DerivationId],
    realised: &BTreeSet<DerivationId>,
    held: &BTreeMap<DerivationId, String>,
) -> (Vec<Step>, BTreeSet<PackageName>) {
    let mut steps = Vec::new();
    let mut rebuilt = BTreeSet::new();
    let mut blocked = BTreeMap::new();
    for package in &new.order {
        let Some((derivation, task)) = new
            .ids
            .get(package)
            .filter(|id| needed.binary_search(id).is_ok())
            .and_then(|id| Some((*id, new.derivations.get(id)?)))
        else {
            continue;
        };
        let (package, version) = (package.clone(), task.version.clone());
        let stopped =
            task.requires.keys().find_map(|input| Some(format!("waits for {input}: {}", blocked.get(input)?)));
        if realised.contains(&derivation) && new.swapped.contains_key(&package) {
            let is_other = |(name, input): &(&PackageName, &crate::Input)| {
                new.ids.get(*name).is_some_and(|id| *id != input.derivation)
            };
            let linked = task.requires.iter().filter(is_other).map(|(name, _)| name.clone()).collect();
            steps.push(Step::Keep { package, version, derivation, linked, ground: KeepGround::Swapped });
        } else if realised.contains(&derivation) {
            steps.push(Step::Reuse { package, version, derivation });
        } else if let Some(why) = held.get(&derivation).cloned().or(stopped) {
            blocked.insert(package.clone(), why.clone());
            steps.push(Step::Blocked { package, version, derivation, why });
        } else {
            let after: BTreeSet<_> = task.requires.keys().filter(|input| rebuilt.contains(*input)).cloned().collect();
            let reason = reason(old, &package, task, &after);
            rebuilt.insert(package.clone());
            steps.push(Step::Build { package, version, derivation, reason, after });
        }
    }
    (steps, rebuilt)
}

fn image_step(image: &ImageName, need: &ImageNeed, rebuilt: &BTreeSet<PackageName>, untouched: bool) -> ImageStep {
    ImageStep {
        image: image.clone(),
        key: need.key,
        packages: need.packages.clone(),
        rebuilt: need.packages.iter().filter(|p| rebuilt.contains(*p)).cloned().collect(),
        untouched,
    }
}

fn reason(
    old: Option<&Derived>,
    package: &PackageName,
    task: &crate::Derivation,
    after: &BTreeSet<PackageName>,
) -> Reason {
    let before = old.and_then(|old| old.derivations.get(old.ids.get(package)?));
    match before {
        None => Reason::New,
        Some(before) if before.version != task.version => Reason::Release { from: before.version.clone() },
        Some(before) => {
            // As it would be if what it is built with were still what it was.
            let same_otherwise = task.differs_in_inputs_alone(before);
            if same_otherwise && !after.is_empty() {
                Reason::Follows { inputs: after.iter().cloned().collect() }
            } else if same_otherwise {
                Reason::New
            } else {
                Reason::Recipe
            }
        }
    }
}

#[cfg(test)]
mod tests;
