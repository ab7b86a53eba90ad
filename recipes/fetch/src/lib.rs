//! Gets bytes from outside by digest, and makes the root that builds run in.
//!
//! A source has a digest and places; [`Fetcher`] asks the places in turn and hands over only bytes
//! that have the digest. A registry's coordinate is resolved through a mirror that was set, or through
//! the client that the machine is set up with: apt, cargo, git, go, npm, pip. No host is named here. A directory of a
//! team's own code is packed into a tar first.
//!
//! A build root is a [`BuildRootLock`] of distribution packages by digest, unpacked without any
//! package's scripts by [`assemble_build_root`]. [`lock_build_root`] makes such a lock through apt.
//! All of this runs outside a sandbox, before a build; a build itself has no network.

mod beneath;
mod build_root;
mod clients;
mod config;
mod deb;
mod directory;
mod error;
mod fetcher;
#[cfg(test)]
mod fixture;
mod http;
mod lock;
mod look;
mod mirror;
mod netrc;
mod unpack;

pub use build_root::{BUILD_ROOT_PACKAGES, OpenPackage, assemble_build_root};
pub use clients::{BranchPlace, Mirror, SNAPSHOT_BYTES_MAX, SNAPSHOT_FILES_MAX, lock_build_root};
pub use config::{Clients, CoordinateKind, FetchConfig};
pub use directory::{MAX_PACKED_BYTES, MAX_PACKED_ENTRIES, is_directory};
pub use error::{Attempt, Error};
pub use fetcher::{Fetched, Fetcher, MAX_MEASURED_BYTES, MAX_SOURCE_BYTES, Measured, Wanted};
pub use lock::{BuildRootLock, LockedPackage, MAX_LOCK_BYTES, MAX_PACKAGE_BYTES, MAX_PACKAGES};
pub use look::{look_into, texts_in};
pub use unpack::{MAX_ENTRIES, MAX_PATH_BYTES, MAX_UNPACKED_BYTES, Unpacked, unpack_deb};
