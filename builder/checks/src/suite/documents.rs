//! The image's documents: manifest and configuration against OCI's rules and against the layers' own bytes.

use crate::catalogue::{Check, Look, Report, check};
use crate::verdict::Severity::{Block, Warn};
use crate::view::{OpenImage, View};
use anneal_content::BlobDigest;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) const CHECKS: &[Check] = &[
    check("OCI-01", Block, "manifest and config are as OCI wants them", Look::Image(valid)),
    check("OCI-05", Block, "every time in the documents is the source epoch", Look::Image(created)),
    check("OCI-06", Warn, "the manifest carries the usual annotations", Look::Image(annotations)),
    check("OCI-07", Warn, "no more layers than the budget", Look::Image(budget)),
    check("OCI-08", Block, "diff ids are the digests of the uncompressed layers", Look::Image(diff_ids)),
];

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPES: &[&str] = &[
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
];
const ANNOTATIONS: &[&str] = &["created", "licenses", "revision", "source", "title", "version"];
const ADVICE: &str = "assemble the image again";

fn valid(view: &View<'_>, image: &OpenImage<'_>, report: &mut Report) {
    let (manifest, config) = (&image.manifest, &image.config);
    let platform = &view.subject.platform;
    let layers = manifest.layers.len();
    let steps = config.history.iter().filter(|h| !h.empty_layer).count();
    let config_digest = BlobDigest::of(&image.image.config).to_string();
    let rows: [(&str, String, String); 9] = [
        ("manifest.schemaVersion", "2".into(), manifest.schema_version.to_string()),
        ("manifest.mediaType", MANIFEST_TYPE.into(), manifest.media_type.clone()),
        ("manifest.config.mediaType", CONFIG_TYPE.into(), manifest.config.media_type.clone()),
        ("manifest.config.digest", config_digest, manifest.config.digest.clone()),
        ("manifest.config.size", image.image.config.len().to_string(), manifest.config.size.to_string()),
        ("config.os", platform.os.clone(), config.os.clone()),
        ("config.architecture", platform.architecture.clone(), config.architecture.clone()),
        ("config.rootfs.type", "layers".into(), config.rootfs.kind.clone()),
        ("config.rootfs.diff_ids", format!("{layers} digests"), format!("{} digests", config.rootfs.diff_ids.len())),
    ];
    for (part, expected, found) in rows {
        report.saw();
        if expected != found {
            report.fail(view.part(part), expected, format!("{found:?}"), ADVICE);
        }
    }
    if layers == 0 {
        report.fail(view.part("manifest.layers"), "at least one layer", "none", ADVICE);
    }
    if !config.history.is_empty() && steps != layers {
        let expected = format!("{layers} steps that made a layer, or no history");
        report.fail(view.part("config.history"), expected, steps.to_string(), ADVICE);
    }
    for (number, layer) in image.layers.iter().enumerate() {
        report.saw();
        let part = |field: &str| view.part(&format!("manifest.layers[{number}].{field}"));
        let written = &layer.descriptor;
        if !LAYER_TYPES.contains(&written.media_type.as_str()) {
            report.fail(part("mediaType"), "a layer's media type", format!("{:?}", written.media_type), ADVICE);
        }
        match &layer.facts {
            Err(why) => report.fail(part("digest"), "a layer that can be read", why.clone(), ADVICE),
            Ok(facts) if facts.size != written.size => {
                report.fail(part("size"), facts.size.to_string(), written.size.to_string(), ADVICE);
            }
            Ok(_) => {}
        }
    }
}

fn created(view: &View<'_>, image: &OpenImage<'_>, report: &mut Report) {
    let mut times = vec![("config.created".to_owned(), image.config.created.as_deref())];
    if let Some(time) = image.manifest.annotations.get("org.opencontainers.image.created") {
        times.push(("manifest.annotations[org.opencontainers.image.created]".into(), Some(time)));
    }
    for (number, step) in image.config.history.iter().enumerate() {
        times.push((format!("config.history[{number}].created"), step.created.as_deref()));
    }
    let epoch = image.image.epoch_secs;
    let expected = i64::try_from(epoch)
        .ok()
        .and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{epoch} s since 1970"));
    for (part, written) in times {
        report.saw();
        let parsed = written.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let exact = parsed.is_some_and(|time| i128::from(epoch) * 1_000_000_000 == time.unix_timestamp_nanos());
        if !exact {
            let found = written.map_or("no time".to_owned(), |text| format!("{text:?}"));
            report.fail(
                view.part(&part),
                expected.clone(),
                found,
                "write the source epoch there, never the clock's time",
            );
        }
    }
}

fn annotations(view: &View<'_>, image: &OpenImage<'_>, report: &mut Report) {
    for name in ANNOTATIONS {
        report.saw();
        let key = format!("org.opencontainers.image.{name}");
        if image.manifest.annotations.get(&key).is_none_or(|value| value.trim().is_empty()) {
            report.fail(
                view.part(&format!("manifest.annotations[{key}]")),
                "a value",
                "none",
                "add it to the image recipe",
            );
        }
    }
}

fn budget(view: &View<'_>, image: &OpenImage<'_>, report: &mut Report) {
    report.saw();
    let (count, budget) = (image.manifest.layers.len(), image.image.layer_budget);
    if count > budget {
        report.fail(
            view.part("manifest.layers"),
            format!("at most {budget}"),
            count.to_string(),
            "let packages that change together share a layer, or raise `layer-budget`",
        );
    }
}

fn diff_ids(view: &View<'_>, image: &OpenImage<'_>, report: &mut Report) {
    for (number, layer) in image.layers.iter().enumerate() {
        report.saw();
        let object = view.part(&format!("config.rootfs.diff_ids[{number}]"));
        let found = image.config.rootfs.diff_ids.get(number).map_or("none", String::as_str);
        match &layer.facts {
            Ok(facts) if facts.diff_id.to_string() == found => {}
            Ok(facts) => report.fail(object, facts.diff_id.to_string(), found, ADVICE),
            Err(why) => report.fail(object, "a layer that can be read", why.clone(), ADVICE),
        }
    }
}
