//! Reading the database's tables, each from its first row to its last.
//!
//! A table that cannot be read is one finding, and not one for each blob whose row may have been in it.

use super::{How, Kind, Report, told};
use crate::error::Result;
use anneal_store::{Error, Store};

/// The database among the findings, where not even its tables can be told apart.
const DATABASE: &str = "the database";
/// The file that says what was acknowledged, among the findings.
const HEAD: &str = "the file HEAD";
/// The file with the name of the database, among the findings.
const IDENTITY: &str = "the database's file IDENTITY";
/// The table with a row for each blob.
pub(super) const BLOBS: &str = "blobs";
/// The table with what builds gave.
pub(super) const RESULTS: &str = "results";
/// The table with the events.
pub(super) const JOURNAL: &str = "journal";

/// How a table is called among the findings.
pub(super) fn named(table: &str) -> String {
    format!("{DATABASE}'s table `{table}`")
}

/// Whether an error says that the database itself cannot be read.
pub(super) fn is_of_database(error: &Error) -> bool {
    matches!(error, Error::Database { .. })
}

/// Reads all tables; says whether it came to its end.
pub(super) fn read_all(store: &Store, how: &How<'_>, report: &mut Report) -> Result<bool> {
    let slots = store.damaged_slots()?;
    match (slots, store.mode()) {
        (0, _) => {}
        (_, anneal_store::OpenMode::ReadWrite) => {
            report.mended.insert(HEAD.into(), "what was damaged stood there twice, and was written again".into());
        }
        (_, anneal_store::OpenMode::ReadOnly) => {
            let why = format!(
                "{slots} of its 6 slots do not check; what they say stands there a second time, and the daemon's next \
                 start, or --mend, writes them again"
            );
            report.found(HEAD.into(), Kind::Corrupt, why);
        }
    }
    match (store.has_wrong_identity()?, store.mode()) {
        (false, _) => {}
        (true, anneal_store::OpenMode::ReadWrite) => {
            report.mended.insert(IDENTITY.into(), "the list of tables has it, too, and it was written again".into());
        }
        (true, anneal_store::OpenMode::ReadOnly) => {
            let why = "it is not what the list of tables says, which alone counts; the daemon's next scrub, or --mend, \
                       writes it again";
            report.found(IDENTITY.into(), Kind::Corrupt, why.to_owned());
        }
    }
    let tables = match store.read_tables(how.stop) {
        Ok(tables) => tables,
        Err(error) => {
            report.found(DATABASE.into(), Kind::Corrupt, advice(told(error)));
            return Ok(true);
        }
    };
    report.rows = tables.iter().map(|table| table.rows).sum();
    let faults: Vec<_> = tables.into_iter().filter_map(|table| Some((table.name, table.rows, table.fault?))).collect();
    let can_be_remade = store.keeps_blobs_as_files() && faults.iter().all(|(table, ..)| *table == BLOBS);
    for (table, rows, fault) in faults {
        let why = format!("after {rows} rows: {}", told(fault));
        report.found_unreadable(table, if can_be_remade { from_files(&why) } else { advice(why) });
    }
    Ok(!(how.stop)())
}

/// What is said of the one table that can be made again (`anneal_store::Store::remake_blob_table`).
fn from_files(why: &str) -> String {
    format!("{why}; `anneal store scrub --mend` without a daemon makes it again from the blobs' files")
}

fn advice(why: String) -> String {
    format!("{why}; make a new state directory of a backup (`anneal store restore`)")
}
