//! Where a bucket is, as a human writes it, and how its objects are addressed: `ENDPOINT/BUCKET/PREFIX/KEY`.
//!
//! The bucket stands in the path and not in the host's name, which every server understands, so that no name must be
//! made for each bucket.

use super::fault::{BucketFault, Unfit};
use crate::Result;
use std::path::PathBuf;
use ureq::http::Uri;

/// The longest of each part.
const PART_MAX: usize = 255;

/// Where a bucket is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketPlace {
    /// The server: `https://HOST[:PORT]`, or `http://` where the network is trusted.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket.
    pub name: String,
    /// What all keys begin with; may be empty.
    pub prefix: String,
    /// The file with the credentials; without it they are in the environment.
    pub credentials: Option<PathBuf>,
}

impl std::fmt::Display for BucketPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        write!(f, "bucket {}{slash}{} at {}", self.name, self.prefix, self.endpoint)
    }
}

/// A place that was looked at.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) place: BucketPlace,
    pub(super) host: String,
    pub(super) is_loopback: bool,
    base: String,
    prefix: String,
}

impl Address {
    pub(super) fn new(place: &BucketPlace) -> Result<Self> {
        let unfit = |wrong: String, next| BucketFault::unfit(place, Unfit { wrong, next });
        let uri: Option<Uri> = place.endpoint.trim_end_matches('/').parse().ok();
        let parts = uri.as_ref().and_then(|uri| {
            let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme))?;
            let is_bare = uri.path() == "/" && uri.query().is_none();
            let authority = uri.authority().filter(|_| is_bare).map(|authority| authority.as_str())?;
            (!authority.contains('@')).then_some((scheme, authority, uri.host()?))
        });
        let Some((scheme, authority, host)) = parts else {
            return Err(unfit("the endpoint is no address of a server".to_owned(), "write https://HOST[:PORT]"));
        };
        let is_name = |text: &str, more: &str| {
            let good = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
            (1..=PART_MAX).contains(&text.len()) && text.chars().all(good)
        };
        if !is_name(&place.name, "-.") || place.name.starts_with('.') {
            return Err(unfit("the bucket's name is none".to_owned(), "use letters, digits, `-` and `.`"));
        }
        if !is_name(&place.region, "-") {
            return Err(unfit(
                "the region's name is none".to_owned(),
                "use letters, digits and `-`, such as us-east-1",
            ));
        }
        let prefix = place.prefix.trim_matches('/');
        let is_plain = |part: &str| is_name(part, "-._") && part != "." && part != "..";
        if !prefix.is_empty() && !prefix.split('/').all(is_plain) {
            return Err(unfit(
                "the prefix is no path".to_owned(),
                "use letters, digits, `-`, `.` and `_`, parted by `/`",
            ));
        }
        let is_loopback = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        Ok(Self {
            place: place.clone(),
            host: authority.to_owned(),
            is_loopback,
            base: format!("{scheme}://{authority}"),
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
        })
    }

    /// A key with the prefix before it.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The path of an object, or of the bucket where there is no key. All of its characters stand for themselves.
    pub(super) fn path(&self, key: &str) -> String {
        if key.is_empty() { format!("/{}", self.place.name) } else { format!("/{}/{key}", self.place.name) }
    }

    pub(super) fn url(&self, path: &str, query: &str) -> String {
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{path}{mark}{query}", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(endpoint: &str, name: &str, prefix: &str) -> BucketPlace {
        let (endpoint, name, prefix) = (endpoint.to_owned(), name.to_owned(), prefix.to_owned());
        BucketPlace { endpoint, region: "us-east-1".to_owned(), name, prefix, credentials: None }
    }

    #[test]
    fn a_key_lies_under_the_prefix_in_the_bucket() {
        let address = Address::new(&place("http://127.0.0.1:9000/", "blobs", "/prod/a/")).unwrap();
        let path = address.path(&address.key("STORE"));
        assert_eq!(address.url(&path, "x=1"), "http://127.0.0.1:9000/blobs/prod/a/STORE?x=1");
        assert_eq!((address.host.as_str(), address.is_loopback), ("127.0.0.1:9000", true));
        assert!(!Address::new(&place("https://s3.example", "blobs", "")).unwrap().is_loopback);
    }

    #[test]
    fn what_would_have_to_be_escaped_is_refused_and_so_is_a_login_in_the_address() {
        let endpoint = "https://s3.example";
        for (endpoint, name, prefix) in [
            ("s3.example", "blobs", ""),
            ("ftp://s3.example", "blobs", ""),
            ("https://me:secret@s3.example", "blobs", ""),
            ("https://s3.example/path", "blobs", ""),
            (endpoint, "", ""),
            (endpoint, "../other", ""),
            (endpoint, "blobs", "a b"),
            (endpoint, "blobs", "a/../b"),
        ] {
            let error = Address::new(&place(endpoint, name, prefix)).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
