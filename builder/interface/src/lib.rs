//! What a dependent can see of a package at build time.
//!
//! ```text
//! outputs that are mounted --Interface::of--> one entry for each path
//!   path, mode, and   File { digest } | SharedObject { soname, needed, symbols, ... } | Directory | Symlink { target }
//! canonical JSON of it --> InterfaceDigest
//! ```
//! A patch in the body of a function leaves the Interface of its library as it was, so whoever links it dynamically need not
//! be built again. Everything else that may show in a dependent changes it: a header, an archive, a script, a symbol, the
//! size of data. What isn't understood stands there with its whole content: unknown is never the same.
//! Pure: trees and blobs in, an [`Interface`] out.

mod debug;
mod drop_in;
mod error;
mod interface;
mod shared_object;
mod symbol;
mod text;

pub use debug::{build_id, has_debug_information};
pub use drop_in::{Obstacle, drop_in};
pub use error::Error;
pub use interface::{Interface, Seen, SeenAs};
pub use shared_object::{Note, SharedObject, Target, VersionDefinition};
pub use symbol::{Data, Place, Symbol};

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;
