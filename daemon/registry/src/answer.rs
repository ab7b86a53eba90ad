//! Answers: the headers that every one has, and bodies whose length is always told.

use crate::error::Error;
use anneal_content::BlobDigest;
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, StatusCode, response::Response},
};

/// An answer that is being put together.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response<Body>,
}

impl Answer {
    /// An answer with the headers that all have.
    pub(crate) fn new(status: StatusCode) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        let answer = Self { response };
        // clients of Docker's time look for the first; the second keeps a browser from guessing at a blob
        answer.header("docker-distribution-api-version", "registry/2.0").header("x-content-type-options", "nosniff")
    }

    /// Adds a header. A value that no header may have is left out: none of ours comes from a client.
    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.response.headers_mut().insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Names the content.
    pub(crate) fn digest(self, digest: &BlobDigest) -> Self {
        self.header("docker-content-digest", digest.to_string()).header("etag", format!("\"{digest}\""))
    }

    /// A body of a known length; HEAD gets its headers alone.
    pub(crate) fn body(self, method: &Method, content_type: &str, length: u64, body: Body) -> Response<Body> {
        let mut answer = self.header("content-type", content_type).header("content-length", length.to_string());
        if method != Method::HEAD {
            *answer.response.body_mut() = body;
        }
        answer.response
    }

    /// A body that is at hand.
    pub(crate) fn bytes(self, method: &Method, content_type: &str, bytes: Vec<u8>) -> Response<Body> {
        let length = bytes.len() as u64;
        self.body(method, content_type, length, Body::from(bytes))
    }
}

/// The answer to a request that failed.
pub(crate) fn refusal(method: &Method, error: &Error) -> Response<Body> {
    let (status, code) = error.kind();
    let body = serde_json::json!({ "errors": [{ "code": code, "message": error.to_string(), "detail": null }] });
    let mut answer = Answer::new(status);
    match error {
        Error::Method { .. } => answer = answer.header("allow", "GET, HEAD"),
        Error::Range { size, .. } => answer = answer.header("content-range", format!("bytes */{size}")),
        Error::Busy { .. } => answer = answer.header("retry-after", "1"),
        _ => {}
    }
    answer.bytes(method, "application/json", body.to_string().into_bytes())
}
