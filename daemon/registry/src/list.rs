//! Lists: the tags of a repository, page by page, and what is attached to a manifest.

use crate::{
    answer::Answer,
    error::{Error, shown},
    route::Digest,
    served::Repository,
};
use anneal_content::{ImageName, Tag, canonical_json};
use anneal_oci::{Descriptor, ImageIndex, MediaType};
use axum::{
    body::Body,
    extract::Query,
    http::{Method, StatusCode, Uri, response::Response},
};
use std::collections::BTreeMap;

/// The most tags in one page.
pub const TAGS_PAGE_MAX: usize = 10_000;

#[derive(Debug, Default, serde::Deserialize)]
struct Page {
    n: Option<String>,
    last: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
struct Filter {
    #[serde(rename = "artifactType")]
    artifact_type: Option<String>,
}

fn query<T: serde::de::DeserializeOwned>(uri: &Uri) -> Result<T, Error> {
    Query::try_from_uri(uri).map(|Query(query)| query).map_err(|e| Error::Query { reason: shown(&e.body_text()) })
}

/// Tags without regard to case, as the specification orders them; the case decides between equals.
fn order(tag: &str) -> (String, &str) {
    (tag.to_ascii_lowercase(), tag)
}

/// A page of tags, and whether there are more.
fn page<'a>(repository: &'a Repository, limit: usize, last: Option<&str>) -> (Vec<&'a Tag>, bool) {
    let mut tags: Vec<&Tag> = repository.tags.keys().collect();
    tags.sort_by_cached_key(|tag| order(tag.as_str()));
    let from = last.map_or(0, |last| tags.partition_point(|tag| order(tag.as_str()) <= order(last)));
    let rest = tags.split_off(from);
    let more = rest.len() > limit;
    (rest.into_iter().take(limit).collect(), more)
}

/// The tags of a repository.
pub(crate) fn tags(
    method: &Method,
    uri: &Uri,
    name: &ImageName,
    repository: &Repository,
) -> Result<Response<Body>, Error> {
    let wanted: Page = query(uri)?;
    let limit = match &wanted.n {
        None => TAGS_PAGE_MAX,
        Some(n) => match n.parse::<u64>() {
            Ok(n) => usize::try_from(n).unwrap_or(usize::MAX).min(TAGS_PAGE_MAX),
            Err(_) => return Err(Error::Query { reason: format!("n is `{}`, expected a number", shown(n)) }),
        },
    };
    let (tags, more) = page(repository, limit, wanted.last.as_deref());
    let mut answer = Answer::new(StatusCode::OK);
    if let (true, Some(last)) = (more, tags.last()) {
        answer = answer.header("link", format!("</v2/{name}/tags/list?n={limit}&last={last}>; rel=\"next\""));
    }
    let body = serde_json::json!({ "name": name, "tags": tags });
    Ok(answer.bytes(method, "application/json", body.to_string().into_bytes()))
}

/// What is attached to a manifest, as one index: some clients read one page only, and compare the media type as text.
pub(crate) fn referrers(
    method: &Method,
    uri: &Uri,
    repository: &Repository,
    subject: &Digest,
) -> Result<Response<Body>, Error> {
    let filter: Filter = query(uri)?;
    // a media type has no space, so one can only be a `+` that was not escaped
    let wanted = filter.artifact_type.map(|kind| kind.replace(' ', "+")).filter(|kind| !kind.is_empty());
    let attached = match subject {
        Digest::Sha256(digest) => repository.referrers.get(digest).map(Vec::as_slice).unwrap_or_default(),
        Digest::Other(_) => &[],
    };
    let matches = |found: &&Descriptor| wanted.is_none() || found.artifact_type == wanted;
    let index = ImageIndex {
        schema_version: 2,
        media_type: MediaType::INDEX.to_owned(),
        manifests: attached.iter().filter(matches).cloned().collect(),
        annotations: BTreeMap::new(),
    };
    let body = canonical_json(&index).map_err(|e| Error::Encode { reason: e.to_string() })?;
    let mut answer = Answer::new(StatusCode::OK);
    if wanted.is_some() {
        answer = answer.header("oci-filters-applied", "artifactType");
    }
    Ok(answer.bytes(method, MediaType::INDEX, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_content::BlobDigest;

    fn repository(tags: &[&str]) -> Repository {
        let tags = tags.iter().map(|tag| (Tag::new(*tag).unwrap(), BlobDigest::of(b"x"))).collect();
        Repository { tags, ..Repository::default() }
    }

    #[test]
    fn pages_join_to_the_whole_list_in_order() {
        let repository = repository(&["b", "A", "a", "C", "1.2", "1.10", "latest"]);
        let whole: Vec<&str> = page(&repository, usize::MAX, None).0.iter().map(|tag| tag.as_str()).collect();
        assert_eq!(whole, ["1.10", "1.2", "A", "a", "b", "C", "latest"]);
        for size in 1..9 {
            let (mut seen, mut last): (Vec<String>, Option<String>) = (Vec::new(), None);
            loop {
                let (tags, more) = page(&repository, size, last.as_deref());
                seen.extend(tags.iter().map(ToString::to_string));
                last = seen.last().cloned();
                if !more {
                    break;
                }
                assert_eq!(tags.len(), size);
            }
            assert_eq!(seen, whole, "pages of {size}");
        }
    }

    #[test]
    fn a_last_tag_that_is_gone_continues_where_it_stood() {
        let repository = repository(&["a", "c", "d"]);
        let after = |last| page(&repository, 9, Some(last)).0.iter().map(|tag| tag.to_string()).collect::<Vec<_>>();
        assert_eq!(after("b"), ["c", "d"]);
        assert_eq!(after("c"), ["d"]);
        assert!(after("z").is_empty());
    }
}
