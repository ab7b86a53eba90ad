//! Reading: from the daemon where one answers, else from the state directory.

use crate::{
    client::Client,
    error::{Error, Result},
    service::fold,
    settings::Settings,
};
use anneal_content::BlobDigest;
use anneal_ledger::State;
use anneal_store::{OpenMode, Store};
use std::path::PathBuf;

/// The largest blob that a command reads whole.
const BLOB_BYTES_MAX: u64 = 64 << 20;

/// Where a command reads from.
#[derive(Debug)]
pub(crate) enum View {
    /// A daemon.
    Daemon(Client),
    /// A state directory that nobody holds.
    Directory(Box<Store>),
}

/// The sockets that are tried, in order.
fn sockets(settings: &Settings) -> Vec<PathBuf> {
    match &settings.server {
        Some(named) => vec![named.clone()],
        None => {
            let own = settings.state.join("anneal.sock");
            let usual = PathBuf::from("/run/anneal/anneal.sock");
            // A state directory that was named means that one and no other.
            let named = settings
                .shown
                .iter()
                .any(|(name, _, origin)| name == "state" && *origin != crate::settings::Origin::Default);
            if named { vec![own] } else { vec![usual, own] }
        }
    }
}

/// The daemon, for a command that changes something.
pub(crate) fn daemon(settings: &Settings) -> Result<Client> {
    let tried = sockets(settings);
    if let Some(client) = tried.iter().map(Client::new).find(Client::answers) {
        tracing::debug!(socket = %client.socket().display(), "using the daemon");
        return Ok(client);
    }
    let names: Vec<_> = tried.iter().map(|path| path.display().to_string()).collect();
    Err(Error::Unreachable(format!(
        "no daemon answers at {}; start one with `anneal daemon`, or name its socket with --server",
        names.join(" or ")
    )))
}

/// The daemon or the state directory, for a command that only reads.
pub(crate) fn view(settings: &Settings) -> Result<View> {
    match daemon(settings) {
        Ok(client) => Ok(View::Daemon(client)),
        Err(error) if settings.server.is_some() => Err(error),
        Err(_) => {
            let dir = settings.state.join("store");
            if !dir.is_dir() {
                let (state, tried) = (settings.state.display(), sockets(settings));
                let tried: Vec<_> = tried.iter().map(|p| p.display().to_string()).collect();
                let text = format!("no daemon answers at {} and {state} is no state directory", tried.join(" or "));
                return Err(Error::Unreachable(text));
            }
            tracing::debug!(dir = %dir.display(), "reading the state directory");
            Ok(View::Directory(Box::new(Store::open_trusting(&dir, OpenMode::ReadOnly, settings.chunk_hash())?)))
        }
    }
}

impl View {
    /// The ledger's state.
    pub(crate) fn state(&self) -> Result<State> {
        match self {
            Self::Daemon(client) => client.get("/v1/state"),
            Self::Directory(store) => fold(store),
        }
    }

    /// A blob.
    pub(crate) fn blob(&self, digest: &BlobDigest) -> Result<Vec<u8>> {
        match self {
            Self::Daemon(client) => client.bytes(&format!("/v1/blob/{digest}")),
            Self::Directory(store) => Ok(store.read_blob(digest, BLOB_BYTES_MAX)?),
        }
    }

    /// A blob of JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, digest: &BlobDigest) -> Result<T> {
        let bytes = self.blob(digest)?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Error::Internal(format!("blob {digest} is not what it should be: {e}")))
    }
}
