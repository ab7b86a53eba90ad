//! AWS Signature Version 4: a request signed with a key that is made anew for each day, region and service.
//!
//! What is signed is the method, the path, the query, the headers given here (always the host, the time, and the
//! SHA-256 of the body) and nothing else. Pure; the time is an argument.

use super::credentials::Credentials;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// The SHA-256 of no bytes.
pub(super) const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What is signed.
pub(super) struct Unsigned<'a> {
    pub(super) method: &'a str,
    /// With every character as it goes over the wire.
    pub(super) path: &'a str,
    /// In canonical form, as [`query`] makes it.
    pub(super) query: &'a str,
    /// Names in lower case.
    pub(super) headers: BTreeMap<&'static str, String>,
    /// The SHA-256 of the body, in hexadecimal.
    pub(super) body: &'a str,
}

impl Unsigned<'_> {
    /// All headers that the request is to have, the signature among them. `stamp` is `20260102T030405Z`.
    pub(super) fn sign(
        mut self,
        credentials: &Credentials,
        region: &str,
        stamp: &str,
    ) -> BTreeMap<&'static str, String> {
        self.headers.insert("x-amz-date", stamp.to_owned());
        self.headers.insert("x-amz-content-sha256", self.body.to_owned());
        if let Some(token) = &credentials.token {
            self.headers.insert("x-amz-security-token", token.clone());
        }
        let names = self.headers.keys().copied().collect::<Vec<_>>().join(";");
        let lines: String = self.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let Self { method, path, query, body, .. } = &self;
        let request = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{body}");
        let day = stamp.get(..8).unwrap_or_default();
        let scope = format!("{day}/{region}/s3/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", sha256_hex(request.as_bytes()));
        let first = format!("AWS4{}", credentials.secret).into_bytes();
        let key = [day, region, "s3", "aws4_request"].iter().fold(first, |key, part| mac(&key, part));
        let signature = hex(&mac(&key, &text));
        let name = &credentials.key;
        let value = format!("AWS4-HMAC-SHA256 Credential={name}/{scope}, SignedHeaders={names}, Signature={signature}");
        self.headers.insert("authorization", value);
        self.headers
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // a key of any length is a good one, so there is nothing to report
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The SHA-256 of bytes, in hexadecimal.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A query in canonical form: sorted, and everything escaped that may be.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let mut pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    pairs.sort();
    pairs.join("&")
}

fn escape(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples with which the algorithm is documented.
    fn documented(host: &str, path: &str, query: &str, more: &[(&'static str, &str)]) -> String {
        let credentials = Credentials {
            key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            token: None,
        };
        let mut headers = BTreeMap::from([("host", host.to_owned())]);
        headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let request = Unsigned { method: "GET", path, query, headers, body: EMPTY_SHA256 };
        let signed = request.sign(&credentials, "us-east-1", "20130524T000000Z");
        signed["authorization"].rsplit_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn requests_are_signed_as_the_documented_examples_are() {
        let host = "examplebucket.s3.amazonaws.com";
        assert_eq!(
            documented(host, "/test.txt", "", &[("range", "bytes=0-9")]),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        assert_eq!(
            documented(host, "/", &query(&[("prefix", "J"), ("max-keys", "2")]), &[]),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
        assert_eq!(
            documented(host, "/", &query(&[("lifecycle", "")]), &[]),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
    }

    #[test]
    fn a_query_is_escaped_and_sorted() {
        assert_eq!(query(&[("b", "x/y z"), ("a", "ü~")]), "a=%C3%BC~&b=x%2Fy%20z");
    }
}
