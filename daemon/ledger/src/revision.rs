//! Where revisions of the catalogue come from.

use anneal_content::CommitId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A commit of the branch that the catalogue is read from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BranchCommit {
    /// The repository, the branch and the directory, as the settings name them.
    pub place: String,
    /// The commit.
    pub commit: CommitId,
}

impl fmt::Display for BranchCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "commit {} of {}", self.commit, self.place)
    }
}

/// Why a catalog revision came to be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum RevisionCause {
    /// The recipe files changed.
    Files,
    /// The branch that is followed has other recipes.
    Branch {
        /// Their commit.
        at: BranchCommit,
    },
    /// A case moved packages to other releases.
    Remediation {
        /// The advisory whose case it is.
        advisory: String,
        /// The commit whose recipes these are but for those releases.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        over: Option<BranchCommit>,
    },
}

impl RevisionCause {
    /// The commit that the recipes are of.
    pub fn commit(&self) -> Option<&BranchCommit> {
        match self {
            Self::Files => None,
            Self::Branch { at } => Some(at),
            Self::Remediation { over, .. } => over.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Record, State};
    use anneal_content::{BlobDigest, CatalogDigest};

    fn at(digit: &str) -> BranchCommit {
        BranchCommit {
            place: "git+https://example.org/a.git#main".into(),
            commit: CommitId::new(digit.repeat(40)).unwrap(),
        }
    }

    fn after(events: Vec<Event>) -> State {
        let mut state = State::default();
        for event in events {
            state.admit(&Record { at_ms: 1, event }).unwrap();
        }
        state
    }

    fn imported(cause: RevisionCause) -> Event {
        Event::CatalogImported { revision: CatalogDigest::of(b"1"), blob: BlobDigest::of(b"1"), cause }
    }

    #[test]
    fn a_refused_commit_leaves_the_one_in_force_and_is_forgotten_with_the_next_good_one() {
        let files = CatalogDigest::of(b"1");
        let good = |digit| Event::BranchFollowed { at: at(digit), files, left: None };
        let bad = Event::CommitRefused { at: at("2"), why: "a mistake".into(), left: None };
        let state = after(vec![good("1"), bad.clone()]);
        assert_eq!(state.branch.map(|branch| branch.at), Some(at("1")));
        assert_eq!(state.refused_commit.map(|refused| refused.at), Some(at("2")));
        let state = after(vec![good("1"), bad, good("3")]);
        assert_eq!((state.branch.map(|branch| branch.at), state.refused_commit), (Some(at("3")), None));
    }

    #[test]
    fn a_revision_knows_its_commit_and_one_from_files_ends_the_branch() {
        let revision = CatalogDigest::of(b"1");
        let followed = Event::BranchFollowed { at: at("1"), files: revision, left: None };
        let state = after(vec![followed.clone(), imported(RevisionCause::Branch { at: at("1") })]);
        assert_eq!(state.commit_of(&revision), Some(&at("1")));
        let over = RevisionCause::Remediation { advisory: "A-1".into(), over: Some(at("2")) };
        assert_eq!(after(vec![followed.clone(), imported(over)]).commit_of(&revision), Some(&at("2")));
        let state = after(vec![followed, imported(RevisionCause::Files)]);
        assert_eq!((state.branch.as_ref(), state.commit_of(&revision)), (None, None));
    }

    #[test]
    fn what_was_journalled_before_branches_were_followed_is_read() {
        let cause: RevisionCause = serde_json::from_str(r#"{"kind":"remediation","advisory":"A-1"}"#).unwrap();
        assert_eq!(cause, RevisionCause::Remediation { advisory: "A-1".into(), over: None });
        assert_eq!(serde_json::to_string(&cause).unwrap(), r#"{"kind":"remediation","advisory":"A-1"}"#);
    }
}
