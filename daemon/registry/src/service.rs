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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Digest;
    use anneal_store::OpenMode;
    use std::collections::{BTreeMap, BTreeSet};

    #[tokio::test]
    async fn one_download_too_many_is_told_to_come_back_and_takes_no_slot() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), OpenMode::ReadWrite).unwrap());
        let digest = store.put_blob(&vec![7; 3 << 20]).unwrap();
        let name = ImageName::new("nginx").unwrap();
        let repository = Repository { blobs: BTreeSet::from([digest]), ..Repository::default() };
        let served = Served { repositories: BTreeMap::from([(name.clone(), repository)]) };
        let (_sender, receiver) = watch::channel(Arc::new(served));
        let service = Service { store, served: receiver, downloads: Arc::new(Semaphore::new(1)) };
        let ask = async |method| blob(&service, &method, &HeaderMap::new(), &name, &Digest::Sha256(digest)).await;
        let first = ask(Method::GET).await.unwrap();
        let refused = ask(Method::GET).await.unwrap_err();
        assert_eq!(refused.kind(), (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"));
        assert_eq!(refusal(&Method::GET, &refused).headers()["retry-after"], "1");
        assert!(ask(Method::HEAD).await.is_ok());
        drop(first);
        // the chunk that is being read ahead ends first
        let is_free = async || {
            while service.downloads.available_permits() != 1 {
                tokio::task::yield_now().await
            }
        };
        let free = || tokio::time::timeout(std::time::Duration::from_secs(10), is_free());
        free().await.unwrap();
        assert!(ask(Method::GET).await.is_ok());
        free().await.unwrap();
    }
}
