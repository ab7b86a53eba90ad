//! Blobs, streamed from the store in checked chunks.
//!
//! Each chunk is read and checked on a thread for blocking work while the connection sends the one before, no further
//! ahead. A client that reads slowly holds memory for a few chunks, and no thread.

use crate::{
    answer::Answer,
    error::Error,
    range::{Part, part},
    route::Digest,
    service::{Service, repository},
};
use anneal_content::{BlobDigest, ImageName};
use anneal_store::{BlobReader, Store};
use axum::{
    body::Body,
    http::{HeaderMap, Method, StatusCode, header, response::Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use std::{io, sync::Arc};
use tokio::{
    sync::{OwnedSemaphorePermit, TryAcquireError},
    task::{JoinHandle, spawn_blocking},
};

/// The most blobs that are sent at a time; each takes up to 3 MiB of memory.
pub const DOWNLOADS_MAX: usize = 256;

/// A blob that is being sent.
struct Download {
    reader: BlobReader,
    _slot: OwnedSemaphorePermit,
}

pub(crate) async fn blob(
    service: &Service,
    method: &Method,
    headers: &HeaderMap,
    name: &ImageName,
    digest: &Digest,
) -> Result<Response<Body>, Error> {
    let unknown = || Error::UnknownBlob { name: name.to_string(), digest: digest.to_string() };
    let Digest::Sha256(digest) = digest else { return Err(unknown()) };
    let digest = *digest;
    let served = service.served();
    if !repository(&served, name)?.holds(&digest) {
        return Err(unknown());
    }
    let size = size(&service.store, digest).await?;
    let answer = |status| Answer::new(status).digest(&digest).header("accept-ranges", "bytes");
    let kind = "application/octet-stream";
    if method == Method::HEAD {
        return Ok(answer(StatusCode::OK).body(method, kind, size, Body::empty()));
    }
    let (status, first, length, range) = match part(wanted(headers, &digest), size) {
        Part::Whole => (StatusCode::OK, 0, size, None),
        Part::Range { first, last } => {
            (StatusCode::PARTIAL_CONTENT, first, last - first + 1, Some(format!("bytes {first}-{last}/{size}")))
        }
        Part::Unsatisfiable => return Err(Error::Range { digest, size }),
    };
    let slot = Arc::clone(&service.downloads).try_acquire_owned().map_err(|e| match e {
        TryAcquireError::NoPermits | TryAcquireError::Closed => Error::Busy { limit: DOWNLOADS_MAX },
    })?;
    let body = open(Arc::clone(&service.store), digest, first, length, slot).await?;
    let mut answer = answer(status);
    if let Some(range) = range {
        answer = answer.header("content-range", range);
    }
    Ok(answer.body(method, kind, length, body))
}

/// The `Range` header, unless an `If-Range` names other content.
fn wanted<'a>(headers: &'a HeaderMap, digest: &BlobDigest) -> Option<&'a str> {
    let range = headers.get(header::RANGE)?.to_str().ok()?;
    match headers.get(header::IF_RANGE) {
        Some(tag) if tag.as_bytes() != format!("\"{digest}\"").as_bytes() => None,
        _ => Some(range),
    }
}

/// The size of a blob that is served, and so must be in the store.
pub(crate) async fn size(store: &Arc<Store>, digest: BlobDigest) -> Result<u64, Error> {
    let store = Arc::clone(store);
    let found = spawn_blocking(move || store.size(&digest)).await;
    match found {
        Ok(Ok(Some(size))) => Ok(size),
        Ok(Ok(None)) => Err(unservable(digest, "it is served but not in the store")),
        Ok(Err(error)) => Err(unservable(digest, error)),
        Err(error) => Err(unservable(digest, error)),
    }
}

/// Logs why a blob cannot leave, and makes the client's error.
pub(crate) fn unservable(digest: BlobDigest, reason: impl std::fmt::Display) -> Error {
    tracing::error!(%digest, %reason, "cannot serve a blob");
    Error::Unservable { digest }
}

/// A body of a range of a blob. The first chunk is read here, so that damage in it is still a 500.
async fn open(
    store: Arc<Store>,
    digest: BlobDigest,
    first: u64,
    length: u64,
    slot: OwnedSemaphorePermit,
) -> Result<Body, Error> {
    let begun = spawn_blocking(move || {
        let reader = store.open_range(&digest, first, length)?;
        next(Download { reader, _slot: slot })
    });
    let (chunk, download) = match begun.await {
        Ok(Ok(Some(begun))) => begun,
        Ok(Ok(None)) => return Ok(Body::empty()),
        Ok(Err(error)) => return Err(unservable(digest, error)),
        Err(error) => return Err(unservable(digest, error)),
    };
    let rest = stream::try_unfold(ahead(download), move |coming| async move {
        match coming.await {
            Ok(Ok(Some((chunk, download)))) => Ok(Some((chunk, ahead(download)))),
            Ok(Ok(None)) => Ok(None),
            // an error in the stream makes the server close the connection short of the length it promised
            Ok(Err(error)) => Err(broken(digest, error)),
            Err(error) => Err(broken(digest, error)),
        }
    });
    Ok(Body::from_stream(stream::once(async { Ok::<_, io::Error>(chunk) }).chain(rest)))
}

/// A chunk with what comes after it; `None` at the end.
type Step = anneal_store::Result<Option<(Bytes, Download)>>;

/// Begins to read the next chunk.
fn ahead(download: Download) -> JoinHandle<Step> {
    spawn_blocking(move || next(download))
}

fn next(mut download: Download) -> Step {
    let chunk = download.reader.take_chunk()?.map(Bytes::from);
    Ok(chunk.map(|chunk| (chunk, download)))
}

fn broken(digest: BlobDigest, reason: impl std::fmt::Display) -> io::Error {
    tracing::error!(%digest, %reason, "a download is broken off");
    io::Error::other(format!("blob {digest} cannot be sent to its end"))
}
