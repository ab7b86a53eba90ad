//! `anneal verify`: is this statement signed by that key, and about that image? Offline, and closed where in doubt.

use crate::{
    error::{Error, Result, io},
    output::{Output, printable},
};
use anneal_attest::{PredicateType, PublicKey, Statement, verify_bundle};
use anneal_content::BlobDigest;
use serde_json::json;
use std::{fmt::Write as _, path::PathBuf};

/// The largest bundle that is read; an SBOM's statement has a few megabytes.
const BUNDLE_BYTES_MAX: u64 = 64 << 20;

/// What to verify, and against what.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// A Sigstore bundle
    pub(crate) bundle: PathBuf,
    /// The public key that is trusted, SPKI in PEM; it must not come from where the bundle comes from
    #[arg(long, value_name = "PEM")]
    pub(crate) key: PathBuf,
    /// The image that the statement must be about
    #[arg(long, value_name = "SHA256")]
    pub(crate) digest: BlobDigest,
    /// What the statement must say: a predicate type, or spdx, provenance, test-result, approval, release
    #[arg(long = "type", value_name = "URI", value_parser = predicate_type)]
    pub(crate) kind: Option<PredicateType>,
}

/// Performs the command.
pub(crate) fn run(args: &VerifyArgs, output: &Output) -> Result<()> {
    let pem = std::fs::read_to_string(&args.key).map_err(io("read", &args.key))?;
    let key = PublicKey::from_pem(&pem).map_err(|e| Error::Input(format!("{}: {e}", args.key.display())))?;
    let size = std::fs::metadata(&args.bundle).map_err(io("read", &args.bundle))?.len();
    if size > BUNDLE_BYTES_MAX {
        let bundle = args.bundle.display();
        return Err(Error::Input(format!("{bundle} has {size} bytes; a bundle has at most {BUNDLE_BYTES_MAX}")));
    }
    let bytes = std::fs::read(&args.bundle).map_err(io("read", &args.bundle))?;
    let statement = verified(&bytes, &key, args.kind, &args.digest)
        .map_err(|e| Error::No(format!("{} is not verified: {}", args.bundle.display(), Error::from(e).chain())))?;
    let (kind, signer) = (statement.predicate.predicate_type(), key.id());
    let subjects: Vec<_> = statement.subjects.iter().map(|s| json!({ "name": s.name, "digest": s.digest })).collect();
    let text = || {
        let mut text = format!("verified: {kind}\n");
        for subject in &statement.subjects {
            let _ = writeln!(text, "  about  {} {}", subject.digest, subject.name);
        }
        let _ = writeln!(text, "  signed by key {signer}, as a {} key may", kind.role());
        printable(&text)
    };
    let value = json!({ "verified": true, "type": kind.uri(), "subjects": subjects, "signer": signer.hex() });
    output.result(text, &value)
}

/// Verifies a statement of the wanted type, or of whichever type it has.
fn verified(
    bytes: &[u8],
    key: &PublicKey,
    wanted: Option<PredicateType>,
    digest: &BlobDigest,
) -> std::result::Result<Statement, anneal_attest::Error> {
    if let Some(kind) = wanted {
        return verify_bundle(bytes, key, kind, digest);
    }
    let mut said = None;
    for kind in PredicateType::ALL {
        match verify_bundle(bytes, key, kind, digest) {
            Ok(statement) => return Ok(statement),
            // Another type is tried next; what any other error says holds for all of them.
            Err(error @ anneal_attest::Error::Unexpected { field: "predicateType", .. }) => {
                said.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(said.unwrap_or(anneal_attest::Error::UnknownPredicateType { found: "nothing".into() }))
}

/// A predicate type by its address or by its short name.
fn predicate_type(text: &str) -> std::result::Result<PredicateType, String> {
    match text {
        "spdx" => Ok(PredicateType::Spdx),
        "provenance" => Ok(PredicateType::Provenance),
        "test-result" => Ok(PredicateType::TestResult),
        "approval" => Ok(PredicateType::Approval),
        "release" => Ok(PredicateType::CosignSign),
        uri => uri.parse().map_err(|e: anneal_attest::Error| e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_attest::{Predicate, Role, SecretKey, sign_statement};

    fn bundle() -> (Vec<u8>, PublicKey, BlobDigest) {
        let key = SecretKey::generate(Role::Release, &mut getrandom::SysRng).unwrap();
        let digest = BlobDigest::of(b"image");
        let statement = Statement::about("nginx", digest, Predicate::CosignSign);
        let bytes = sign_statement(&statement, &key).unwrap().json().to_vec();
        (bytes, key.public().clone(), digest)
    }

    #[test]
    fn a_statement_is_verified_whether_or_not_its_type_is_named() {
        let (bytes, key, digest) = bundle();
        assert!(verified(&bytes, &key, None, &digest).is_ok());
        assert!(verified(&bytes, &key, Some(PredicateType::CosignSign), &digest).is_ok());
    }

    #[test]
    fn another_type_another_key_and_another_image_are_refused() {
        let (bytes, key, digest) = bundle();
        let (_, stranger, _) = bundle();
        assert!(verified(&bytes, &key, Some(PredicateType::Approval), &digest).is_err());
        assert!(verified(&bytes, &stranger, None, &digest).is_err());
        let other = verified(&bytes, &key, None, &BlobDigest::of(b"other")).unwrap_err();
        assert!(matches!(other, anneal_attest::Error::Subject { .. }), "{other}");
    }

    #[test]
    fn a_predicate_type_has_a_short_name() {
        assert_eq!(predicate_type("release"), predicate_type("https://sigstore.dev/cosign/sign/v1"));
        assert!(predicate_type("vibes").is_err());
    }
}
