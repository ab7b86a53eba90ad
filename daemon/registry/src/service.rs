//! The router: one entry for `/v2/`, since the paths of the API cannot be told apart from their beginning.

use crate::{
    answer::{Answer, refusal},
    blob::{DOWNLOADS_MAX, blob},
    error::Error,
    list::{referrers, tags},
    manifest::manifest,
    route::{Target, target},
    served::{Repository, Served},
};
use anneal_content::ImageName;
use anneal_store::Store;
use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, response::Response},
    routing::any,
};
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// What a request is answered from.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) store: Arc<Store>,
    pub(crate) downloads: Arc<Semaphore>,
    served: watch::Receiver<Arc<Served>>,
}

impl Service {
    /// The snapshot of this moment. A request uses one throughout.
    pub(crate) fn served(&self) -> Arc<Served> {
        Arc::clone(&self.served.borrow())
    }
}

/// The repository of a request.
pub(crate) fn repository<'a>(served: &'a Served, name: &ImageName) -> Result<&'a Repository, Error> {
    served.repositories.get(name).ok_or_else(|| Error::UnknownName { name: name.to_string() })
}

/// The registry: reads blobs from `store`, and serves what the latest value of `served` names.
pub fn router(store: Arc<Store>, served: watch::Receiver<Arc<Served>>) -> Router {
    let service = Service { store, served, downloads: Arc::new(Semaphore::new(DOWNLOADS_MAX)) };
    Router::new()
        .route("/v2", any(answer))
        .route("/v2/", any(answer))
        .route("/v2/{*rest}", any(answer))
        .with_state(service)
}

async fn answer(State(service): State<Service>, method: Method, uri: Uri, headers: HeaderMap) -> Response<Body> {
    match respond(&service, &method, &uri, &headers).await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(%method, %uri, %error, "refused");
            refusal(&method, &error)
        }
    }
}

async fn respond(service: &Service, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Response<Body>, Error> {
    if method != Method::GET && method != Method::HEAD {
        return Err(Error::Method { method: method.to_string() });
    }
    match target(uri.path())? {
        Target::Base => Ok(Answer::new(StatusCode::OK).bytes(method, "application/json", b"{}".to_vec())),
        Target::Manifest { name, reference } => manifest(service, method, &name, &reference).await,
        Target::Blob { name, digest } => blob(service, method, headers, &name, &digest).await,
        Target::Tags { name } => tags(method, uri, &name, repository(&service.served(), &name)?),
        Target::Referrers { name, subject } => referrers(method, uri, repository(&service.served(), &name)?, &subject),
    }
}
