//! Which packages must be built, in which order, and what may be kept.
//!
//! ```text
//! Catalog --derive--> Derivations --plan(old, new)--> BuildPlan { Reuse | Build | Blocked }
//!                     Derivation --resolve(inputs' trees)--> Action --digest--> the cache key
//! ```
//! A [`Derivation`] names its inputs by other derivations, so it is known before anything is built; an [`Action`] names
//! them by content, so an input that comes out byte-identical leaves the key as it was and the cascade stops.
//! Pure: the same catalogues give the same plan, byte for byte.

mod action;
mod build_plan;
mod derivation;
mod error;
mod text;

pub use action::{Action, Inputs, test_key};
pub use build_plan::{BuildPlan, ImageStep, Reason, Step, plan, plan_packages};
pub use derivation::{Before, Derivation, Derived, ImageNeed, Input, SourceInput, Toolchain, derive, derive_after};
pub use error::Error;
