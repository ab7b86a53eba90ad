//! What the server answers: a status, a few headers, and a body that is content or a small XML document. Nothing in it
//! is believed without a limit.

use anneal_content::BlobDigest;
use std::io::Read as _;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use ureq::{
    Body, BodyReader,
    http::{HeaderMap, Response},
};

/// The longest word of a server that goes into a message.
const CODE_MAX: usize = 60;
/// How many parts of a document are read at most: a full page has some 9,000.
const NODES_MAX: u32 = 100_000;

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: HeaderMap,
    body: Body,
}

impl Answer {
    pub(super) fn new(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// First byte, last byte and whole size, of `Content-Range: bytes 0-9/100`.
    pub(super) fn range(&self) -> Option<(u64, u64, u64)> {
        let (range, size) = self.header("content-range")?.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?, size.parse().ok()?))
    }

    pub(super) fn text(self, limit: u64) -> std::io::Result<String> {
        let mut text = String::new();
        let count = self.body.into_reader().take(limit + 1).read_to_string(&mut text)?;
        if count as u64 > limit {
            return Err(std::io::Error::other(format!("an answer of more than {limit} bytes")));
        }
        Ok(text)
    }

    pub(super) fn into_reader(self) -> BodyReader<'static> {
        self.body.into_reader()
    }
}

fn parse<R>(text: &str, read: impl FnOnce(roxmltree::Node<'_, '_>) -> Option<R>) -> Option<R> {
    let options = roxmltree::ParsingOptions { nodes_limit: NODES_MAX, ..roxmltree::ParsingOptions::default() };
    let document = roxmltree::Document::parse_with_options(text, options).ok()?;
    read(document.root_element())
}

fn child<'a>(node: roxmltree::Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.children().find(|child| child.tag_name().name() == name)?.text()
}

/// The server's word for what is wrong; `None` where the document says no such thing.
pub(super) fn error_code(text: &str) -> Option<String> {
    parse(text, |root| {
        let code = child(root, "Code").filter(|_| root.tag_name().name() == "Error")?;
        Some(code.chars().filter(char::is_ascii_alphanumeric).take(CODE_MAX).collect())
    })
}

/// The name of an upload in parts that has begun.
pub(super) fn upload_id(text: &str) -> Option<String> {
    parse(text, |root| child(root, "UploadId").map(str::to_owned))
}

/// Uploads that have not ended: key and name of each.
pub(super) fn uploads(text: &str) -> Option<Vec<(String, String)>> {
    parse(text, |root| {
        let uploads = root.children().filter(|node| node.tag_name().name() == "Upload");
        uploads.map(|node| Some((child(node, "Key")?.to_owned(), child(node, "UploadId")?.to_owned()))).collect()
    })
}

/// An object as a listing shows it.
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) came_ms: u64,
}

impl Listed {
    /// The blob whose object this is; none where it is named otherwise.
    pub(super) fn digest(&self) -> Option<BlobDigest> {
        format!("sha256:{}", self.key.rsplit_once('/')?.1).parse().ok()
    }
}

/// A page of a listing, and whether there are more.
pub(super) fn page(text: &str) -> Option<(Vec<Listed>, bool)> {
    parse(text, |root| {
        if root.tag_name().name() != "ListBucketResult" {
            return None;
        }
        let contents = root.children().filter(|node| node.tag_name().name() == "Contents");
        let listed = contents.map(|node| {
            let came = OffsetDateTime::parse(child(node, "LastModified")?, &Rfc3339).ok()?;
            let came_ms = u64::try_from(came.unix_timestamp_nanos() / 1_000_000).ok()?;
            Some(Listed { key: child(node, "Key")?.to_owned(), size: child(node, "Size")?.parse().ok()?, came_ms })
        });
        Some((listed.collect::<Option<Vec<_>>>()?, child(root, "IsTruncated") == Some("true")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_whole_or_not_at_all() {
        let object = |key: &str, time: &str| {
            format!("<Contents><Key>{key}</Key><LastModified>{time}</LastModified><Size>3</Size></Contents>")
        };
        let hex = "ab".repeat(32);
        let whole = |objects: &str| {
            format!("<ListBucketResult xmlns=\"urn:x\"><IsTruncated>true</IsTruncated>{objects}</ListBucketResult>")
        };
        let good = object(&format!("a/{hex}"), "1970-01-01T00:00:01.500Z");
        let (listed, is_more) = page(&whole(&good)).unwrap();
        assert!(is_more);
        assert_eq!((listed[0].came_ms, listed[0].size), (1500, 3));
        assert_eq!(listed[0].digest().unwrap().hex(), hex);
        assert!(page(&whole(&(good + &object("b", "yesterday")))).is_none());
        assert!(page("<html/>").is_none() && page("").is_none());
    }

    #[test]
    fn what_a_server_says_is_cut_to_a_word() {
        let text = format!("<Error><Code>Slow Down{}\u{1b}</Code></Error>", "x".repeat(100));
        assert_eq!(error_code(&text.replace('\u{1b}', "!")).map(|code| code.len()), Some(CODE_MAX));
        assert_eq!(error_code("<Ok><Code>NoSuchKey</Code></Ok>"), None);
        let id =
            upload_id("<InitiateMultipartUploadResult><UploadId>a&amp;b</UploadId></InitiateMultipartUploadResult>");
        assert_eq!(id.as_deref(), Some("a&b"));
    }
}
