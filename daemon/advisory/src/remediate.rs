//! Which listed release answers a set of advisories.

use crate::order::{Key, Order};
use crate::{Advisory, Component, Judgement, judge};
use anneal_content::Version;

/// How many releases a refusal explains.
const RELEASES_SHOWN: usize = 8;

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
///
/// A release that an advisory may affect ([`Judgement::Unknown`]) is not safe.
pub fn remediate(advisories: &[Advisory], component: &Component, listed: &[Version]) -> Remediation {
    let (name, version) = (&component.name, &component.version);
    let current = match Order::Generic.key(version.as_str()) {
        Ok(key) => key,
        Err(unknown) => {
            let why = format!(
                "no listed release of {name} can be called later than {version}: {unknown}; choose one by hand"
            );
            return Remediation::Blocked { why };
        }
    };
    let mut later: Vec<(Key, &Version)> = Vec::new();
    let mut failures = Vec::new();
    for release in listed {
        match Order::Generic.key(release.as_str()) {
            Ok(key) if key > current => later.push((key, release)),
            Ok(_) => {}
            Err(unknown) => failures.push(format!("{release}: {unknown}")),
        }
    }
    later.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (_, release) in later {
        match first_doubt(advisories, component, release) {
            None => return Remediation::Bump { to: release.clone() },
            Some(doubt) => failures.push(format!("{release}: {doubt}")),
        }
    }
    Remediation::Blocked { why: refusal(component, &failures) }
}

/// Why a release is not known to be safe.
fn first_doubt(advisories: &[Advisory], component: &Component, release: &Version) -> Option<String> {
    let candidate = Component { version: release.clone(), ..component.clone() };
    advisories.iter().find_map(|advisory| match judge(advisory, &candidate) {
        Judgement::Affected { explanation } | Judgement::Unknown { explanation } => Some(explanation),
        Judgement::NotAffected { .. } | Judgement::Unrelated => None,
    })
}

fn refusal(component: &Component, failures: &[String]) -> String {
    let (name, version) = (&component.name, &component.version);
    if failures.is_empty() {
        return format!("no release of {name} later than {version} is listed: add a fixed one to its recipe");
    }
    let mut text = failures.iter().take(RELEASES_SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    if failures.len() > RELEASES_SHOWN {
        text.push_str(&format!("; and {} more", failures.len() - RELEASES_SHOWN));
    }
    format!(
        "no listed release of {name} later than {version} is known to be safe: {text}; add a fixed one to its recipe"
    )
}
