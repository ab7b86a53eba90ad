//! Which packages must be built, in which order, and what may be kept.
//!
//! ```text
//! Catalog --derive--> Derivations --plan(old, new)--> BuildPlan { Reuse | Keep | Build | Blocked }
//!                     Derivation --Action::of(trees, interfaces)--> Action --digest--> the cache key
//! ```
//! A [`Derivation`] names its inputs by other derivations, so it is known before anything is built; an [`Action`] names
//! them by what they came out as: by interface what is only linked, by content everything else. So an input that comes out
//! byte-identical, or a library that shows its dependents the same, leaves the key as it was and the cascade stops.
//! Pure: the same catalogues give the same plan, byte for byte.

mod action;
mod build_plan;
mod derivation;
mod error;
mod swap;
mod text;

pub use action::{Action, Given, Inputs, Surface, Surfaces, test_key};
pub use build_plan::{BuildPlan, ImageStep, KeepGround, KeptBuild, KeptBuilds, Reason, Step, plan, plan_packages};
pub use derivation::{
    Before, CutOff, Derivation, Derived, ImageNeed, Input, SourceInput, Toolchain, derive, derive_after,
};
pub use error::Error;
pub use swap::{Swap, Swaps, swap};
