//! `anneal store backup|restore`: a copy of everything, beside a running daemon, and a state directory made of one.

use super::collect::writable;
use crate::{
    backup::{self, BackedUp, Restored},
    commands::log::when,
    error::{Error, Result, io},
    keys::Keys,
    output::{Output, human_bytes, printable},
    settings::Settings,
    view::daemon,
};
use anneal_api::BackupRequest;
use anneal_attest::{BackupSeal, PublicKey, Role};
use anneal_store::{Backed, Backup, Forgotten};
use serde_json::json;
use std::{
    fmt::Write as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a backup may take before the command stops waiting for it.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where to, and what.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// A directory for backups: an empty one, or one with earlier backups of this daemon, which share what they can
    dir: PathBuf,
    /// Copy the daemon's secret keys too; without them, keep them elsewhere: a restore needs them
    #[arg(long, conflicts_with = "check")]
    with_keys: bool,
    /// Keep only the newest N backups in the directory, this one among them
    #[arg(long, value_name = "N", conflicts_with = "check")]
    keep: Option<NonZeroUsize>,
    /// Make none: read the newest one, or --generation, against its digests and its seal; exit 1 where it is damaged. Wrong
    /// files are moved to DIR/wrong, so that the next backup copies them again
    #[arg(long)]
    check: bool,
    /// Which generation to check
    #[arg(long, value_name = "N", requires = "check")]
    generation: Option<u64>,
    /// The public log key that the seal must be signed with; without it, that of --state
    #[arg(long, value_name = "PEM", requires = "check")]
    key: Option<PathBuf>,
}

/// Which backup is restored, and with which keys.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// A directory with backups
    dir: PathBuf,
    /// Which generation; without it, the newest
    #[arg(long, value_name = "N")]
    generation: Option<u64>,
    /// A directory with the daemon's secret keys, where they are not in the backup
    #[arg(long, value_name = "DIR", conflicts_with = "new_keys")]
    keys: Option<PathBuf>,
    /// The keys are lost: make new ones. Nobody can tell such a restore from tampering with the old public key
    #[arg(long)]
    new_keys: bool,
    /// Who restores, for the record; without it, the user's name
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// Makes a backup or checks one.
pub(super) fn back_up(args: &BackupArgs, settings: &Settings, output: &Output) -> Result<()> {
    if args.check {
        return check(args, settings, output);
    }
    let dir = std::path::absolute(&args.dir).map_err(io("find", &args.dir))?;
    let request = BackupRequest { dir, with_keys: args.with_keys, keep: args.keep };
    let done: BackedUp = match daemon(settings) {
        Ok(client) => client.patient(PATIENCE).post("/v1/store/backup", &request)?,
        Err(error) if settings.server.is_some() => return Err(error),
        Err(_) => {
            let store = writable(settings)?;
            backup::back_up(&store, &Keys::open(&settings.state.join("keys"))?, &request, &|| false)?
        }
    };
    output.result(|| printable(&backed_text(&done, args)), &done)?;
    match done.backed.damaged.len() {
        0 => Ok(()),
        count => Err(Error::No(format!(
            "{count} blobs of the store are damaged and not in the backup; mend them with `anneal store scrub`"
        ))),
    }
}

fn backed_text(done: &BackedUp, args: &BackupArgs) -> String {
    let Backed { generation, events, blobs, bytes, copied_files, copied_bytes, damaged, lent } = &done.backed;
    let mut text = format!(
        "backup {generation} in {}: {events} events, {blobs} blobs ({}); {copied_files} files ({}) were new\n",
        args.dir.display(),
        human_bytes(*bytes),
        human_bytes(*copied_bytes),
    );
    if let Some(Forgotten { generations, files, bytes }) = &done.forgotten {
        let (count, bytes) = (generations.len(), human_bytes(*bytes));
        let _ =
            writeln!(text, "  {count} older backups were dropped, and {files} files ({bytes}) that only they named");
    }
    if !args.with_keys {
        text.push_str("  secret keys are not in it: keep a copy of the state directory's keys/ elsewhere\n");
    }
    for digest in damaged {
        let _ = writeln!(text, "  damaged, and not in it: {digest}");
    }
    for digest in lent {
        let _ = writeln!(text, "  lost in the store, and in it with the bytes of an earlier backup: {digest}");
    }
    text
}

/// The public log key that a seal is held against, if there is one.
fn log_key(args: &BackupArgs, settings: &Settings) -> Result<Option<PublicKey>> {
    if let Some(path) = &args.key {
        return crate::keys::read_public(path).map(Some);
    }
    let own = settings.state.join("keys/log.pem");
    if !own.exists() {
        return Ok(None);
    }
    Ok(Some(crate::keys::read_key(&own, Role::Log)?.public().clone()))
}

fn check(args: &BackupArgs, settings: &Settings, output: &Output) -> Result<()> {
    let backup = Backup::open(&args.dir)?;
    let generation = backup.generation(args.generation).map_err(damaged)?;
    let seal = log_key(args, settings)?.map(|key| backup::verified_seal(&generation, &key)).transpose()?;
    let checked = backup.check(&generation).map_err(damaged)?;
    let aside = backup.set_aside(&checked);
    let unreadable = if args.generation.is_none() { backup.unreadable()? } else { Vec::new() };
    let text = || {
        let mut text = format!(
            "backup {}: {} events; {} files read, {} of blobs\n",
            generation.number,
            generation.manifest.head.events,
            checked.files,
            human_bytes(checked.bytes),
        );
        match &seal {
            Some(BackupSeal { at_ms, .. }) => {
                let _ = writeln!(text, "  sealed on {} by the log key", when(*at_ms));
            }
            None => text.push_str("  its seal was not verified: name the daemon's public log key with --key\n"),
        }
        for digest in &generation.manifest.damaged {
            let _ = writeln!(text, "  not in it, since it was damaged already: {digest}");
        }
        for (number, why) in &unreadable {
            let file = args.dir.join(format!("generations/{number}"));
            let _ = writeln!(
                text,
                "  wrong: backup {number} cannot be restored: {why}; while it is kept, --keep makes no room: remove {}",
                file.display()
            );
        }
        for (digest, reason) in &checked.wrong {
            let _ = writeln!(text, "  wrong: {digest}: {reason}");
        }
        match &aside {
            Ok(moved) => moved.iter().for_each(|(_, to)| {
                let _ = writeln!(text, "  moved away: {}", to.display());
            }),
            Err(error) => {
                let _ = writeln!(text, "  wrong files stay in their places: {error}");
            }
        }
        printable(&text)
    };
    let value = json!({
        "backup": generation.number, "head": generation.manifest.head, "files": checked.files, "bytes": checked.bytes,
        "wrong": checked.wrong, "damaged": generation.manifest.damaged, "seal_verified": seal.is_some(),
        "moved_away": aside.as_deref().unwrap_or_default(), "unreadable": unreadable,
    });
    output.result(text, &value)?;
    match (checked.wrong.len(), &aside) {
        (0, _) if unreadable.is_empty() => Ok(()),
        (0, _) => Err(Error::No(format!("{} older backups cannot be restored; this one can", unreadable.len()))),
        (count, Ok(_)) => Err(Error::No(format!(
            "{count} files of the backup are damaged; back up again, which copies what the store still has, and check again"
        ))),
        (count, Err(_)) => Err(Error::No(format!(
            "{count} files of the backup are damaged and could not be moved away, so no backup replaces them: check again \
             as who may write there, or use another copy"
        ))),
    }
}

/// Damage is an answer, and no misuse.
fn damaged(error: anneal_store::Error) -> Error {
    match error {
        anneal_store::Error::BackupDamaged { .. } | anneal_store::Error::Record { .. } => Error::No(error.to_string()),
        other => other.into(),
    }
}

/// Makes a state directory of a backup.
pub(super) fn restore(args: &RestoreArgs, settings: &Settings, output: &Output) -> Result<()> {
    let by = args.by.clone().unwrap_or_else(user);
    if by.trim().is_empty() || by.chars().count() > 200 || by.chars().any(char::is_control) {
        return Err(Error::Input("a name has 1 to 200 characters and no control characters".into()));
    }
    let restore = backup::Restore {
        from: &args.dir,
        generation: args.generation,
        state: &settings.state,
        bucket: settings.bucket.as_ref(),
        keys: args.keys.as_deref(),
        new_keys: args.new_keys,
        chunk_hash: settings.chunk_hash(),
        by,
    };
    let restored = restore.run().map_err(|error| match error {
        Error::Store(error) => damaged(error),
        other => other,
    })?;
    output.result(|| printable(&restored_text(&restored, &settings.state)), &restored)
}

fn restored_text(restored: &Restored, state: &Path) -> String {
    let Restored { backup, backed_up_ms, events, blobs, damaged, log_key, new_keys, changed_keys } = restored;
    let of = backed_up_ms.map(|ms| format!(" of {}", when(ms))).unwrap_or_default();
    let mut text = format!(
        "backup {backup}{of} is restored in {}: {events} events, {blobs} blobs\n  \
         the journal says so, signed by log key {log_key}: who kept a checkpoint is told by `anneal log verify`\n",
        state.display()
    );
    if *new_keys {
        text.push_str(
            "  the keys are new, and the backup's seal was not verified: hand out the public keys (`anneal key export`); \
             old checkpoints cannot be verified with them\n",
        );
    }
    for role in changed_keys {
        let _ = writeln!(text, "  the {role} key is another one than the backup's daemon had");
    }
    for digest in damaged {
        let _ = writeln!(text, "  missing, since it was damaged when the backup was made: {digest}");
    }
    text
}

/// Who runs this command.
fn user() -> String {
    let uid = nix::unistd::getuid();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| format!("user {uid}"), |user| user.name)
}
