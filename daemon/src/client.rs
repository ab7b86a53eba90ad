//! Talking to the daemon over its socket.

use crate::error::{Error, Result};
use anneal_api::Failure;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, body::Bytes};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A daemon's socket.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    socket: PathBuf,
    patience: Duration,
}

impl Client {
    /// The daemon at a socket; whether it answers shows with the first request.
    pub(crate) fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), patience: PATIENCE }
    }

    /// The same, waiting longer for answers.
    pub(crate) fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Where the daemon is asked.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether somebody listens.
    pub(crate) fn answers(&self) -> bool {
        std::os::unix::net::UnixStream::connect(&self.socket).is_ok()
    }

    /// Asks for JSON.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        parse(&self.request(Method::GET, path, Vec::new(), false)?)
    }

    /// Asks for bytes.
    pub(crate) fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        self.request(Method::GET, path, Vec::new(), false)
    }

    /// Sends JSON.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl serde::Serialize) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|e| Error::Internal(e.to_string()))?;
        parse(&self.request(Method::POST, path, body, true)?)
    }

    /// Sends bytes as they are.
    pub(crate) fn post_bytes<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> Result<T> {
        parse(&self.request(Method::POST, path, body, false)?)
    }

    fn request(&self, method: Method, path: &str, body: Vec<u8>, json: bool) -> Result<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::Internal(format!("cannot start the client: {e}")))?;
        let answer =
            runtime.block_on(async { tokio::time::timeout(self.patience, self.send(method, path, body, json)).await });
        let (status, bytes) = answer.map_err(|_| {
            let (socket, patience) = (self.socket.display(), self.patience);
            Error::Unreachable(format!("the daemon at {socket} did not answer in {patience:?}"))
        })??;
        if status.is_success() {
            return Ok(bytes);
        }
        let failure: Failure = serde_json::from_slice(&bytes).unwrap_or_else(|_| Failure {
            code: 4,
            message: format!("the daemon answered {status}: {}", String::from_utf8_lossy(&bytes)),
        });
        Err(match failure.code {
            1 => Error::No(failure.message),
            2 => Error::Input(failure.message),
            3 => Error::Unreachable(failure.message),
            _ => Error::Internal(failure.message),
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        json: bool,
    ) -> Result<(hyper::StatusCode, Vec<u8>)> {
        let unreachable = |e: &dyn std::fmt::Display| {
            let socket = self.socket.display();
            Error::Unreachable(format!("no daemon answers at {socket} ({e}); start one with `anneal daemon`"))
        };
        let stream = tokio::net::UnixStream::connect(&self.socket).await.map_err(|e| unreachable(&e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| unreachable(&e))?;
        tokio::spawn(connection);
        let kind = if json { "application/json" } else { "application/octet-stream" };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "anneal")
            .header(hyper::header::CONTENT_TYPE, kind)
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| Error::Internal(e.to_string()))?;
        let response = sender.send_request(request).await.map_err(|e| unreachable(&e))?;
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(|e| unreachable(&e))?.to_bytes();
        Ok((status, bytes.to_vec()))
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::Internal(format!("the daemon's answer cannot be read: {e}")))
}
