//! What a human writes, made into a [`Catalog`]: package recipes and image recipes in TOML, validated together.
//!
//! [`Catalog::parse`] takes the text of every recipe file and gives either the whole catalogue or every mistake in
//! it, each with its file, line, span and help. A value of a type here exists only if its rule holds, so what reads a
//! catalogue checks nothing again. Pure: no clock, no disk, no network. The format is described in `docs/recipes.md`.

mod bump;
mod catalog;
mod check;
mod date;
mod diff;
mod error;
mod format;
mod graph;
mod guess;
mod image;
mod license;
mod lock_file;
mod locked;
mod mistake;
mod near;
mod order;
mod output;
mod package;
mod path;
mod place;
mod read;
mod relock;
mod requirement;
mod schema;
mod shape;
mod text;

pub use bump::{moved, moved_place, with_release, with_selected};
pub use catalog::{Catalog, UpstreamFiles};
pub use date::Date;
pub use diff::unified_diff;
pub use error::Error;
pub use format::format;
pub use graph::Needs;
pub use guess::{BuildSystem, Draft, SourceFiles, draft, is_telling};
pub use image::{
    Account, Compression, Expectation, ImageDirectory, ImageFile, ImageRecipe, Mode, Owner, Port, Protocol,
    ReleasePolicy, RunCheck,
};
pub use license::License;
pub use lock_file::{LockFile, LockedFile, MAX_LOCK_FILE_BYTES, Pinned, WheelTarget, read_lock_file};
pub use locked::LockedSource;
pub use mistake::{Mistake, Mistakes};
pub use output::{Glob, OutputRule, possible_outputs, split_outputs};
pub use package::{Build, PackageRecipe, Release, Releases, Source, Test, Upstream, UpstreamName, Waiver};
pub use path::{BuildPath, ImagePath};
pub use place::Place;
pub use read::Kind;
pub use relock::{with_digests, with_locked};
pub use requirement::Requirement;
pub use schema::schema;

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;
