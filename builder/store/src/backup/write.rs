//! Writing a generation: tables from one snapshot, then the blobs that are not in the backup yet.

use super::{Manifest, part::PartWriter, pool::PoolWriter};
use crate::{
    Error, OpenMode, Result, Store,
    blob::DAMAGE,
    db::{Snapshot, Table},
    journal::head_at,
    mend::is_of_the_file,
    record::BlobRecord,
};
use anneal_content::{BlobDigest, JournalHead};
use std::{collections::BTreeSet, path::Path};

/// A generation that is all written and has no name yet: the seal is missing. Dropped, it is none.
#[derive(Debug)]
pub struct Draft {
    writer: PoolWriter,
    number: u64,
    manifest: BlobDigest,
    head: JournalHead,
    backed: Backed,
}

/// What a backup did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Backed {
    /// The generation's number.
    pub generation: u64,
    /// Events of the journal in it.
    pub events: u64,
    /// Blobs in it.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that the backup did not have yet.
    pub copied_files: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Blobs that the store should have and cannot read, so that they are not in it.
    pub damaged: Vec<BlobDigest>,
    /// Blobs that the store took out of service for their damage, and that are in it with an earlier generation's bytes.
    #[serde(default)]
    pub lent: Vec<BlobDigest>,
}

impl Store {
    /// Copies everything into a directory, beside everything else that goes on. What this gives is no generation before
    /// it is sealed. `stop` is asked before each blob.
    pub fn backup(&self, dir: &Path, stop: &dyn Fn() -> bool) -> Result<Draft> {
        if self.mode() != OpenMode::ReadWrite {
            // nobody could keep a collection from deleting what is being copied
            return Err(Error::ReadOnly { dir: self.dir().to_owned() });
        }
        let mut writer = PoolWriter::open(dir)?;
        let number = writer.pool.generations()?.last().map_or(1, |last| last + 1);
        let hold = self.inner.touches.hold()?;
        let snapshot = self.inner.db.snapshot();
        let head = snapshot.last(Table::Journal)?;
        let head = head.map_or(Ok(JournalHead::START), |row| head_at(&self.inner.layout, row))?;
        let mut backed = Backed { generation: number, events: head.events, ..Backed::default() };
        let Listed { parts: blobs, missing, damaged } = list_blobs(&snapshot, &mut writer, &mut backed)?;
        let mut manifest = Manifest {
            head,
            damaged,
            blobs,
            journal: dump(&snapshot, Table::Journal, &mut writer)?,
            results: dump(&snapshot, Table::Results, &mut writer)?,
            failures: dump(&snapshot, Table::Failures, &mut writer)?,
            records: dump(&snapshot, Table::Records, &mut writer)?,
        };
        drop(snapshot);
        hold.only(missing.clone());
        for digest in missing {
            if stop() {
                return Err(Error::BackupStopped { dir: dir.to_owned() });
            }
            match self.copy(&digest, &mut writer) {
                Err(Error::Damaged { .. } | Error::Missing { .. }) => manifest.damaged.push(digest),
                // a bad sector under one blob keeps no other from being copied
                Err(Error::Io { path, source, .. })
                    if path == self.inner.layout.blob(&digest) && is_of_the_file(&source) =>
                {
                    tracing::error!(%digest, error = %source, "a blob cannot be read, and is not in the backup");
                    manifest.damaged.push(digest);
                }
                copied => copied?,
            }
            hold.copied(&digest);
        }
        let bytes = serde_json::to_vec(&manifest)
            .map_err(|e| Error::Record { what: "the manifest of a backup".to_owned(), reason: e.to_string() })?;
        let manifest_digest = writer.put(&bytes)?;
        writer.flush()?;
        (backed.copied_files, backed.copied_bytes) = writer.written;
        backed.damaged = manifest.damaged;
        Ok(Draft { writer, number, manifest: manifest_digest, head, backed })
    }

    fn copy(&self, digest: &BlobDigest, writer: &mut PoolWriter) -> Result<()> {
        let mut reader = self.open_blob(digest)?;
        writer.put_chunks(digest, |write| {
            while let Some(chunk) = reader.next_chunk()? {
                write(chunk)?;
            }
            Ok(())
        })
    }
}

/// The list of blobs on its way into the backup.
struct List<'a> {
    writer: &'a mut PoolWriter,
    backed: &'a mut Backed,
    part: PartWriter,
    listed: Listed,
}

#[derive(Default)]
struct Listed {
    parts: Vec<BlobDigest>,
    /// Blobs that the backup does not have yet, in order.
    missing: Vec<BlobDigest>,
    /// Blobs that are out of service, and no earlier generation has their bytes.
    damaged: Vec<BlobDigest>,
}

/// Lists the blobs in service, and those that went out of service for their damage and have not come again: what needs
/// them needs them still.
fn list_blobs(snapshot: &Snapshot<'_>, writer: &mut PoolWriter, backed: &mut Backed) -> Result<Listed> {
    let mut list = List { writer, backed, part: PartWriter::default(), listed: Listed::default() };
    let mut found_damaged = found_damaged(snapshot)?.into_iter().peekable();
    for row in snapshot.rows(Table::Blobs)? {
        let (key, value) = row?;
        let digest = key.first_chunk().map(|bytes| BlobDigest::from_bytes(*bytes));
        let digest = digest.ok_or_else(|| Error::Record {
            what: "a row of the table of blobs".to_owned(),
            reason: format!("its key has {} bytes", key.len()),
        })?;
        while let Some(gone) = found_damaged.next_if(|found| *found < digest) {
            list.add_gone(gone)?;
        }
        // it has come again
        found_damaged.next_if_eq(&digest);
        let size = BlobRecord::size(&digest, &value)?;
        if !list.writer.has(&digest, size) {
            list.listed.missing.push(digest);
        }
        list.add(&digest, size)?;
    }
    for gone in found_damaged {
        list.add_gone(gone)?;
    }
    if let Some(last) = list.part.finish() {
        list.listed.parts.push(list.writer.put(&last)?);
    }
    Ok(list.listed)
}

/// The blobs that were found damaged, whether or not they have come again.
fn found_damaged(snapshot: &Snapshot<'_>) -> Result<BTreeSet<BlobDigest>> {
    let mut found = BTreeSet::new();
    for row in snapshot.rows(Table::Records)? {
        let (key, _) = row?;
        let hex = key.strip_prefix(DAMAGE.as_bytes()).and_then(|rest| rest.strip_prefix(b"\0"));
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        found.extend(hex.and_then(|hex| format!("sha256:{hex}").parse::<BlobDigest>().ok()));
    }
    Ok(found)
}

impl List<'_> {
    fn add(&mut self, digest: &BlobDigest, size: u64) -> Result<()> {
        self.backed.blobs += 1;
        self.backed.bytes += size;
        if let Some(full) = self.part.add(digest.as_bytes(), &size.to_be_bytes()) {
            self.listed.parts.push(self.writer.put(&full)?);
        }
        Ok(())
    }

    /// Adds a blob that the store lost, from an earlier generation where that has its bytes; those are read, because
    /// nothing else says how long they are.
    fn add_gone(&mut self, digest: BlobDigest) -> Result<()> {
        match self.writer.pool.sound_bytes(&digest) {
            Some(size) => {
                self.backed.lent.push(digest);
                self.add(&digest, size)
            }
            None => {
                self.listed.damaged.push(digest);
                Ok(())
            }
        }
    }
}

fn dump(snapshot: &Snapshot<'_>, table: Table, writer: &mut PoolWriter) -> Result<Vec<BlobDigest>> {
    let (mut parts, mut part) = (Vec::new(), PartWriter::default());
    for row in snapshot.rows(table)? {
        let (key, value) = row?;
        if let Some(full) = part.add(&key, &value) {
            parts.push(writer.put(&full)?);
        }
    }
    if let Some(last) = part.finish() {
        parts.push(writer.put(&last)?);
    }
    Ok(parts)
}

impl Draft {
    /// The number that it gets.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The digest that stands for all that is in it.
    pub fn manifest(&self) -> BlobDigest {
        self.manifest
    }

    /// Where the journal ends in it.
    pub fn head(&self) -> JournalHead {
        self.head
    }

    /// Makes it a generation; durable when it returns.
    pub fn seal(mut self, seal: &[u8]) -> Result<Backed> {
        let text = [self.manifest.to_string().as_bytes(), b"\n", seal, b"\n"].concat();
        self.writer.commit(self.number, &text)?;
        Ok(self.backed)
    }
}
