//! The checks, by what they look at. Each file owns the ids in its `CHECKS`.

pub(crate) mod advisories;
pub(crate) mod behaviour;
pub(crate) mod documents;
pub(crate) mod hardening;
pub(crate) mod interface;
pub(crate) mod inventory;
pub(crate) mod leftovers;
pub(crate) mod linking;
pub(crate) mod modes;
pub(crate) mod recipe;
pub(crate) mod regression;
pub(crate) mod reproduction;
pub(crate) mod secrets;
pub(crate) mod settings;
pub(crate) mod tree;
