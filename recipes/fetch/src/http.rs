//! Addresses: `https:`, `http:` for mirrors inside a company, and `file:`.
//!
//! Proxies come from the environment (HTTPS_PROXY, NO_PROXY and the like), certificates from
//! SSL_CERT_FILE or SSL_CERT_DIR or else from the system, logins from the address itself or from
//! netrc. A login is sent over TLS only, except to this machine, and does not follow a redirect.

use crate::{
    FetchConfig,
    fetcher::Unavailable,
    netrc::{Login, Netrc},
};
use base64::Engine as _;
use std::{
    fs::File,
    io::Read,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};
use ureq::{
    Agent,
    http::Uri,
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

const CONNECT: Duration = Duration::from_secs(20);
const FIRST_BYTE: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: u32 = 8;

/// A client for addresses; made when first used.
#[derive(Debug)]
pub(crate) struct Http {
    patience: Duration,
    netrc: Option<std::path::PathBuf>,
    ready: OnceLock<(Agent, Netrc)>,
}

/// Why an address gave nothing, and whether asking again may help.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) why: Unavailable,
    pub(crate) may_pass: bool,
}

impl Http {
    pub(crate) fn new(config: &FetchConfig) -> Self {
        Self { patience: config.patience, netrc: config.netrc.clone(), ready: OnceLock::new() }
    }

    /// Opens an address for reading.
    pub(crate) fn open(&self, address: &str) -> Result<Box<dyn Read>, Failed> {
        if let Some(path) = file_path(address) {
            return match File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(error) => Err(failed(error.to_string(), false)),
            };
        }
        let (agent, netrc) = self.ready.get_or_init(|| self.start());
        let (address, login) = without_login(address);
        let uri: Uri = address.parse().map_err(|e| failed(format!("not an address: {e}"), false))?;
        let mut request = agent.get(&uri);
        let host = uri.host().unwrap_or_default();
        if let Some(login) = login.as_ref().or_else(|| netrc.login(host)).filter(|_| may_carry_login(&uri)) {
            let words = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", login.name, login.password));
            request = request.header("authorization", format!("Basic {words}"));
        }
        let response = request.call().map_err(|error| {
            let may_pass = match &error {
                ureq::Error::StatusCode(code) => *code >= 500 || *code == 429 || *code == 408,
                ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => true,
                _ => false,
            };
            failed(error.to_string(), may_pass)
        })?;
        Ok(Box::new(response.into_body().into_reader()))
    }

    fn start(&self) -> (Agent, Netrc) {
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
        let config = Agent::config_builder()
            .tls_config(tls)
            .user_agent(concat!("anneal/", env!("CARGO_PKG_VERSION")))
            .max_redirects(MAX_REDIRECTS)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(FIRST_BYTE))
            .timeout_global(Some(self.patience))
            .build();
        (config.new_agent(), self.netrc.as_deref().map(Netrc::load).unwrap_or_default())
    }
}

fn failed(reason: String, may_pass: bool) -> Failed {
    Failed { why: Unavailable::new(reason), may_pass }
}

fn file_path(address: &str) -> Option<&Path> {
    let rest = address.strip_prefix("file:")?;
    Some(Path::new(rest.strip_prefix("//").unwrap_or(rest)))
}

/// The address without the login that may stand before its host.
fn without_login(address: &str) -> (String, Option<Login>) {
    let split = || {
        let (scheme, rest) = address.split_once("://")?;
        let authority = rest.split('/').next()?;
        let (login, host) = authority.rsplit_once('@')?;
        let (name, password) = login.split_once(':').unwrap_or((login, ""));
        let login = Login { name: name.to_owned(), password: password.to_owned() };
        Some((format!("{scheme}://{host}{}", rest.strip_prefix(authority)?), Some(login)))
    };
    split().unwrap_or_else(|| (address.to_owned(), None))
}

/// The address as it may be shown.
pub(crate) fn without_secret(address: &str) -> String {
    without_login(address).0
}

fn may_carry_login(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let this_machine =
        host == "localhost" || host == "[::1]" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme_str() == Some("https") || this_machine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_out_of_an_address() {
        let (address, login) = without_login("https://me:x@y@a.example/p@q");
        assert_eq!(address, "https://a.example/p@q");
        assert_eq!(login.map(|l| (l.name, l.password)), Some(("me".to_owned(), "x@y".to_owned())));
        assert_eq!(without_secret("https://a.example/p@q"), "https://a.example/p@q");
    }

    #[test]
    fn a_login_goes_over_tls_or_to_this_machine() {
        let may = |text: &str| may_carry_login(&text.parse().unwrap());
        assert!(may("https://a.example/") && may("http://127.0.0.1:8080/") && may("http://localhost/"));
        assert!(!may("http://a.example/") && !may("http://127.example/"));
    }

    #[test]
    fn a_file_address_names_a_path() {
        assert_eq!(file_path("file:///srv/m"), Some(Path::new("/srv/m")));
        assert_eq!(file_path("file:/srv/m"), Some(Path::new("/srv/m")));
        assert_eq!(file_path("https://a.example/"), None);
    }
}
