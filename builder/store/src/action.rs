//! The action cache: what each action gave, every time it ran, and the failures that are not yet worth a retry.
//!
//! A result is used only where the caller believes its signature: whoever can write to the database can't thereby say
//! what a build gave. Records of a version that signed nothing are not believed either; the action runs again, and its
//! signed result takes their place.

use crate::{
    Error, Result, Store,
    collect::Node,
    db::{Changes, Table, prefix_end},
    store::lock,
};
use anneal_content::{ActionDigest, ActionResult, BlobDigest, OutputName, SignedResult};
use std::collections::{BTreeMap, BTreeSet};

/// How many results one action may have. Each is evidence; so many mean that something loops.
pub const RESULTS_MAX: usize = 256;

/// An action that did not succeed. It is kept here only, and only for a time: a failure may be the machine's.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FailureRecord {
    /// The whole log.
    pub log: BlobDigest,
    /// What went wrong, for people.
    pub summary: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// When it no longer counts.
    pub expires_ms: u64,
}

/// Says whether a build key signed a result. The store keeps signatures and knows no keys.
pub type Believes<'a> = dyn Fn(&SignedResult) -> bool + 'a;

/// A row of results as it is read.
enum Row {
    /// It has a signature, which may be anybody's.
    Signed(SignedResult, ActionResult),
    /// It is from a version that signed nothing; or it says nothing, or something about another action.
    Unsigned(Option<ActionResult>, String),
}

/// A row with its key and the number in it.
type NumberedRow = (Box<[u8]>, u32, Row);

/// What the whole action cache says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultSurvey {
    /// Results that are believed.
    pub believed: u64,
    /// Results that no build key signed, each with what is wrong. They are never used.
    pub unsigned: Vec<(ActionDigest, String)>,
    /// The logs of believed results, each with an action that it is of.
    pub logs: BTreeMap<BlobDigest, ActionDigest>,
    /// Actions whose believed results differ in their outputs: builds that are not deterministic.
    pub differing: Vec<Differing>,
}

/// An action that did not always give the same.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Differing {
    /// The action.
    pub action: ActionDigest,
    /// How many results it has.
    pub results: usize,
    /// How many different ones are among them.
    pub distinct: usize,
    /// The outputs that differ.
    pub outputs: Vec<OutputName>,
}

impl Store {
    /// Adds a result to an action's; durable when it returns. The same result again changes nothing; an earlier
    /// failure is forgotten, and so are results that are not believed: what the action gave now stands in their place.
    pub fn record_result(&self, signed: &SignedResult, believes: &Believes<'_>) -> Result<()> {
        let (action, result) = signed.read().map_err(|e| wrong_result("that is to be recorded", e))?;
        let _numbering = lock(&self.inner.numbering);
        let (mut known, mut next, mut changes) = (Vec::new(), 0, Changes::default());
        for (key, number, row) in self.rows_of(&action)? {
            next = number + 1;
            match row {
                Row::Signed(signed, result) if believes(&signed) => known.push(result),
                _ => changes.delete(Table::Results, key),
            }
        }
        if known.contains(&result) {
            return Ok(());
        }
        if known.len() >= RESULTS_MAX {
            return Err(Error::TooManyResults { action, limit: RESULTS_MAX });
        }
        let key = [action.as_bytes().as_slice(), &next.to_be_bytes()].concat();
        changes.put(Table::Results, key, encode(&format!("a result of action {action}"), signed)?);
        changes.delete(Table::Failures, *action.as_bytes());
        self.inner.write_db(changes)
    }

    /// The results of an action that are believed, oldest first. What they name is kept as long as the caller's lease
    /// lives. One that nobody vouches for is passed over, as if the action had never run.
    pub fn results(&self, action: &ActionDigest, believes: &Believes<'_>) -> Result<Vec<ActionResult>> {
        self.inner.touch(Node::Action(*action));
        let believed = self.rows_of(action)?.into_iter().filter_map(|(_, _, row)| match row {
            Row::Signed(signed, result) if believes(&signed) => Some(result),
            _ => {
                tracing::warn!(%action, "a result is not used: no build key signed it");
                None
            }
        });
        Ok(believed.collect())
    }

    /// Everything that an action's results name, believed or not, for a collection, which asks without touching.
    pub(crate) fn results_untouched(&self, action: &ActionDigest) -> Result<Vec<ActionResult>> {
        let rows = self.rows_of(action)?.into_iter();
        Ok(rows
            .filter_map(|(_, _, row)| match row {
                Row::Signed(_, result) => Some(result),
                Row::Unsigned(result, _) => result,
            })
            .collect())
    }

    /// Reads every result there is.
    pub fn survey_results(&self, believes: &Believes<'_>) -> Result<ResultSurvey> {
        let mut survey = ResultSurvey::default();
        let mut of_one: Option<(ActionDigest, Vec<ActionResult>)> = None;
        for row in self.inner.db.rows(Table::Results, &[], None)? {
            let (key, value) = row?;
            let action = ActionDigest::from_bytes(key.first_chunk::<32>().copied().unwrap_or_default());
            let result = match read_row(&action, &value) {
                Row::Signed(signed, result) if believes(&signed) => result,
                Row::Signed(signed, _) => {
                    let key: String = signed.key_id.chars().take(64).flat_map(char::escape_debug).collect();
                    survey
                        .unsigned
                        .push((action, format!("it says that key {key} signed it, which is no build key's")));
                    continue;
                }
                Row::Unsigned(_, why) => {
                    survey.unsigned.push((action, why));
                    continue;
                }
            };
            survey.believed += 1;
            survey.logs.insert(result.log, action);
            match &mut of_one {
                Some((known, results)) if *known == action => results.push(result),
                other => {
                    survey.differing.extend(other.take().and_then(|(action, results)| differing(action, &results)));
                    *other = Some((action, vec![result]));
                }
            }
        }
        survey.differing.extend(of_one.and_then(|(action, results)| differing(action, &results)));
        Ok(survey)
    }

    fn rows_of(&self, action: &ActionDigest) -> Result<Vec<NumberedRow>> {
        let prefix = action.as_bytes();
        let rows = self.inner.db.rows(Table::Results, prefix, prefix_end(prefix))?;
        rows.map(|row| {
            let (key, value) = row?;
            let number = key.last_chunk::<4>().copied().map_or(0, u32::from_be_bytes);
            let row = read_row(action, &value);
            Ok((key, number, row))
        })
        .collect()
    }

    /// Records that an action failed, in place of an earlier failure; durable when it returns.
    pub fn record_failure(&self, action: &ActionDigest, failure: &FailureRecord) -> Result<()> {
        let mut changes = Changes::default();
        let value = encode(&format!("the failure of action {action}"), failure)?;
        changes.put(Table::Failures, *action.as_bytes(), value);
        self.inner.write_db(changes)
    }

    /// The failure of an action, unless it has expired by `now_ms`.
    pub fn failure(&self, action: &ActionDigest, now_ms: u64) -> Result<Option<FailureRecord>> {
        let Some(value) = self.inner.db.get(Table::Failures, action.as_bytes())? else { return Ok(None) };
        let failure: FailureRecord = decode(|| format!("the failure of action {action}"), &value)?;
        Ok((now_ms < failure.expires_ms).then_some(failure))
    }
}

/// A failure as it was recorded.
pub(crate) fn decode_failure(bytes: &[u8]) -> Result<FailureRecord> {
    decode(|| "the failure of an action".to_owned(), bytes)
}

fn read_row(action: &ActionDigest, value: &[u8]) -> Row {
    let Ok(signed) = serde_json::from_slice::<SignedResult>(value) else {
        let bare = serde_json::from_slice::<ActionResult>(value);
        let why = match &bare {
            Ok(_) => "it has no signature".to_owned(),
            Err(error) => format!("it does not decode: {error}"),
        };
        return Row::Unsigned(bare.ok(), why);
    };
    match signed.read() {
        Ok((named, result)) if named == *action => Row::Signed(signed, result),
        Ok((named, result)) => Row::Unsigned(Some(result), format!("it is signed as a result of action {named}")),
        Err(error) => Row::Unsigned(None, format!("what was signed does not decode: {error}")),
    }
}

fn differing(action: ActionDigest, results: &[ActionResult]) -> Option<Differing> {
    let distinct: BTreeSet<_> = results.iter().map(|result| &result.outputs).collect();
    let first = results.first()?;
    let names = results.iter().flat_map(|result| result.outputs.keys()).collect::<BTreeSet<_>>();
    let differ = |name: &&OutputName| results.iter().any(|r| r.outputs.get(*name) != first.outputs.get(*name));
    let outputs = names.into_iter().filter(differ).cloned().collect();
    (distinct.len() > 1).then_some(Differing { action, results: results.len(), distinct: distinct.len(), outputs })
}

fn wrong_result(which: &str, error: anneal_content::Error) -> Error {
    Error::Record { what: format!("the result {which}"), reason: error.to_string() }
}

fn encode<T: serde::Serialize>(what: &str, value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::Record { what: what.to_owned(), reason: e.to_string() })
}

fn decode<T: serde::de::DeserializeOwned>(what: impl Fn() -> String, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::Record { what: what(), reason: e.to_string() })
}

#[cfg(test)]
mod tests;
