//! `anneal verify`: is this statement signed by that key, and about that image? Offline, and closed where in doubt.

use crate::{
    error::{Error, Result, io},
    keys::read_public,
    output::{Output, printable},
};
use anneal_attest::{Predicate, PredicateType, PublicKey, Statement, verify_bundle};
use anneal_builder::CONFIRMED_PARAMETERS;
use anneal_content::BlobDigest;
use serde_json::json;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

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
    /// Provenance by somebody who built the image again (`anneal image reproduce --confirm`): only where the bundle is
    /// provenance of the same is the image called reproduced
    #[arg(long, value_name = "BUNDLE", requires = "independent")]
    pub(crate) confirmation: Option<PathBuf>,
    /// The build key of that somebody, whom you know to be another operator than the one of `--key`: nothing here can tell
    #[arg(long, value_name = "PEM", requires = "confirmation")]
    pub(crate) independent: Option<PathBuf>,
}

/// Performs the command.
pub(crate) fn run(args: &VerifyArgs, output: &Output) -> Result<()> {
    let key = read_public(&args.key)?;
    let bytes = read(&args.bundle)?;
    let not_verified = |path: &Path, e: anneal_attest::Error| {
        Error::No(format!("{} is not verified: {}", path.display(), Error::from(e).chain()))
    };
    let statement = verified(&bytes, &key, args.kind, &args.digest).map_err(|e| not_verified(&args.bundle, e))?;
    let mut reproduced = None;
    if let (Some(path), Some(independent)) = (&args.confirmation, &args.independent) {
        let theirs = read_public(independent)?;
        let confirmation = verify_bundle(&read(path)?, &theirs, PredicateType::Provenance, &args.digest);
        let confirmation = confirmation.map_err(|e| not_verified(path, e))?;
        is_reproduced((&statement, &key), (&confirmation, &theirs))
            .map_err(|why| Error::No(format!("not reproduced: {why}")))?;
        reproduced = Some(theirs.id());
    }
    let (kind, signer) = (statement.predicate.predicate_type(), key.id());
    let subjects: Vec<_> = statement.subjects.iter().map(|s| json!({ "name": s.name, "digest": s.digest })).collect();
    let text = || {
        let mut text = format!("verified: {kind}\n");
        for subject in &statement.subjects {
            let _ = writeln!(text, "  about  {} {}", subject.digest, subject.name);
        }
        let _ = writeln!(text, "  signed by key {signer}, as a {} key may", kind.role());
        if let Some(theirs) = &reproduced {
            let _ = writeln!(
                text,
                "REPRODUCED: key {theirs}, of an operator whom you call independent, built the same and got this digest"
            );
        }
        printable(&text)
    };
    let value = json!({
        "verified": true, "type": kind.uri(), "subjects": subjects, "signer": signer.hex(),
        "reproduced_by": reproduced.map(|key| key.hex()),
    });
    output.result(text, &value)
}

fn read(bundle: &Path) -> Result<Vec<u8>> {
    let size = std::fs::metadata(bundle).map_err(io("read", bundle))?.len();
    if size > BUNDLE_BYTES_MAX {
        let bundle = bundle.display();
        return Err(Error::Input(format!("{bundle} has {size} bytes; a bundle has at most {BUNDLE_BYTES_MAX}")));
    }
    std::fs::read(bundle).map_err(io("read", bundle))
}

/// Holds two verified statements about one image against each other: provenance by two keys, of the same thing.
fn is_reproduced(
    (first, key): (&Statement, &PublicKey),
    (second, theirs): (&Statement, &PublicKey),
) -> std::result::Result<(), String> {
    if key.id() == theirs.id() {
        return Err(format!("both were signed by key {}, and who builds twice is not two", key.id()));
    }
    let (Predicate::Provenance(first), Predicate::Provenance(second)) = (&first.predicate, &second.predicate) else {
        return Err("the bundle is no provenance".to_owned());
    };
    let (ours, theirs) = (&first.build_definition, &second.build_definition);
    let asked = [&ours.external_parameters, &theirs.external_parameters].map(|asked| (&asked.image, &asked.platform));
    if asked[0] != asked[1] || ours.build_type != theirs.build_type {
        return Err("the two are provenance of different things".to_owned());
    }
    for name in CONFIRMED_PARAMETERS {
        if ours.internal_parameters.get(*name) != theirs.internal_parameters.get(*name) {
            return Err(format!("`{name}` is another one in the confirmation"));
        }
    }
    Ok(())
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
