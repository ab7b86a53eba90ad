//! Private keys and access tokens, told from mere mentions of them by their structure.
//!
//! A program that handles keys holds the line `-----BEGIN PRIVATE KEY-----`; a key is that line, base64 and the closing
//! line, and the base64 is DER or OpenSSH's own form. A token has its provider's prefix, length and alphabet, and its
//! checksum where the provider defines one. The secret itself is never kept.

use super::der;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

/// How long a PEM block may be, in bytes.
const PEM_BYTES_MAX: usize = 64 * 1024;

/// What sort of secret it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// A private key.
    PrivateKey,
    /// An access token of a provider.
    Token,
}

/// A secret in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Secret {
    /// Where it begins.
    pub offset: u64,
    /// What sort it is.
    pub kind: SecretKind,
    /// Its form, such as `PKCS#8 private key in DER`.
    pub form: String,
}

struct TokenForm {
    prefix: &'static str,
    name: &'static str,
    /// How many characters follow the prefix: at least and at most.
    length: (usize, usize),
    alphabet: fn(u8) -> bool,
    checksum: bool,
}

const fn base62(b: u8) -> bool {
    b.is_ascii_alphanumeric()
}
const fn url_safe(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}
const fn base32(b: u8) -> bool {
    b.is_ascii_uppercase() || (b >= b'2' && b <= b'7')
}
const fn lower_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b >= b'a' && b <= b'f')
}

const fn token(
    prefix: &'static str,
    name: &'static str,
    length: (usize, usize),
    alphabet: fn(u8) -> bool,
) -> TokenForm {
    TokenForm { prefix, name, length, alphabet, checksum: false }
}
const fn summed(prefix: &'static str, name: &'static str) -> TokenForm {
    TokenForm { prefix, name, length: (36, 36), alphabet: base62, checksum: true }
}

const TOKENS: &[TokenForm] = &[
    token("AKIA", "AWS access key id", (16, 16), base32),
    token("ASIA", "AWS temporary access key id", (16, 16), base32),
    summed("ghp_", "GitHub personal access token"),
    summed("gho_", "GitHub OAuth token"),
    summed("ghu_", "GitHub user token"),
    summed("ghs_", "GitHub server token"),
    summed("npm_", "npm access token"),
    token("github_pat_", "GitHub fine-grained token", (82, 82), url_safe),
    token("glpat-", "GitLab access token", (20, 20), url_safe),
    token("xoxb-", "Slack bot token", (40, 80), url_safe),
    token("xoxp-", "Slack user token", (40, 80), url_safe),
    token("AIza", "Google API key", (35, 35), url_safe),
    token("sk_live_", "Stripe secret key", (24, 99), base62),
    token("rk_live_", "Stripe restricted key", (24, 99), base62),
    token("pypi-AgEI", "Python package index token", (100, 250), url_safe),
    token("dop_v1_", "DigitalOcean token", (64, 64), lower_hex),
    token("hvs.", "Vault service token", (90, 120), url_safe),
];

const PEM_BEGIN: &str = "-----BEGIN ";
const OPENSSH_MAGIC: &str = "openssh-key-v1\0";
const AGE_KEY: &str = "AGE-SECRET-KEY-1";
const PUTTY_KEY: &str = "PuTTY-User-Key-File-";

/// What a search looks for; [`at_mark`] then decides.
pub(super) const MARKS: &[&str] = &[
    PEM_BEGIN,
    OPENSSH_MAGIC,
    AGE_KEY,
    PUTTY_KEY,
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "npm_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "AIza",
    "sk_live_",
    "rk_live_",
    "pypi-AgEI",
    "dop_v1_",
    "hvs.",
];

/// Every secret in a short text, such as an environment variable.
pub(crate) fn secrets_in(text: &str) -> Vec<Secret> {
    let bytes = text.as_bytes();
    let mut found: Vec<Secret> = MARKS
        .iter()
        .flat_map(|mark| text.match_indices(mark).filter_map(|(at, mark)| at_mark(bytes, at, mark)))
        .collect();
    found.sort();
    found
}

/// A file that is a key from its first byte to its last, in DER.
pub(super) fn in_whole_file(bytes: &[u8]) -> Vec<Secret> {
    let form = der::private_key_form(bytes);
    form.map(|form| key(0, form.to_owned() + " in DER")).into_iter().collect()
}

/// Whether what begins at a mark is a secret.
pub(super) fn at_mark(bytes: &[u8], at: usize, mark: &str) -> Option<Secret> {
    let tail = bytes.get(at..)?;
    match mark {
        PEM_BEGIN => pem(tail).map(|form| key(at, form)),
        // Inside a library the magic is a constant; in a key a cipher's name follows with its length.
        OPENSSH_MAGIC => {
            let rest = tail.get(OPENSSH_MAGIC.len()..)?;
            openssh(rest).then(|| key(at, "OpenSSH private key".into()))
        }
        AGE_KEY => {
            let rest = tail.get(AGE_KEY.len()..)?;
            let length = rest.iter().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).count();
            (length == 58).then(|| key(at, "age identity".into()))
        }
        PUTTY_KEY => {
            let text = tail.get(..tail.len().min(PEM_BYTES_MAX))?;
            let has = |needle: &[u8]| text.windows(needle.len()).any(|w| w == needle);
            (has(b"\nPrivate-Lines: ") || has(b"\r\nPrivate-Lines: ")).then(|| key(at, "PuTTY private key".into()))
        }
        prefix => token_at(bytes, at, prefix),
    }
}

fn key(at: usize, form: String) -> Secret {
    Secret { offset: at as u64, kind: SecretKind::PrivateKey, form }
}

/// The form of the private key in a PEM block, if it is one and whole.
fn pem(block: &[u8]) -> Option<String> {
    let block = block.get(..block.len().min(PEM_BYTES_MAX))?;
    let line_end = block.iter().position(|b| *b == b'\n')?;
    let first = std::str::from_utf8(block.get(..line_end)?).ok()?.trim_end();
    let label = first.strip_prefix(PEM_BEGIN)?.strip_suffix("-----")?;
    if !(label.ends_with("PRIVATE KEY") || label == "PGP PRIVATE KEY BLOCK") {
        return None;
    }
    let rest = block.get(line_end + 1..)?;
    let close = format!("-----END {label}-----");
    let end = rest.windows(close.len()).position(|w| w == close.as_bytes())?;
    let body = std::str::from_utf8(rest.get(..end)?).ok()?;
    let headed = body.lines().any(|l| l.contains(": "));
    let text: String =
        body.lines().map(str::trim).filter(|l| !l.contains(": ") && !l.starts_with('=')).flat_map(str::chars).collect();
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    let structured = match label {
        "OPENSSH PRIVATE KEY" => bytes.strip_prefix(OPENSSH_MAGIC.as_bytes()).is_some_and(openssh),
        "PGP PRIVATE KEY BLOCK" => bytes.first().is_some_and(|b| b & 0x80 != 0),
        // An encrypted key of the old form is ciphertext.
        _ if headed => bytes.len() >= 32,
        _ => der::is_one_sequence(&bytes),
    };
    structured.then(|| format!("{label} in PEM"))
}

/// What follows OpenSSH's magic: the name of a cipher and of a key derivation, each with its length.
fn openssh(rest: &[u8]) -> bool {
    let name = |at: usize| -> Option<usize> {
        let length = u32::from_be_bytes(rest.get(at..at + 4)?.try_into().ok()?) as usize;
        let text = rest.get(at + 4..at + 4 + length)?;
        ((1..=64).contains(&length) && text.iter().all(u8::is_ascii_graphic)).then_some(at + 4 + length)
    };
    name(0).and_then(name).is_some()
}

fn token_at(bytes: &[u8], at: usize, prefix: &str) -> Option<Secret> {
    let form = TOKENS.iter().find(|t| t.prefix == prefix)?;
    if at.checked_sub(1).and_then(|i| bytes.get(i)).is_some_and(|b| base62(*b) || *b == b'_') {
        return None;
    }
    let rest = bytes.get(at + prefix.len()..)?;
    let length = rest.iter().take(form.length.1 + 1).take_while(|b| (form.alphabet)(**b)).count();
    if !(form.length.0..=form.length.1).contains(&length) || rest.get(length).is_some_and(|b| base62(*b)) {
        return None;
    }
    let body = rest.get(..length)?;
    // Documentation says so in the token itself, and a run of one character is a placeholder.
    let placeholder = body.ends_with(b"EXAMPLE") || body.iter().all(|b| Some(b) == body.first());
    if placeholder || (form.checksum && !checksum_holds(body)) {
        return None;
    }
    Some(Secret { offset: at as u64, kind: SecretKind::Token, form: form.name.to_owned() })
}

/// The last six characters are the CRC-32 of those before them, in base 62.
fn checksum_holds(body: &[u8]) -> bool {
    let Some((text, sum)) = body.split_at_checked(body.len().saturating_sub(6)) else { return false };
    base62_of(crc32(text)) == sum
}

fn base62_of(mut value: u32) -> [u8; 6] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = [b'0'; 6];
    for place in text.iter_mut().rev() {
        *place = DIGITS.get((value % 62) as usize).copied().unwrap_or(b'0');
        value /= 62;
    }
    text
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
