//! The SBOM against the image: the same files with the same digests, the same packages with the same versions.

use crate::catalogue::{Check, Look, Report, check};
use crate::root::NodeKind;
use crate::spdx::{Document, Purl};
use crate::verdict::Severity::{Block, Warn};
use crate::view::View;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) const CHECKS: &[Check] = &[
    check("BOM-01", Block, "the SBOM is valid SPDX 2.3", Look::Sbom(valid)),
    check("BOM-02", Block, "the SBOM has the minimum elements", Look::Sbom(minimum)),
    check("BOM-03", Block, "every package is in the SBOM with its version and a package URL", Look::Sbom(purls)),
    check("BOM-04", Block, "the SBOM's digests are those of the image's files", Look::Sbom(digests)),
    check("BOM-05", Block, "the SBOM lists the image's files, all of them and no others", Look::Sbom(files)),
    check("BOM-07", Warn, "every component has a valid licence", Look::Sbom(licences)),
];

const ADVICE: &str = "write the SBOM again from the image's contents";

fn is_empty(text: &str) -> bool {
    text.trim().is_empty() || text == "NOASSERTION"
}

fn valid(view: &View<'_>, sbom: &Document, report: &mut Report) {
    let rows = [
        ("spdxVersion", "SPDX-2.3", sbom.spdx_version.as_str()),
        ("dataLicense", "CC0-1.0", sbom.data_license.as_str()),
        ("SPDXID", "SPDXRef-DOCUMENT", sbom.id.as_str()),
    ];
    for (part, expected, found) in rows {
        report.saw();
        if expected != found {
            report.fail(view.part(&format!("SBOM.{part}")), expected, format!("{found:?}"), ADVICE);
        }
    }
    if sbom.document_namespace.is_empty() || sbom.document_namespace.contains('#') {
        let found = format!("{:?}", sbom.document_namespace);
        report.fail(view.part("SBOM.documentNamespace"), "a URI without a fragment", found, ADVICE);
    }
    if sbom.name.is_empty() {
        report.fail(view.part("SBOM.name"), "a name", "none", ADVICE);
    }
    let mut ids = BTreeSet::from([sbom.id.as_str()]);
    let elements =
        sbom.packages.iter().map(|p| (&p.id, &p.name)).chain(sbom.files.iter().map(|f| (&f.id, &f.file_name)));
    for (id, name) in elements {
        report.saw();
        let tail = id.strip_prefix("SPDXRef-").unwrap_or_default();
        if tail.is_empty() || !tail.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b)) {
            let expected = "SPDXRef- and letters, digits, `.` or `-`";
            report.fail(view.part(&format!("SBOM: {name}")), expected, format!("{id:?}"), ADVICE);
        }
        if !ids.insert(id) {
            report.fail(view.part(&format!("SBOM: {name}")), "each id once", format!("{id:?} twice"), ADVICE);
        }
        if name.is_empty() {
            report.fail(view.part(&format!("SBOM: {id}")), "a name", "none", ADVICE);
        }
    }
    for package in sbom.packages.iter().filter(|p| p.download_location.is_empty()) {
        report.fail(
            view.part(&format!("SBOM: {}", package.name)),
            "a downloadLocation, or NOASSERTION",
            "none",
            ADVICE,
        );
    }
    for file in sbom.files.iter().filter(|f| !f.checksums.iter().any(|c| c.algorithm == "SHA1")) {
        report.fail(
            view.part(&format!("SBOM: {}", file.file_name)),
            "a SHA1 checksum, which SPDX 2.3 demands",
            "none",
            ADVICE,
        );
    }
    for relation in &sbom.relationships {
        for end in [relation.spdx_element_id.as_str(), relation.related_spdx_element.as_str()] {
            let known = ids.contains(end) || end.starts_with("DocumentRef-") || ["NOASSERTION", "NONE"].contains(&end);
            if !known {
                report.fail(view.part("SBOM.relationships"), "an element of the document", format!("{end:?}"), ADVICE);
            }
        }
    }
}

fn minimum(view: &View<'_>, sbom: &Document, report: &mut Report) {
    report.saw();
    let epoch = view.subject.image.as_ref().map(|i| i.epoch_secs);
    let created = OffsetDateTime::parse(&sbom.creation_info.created, &Rfc3339).ok();
    let same = created.zip(epoch).is_some_and(|(time, epoch)| u64::try_from(time.unix_timestamp()) == Ok(epoch));
    if !same {
        let found = format!("{:?}", sbom.creation_info.created);
        report.fail(view.part("SBOM.creationInfo.created"), "the source epoch", found, ADVICE);
    }
    if sbom.creation_info.creators.iter().all(|c| is_empty(c)) {
        report.fail(view.part("SBOM.creationInfo.creators"), "an author", "none", ADVICE);
    }
    if !sbom.relationships.iter().any(|r| r.relationship_type == "DESCRIBES" || r.relationship_type == "DESCRIBED_BY") {
        report.fail(view.part("SBOM.relationships"), "what the document describes", "nothing", ADVICE);
    }
    let related: BTreeSet<&str> =
        sbom.relationships.iter().flat_map(|r| [r.spdx_element_id.as_str(), r.related_spdx_element.as_str()]).collect();
    for component in sbom.components() {
        report.saw();
        let has_id = component.purls().next().is_some();
        let rows = [
            (!is_empty(&component.name), "a name"),
            (!is_empty(&component.version_info), "a version"),
            // A stated unknown is a statement; a field that is left out is not.
            (!component.supplier.trim().is_empty(), "a supplier, or NOASSERTION"),
            (has_id, "a unique id (purl)"),
            (related.contains(component.id.as_str()), "a relationship"),
        ];
        for (_, expected) in rows.iter().filter(|(good, _)| !good) {
            report.fail(view.part(&format!("SBOM: {}", component.name)), *expected, "none", ADVICE);
        }
    }
}

fn purls(view: &View<'_>, sbom: &Document, report: &mut Report) {
    for component in sbom.components() {
        for written in component.purls() {
            report.saw();
            let object = view.part(&format!("SBOM: {}", component.name));
            match Purl::parse(written) {
                Err(why) => report.fail(object, "a package URL", format!("{written:?}: {why}"), ADVICE),
                Ok(purl) if purl.version.as_deref() != Some(&component.version_info) => {
                    let found = format!("{written:?}");
                    report.fail(
                        object,
                        format!("a package URL with version {}", component.version_info),
                        found,
                        ADVICE,
                    );
                }
                Ok(_) => {}
            }
        }
    }
    for package in &view.subject.packages {
        report.saw();
        let object = view.package(&package.name);
        let own = match Purl::parse(&package.purl) {
            Ok(purl) => purl,
            Err(why) => {
                let advice = "correct `[upstream] purl` in the recipe";
                report.fail(object, "a package URL in the recipe", format!("{:?}: {why}", package.purl), advice);
                continue;
            }
        };
        let Some(listed) = sbom.components().find(|c| c.name == package.name.as_str()) else {
            report.fail(object, "the package in the SBOM", "not listed", ADVICE);
            continue;
        };
        if listed.version_info != package.version.as_str() {
            report.fail(object.clone(), format!("version {}", package.version), listed.version_info.clone(), ADVICE);
        }
        let same = |p: &Purl| (&p.kind, &p.namespace, &p.name) == (&own.kind, &own.namespace, &own.name);
        if !listed.purls().filter_map(|text| Purl::parse(text).ok()).any(|purl| same(&purl)) {
            let found = listed.purls().collect::<Vec<_>>().join(", ");
            report.fail(object, format!("{}, as the recipe says", package.purl), found, ADVICE);
        }
    }
    let names: BTreeSet<&str> = view.subject.packages.iter().map(|p| p.name.as_str()).collect();
    for stranger in sbom.components().filter(|c| !names.contains(c.name.as_str())) {
        let object = view.part(&format!("SBOM: {}", stranger.name));
        report.fail(object, "only packages of the image", "not one of them", ADVICE);
    }
}

fn image_files<'a>(view: &View<'a>) -> BTreeMap<&'a str, String> {
    view.nodes()
        .filter_map(|(path, node)| match &node.kind {
            NodeKind::File { digest, .. } => Some((path, digest.hex())),
            _ => None,
        })
        .collect()
}

fn digests(view: &View<'_>, sbom: &Document, report: &mut Report) {
    let shipped = image_files(view);
    for listed in &sbom.files {
        let Some(expected) = shipped.get(listed.path()) else { continue };
        report.saw();
        let found = listed.sha256();
        if found.as_deref() != Some(expected) {
            let found = found.unwrap_or_else(|| "no SHA256".into());
            report.fail(view.path(listed.path()), expected.clone(), found, ADVICE);
        }
    }
}

fn files(view: &View<'_>, sbom: &Document, report: &mut Report) {
    let shipped = image_files(view);
    let mut listed = BTreeSet::new();
    for file in &sbom.files {
        report.saw();
        if !listed.insert(file.path()) {
            report.fail(view.path(file.path()), "each file once in the SBOM", "twice", ADVICE);
        }
        if !shipped.contains_key(file.path()) {
            report.fail(view.path(file.path()), "only files of the image in the SBOM", "not in the image", ADVICE);
        }
    }
    for path in shipped.keys() {
        report.saw();
        if !listed.contains(path) {
            report.fail(view.path(path), "every file of the image in the SBOM", "not listed", ADVICE);
        }
    }
}

fn licences(view: &View<'_>, sbom: &Document, report: &mut Report) {
    for component in sbom.components() {
        report.saw();
        let object = view.part(&format!("SBOM: {}", component.name));
        let written = [&component.license_concluded, &component.license_declared].into_iter().find(|l| !is_empty(l));
        match written {
            None => report.fail(object, "a licence", "none", "write it in the recipe"),
            Some(text) => {
                if let Err(error) = spdx::Expression::parse(text) {
                    let found = format!("{text:?}: {}", error.reason);
                    report.fail(object, "an SPDX licence expression", found, "write it in the recipe with SPDX ids");
                }
            }
        }
    }
}
