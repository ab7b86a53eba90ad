//! The `org.opencontainers.image.*` annotations of an image.

use crate::{Error, document::shown};
use anneal_content::BlobDigest;
use std::collections::BTreeMap;

/// What is known about an image, for its annotations. Empty values are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its name for people.
    pub title: Option<String>,
    /// One sentence about it.
    pub description: Option<String>,
    /// The version of what it packages.
    pub version: Option<String>,
    /// What it was made from: the digest of the catalog.
    pub revision: Option<String>,
    /// The licences of what is in it, as an SPDX expression.
    pub licenses: Option<String>,
    /// Where to read about it.
    pub url: Option<String>,
    /// Where its recipes are.
    pub source: Option<String>,
    /// Who distributes it.
    pub vendor: Option<String>,
    /// The source epoch, in seconds since 1970.
    pub created_secs: Option<u64>,
    /// The image it is based on.
    pub base: Option<(String, BlobDigest)>,
}

impl ImageFacts {
    /// The annotations, sorted by key.
    pub fn annotations(&self) -> Result<BTreeMap<String, String>, Error> {
        let created = self.created_secs.map(rfc3339).transpose()?;
        let (base_name, base_digest) = match &self.base {
            Some((name, digest)) => (Some(name.clone()), Some(digest.to_string())),
            None => (None, None),
        };
        let pairs = [
            ("title", &self.title),
            ("description", &self.description),
            ("version", &self.version),
            ("revision", &self.revision),
            ("licenses", &self.licenses),
            ("url", &self.url),
            ("source", &self.source),
            ("vendor", &self.vendor),
            ("created", &created),
            ("base.name", &base_name),
            ("base.digest", &base_digest),
        ];
        let given = pairs.into_iter().filter_map(|(key, value)| Some((key, value.as_ref().filter(|v| !v.is_empty())?)));
        Ok(given.map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.clone())).collect())
    }
}

/// A time as OCI writes it, such as `2017-01-15T00:00:00Z`.
pub fn rfc3339(epoch_secs: u64) -> Result<String, Error> {
    use time::{OffsetDateTime, format_description::well_known::Rfc3339};
    let wrong = || Error::Value {
        field: "time in seconds since 1970",
        expected: "a time before the year 10000",
        found: shown(&epoch_secs.to_string()),
    };
    let secs = i64::try_from(epoch_secs).map_err(|_| wrong())?;
    let time = OffsetDateTime::from_unix_timestamp(secs).map_err(|_| wrong())?;
    time.format(&Rfc3339).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_that_is_not_known_leaves_no_annotation() {
        let facts = ImageFacts {
            title: Some("nginx".into()),
            vendor: Some(String::new()),
            created_secs: Some(1_484_438_400),
            ..ImageFacts::default()
        };
        let annotations = facts.annotations().unwrap();
        let expected =
            [("org.opencontainers.image.created", "2017-01-15T00:00:00Z"), ("org.opencontainers.image.title", "nginx")];
        assert_eq!(annotations, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn a_time_after_the_year_9999_is_refused() {
        assert!(rfc3339(253_402_300_799).is_ok());
        assert!(rfc3339(253_402_300_800).is_err());
        assert!(rfc3339(u64::MAX).is_err());
    }
}
