//! Believing a statement: signature first, then what it says, then whether that was expected. All of it offline.
//!
//! Everything fails closed: a field that is missing, unknown where that matters, or not as expected is an error.

use crate::{
    Approval, BUILD_TYPE_IMAGE, Binding, Error, KeyId, Predicate, PredicateType, Provenance, PublicKey, Result,
    Statement,
    bundle::{self, Unverified, check_approver},
    json::shown,
};
use anneal_content::{BlobDigest, CatalogDigest, ImageName};

/// Verifies that `key` signed a statement of this type about this digest, and gives the statement.
///
/// The key must come from outside the bundle: the bundle's hint decides nothing.
pub fn verify_bundle(
    bytes: &[u8],
    key: &PublicKey,
    predicate: PredicateType,
    subject: &BlobDigest,
) -> Result<Statement> {
    let statement = verify_signature(&bundle::read(bytes)?, key)?;
    expect_statement(statement, &key.id(), predicate, subject)
}

/// The statement in a bundle, if `key` signed it. Only then is the payload parsed.
pub(crate) fn verify_signature(bundle: &Unverified, key: &PublicKey) -> Result<Statement> {
    if !key.verifies(&bundle.signed_bytes(), &bundle.signature) {
        let id = key.id();
        let hint = (!bundle.hint.is_empty() && bundle.hint != id.hint()).then(|| shown(&bundle.hint));
        return Err(Error::Signature { key: id, hint });
    }
    Statement::from_json(&bundle.payload)
}

/// Holds a statement whose signature is good against what the caller asked for.
pub(crate) fn expect_statement(
    statement: Statement,
    signer: &KeyId,
    predicate: PredicateType,
    subject: &BlobDigest,
) -> Result<Statement> {
    let found = statement.predicate.predicate_type();
    if found != predicate {
        return Err(Error::Unexpected {
            what: "statement",
            field: "predicateType",
            expected: predicate.to_string(),
            found: found.to_string(),
        });
    }
    if !statement.is_about(subject) {
        return Err(Error::Subject { expected: *subject, found: statement.first_subjects() });
    }
    check_approver(&statement, signer)?;
    Ok(statement)
}

/// What a verifier expects of provenance; `None` expects nothing of that field.
#[derive(Debug, Clone)]
pub struct ExpectedProvenance<'a> {
    /// The builder that this key is trusted for.
    pub builder_id: &'a str,
    /// The image that was asked for.
    pub image: &'a ImageName,
    /// The platform that was asked for.
    pub platform: Option<&'a str>,
    /// The catalog revision that was asked for.
    pub catalog: Option<&'a CatalogDigest>,
}

/// Verifies provenance in the specification's order: signature, subject, type, builder, build type, parameters.
///
/// A parameter that this version does not know makes it fail.
pub fn verify_provenance(
    bytes: &[u8],
    key: &PublicKey,
    subject: &BlobDigest,
    expected: &ExpectedProvenance<'_>,
) -> Result<Provenance> {
    let statement = verify_bundle(bytes, key, PredicateType::Provenance, subject)?;
    let Predicate::Provenance(provenance) = statement.predicate else {
        return Err(not_this("provenance", PredicateType::Provenance, &statement.predicate));
    };
    let definition = &provenance.build_definition;
    let parameters = &definition.external_parameters;
    expect("provenance", "builder.id", expected.builder_id, &provenance.run_details.builder.id)?;
    expect("provenance", "buildType", BUILD_TYPE_IMAGE, &definition.build_type)?;
    expect("provenance", "externalParameters.image", expected.image.as_str(), parameters.image.as_str())?;
    if let Some(platform) = expected.platform {
        expect("provenance", "externalParameters.platform", platform, &parameters.platform)?;
    }
    if let Some(catalog) = expected.catalog {
        let found = parameters.catalog.to_string();
        expect("provenance", "externalParameters.catalog", &catalog.to_string(), &found)?;
    }
    Ok(*provenance)
}

/// Verifies a decision about exactly this candidate: the same digests throughout, signed by the key it names.
///
/// The caller reads whether it says yes or no.
pub fn verify_approval(bytes: &[u8], key: &PublicKey, candidate: &Binding) -> Result<Approval> {
    let statement = verify_bundle(bytes, key, PredicateType::Approval, &candidate.image)?;
    let Predicate::Approval(approval) = statement.predicate else {
        return Err(not_this("approval", PredicateType::Approval, &statement.predicate));
    };
    if approval.candidate != *candidate {
        let (field, expected, found) = first_difference(candidate, &approval.candidate);
        return Err(Error::Unexpected { what: "approval", field, expected, found });
    }
    Ok(*approval)
}

fn first_difference(expected: &Binding, found: &Binding) -> (&'static str, String, String) {
    let index = |binding: &Binding| binding.index.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
    let set = |set: &std::collections::BTreeSet<BlobDigest>| {
        set.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let fields = |b: &Binding| {
        [
            ("candidate.name", b.name.to_string()),
            ("candidate.image", b.image.to_string()),
            ("candidate.index", index(b)),
            ("candidate.checkResults", set(&b.check_results)),
            ("candidate.sboms", set(&b.sboms)),
            ("candidate.provenances", set(&b.provenances)),
            ("candidate.diff", b.diff.to_string()),
        ]
    };
    fields(expected)
        .into_iter()
        .zip(fields(found))
        .find(|(a, b)| a.1 != b.1)
        .map_or(("candidate", String::new(), String::new()), |((field, a), (_, b))| (field, a, b))
}

fn expect(what: &'static str, field: &'static str, expected: &str, found: &str) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Unexpected { what, field, expected: expected.to_owned(), found: shown(found) })
}

fn not_this(what: &'static str, expected: PredicateType, found: &Predicate) -> Error {
    let found = found.predicate_type().to_string();
    Error::Unexpected { what, field: "predicateType", expected: expected.to_string(), found }
}
