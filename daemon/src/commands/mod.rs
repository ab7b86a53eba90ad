//! The commands, one file each.

pub(crate) mod advisory;
pub(crate) mod build;
pub(crate) mod candidate;
pub(crate) mod case;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod image;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod log;
pub(crate) mod plan;
pub(crate) mod recipe;
pub(crate) mod sandbox;
pub(crate) mod store;
pub(crate) mod verify;
