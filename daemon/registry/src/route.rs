//! What a path asks for.
//!
//! A name may hold slashes, so a path is read from its end. Only `%3A` is decoded: no name, tag or digest has another
//! character that needs an escape, and an escaped slash must not become one.

use crate::error::{Error, shown};
use anneal_content::{BlobDigest, ImageName, Tag};

/// A request's object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Base,
    Manifest { name: ImageName, reference: Reference },
    Blob { name: ImageName, digest: Digest },
    Tags { name: ImageName },
    Referrers { name: ImageName, subject: Digest },
}

/// A manifest by tag or by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    Tag(Tag),
    Digest(Digest),
}

/// A digest that a client may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Digest {
    Sha256(BlobDigest),
    /// A valid digest of an algorithm in which nothing is named here.
    Other(String),
}

/// Reads the path of a request.
pub(crate) fn target(path: &str) -> Result<Target, Error> {
    let path = path.replace("%3A", ":").replace("%3a", ":");
    let rest = match path.strip_prefix("/v2") {
        Some("" | "/") => return Ok(Target::Base),
        Some(rest) => rest.strip_prefix('/').ok_or(Error::Path)?,
        None => return Err(Error::Path),
    };
    let mut parts = rest.rsplitn(3, '/');
    let (last, kind, before) = (parts.next(), parts.next(), parts.next());
    let (Some(last), Some(kind), Some(before)) = (last, kind, before) else { return Err(Error::Path) };
    match (kind, last) {
        ("manifests", reference) => {
            Ok(Target::Manifest { name: name(before)?, reference: self::reference(reference)? })
        }
        ("blobs", digest) => Ok(Target::Blob { name: name(before)?, digest: self::digest(digest)? }),
        ("tags", "list") => Ok(Target::Tags { name: name(before)? }),
        ("referrers", digest) => Ok(Target::Referrers { name: name(before)?, subject: self::digest(digest)? }),
        _ => Err(Error::Path),
    }
}

fn name(text: &str) -> Result<ImageName, Error> {
    ImageName::new(text).map_err(|e| Error::Name { found: shown(text), reason: e.to_string() })
}

fn reference(text: &str) -> Result<Reference, Error> {
    if text.contains(':') {
        return digest(text).map(Reference::Digest);
    }
    Tag::new(text).map(Reference::Tag).map_err(|_| Error::Tag { found: shown(text) })
}

fn digest(text: &str) -> Result<Digest, Error> {
    if let Ok(digest) = text.parse() {
        return Ok(Digest::Sha256(digest));
    }
    let hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match text.split_once(':') {
        Some(("sha512", digits)) if digits.len() == 128 && hex(digits) => Ok(Digest::Other(text.to_owned())),
        _ => Err(Error::Digest { found: shown(text) }),
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sha256(digest) => digest.fmt(f),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ImageName {
        ImageName::new(text).unwrap()
    }

    #[test]
    fn a_name_may_hold_slashes_and_even_the_words_of_the_api() {
        let tag = || Reference::Tag(Tag::new("latest").unwrap());
        for repository in ["nginx", "team/a/nginx", "manifests/blobs/tags", "blobs"] {
            let found = target(&format!("/v2/{repository}/manifests/latest")).unwrap();
            assert_eq!(found, Target::Manifest { name: name(repository), reference: tag() });
        }
        assert_eq!(target("/v2/tags/tags/list").unwrap(), Target::Tags { name: name("tags") });
    }

    #[test]
    fn a_digest_may_be_written_with_an_escaped_colon_and_no_other_escape() {
        let digest = BlobDigest::of(b"x");
        for colon in [":", "%3A", "%3a"] {
            let found = target(&format!("/v2/nginx/blobs/sha256{colon}{}", digest.hex())).unwrap();
            assert_eq!(found, Target::Blob { name: name("nginx"), digest: Digest::Sha256(digest) });
        }
        assert!(target(&format!("/v2/team%2Fnginx/blobs/{digest}")).is_err());
        assert!(target(&format!("/v2/%6eginx/blobs/{digest}")).is_err());
    }

    #[test]
    fn what_is_not_well_formed_is_told_apart_from_what_is_not_there() {
        let code = |path: &str| target(path).unwrap_err().kind().1;
        assert_eq!(code("/v2/Nginx/manifests/latest"), "NAME_INVALID");
        assert_eq!(code("/v2/../manifests/latest"), "NAME_INVALID");
        assert_eq!(code("/v2/nginx/manifests/-x"), "MANIFEST_INVALID");
        assert_eq!(code("/v2/nginx/manifests/sha256:short"), "DIGEST_INVALID");
        assert_eq!(code(&format!("/v2/nginx/blobs/SHA256:{}", "0".repeat(64))), "DIGEST_INVALID");
        assert_eq!(code(&format!("/v2/nginx/blobs/sha256:{}", "A".repeat(64))), "DIGEST_INVALID");
        for path in ["/v2/_catalog", "/v2/nginx", "/v2/nginx/tags", "/v2/nginx/tags/list/", "/v3/", "/v2x/a/b"] {
            assert_eq!(code(path), "UNSUPPORTED", "{path}");
        }
        assert!(target(&format!("/v2/nginx/blobs/sha512:{}", "0".repeat(128))).is_ok());
    }
}
