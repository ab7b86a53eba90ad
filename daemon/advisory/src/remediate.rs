//! Which listed release answers a set of advisories.

use crate::{Advisory, Component};
use anneal_content::Version;

/// What can be done about a set of advisories.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "remediation")]
pub enum Remediation {
    /// Build this listed release.
    Bump {
        /// The release.
        to: Version,
    },
    /// No listed release is known to be safe.
    Blocked {
        /// What each listed release fails on, and what to do.
        why: String,
    },
}

/// The smallest listed release, later than the component's version, that no given advisory affects.
pub fn remediate(_advisories: &[Advisory], _component: &Component, _listed: &[Version]) -> Remediation {
    Remediation::Blocked { why: "not evaluated yet".to_owned() }
}
