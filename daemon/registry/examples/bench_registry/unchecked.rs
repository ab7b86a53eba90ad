//! The same server without a check: a file's bytes, in chunks of the same size, read one
//! ahead on threads for blocking work.

use anneal_content::BlobDigest;
use anneal_store::CHUNK_BYTES;
use axum::{Router, body::Body, extract::State, http::header, response::IntoResponse, routing::any};
use bytes::Bytes;
use futures_util::stream;
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};
use tokio::task::{JoinHandle, spawn_blocking};

/// Where a store has a blob's bytes (the crate's opening draws it).
pub(crate) fn file_of(store: &Path, digest: &BlobDigest) -> PathBuf {
    let hex = digest.hex();
    store.join("blobs/sha256").join(hex.get(..2).unwrap_or_default()).join(&hex)
}

pub(crate) fn router(blob: PathBuf) -> Router {
    Router::new().fallback(any(answer)).with_state(blob)
}

async fn answer(State(blob): State<PathBuf>) -> Result<impl IntoResponse, String> {
    let opened = spawn_blocking(move || {
        let file = File::open(blob)?;
        let length = file.metadata()?.len();
        Ok::<_, io::Error>((file, length))
    });
    let (file, length) = opened.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    let chunks = stream::try_unfold(ahead(file), |coming| async move {
        let step = coming.await.map_err(io::Error::other)??;
        Ok::<_, io::Error>(step.map(|(chunk, file)| (chunk, ahead(file))))
    });
    Ok(([(header::CONTENT_LENGTH, length.to_string())], Body::from_stream(chunks)))
}

/// Begins to read the next chunk, as the other server does.
fn ahead(mut file: File) -> JoinHandle<io::Result<Option<(Bytes, File)>>> {
    spawn_blocking(move || {
        let mut chunk = Vec::with_capacity(usize::try_from(CHUNK_BYTES).unwrap_or(usize::MAX));
        (&mut file).take(CHUNK_BYTES).read_to_end(&mut chunk)?;
        Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), file)))
    })
}
