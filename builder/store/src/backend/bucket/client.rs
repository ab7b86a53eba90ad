//! Requests to the server of one bucket: signed, bounded in time and size, and repeated where that changes nothing.

use super::{
    BucketPlace,
    address::Address,
    answer::{Answer, error_code},
    credentials::Credentials,
    fault::BucketFault,
    signing::{EMPTY_SHA256, Unsigned, query, sha256_hex},
};
use crate::{Error, Result};
use std::{collections::BTreeMap, fs::File, path::Path, sync::Arc, time::Duration};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use ureq::{
    Agent, AsSendBody, Proxy, SendBody,
    http::{Method, Request},
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

const CONNECT: Duration = Duration::from_secs(10);
/// For the server to think.
const FIRST_BYTE: Duration = Duration::from_secs(60);
/// For one body of at most a window or a part.
const BODY: Duration = Duration::from_secs(300);
/// How often a request is sent at most.
pub(super) const ATTEMPTS: u32 = 4;
/// The pause before the second; each later one is four times as long.
const PAUSE: Duration = Duration::from_millis(100);
/// Up to so many bytes are sent without waiting for the server to say that it wants them.
const UNASKED_BYTES_MAX: u64 = 1 << 20;
/// The largest answer that is no content.
pub(super) const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// How requests write the time.
const STAMP: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// The server of one bucket.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    pub(super) address: Address,
    credentials: Credentials,
}

/// What a request carries.
#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    Bytes(&'a [u8]),
    /// A file, with its size and the SHA-256 of its bytes.
    File(&'a Path, u64, &'a str),
}

/// A request.
pub(super) struct Ask<'a> {
    /// What it does, for errors.
    pub(super) verb: &'static str,
    pub(super) method: Method,
    /// The object; empty for the bucket.
    pub(super) key: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) headers: &'a [(&'static str, &'a str)],
    pub(super) payload: Payload<'a>,
    /// Whether it may be sent again when nobody knows what became of it.
    pub(super) repeats: bool,
}

impl<'a> Ask<'a> {
    /// One without a body that may be repeated.
    pub(super) const fn new(verb: &'static str, method: Method, key: &'a str) -> Self {
        Self { verb, method, key, query: &[], headers: &[], payload: Payload::Bytes(&[]), repeats: true }
    }

    fn doing(&self) -> String {
        if self.key.is_empty() { self.verb.to_owned() } else { format!("{} {}", self.verb, self.key) }
    }
}

impl Client {
    pub(super) fn new(address: Address, credentials: Credentials) -> Self {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "certificates of this machine cannot be read");
        }
        let certificates = found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .root_certs(RootCerts::Specific(Arc::new(certificates)))
            .build();
        // what is on this machine is not reached by way of another
        let proxy = if address.is_loopback { None } else { Proxy::try_from_env() };
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(proxy)
            .user_agent(concat!("anneal/", env!("CARGO_PKG_VERSION")))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_send_body(Some(BODY))
            .timeout_recv_response(Some(FIRST_BYTE))
            .timeout_recv_body(Some(BODY))
            .build();
        Self { agent: config.new_agent(), address, credentials }
    }

    pub(super) const fn place(&self) -> &BucketPlace {
        &self.address.place
    }

    /// Sends a request; what it gives may be a refusal.
    pub(super) fn ask(&self, ask: &Ask<'_>) -> Result<Answer> {
        let mut attempt = 1;
        loop {
            let sent = self.send(ask)?;
            let may_pass = match &sent {
                Ok(answer) => matches!(answer.status, 409 | 429 | 500 | 502 | 503 | 504),
                Err(error) => passes(error),
            };
            if !may_pass || !ask.repeats || attempt == ATTEMPTS {
                return sent.map_err(|e| BucketFault::unanswered(self.place(), &ask.doing(), &e.to_string()));
            }
            pause(attempt);
            attempt += 1;
        }
    }

    /// Sends a request that must be answered with one of these.
    pub(super) fn must(&self, ask: &Ask<'_>, expected: &[u16]) -> Result<Answer> {
        let answer = self.ask(ask)?;
        if expected.contains(&answer.status) { Ok(answer) } else { Err(self.refused(ask, answer)) }
    }

    /// The error for an answer that refuses.
    pub(super) fn refused(&self, ask: &Ask<'_>, answer: Answer) -> Error {
        let status = answer.status;
        let code = answer.text(ANSWER_BYTES_MAX).ok().and_then(|text| error_code(&text)).unwrap_or_default();
        self.refused_with(ask, status, &code)
    }

    pub(super) fn refused_with(&self, ask: &Ask<'_>, status: u16, code: &str) -> Error {
        BucketFault::refused(self.place(), &ask.doing(), status, code)
    }

    /// The error for an answer that makes no sense, or breaks off.
    pub(super) fn senseless(&self, ask: &Ask<'_>, found: &str) -> Error {
        BucketFault::unanswered(self.place(), &ask.doing(), found)
    }

    /// One attempt. The outer error is ours, the inner one the connection's.
    fn send(&self, ask: &Ask<'_>) -> Result<std::result::Result<Answer, ureq::Error>> {
        match ask.payload {
            Payload::Bytes(bytes) => {
                let sha256 = if bytes.is_empty() { EMPTY_SHA256.to_owned() } else { sha256_hex(bytes) };
                let has_body = ask.method == Method::PUT || ask.method == Method::POST;
                let (size, body) = (bytes.len() as u64, has_body.then_some(bytes));
                Ok(self.request(ask, &sha256, body.map(|_| size)).and_then(|request| match body {
                    Some(bytes) => self.run(request, bytes),
                    None => self.run(request, ()),
                }))
            }
            Payload::File(path, size, sha256) => {
                let mut file = File::open(path).map_err(Error::io("open", path))?;
                let sent = self.request(ask, sha256, Some(size));
                Ok(sent.and_then(|request| self.run(request, SendBody::from_reader(&mut file))))
            }
        }
    }

    fn run(&self, request: Request<()>, body: impl AsSendBody) -> std::result::Result<Answer, ureq::Error> {
        let (parts, ()) = request.into_parts();
        self.agent.run(Request::from_parts(parts, body)).map(Answer::new)
    }

    fn request(&self, ask: &Ask<'_>, sha256: &str, size: Option<u64>) -> std::result::Result<Request<()>, ureq::Error> {
        let stamp = OffsetDateTime::now_utc().format(STAMP).unwrap_or_default();
        let (path, query) = (self.address.path(ask.key), query(ask.query));
        let mut headers = BTreeMap::from([("host", self.address.host.clone())]);
        headers.extend(ask.headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let method = ask.method.as_str();
        let unsigned = Unsigned { method, path: &path, query: &query, headers, body: sha256 };
        let signed = unsigned.sign(&self.credentials, &self.place().region, &stamp);
        let mut request = Request::builder().method(ask.method.clone()).uri(self.address.url(&path, &query));
        for (name, value) in signed {
            request = request.header(name, value);
        }
        if let Some(size) = size {
            request = request.header("content-length", size);
        }
        // not signed: what stands between may take it away
        if size > Some(UNASKED_BYTES_MAX) && ask.headers.iter().any(|(name, _)| *name == "if-none-match") {
            request = request.header("expect", "100-continue");
        }
        Ok(request.body(())?)
    }
}

/// Waits before a request is sent again.
pub(super) fn pause(attempt: u32) {
    std::thread::sleep(PAUSE * 4u32.saturating_pow(attempt - 1));
}

/// Whether a connection that failed may work the next time.
fn passes(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_)
    )
}
