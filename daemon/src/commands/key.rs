//! `anneal key`: make your own key, and say whose decisions count.

use crate::{
    error::{Error, Result},
    output::{Output, printable, write_file},
    settings::Settings,
    view::{daemon, view},
};
use anneal_api::{ApproverRequest, RevokeRequest};
use anneal_attest::Role;
use clap::Subcommand;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make an approver's key: FILE (secret, mode 0600) and FILE.pub
    New {
        /// Where the secret key is written; an existing file is never overwritten
        file: PathBuf,
    },
    /// Enrol an approver's public key with the daemon
    Enroll {
        /// The public key
        file: PathBuf,
        /// Whose it is
        #[arg(long)]
        name: String,
    },
    /// Withdraw an approver's key: it decides nothing from now on
    Revoke {
        /// The key's id, or its beginning
        key: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// The approvers' keys, and the daemon's own public keys
    List,
    /// Write the public half of one of the daemon's keys: build, test, release or log
    Export {
        /// Which
        role: Role,
        #[command(flatten)]
        to: crate::cli::ToFile,
    },
}

/// Performs the command.
pub(crate) fn run(command: &KeyCommand, settings: &Settings, output: &Output) -> Result<()> {
    match command {
        KeyCommand::New { file } => {
            let key = crate::keys::new_key(file, Role::Approver)?;
            let mut name = file.clone().into_os_string();
            name.push(".pub");
            let public = PathBuf::from(name);
            write_file(&public, key.public().to_pem()?.as_bytes())?;
            let id = key.public().id().hex();
            let text = || format!("secret key {}\npublic key {}\nkey id     {id}\n", file.display(), public.display());
            output.result(text, &json!({ "secret": file, "public": public, "key_id": id }))
        }
        KeyCommand::Enroll { file, name } => {
            let public_key = super::candidate::read_public(file)?;
            let id: String =
                daemon(settings)?.post("/v1/approvers", &ApproverRequest { name: name.clone(), public_key })?;
            output.result(|| format!("{name} may now decide, with key {id}\n"), &json!({ "key_id": id, "name": name }))
        }
        KeyCommand::Revoke { key, reason } => revoke(key, reason, settings, output),
        KeyCommand::List => list(settings, output),
        KeyCommand::Export { role, to } => export(*role, to, settings, output),
    }
}

fn revoke(key: &str, reason: &str, settings: &Settings, output: &Output) -> Result<()> {
    let client = daemon(settings)?;
    let state: anneal_ledger::State = client.get("/v1/state")?;
    let known: Vec<_> = state.approvers.keys().filter(|id| id.starts_with(key)).collect();
    let [id] = known.as_slice() else {
        return Err(Error::Input(format!("{} enrolled keys begin with `{key}`; expected one", known.len())));
    };
    let request = RevokeRequest { reason: reason.to_owned() };
    let _: () = client.post(&format!("/v1/approvers/{id}/revoke"), &request)?;
    output.result(|| format!("key {id} decides nothing from now on\n"), &json!({ "key_id": id, "reason": reason }))
}

/// A public key of the daemon's.
#[derive(serde::Serialize)]
struct OwnKey {
    id: String,
    pem: String,
}

fn list(settings: &Settings, output: &Output) -> Result<()> {
    let state = view(settings)?.state()?;
    let dir = settings.state.join("keys");
    // a daemon that is asked over its socket may have its state elsewhere, and whoever asks may not look there
    let own = own_keys(&dir);
    let text = || {
        let mut text = String::new();
        for (id, approver) in &state.approvers {
            let revoked = approver.revoked.as_ref().map(|why| format!("  revoked: {why}")).unwrap_or_default();
            let _ = writeln!(text, "approver {id} {}{revoked}", approver.name);
        }
        if state.approvers.is_empty() {
            text.push_str("no approver is enrolled: nothing can be published\n");
        }
        match &own {
            Ok(own) => own.iter().for_each(|(role, key)| text.push_str(&format!("{role:8} {}\n", key.id))),
            Err(error) => text.push_str(&format!("the daemon's own keys cannot be listed: {error}\n")),
        }
        printable(&text)
    };
    output.result(text, &json!({ "approvers": state.approvers, "daemon": own.as_ref().ok() }))
}

/// The public halves of the daemon's keys.
fn own_keys(dir: &Path) -> Result<BTreeMap<&'static str, OwnKey>> {
    let keys = crate::keys::ROLES.into_iter().map(|role| {
        let public = crate::keys::read_key(&dir.join(format!("{role}.pem")), role)?.public().clone();
        Ok((role.as_str(), OwnKey { id: public.id().hex(), pem: public.to_pem()? }))
    });
    keys.collect()
}

fn export(role: Role, to: &crate::cli::ToFile, settings: &Settings, output: &Output) -> Result<()> {
    if !crate::keys::ROLES.contains(&role) {
        return Err(Error::Input(format!("the daemon has no {role} key; it has build, test, release and log")));
    }
    let path = settings.state.join("keys").join(format!("{role}.pem"));
    let pem = crate::keys::read_key(&path, role)?.public().to_pem()?;
    match &to.output {
        Some(file) => write_file(file, pem.as_bytes()),
        None => output.text(&pem),
    }
}
