//! The two doors: a Unix socket of mode 0600 through which changes come, and loopback HTTP that only reads.
//!
//! ```text
//! socket  GET  /v1/state, /v1/progress?after=N, /v1/blob/DIGEST, /v1/overview, /v1/events?from=SEQ, /v1/cases/ID/patch
//!         GET  /v1/store/why/DIGEST, /v1/journal?from=SEQ, /v1/log/head
//!         POST /v1/store/collect, /v1/store/backup, /v1/store/import, /v1/store/pins, /v1/store/pins/DIGEST/remove
//!         POST /v1/trials, /v1/trials/goal
//!         POST /v1/advisories, /v1/approvers, /v1/approvers/KEY/revoke, /v1/candidates/ID/decision, /v1/catalog/reload,
//!              /v1/catalog/changed
//! HTTP    GET  /v2/... (the registry), /healthz, /metrics
//! ```

use crate::{
    backup::{self, BackedUp},
    error::{Error, Result, io},
    metrics,
    oci_layout::{self, Imported, TrustedKeys},
    patch::patch_of,
    retention::{self, Collected, Why},
    service::Service,
    tasks,
};
use anneal_api::{
    ApproverRequest, BackupRequest, CollectRequest, Failure, ImportAnswer, LayoutRequest, Overview, PinRequest,
    RevokeRequest, TrialGoal, TrialRequest,
};
use anneal_attest::{PublicKey, verify_approval};
use anneal_builder::{ChangedDirectory, TrialReport};
use anneal_content::{BlobDigest, PackageName};
use anneal_ledger::{CandidateId, Decision, Event};
use anneal_store::Pin;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc, time::Duration};
use tokio::net::{TcpListener, UnixListener};

/// The largest request: an OSV record.
const BODY_BYTES_MAX: usize = 8 << 20;
/// The largest blob that the socket hands out whole: logs and reports.
const BLOB_BYTES_MAX: u64 = 64 << 20;
/// How many events one answer has.
const EVENTS_MAX: usize = 10_000;
/// How long a request for progress waits.
const PROGRESS_PATIENCE: Duration = Duration::from_secs(1);

type Shared = State<Arc<Service>>;

/// An error as a response: what the client prints, and the exit code it ends with.
struct Refuse(Error);

impl IntoResponse for Refuse {
    fn into_response(self) -> Response {
        let code = self.0.code();
        let status = match code {
            1 => StatusCode::CONFLICT,
            2 => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(Failure { code, message: self.0.chain() })).into_response()
    }
}

impl<E: Into<Error>> From<E> for Refuse {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

type Answer<T> = std::result::Result<T, Refuse>;

/// Runs something that blocks where blocking is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Answer<T> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|e| Err(Error::Internal(format!("a request failed: {e}")))).map_err(Refuse)
}

/// The socket's routes.
pub(crate) fn control(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/state", get(state))
        .route("/v1/overview", get(overview))
        .route("/v1/progress", get(progress))
        .route("/v1/events", get(events))
        .route("/v1/journal", get(journal))
        .route("/v1/log/head", get(log_head))
        .route("/v1/blob/{digest}", get(blob))
        .route("/v1/advisories", post(import))
        .route("/v1/approvers", post(enroll))
        .route("/v1/approvers/{key}/revoke", post(revoke))
        .route("/v1/candidates/{id}/decision", post(decide))
        .route("/v1/catalog/reload", post(reload))
        .route("/v1/cases/{id}/patch", get(patch))
        .route("/v1/catalog/changed", post(changed_directories))
        .route("/v1/trials", post(try_package))
        .route("/v1/trials/goal", post(trial_goal))
        .route("/v1/store/collect", post(collect))
        .route("/v1/store/backup", post(back_up))
        .route("/v1/store/import", post(import_layout))
        .route("/v1/store/why/{digest}", get(why))
        .route("/v1/store/pins", post(pin))
        .route("/v1/store/pins/{digest}/remove", post(unpin))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(service)
}

/// The loopback routes: nothing here changes anything, and nothing unapproved is shown.
pub(crate) fn public(service: Arc<Service>) -> Router {
    let store = Arc::new(service.store.clone());
    let served = service.served.subscribe();
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(show_metrics))
        .with_state(service)
        .merge(anneal_registry::router(store, served))
}

async fn state(State(service): Shared) -> Answer<Json<anneal_ledger::State>> {
    blocking(move || Ok(Json(service.state()))).await
}

async fn overview(State(service): Shared) -> Answer<Json<Overview>> {
    blocking(move || {
        let wanted = service.wanted();
        let now_ms = crate::service::now_ms();
        let due = service.with_state(|state| anneal_ledger::next_tasks(state, &wanted, now_ms));
        let failed = service.with_state(|state| crate::tasks::held_derivations(state, now_ms));
        let held = wanted.images.iter().filter_map(|(name, image)| {
            let held: Vec<_> = image.derivations.iter().filter(|id| failed.contains_key(*id)).copied().collect();
            (!held.is_empty()).then(|| (name.clone(), held))
        });
        Ok(Json(Overview {
            held: held.collect(),
            tasks: due.iter().map(crate::tasks::name).collect(),
            images: wanted.images.iter().map(|(name, image)| (name.clone(), image.key)).collect(),
            public_name: service.settings.public_name.clone(),
            listen: service.settings.listen.to_string(),
        }))
    })
    .await
}

async fn progress(State(service): Shared, Query(query): Query<BTreeMap<String, u64>>) -> Answer<Response> {
    let after = query.get("after").copied().unwrap_or_default();
    let patience = query.get("wait").map_or(PROGRESS_PATIENCE, |ms| Duration::from_millis(*ms).min(PROGRESS_PATIENCE));
    blocking(move || Ok(Json(service.board.after(after, patience)).into_response())).await
}

async fn events(State(service): Shared, Query(query): Query<BTreeMap<String, u64>>) -> Answer<Response> {
    let from = query.get("from").copied().unwrap_or_default();
    blocking(move || Ok(Json(crate::service::journal(&service.store, from, EVENTS_MAX)?).into_response())).await
}

/// Events as the chain has them, a line each.
async fn journal(State(service): Shared, Query(query): Query<BTreeMap<String, u64>>) -> Answer<Response> {
    let from = query.get("from").copied().unwrap_or_default();
    blocking(move || {
        let mut lines = Vec::new();
        for event in service.store.events_from(from)?.take(EVENTS_MAX) {
            lines.extend_from_slice(&event?.1);
            lines.push(b'\n');
            if lines.len() as u64 >= BLOB_BYTES_MAX {
                break;
            }
        }
        Ok(lines.into_response())
    })
    .await
}

async fn log_head(State(service): Shared) -> Answer<Response> {
    blocking(move || Ok(backup::signed_head(&service.store, &service.keys)?.into_response())).await
}

/// The daemon has another working directory than who asks it.
fn require_absolute(dir: &std::path::Path) -> Result<()> {
    if dir.is_absolute() {
        return Ok(());
    }
    Err(Error::Input(format!("{} is not absolute", dir.display())))
}

async fn back_up(State(service): Shared, Json(request): Json<BackupRequest>) -> Answer<Json<BackedUp>> {
    blocking(move || {
        require_absolute(&request.dir)?;
        let stop = || service.is_draining();
        Ok(Json(backup::back_up(&service.store, &service.keys, &request, &stop)?))
    })
    .await
}

async fn import_layout(State(service): Shared, Json(request): Json<LayoutRequest>) -> Answer<Json<Imported>> {
    blocking(move || {
        require_absolute(&request.dir)?;
        let keys = request.keys.into_iter().map(|(role, pem)| Ok((role.parse()?, pem)));
        let keys = keys.collect::<Result<TrustedKeys>>()?;
        Ok(Json(oci_layout::import(&service.store, &service.state(), &request.dir, &keys)?))
    })
    .await
}

async fn blob(State(service): Shared, Path(digest): Path<String>) -> Answer<Response> {
    blocking(move || {
        let digest: BlobDigest = digest.parse()?;
        let bytes = service.store.read_blob(&digest, BLOB_BYTES_MAX)?;
        Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
    })
    .await
}

async fn import(State(service): Shared, body: Bytes) -> Answer<Json<ImportAnswer>> {
    blocking(move || {
        let (id, new) = crate::tasks::import_advisory(&service, &body)?;
        Ok(Json(ImportAnswer { id, new }))
    })
    .await
}

async fn enroll(State(service): Shared, Json(request): Json<ApproverRequest>) -> Answer<Json<String>> {
    blocking(move || {
        let key = PublicKey::from_pem(&request.public_key)?;
        let (key_id, name) = (key.id().hex(), request.name);
        // An approval must be somebody's word whom the daemon can't speak for.
        if let Some(role) = service.keys.role_of(&key_id) {
            return Err(Error::Input(format!(
                "key {key_id} is the daemon's own {role} key; an approver has a key of their own: `anneal key new`"
            )));
        }
        if name.trim().is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
            return Err(Error::Input("an approver's name has 1 to 200 characters and no control characters".into()));
        }
        let public_key = key.to_pem()?;
        service.record(Event::ApproverEnrolled { key_id: key_id.clone(), name, public_key })?;
        Ok(Json(key_id))
    })
    .await
}

async fn revoke(
    State(service): Shared,
    Path(key_id): Path<String>,
    Json(request): Json<RevokeRequest>,
) -> Answer<Json<()>> {
    blocking(move || {
        service.record(Event::ApproverRevoked { key_id, reason: request.reason })?;
        Ok(Json(()))
    })
    .await
}

/// Takes a decision that was signed on the command line; the daemon proves it before it records it.
async fn decide(State(service): Shared, Path(id): Path<String>, body: Bytes) -> Answer<Json<()>> {
    blocking(move || {
        let id: CandidateId = id.parse().map_err(Error::Input)?;
        let state = service.state();
        let candidate = state.candidates.get(&id).ok_or(anneal_ledger::Refusal::NoCandidate(id))?;
        let binding = crate::tasks::binding(&state, candidate)?;
        let mut accepted = None;
        for (key_id, approver) in state.approvers.iter().filter(|(_, a)| a.revoked.is_none()) {
            let key = PublicKey::from_pem(&approver.public_key)?;
            if let Ok(approval) = verify_approval(&body, &key, &binding) {
                accepted = Some((key_id.clone(), approval));
            }
        }
        let Some((key_id, approval)) = accepted else {
            return Err(Error::No(format!(
                "the statement is not an enrolled approver's decision about {id} as it stands now; \
                 look again with `anneal candidate show {id}`"
            )));
        };
        state.may_decide(id, &candidate.manifest, &key_id)?;
        let decision = match approval.decision {
            anneal_attest::Decision::Approve => Decision::Approve,
            anneal_attest::Decision::Reject => Decision::Reject,
        };
        let _lease = service.store.lease();
        let statement = service.store.put_blob(&body)?;
        service.record(Event::Decided { candidate: id, manifest: candidate.manifest, decision, key_id, statement })?;
        Ok(Json(()))
    })
    .await
}

async fn reload(State(service): Shared) -> Answer<Json<bool>> {
    blocking(move || {
        let changed = service.reload_catalog()?;
        tasks::ask_for_lost(&service)?;
        Ok(Json(changed))
    })
    .await
}

async fn patch(State(service): Shared, Path(id): Path<String>) -> Answer<Json<String>> {
    blocking(move || {
        let state = service.state();
        let no_case = || Error::Input(format!("there is no case {id}"));
        let case = state.cases.get(&id).ok_or_else(no_case)?;
        let record = state.advisories.get(&id).ok_or_else(no_case)?;
        let advisory = anneal_advisory::parse(&service.small_blob(record)?)?;
        // The files stay what they are while they are read.
        let _changing = service.changing();
        Ok(Json(patch_of(&service.settings, &state, case, &advisory)?))
    })
    .await
}

async fn changed_directories(
    State(service): Shared,
    Json(goal): Json<TrialGoal>,
) -> Answer<Json<Vec<ChangedDirectory>>> {
    blocking(move || Ok(Json(tasks::changed_directories(&service, &goal.names)?))).await
}

async fn trial_goal(State(service): Shared, Json(goal): Json<TrialGoal>) -> Answer<Json<Vec<PackageName>>> {
    blocking(move || Ok(Json(tasks::trial_goal(&service, &goal)?))).await
}

async fn try_package(State(service): Shared, Json(request): Json<TrialRequest>) -> Answer<Json<TrialReport>> {
    blocking(move || Ok(Json(tasks::try_package(&service, &request)?))).await
}

async fn collect(State(service): Shared, Json(request): Json<CollectRequest>) -> Answer<Json<Collected>> {
    blocking(move || {
        if request.dry_run {
            let looked = retention::ground(&service).dry_run(&service.settings)?;
            service.collections().kinds.clone_from(&looked.kinds);
            return Ok(Json(looked));
        }
        let keep_ms = retention::keep_ms(&service.settings);
        Ok(Json(retention::collect_and_count(&service, keep_ms)?))
    })
    .await
}

async fn why(State(service): Shared, Path(digest): Path<String>) -> Answer<Json<Why>> {
    blocking(move || {
        let keep_ms = retention::keep_ms(&service.settings);
        Ok(Json(retention::ground(&service).why(&digest.parse()?, keep_ms)?))
    })
    .await
}

async fn pin(State(service): Shared, Json(request): Json<PinRequest>) -> Answer<Json<Pin>> {
    blocking(move || Ok(Json(retention::pin(&service.store, &request.digest, &request.reason)?))).await
}

async fn unpin(State(service): Shared, Path(digest): Path<String>) -> Answer<Json<bool>> {
    blocking(move || Ok(Json(service.store.unpin(&digest.parse()?)?))).await
}

async fn show_metrics(State(service): Shared) -> Answer<Response> {
    let text = blocking(move || metrics::text(&service)).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

/// Binds the socket, readable by its owner alone. A socket that nobody answers is a dead daemon's, and is replaced.
pub(crate) fn bind_socket(path: &PathBuf) -> Result<UnixListener> {
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            let text = format!("a daemon already answers at {}; stop it first, or use another --state", path.display());
            return Err(Error::Input(text));
        }
        std::fs::remove_file(path).map_err(io("remove the stale socket", path))?;
    }
    // The directory is made private first, so that there is no moment at which others could connect.
    if let Some(dir) = path.parent() {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(io("protect", dir))?;
    }
    let listener = UnixListener::bind(path).map_err(io("listen at", path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io("protect", path))?;
    Ok(listener)
}

/// Binds the loopback port.
pub(crate) async fn bind_http(service: &Service) -> Result<TcpListener> {
    let address = service.settings.listen;
    TcpListener::bind(address).await.map_err(|e| {
        let hint = if e.kind() == std::io::ErrorKind::AddrInUse {
            "another program has the port; choose another with --listen 127.0.0.1:PORT"
        } else {
            "choose another with --listen"
        };
        Error::Input(format!("cannot listen on {address}: {e}; {hint}"))
    })
}
