//! The language between the launcher of a sandbox and the program that makes it.
//!
//! The launcher turns a `Spec` into a list of [`Op`]; the init program applies the list, one after the
//! other, and reports [`Event`]s. The list is the whole truth about a sandbox: it stands in `golden/sandbox/`
//! as text, and taking an operation out of it takes exactly that protection away. Pure: no system call here.

mod errand;
mod event;
mod op;
mod text;
mod wire;

pub use errand::{Answer, Errand, IdRange, MAX_LEFT};
pub use event::{Confinement, Event, Failure, ProbeAnswer};
pub use op::{Handle, IdMap, Namespace, Op, ProbeRequest, Resource, Scope};
pub use text::listing;
pub use wire::{MAX_MESSAGE, WireError, decode, encode, frame_length};
