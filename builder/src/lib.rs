//! Carries out a plan: fetch, stage, run, ingest, assemble, check, state the evidence.
//!
//! Everything here acts; what to do was decided by `anneal-plan` and the ledger. Each effect is idempotent because each
//! product is addressed by its content, so a plan that was interrupted is simply carried out again.
//!
//! ```text
//! Builder::execute(plan)  ── per step, dependencies first, in parallel ──▶  realise one package
//!    action key → cached? ──▶ result
//!    sources from the archive, else fetched by digest
//!    build and proof build side by side in sandboxes → outputs → trees → action cache
//! Builder::judge_swap(package) ── a former build with other libraries: names, types, tests ──▶ it is used, or why not
//! Builder::settle(package) ── what it stands in for is built ──▶ the same, or what takes its place
//! Builder::prove_kept(package) ── built with its libraries as they are now ──▶ the same, or not kept any more
//! Builder::try_varied(package) ── built again in other surroundings ──▶ the same, or why not
//! Builder::assemble(image) ──▶ layers, config, manifest, index
//! Builder::examine(image)  ──▶ findings, verdict
//! Builder::state(image)    ──▶ SBOM, provenance, test result, unsigned
//! ```

mod abi;
mod assemble;
mod build_root;
mod builder;
mod changes;
mod error;
mod evidence;
mod examine;
mod execute;
mod failing_step;
mod keep;
mod layout;
mod progress;
mod realise;
mod retain;
mod run_image;
mod script;
mod shell;
mod sources;
mod staging;
mod swap;
mod swapped;
mod testing;
mod trial;

pub use assemble::{AssembledImage, ImageLayer};
pub use build_root::BuildRoot;
pub use builder::{Builder, BuilderConfig, Realised, ResultKeys};
pub use changes::{FileChange, ImageDiff, PackageChange, Side, image_diff};
pub use error::{Error, Result};
pub use evidence::{CONFIRMED_PARAMETERS, CUT_OFF_WITHDRAWN, EvidenceInput, Statements};
pub use examine::{Examination, ExamineInput, PreviousRelease};
pub use execute::{Executed, StepFailure};
pub use keep::{Kept, KeptProof, Linked};
pub use layout::{LayoutImage, read_layout, unpack_layers, write_layout};
pub use progress::{Phase, Progress, Ran};
pub use retain::{RECORDS, source_roots};
pub use run_image::{ImageRun, run_image};
pub use shell::{Shell, ShellStart};
pub use sources::ChangedDirectory;
pub use swap::{Former, Judged, Settled, SwapReport, SwappedLibrary};
pub use swapped::{SWAPPED, SwappedBuild};
pub use testing::FailedTest;
pub use trial::{Cause, Change, ChangedBytes, Described, Found, Place, PlaceChange, TrialReport};

/// The version of what a build can see; a change of it re-keys every build.
pub const SANDBOX_PROFILE: u32 = 3;
