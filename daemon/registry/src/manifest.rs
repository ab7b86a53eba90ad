//! Manifests and indexes by tag or digest, byte for byte.

use crate::{
    answer::Answer,
    blob::{size, unservable},
    error::Error,
    route::{Digest, Reference},
    service::{Service, repository},
};
use anneal_content::ImageName;
use anneal_oci::DOCUMENT_BYTES_MAX;
use axum::{
    body::Body,
    http::{Method, StatusCode, response::Response},
};
use std::sync::Arc;
use tokio::task::spawn_blocking;

pub(crate) async fn manifest(
    service: &Service,
    method: &Method,
    name: &ImageName,
    reference: &Reference,
) -> Result<Response<Body>, Error> {
    let unknown = || Error::UnknownManifest { name: name.to_string(), reference: reference.to_string() };
    let served = service.served();
    let repository = repository(&served, name)?;
    let digest = match reference {
        Reference::Tag(tag) => *repository.tags.get(tag).ok_or_else(unknown)?,
        Reference::Digest(Digest::Sha256(digest)) => *digest,
        Reference::Digest(Digest::Other(_)) => return Err(unknown()),
    };
    let media_type = repository.manifests.get(&digest).ok_or_else(unknown)?;
    let answer = Answer::new(StatusCode::OK).digest(&digest);
    if method == Method::HEAD {
        return Ok(answer.body(method, media_type, size(&service.store, digest).await?, Body::empty()));
    }
    let store = Arc::clone(&service.store);
    match spawn_blocking(move || store.read_blob(&digest, DOCUMENT_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(answer.bytes(method, media_type, bytes)),
        Ok(Err(error)) => Err(unservable(digest, error)),
        Err(error) => Err(unservable(digest, error)),
    }
}
