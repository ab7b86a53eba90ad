//! Backing up and restoring a state directory: the store's generations, the seal that the log key puts on each, the keys.
//!
//! Secret keys stay out of a backup unless they are asked for: who finds a backup is not to release images. They lie in
//! `DIR/keys/`, mode 0600, or are kept apart and given to the restore. The index, build roots and work directories are
//! made again and not backed up; the configuration and the catalogue are the user's own files.
//!
//! A restore works in `STATE/store.restoring`, and the rename to `STATE/store` is the last thing that it does. Before
//! that, the journal gets a record that the log key signed: which backup this is, and that what came after is lost.

use crate::{
    error::{Error, Result, io},
    keys::{Keys, copy_earlier},
    service::{fold, now_ms},
};
use anneal_api::BackupRequest;
use anneal_attest::{BackupSeal, Checkpoint, Keyring, Note, PublicKey, RestoreRecord, Role, SecretKey, sign_note};
use anneal_ledger::{Event, Record};
use anneal_store::{Backed, Backup, BucketPlace, ChunkHash, Forgotten, Generation, OpenMode, Store};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

/// What a state directory may hold before a restore, beside nothing: keys that were put in place, an interrupted restore.
const RESTORING: &str = "store.restoring";
const HARMLESS: [&str; 3] = [RESTORING, "keys", "lost+found"];

/// Where the journal ends now, signed by the log key.
pub(crate) fn signed_head(store: &Store, keys: &Keys) -> Result<Vec<u8>> {
    let head = store.journal_head()?;
    Ok(sign_note(&Note::Checkpoint(Checkpoint { head, at_ms: now_ms() }), &keys.log)?)
}

/// What a backup did.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BackedUp {
    #[serde(flatten)]
    pub(crate) backed: Backed,
    /// What was dropped for it, where only some generations are kept.
    pub(crate) forgotten: Option<Forgotten>,
}

/// Makes a generation in a directory; drops old ones where that is asked for.
pub(crate) fn back_up(
    store: &Store,
    keys: &Keys,
    request: &BackupRequest,
    stop: &dyn Fn() -> bool,
) -> Result<BackedUp> {
    let (to, with_keys) = (request.dir.as_path(), request.with_keys);
    let state = store.dir().parent().unwrap_or(store.dir());
    require_apart(to, state)?;
    let at_ms = now_ms();
    let draft = store.backup(to, stop)?;
    if with_keys {
        keys.save(&to.join("keys"))?;
        copy_earlier(&state.join("keys"), &to.join("keys"))?;
    }
    let ids = keys.all().into_iter().map(|(role, key)| (role, key.public().id())).collect();
    let (backup, manifest, head) = (draft.number(), draft.manifest(), draft.head());
    let seal = Note::Backup(BackupSeal { backup, manifest, head, at_ms, keys: ids });
    let backed = draft.seal(&sign_note(&seal, &keys.log)?)?;
    let forgotten = request.keep.map(|keep| Backup::forget(to, keep)).transpose()?;
    Ok(BackedUp { backed, forgotten })
}

/// Refuses a directory that is, or would be made, in the state directory or in another backup, whatever links lead there.
fn require_apart(to: &Path, state: &Path) -> Result<()> {
    let existing = to.ancestors().find_map(|path| Some((path, path.canonicalize().ok()?)));
    let Some((named, real)) = existing else {
        return Err(Error::Input(format!("{} is not an absolute path", to.display())));
    };
    let rest = to.strip_prefix(named).unwrap_or(Path::new(""));
    if rest.components().any(|part| part == Component::ParentDir) {
        let text =
            format!("{} leads back out of {}, which is not there; name it without `..`", to.display(), rest.display());
        return Err(Error::Input(text));
    }
    let state = state.canonicalize().map_err(io("find", state))?;
    if real.starts_with(&state) {
        let text =
            format!("{} is in the state directory: what takes that takes its backup too; name another", to.display());
        return Err(Error::Input(text));
    }
    // the directory itself may be a backup, and is added to then
    let above = real.ancestors().skip(usize::from(named == to));
    match above.into_iter().find(|outer| Backup::open(outer).is_ok()) {
        Some(outer) => Err(Error::Input(format!(
            "{} is inside the backup {}; name that, or another directory",
            to.display(),
            outer.display()
        ))),
        None => Ok(()),
    }
}

/// The seal of a generation, if one of these log keys made it for exactly this generation.
pub(crate) fn verified_seal(generation: &Generation, log_key: &PublicKey) -> Result<BackupSeal> {
    let mut ring = Keyring::new();
    ring.trust(Role::Log, log_key.clone())?;
    let number = generation.number;
    let refused = |why: String| Error::No(format!("generation {number} of the backup is not the daemon's own: {why}"));
    let seal = BackupSeal::verify(&generation.seal, &ring).map_err(|e| refused(e.to_string()))?;
    if (seal.backup, seal.manifest, seal.head) != (number, generation.digest, generation.manifest.head) {
        return Err(refused(format!("its seal was made for generation {} with {}", seal.backup, seal.manifest)));
    }
    Ok(seal)
}

/// What is restored, and how.
#[derive(Debug)]
pub(crate) struct Restore<'a> {
    pub(crate) from: &'a Path,
    pub(crate) generation: Option<u64>,
    pub(crate) state: &'a Path,
    /// Where the blobs go, where not there.
    pub(crate) bucket: Option<&'a BucketPlace>,
    pub(crate) keys: Option<&'a Path>,
    pub(crate) new_keys: bool,
    pub(crate) chunk_hash: ChunkHash,
    pub(crate) by: String,
}

/// What a restore did.
#[derive(Debug, Serialize)]
pub(crate) struct Restored {
    pub(crate) backup: u64,
    /// When the backup was made, milliseconds since 1970; unknown where the seal could not be verified.
    pub(crate) backed_up_ms: Option<u64>,
    /// Events that came out of the backup: what the journal had from there on is lost.
    pub(crate) events: u64,
    pub(crate) blobs: u64,
    /// Blobs that the backup could not read when it was made.
    pub(crate) damaged: Vec<anneal_content::BlobDigest>,
    /// The log key that signed the record of the restore.
    pub(crate) log_key: String,
    pub(crate) new_keys: bool,
    /// Roles whose keys are other ones than the backup's daemon had, because they were changed since.
    pub(crate) changed_keys: Vec<Role>,
}

impl Restore<'_> {
    /// Makes a state directory of a backup.
    pub(crate) fn run(&self) -> Result<Restored> {
        self.require_empty()?;
        let backup = Backup::open(self.from)?;
        let generation = backup.generation(self.generation)?;
        let keys = self.chosen_keys()?;
        let seal = keys.as_ref().map(|(keys, _)| verified_seal(&generation, keys.log.public())).transpose()?;
        let restoring = self.state.join(RESTORING);
        let store = match self.bucket {
            None => backup.restore(&generation, &restoring, self.chunk_hash).inspect_err(|_| {
                // a part of it is good for nothing, and takes room
                let _ = std::fs::remove_dir_all(&restoring);
            })?,
            Some(bucket) => backup.restore_in_bucket(&generation, &restoring, self.chunk_hash, bucket)?,
        };
        let mut state = fold(&store)?;
        let keys = match keys {
            Some((keys, dir)) => {
                keys.save(&self.state.join("keys"))?;
                if dir != self.state.join("keys") {
                    copy_earlier(&dir, &self.state.join("keys"))?;
                }
                keys
            }
            None => Keys::open(&self.state.join("keys"))?,
        };
        let record = self.record(&generation, seal.as_ref(), &keys)?;
        state.admit(&record)?;
        store.append_events(&[serde_json::to_vec(&record).map_err(|e| Error::Internal(e.to_string()))?])?;
        let blobs = store.stats()?.blobs;
        drop(store);
        let place = self.state.join("store");
        std::fs::rename(&restoring, &place).map_err(io("put in place", &place))?;
        std::fs::File::open(self.state).and_then(|dir| dir.sync_all()).map_err(io("sync", self.state))?;
        let changed_keys = seal.as_ref().map(|seal| changed(seal, &keys)).unwrap_or_default();
        Ok(Restored {
            changed_keys,
            backup: generation.number,
            backed_up_ms: seal.map(|seal| seal.at_ms),
            events: generation.manifest.head.events,
            blobs,
            damaged: generation.manifest.damaged,
            log_key: keys.log.public().id().hex(),
            new_keys: self.new_keys,
        })
    }

    fn record(&self, generation: &Generation, seal: Option<&BackupSeal>, keys: &Keys) -> Result<Record> {
        let (backup, head, at_ms) = (generation.number, generation.manifest.head, now_ms());
        let backed_up_ms = seal.map_or(0, |seal| seal.at_ms);
        let signed = RestoreRecord { backup, backed_up_ms, head, at_ms, by: self.by.clone() };
        let signed = sign_note(&Note::Restore(signed), &keys.log)?;
        let record = String::from_utf8(signed).map_err(|e| Error::Internal(e.to_string()))?;
        Ok(Record { at_ms, event: Event::Restored { backup, events: head.events, by: self.by.clone(), record } })
    }

    /// Nothing is there but what an interrupted restore left, and nobody is at it.
    fn require_empty(&self) -> Result<()> {
        let state = self.state;
        match Store::open(&state.join("store"), OpenMode::ReadOnly).map(drop) {
            Err(anneal_store::Error::Absent { .. }) => {}
            _ => {
                let text = format!(
                    "{} has a store already; stop its daemon and move it away, or restore into another --state",
                    state.display()
                );
                return Err(Error::Input(text));
            }
        }
        std::fs::create_dir_all(state).map_err(io("create", state))?;
        let entries = std::fs::read_dir(state).map_err(io("list", state))?;
        let names = entries.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<BTreeSet<_>>>();
        let names = names.map_err(io("list", state))?;
        if let Some(name) = names.iter().find(|name| !HARMLESS.iter().any(|known| *name == known)) {
            let text = format!(
                "{} is not empty ({} is in it); a backup is restored into an empty state directory",
                state.display(),
                name.display()
            );
            return Err(Error::Input(text));
        }
        let restoring = state.join(RESTORING);
        if restoring.exists() {
            // whoever holds it is at work
            match Store::open(&restoring, OpenMode::ReadWrite).map(drop) {
                Err(error @ anneal_store::Error::Locked { .. }) => return Err(error.into()),
                _ => std::fs::remove_dir_all(&restoring).map_err(io("remove", &restoring))?,
            }
        }
        Ok(())
    }

    /// The keys that the daemon goes on with, and where they are; none: it gets new ones.
    fn chosen_keys(&self) -> Result<Option<(Keys, PathBuf)>> {
        if self.new_keys {
            let known = self.state.join("keys");
            if known.exists() {
                let text = format!("{} holds keys; remove them for --new-keys, or leave that away", known.display());
                return Err(Error::Input(text));
            }
            return Ok(None);
        }
        let places: Vec<PathBuf> = match self.keys {
            Some(named) => vec![named.to_owned()],
            None => vec![self.state.join("keys"), self.from.join("keys")],
        };
        match places.iter().find(|dir| dir.exists()) {
            Some(dir) => Ok(Some((Keys::load(dir)?, dir.clone()))),
            None => Err(Error::Input(format!(
                "the backup has no secret keys; name the directory where you keep the daemon's with --keys DIR. \
                 If they are lost: with --new-keys the daemon gets new ones, and whoever holds an older checkpoint or the \
                 old public keys must be told{}",
                self.keys.map(|dir| format!(" (there is no {})", dir.display())).unwrap_or_default()
            ))),
        }
    }
}

/// The roles whose keys are other ones than the backup's daemon had.
fn changed(seal: &BackupSeal, keys: &Keys) -> Vec<Role> {
    let is_changed = |(role, key): &(Role, &SecretKey)| seal.keys.get(role) != Some(&key.public().id());
    keys.all().into_iter().filter(is_changed).map(|(role, _)| role).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn no_way_leads_a_backup_into_the_state_or_into_another_backup() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let (state, bak) = (at("state"), at("bak"));
        drop(Store::open(&state.join("store"), OpenMode::ReadWrite).unwrap());
        let store = Store::open(&at("other"), OpenMode::ReadWrite).unwrap();
        store.backup(&bak, &|| false).unwrap().seal(b"").unwrap();
        symlink(&state, at("to-state")).unwrap();
        symlink(bak.join("blobs"), at("to-blobs")).unwrap();
        symlink(&bak, at("to-bak")).unwrap();
        fs::create_dir(at("empty")).unwrap();
        let refused = |path: &str, because: &str| {
            let text = require_apart(&at(path), &state).unwrap_err().to_string();
            assert!(text.contains(because), "{path}: {text}");
        };
        for path in ["state", "state/x", "state/x/y", "state/store/x", "to-state", "to-state/x/y", "empty/../state/x"] {
            refused(path, "is in the state directory");
        }
        for path in ["bak/x", "bak/x/y", "bak/blobs", "to-blobs", "to-blobs/in", "to-blobs/x/y", "to-bak/x"] {
            refused(path, "is inside the backup");
        }
        refused("empty/x/../../state/y", "without `..`");
        for path in ["bak", "to-bak", "empty", "empty/x/y", "state-of-things", "to-bak/../new"] {
            require_apart(&at(path), &state).unwrap();
        }
    }
}
