//! What is in what: component -> images, and advisory -> components, so that an advisory's reach is a look-up and not
//! a walk through every image.
//!
//! The index holds nothing of its own. Everything in it follows from the journal and the store, so a damaged or older
//! index is removed and made again. Each call is one change: durable before it returns, whole or not at all, and
//! without effect when repeated.

mod db;
mod error;
mod index;

pub use error::{DatabaseFault, Error};
pub use index::Index;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
