//! What the daemon and the command line say to each other over the socket: the shapes of requests and answers.
//!
//! Every answer is JSON; an error is a [`Failure`] with the exit code that the command ends with. The state itself is
//! [`anneal_ledger::State`], so that a command reads the same whether it asks a daemon or a state directory.

use anneal_content::{BlobDigest, DerivationId, ImageName, PackageName};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The exit code for the command: 1 no, 2 bad input, 3 a peer of the daemon is unreachable, 4 internal.
    pub code: u8,
    /// What to print.
    pub message: String,
}

/// Enrols an approver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApproverRequest {
    /// Who.
    pub name: String,
    /// Their public key, SPKI in PEM.
    pub public_key: String,
}

/// Withdraws an approver's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeRequest {
    /// Why.
    pub reason: String,
}

/// Asks the daemon to collect what nothing needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectRequest {
    /// Only to say what would go.
    pub dry_run: bool,
}

/// Asks the daemon to keep something until it is unpinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinRequest {
    /// What is kept, with all that it names.
    pub digest: BlobDigest,
    /// Why.
    pub reason: String,
}

/// Asks the daemon for a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRequest {
    /// Where to, as the daemon sees it; absolute.
    pub dir: PathBuf,
    /// Whether its secret keys are copied too.
    pub with_keys: bool,
    /// How many generations are kept there; none: all of them.
    pub keep: Option<NonZeroUsize>,
}

/// Asks the daemon to take in a layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutRequest {
    /// Where it is, as the daemon sees it; absolute.
    pub dir: PathBuf,
    /// Public keys that are trusted, each with its role; PEM.
    pub keys: Vec<(String, String)>,
}

/// Asks which packages images and packages are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialGoal {
    /// Names of images and packages; none: all of the catalogue.
    pub names: Vec<String>,
}

/// Asks the daemon to build a package again in other surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialRequest {
    /// Which.
    pub package: PackageName,
    /// What is varied, by name.
    pub varied: Vec<String>,
}

/// What came of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportAnswer {
    /// The advisory's id.
    pub id: String,
    /// Whether the record was new.
    pub new: bool,
}

/// What the daemon is about to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// Tasks that are due, most urgent first; empty: the daemon rests.
    pub tasks: Vec<String>,
    /// The images of the active catalogue, by what names them before they are built.
    pub images: BTreeMap<ImageName, DerivationId>,
    /// Images that wait because of builds that failed and may not be tried again yet, with those builds.
    #[serde(default)]
    pub held: BTreeMap<ImageName, Vec<DerivationId>>,
    /// The host part of the name that images are pulled by.
    pub public_name: String,
    /// Where the registry listens.
    pub listen: String,
}
