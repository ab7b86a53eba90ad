//! What can go wrong with a bucket. A message names the bucket and never what a request was signed with.

use super::BucketPlace;
use crate::Error;

/// Why a bucket did not do what was asked, or may not be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {wrong}; {next}")]
pub struct BucketFault {
    place: String,
    wrong: String,
    next: &'static str,
    is_sure: bool,
}

/// What is wrong with a bucket, and what to do about it.
pub(super) struct Unfit {
    pub(super) wrong: String,
    pub(super) next: &'static str,
}

impl BucketFault {
    /// Whether the bucket, or what is said about it, must be changed: asking again gives the same.
    pub const fn is_sure(&self) -> bool {
        self.is_sure
    }

    /// A bucket that cannot be used as it is.
    pub(super) fn unfit(place: &BucketPlace, unfit: Unfit) -> Error {
        // an address may have a login in it, which is then what is wrong with it
        let place = match place.endpoint.rsplit_once('@') {
            None => place.to_string(),
            Some((_, host)) => BucketPlace { endpoint: host.to_owned(), ..place.clone() }.to_string(),
        };
        Error::Bucket(Box::new(Self { place, wrong: unfit.wrong, next: unfit.next, is_sure: true }))
    }

    /// A request that got no answer, or one that cannot be followed.
    pub(super) fn unanswered(place: &BucketPlace, doing: &str, found: &str) -> Error {
        let wrong = format!("cannot {doing}: {found}");
        let next = "check that the server runs and can be reached from here, then try again";
        Error::Bucket(Box::new(Self { place: place.to_string(), wrong, next, is_sure: false }))
    }

    /// A request that was refused, with the server's own word for why.
    pub(super) fn refused(place: &BucketPlace, doing: &str, status: u16, code: &str) -> Error {
        let said = if code.is_empty() { String::new() } else { format!(" {code}") };
        let wrong = format!("cannot {doing}: the server answered {status}{said}");
        let next = advice(status, code);
        let is_sure = status == 501 || !(status >= 500 || status == 429 || status == 409);
        Error::Bucket(Box::new(Self { place: place.to_string(), wrong, next, is_sure }))
    }
}

fn advice(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (_, "RequestTimeTooSkewed") => "set this machine's clock",
        (_, "NoSuchBucket") => "make the bucket, or name the right one",
        (_, "AuthorizationHeaderMalformed" | "PermanentRedirect" | "InvalidRegion") | (301 | 307, _) => {
            "name the bucket's own region and endpoint"
        }
        (_, "XAmzContentSHA256Mismatch" | "BadDigest") => "something between here and the server changes bytes",
        (401 | 403, _) => "check the credentials, and that they may read, write, list and delete in this bucket",
        (404, _) => "somebody else changes this bucket; find out who",
        (501, _) => "use a server that honours conditional writes",
        (507, _) => "make room on the server",
        (429 | 500.., _) => "try again when the server is well",
        _ => "check that the server speaks S3",
    }
}
