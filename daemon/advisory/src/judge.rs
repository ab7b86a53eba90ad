//! Does a record affect a component? The evaluation of the OSV specification, with a reason for every answer.

use crate::Advisory;
use anneal_content::{PackageName, Version};

/// A package of the catalogue with the identities that advisories may know it by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Component {
    /// The recipe's name.
    pub name: PackageName,
    /// The upstream version.
    pub version: Version,
    /// The package URL, without a version.
    pub purl: Option<String>,
    /// The upstream repository.
    pub repository: Option<String>,
    /// Names elsewhere: ecosystem and name.
    pub names: Vec<(String, String)>,
}

/// The answer, with its reason.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "judgement")]
pub enum Judgement {
    /// The record affects this version.
    Affected {
        /// The record, the range, the order and the versions compared.
        explanation: String,
    },
    /// The record is about this component, but not about this version.
    NotAffected {
        /// The record, the range, the order and the versions compared.
        explanation: String,
    },
    /// The record is about this component; whether it affects this version cannot be decided. Not safe.
    Unknown {
        /// What could not be decided, and why.
        explanation: String,
    },
    /// The record is not about this component.
    Unrelated,
}

/// Judges one component by one record.
pub fn judge(advisory: &Advisory, component: &Component) -> Judgement {
    Judgement::Unknown { explanation: format!("{}: not evaluated yet for {}", advisory.id, component.name) }
}
