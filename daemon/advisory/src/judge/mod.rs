//! Does a record affect a component? The evaluation of the OSV specification, with a reason for every answer.
//!
//! A record affects a version that any range or list of any entry about the component holds. Entries do not weigh the
//! same: what speaks of the component's own versions decides, and commits or a distribution's packages are asked only
//! where nothing else does. [`identity`] finds the entries, [`scale`] says whose versions they speak of, [`range`] and
//! [`tag`] evaluate them.

mod entry;
mod identity;
mod range;
mod scale;
mod tag;

pub use identity::percent_decoded;

use crate::Advisory;
use anneal_content::{PackageName, Version};
use entry::{Standing, Verdict};
use range::Reach;

/// How many reasons an explanation gives.
const REASONS_SHOWN: usize = 4;

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
    let about = advisory.affected.iter().filter_map(|e| identity::matched(e, component).map(|m| (e, m)));
    let mut about = about.peekable();
    if about.peek().is_none() {
        return Judgement::Unrelated;
    }
    let (id, name, version) = (&advisory.id, &component.name, &component.version);
    if let Some(withdrawn) = advisory.withdrawn {
        let explanation = format!("{id} does not affect {name} {version}: it was withdrawn on {}", withdrawn.date());
        return Judgement::NotAffected { explanation };
    }
    let verdicts: Vec<Verdict> = about.map(|(entry, matched)| entry::evaluate(entry, &matched, component)).collect();
    let strongest = verdicts.iter().map(|v| v.standing).min().unwrap_or(Standing::Hearsay);
    let counted: Vec<&Verdict> = verdicts.iter().filter(|v| v.standing == strongest).collect();
    let reasons = |wanted: Reach| {
        let all: Vec<&str> = counted.iter().filter(|v| v.reach == wanted).map(|v| v.reason.as_str()).collect();
        let mut text = all.iter().take(REASONS_SHOWN).copied().collect::<Vec<_>>().join("; ");
        if all.len() > REASONS_SHOWN {
            text.push_str(&format!("; and {} more", all.len() - REASONS_SHOWN));
        }
        text
    };
    let any = |wanted: Reach| counted.iter().any(|v| v.reach == wanted);
    if any(Reach::Yes) {
        Judgement::Affected { explanation: format!("{id} affects {name} {version}: {}", reasons(Reach::Yes)) }
    } else if any(Reach::Unknown) {
        let explanation = format!("whether {id} affects {name} {version} is unknown: {}", reasons(Reach::Unknown));
        Judgement::Unknown { explanation }
    } else {
        let explanation = format!("{id} does not affect {name} {version}: {}", reasons(Reach::No));
        Judgement::NotAffected { explanation }
    }
}
