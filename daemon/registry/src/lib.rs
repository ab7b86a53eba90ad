//! The OCI distribution API, pull only: what may be served, by tag and by digest, and nothing else.
//!
//! ```text
//! GET|HEAD /v2/                            200 {}
//! GET|HEAD /v2/NAME/manifests/TAG|DIGEST   the exact bytes, with their media type
//! GET|HEAD /v2/NAME/blobs/DIGEST           streamed; one range a request
//! GET|HEAD /v2/NAME/tags/list?n=&last=     sorted without regard to case; Link to the next page
//! GET|HEAD /v2/NAME/referrers/DIGEST       an image index; ?artifactType= filters
//! anything else                            404, or 405 for another method
//! ```
//! **What is served** is a snapshot, [`Served`], that the daemon computes from its publications and swaps whole.
//! A digest that is in the store but not in the snapshot's repository is answered like one that does not exist.
//!
//! **No damaged byte leaves.** The store checks each chunk; damage in the first is a 500, and later damage breaks the
//! connection off before the promised length is reached, so no client takes the body for complete. The memory of
//! a download is a few chunks, and no thread waits for a slow client.

mod answer;
mod blob;
mod error;
mod list;
mod manifest;
mod range;
mod route;
mod served;
mod service;

pub use blob::DOWNLOADS_MAX;
pub use list::TAGS_PAGE_MAX;
pub use served::{Repository, Served};
pub use service::router;
