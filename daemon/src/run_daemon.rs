//! `anneal daemon`: open the state, start the loop, open the doors, say that we are ready; drain on SIGTERM.

use crate::{
    branch::keep_following,
    error::{Error, Result},
    patience::{Patient, WRITE_PATIENCE},
    reconcile::reconcile,
    retention::keep_house,
    scrub::keep_scrubbed,
    server::{bind_http, bind_socket, control, public},
    service::Service,
    settings::Settings,
};
use std::{sync::Arc, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// How long open connections may take to end after the loop has.
const CONNECTIONS_PATIENCE: Duration = Duration::from_secs(5);

/// How the daemon runs.
#[derive(Debug, clap::Args)]
pub(crate) struct DaemonArgs {
    /// Stop when standard input ends: for a program that starts a daemon of its own and may be killed
    #[arg(long)]
    until_input_ends: bool,
}

/// Runs the daemon until it is told to stop.
pub(crate) fn run_daemon(args: &DaemonArgs, settings: Settings) -> Result<()> {
    let socket = settings.state.join("anneal.sock");
    require_isolation()?;
    let service = Service::open(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::Internal(format!("cannot start: {e}")))?;
    let result = runtime.block_on(serve(service, socket.clone(), args.until_input_ends));
    runtime.shutdown_timeout(CONNECTIONS_PATIENCE);
    // A socket left behind would only be found stale by the next start.
    let _ = std::fs::remove_file(&socket);
    result
}

async fn serve(service: Arc<Service>, socket: std::path::PathBuf, until_input_ends: bool) -> Result<()> {
    let http = Patient::new(bind_http(&service).await?, WRITE_PATIENCE);
    let unix = bind_socket(&socket)?;
    let stop = Arc::new(tokio::sync::Notify::new());
    let wait = |stop: Arc<tokio::sync::Notify>| async move { stop.notified().await };
    let control = axum::serve(unix, control(service.clone())).with_graceful_shutdown(wait(stop.clone()));
    let public = axum::serve(http, public(service.clone())).with_graceful_shutdown(wait(stop.clone()));
    let doors = [tokio::spawn(control.into_future()), tokio::spawn(public.into_future())];
    let (looping, housekeeping, scrubbing, follower) =
        (service.clone(), service.clone(), service.clone(), service.clone());
    let house = std::thread::spawn(move || keep_house(&housekeeping));
    let scrub = std::thread::spawn(move || keep_scrubbed(&scrubbing));
    let following = std::thread::spawn(move || keep_following(&follower));
    let mut work = tokio::task::spawn_blocking(move || reconcile(&looping));
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
    tracing::info!(
        state = %service.settings.state.display(),
        listen = %service.settings.listen,
        socket = %socket.display(),
        "ready"
    );
    let input_ended = Arc::new(tokio::sync::Notify::new());
    if until_input_ends {
        watch_input(input_ended.clone());
    }
    let ended = wait_for_end(&service, &mut work, &input_ended).await;
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]);
    if let Ended::Asked(how) = ended {
        tracing::info!("{how}: finishing what is under way");
        service.drain();
        let _ = work.await;
        service.ended_as_asked();
    }
    // It ends with the drain; where the loop ended by itself, the process ends anyway.
    if matches!(ended, Ended::Asked(_)) {
        let _ = tokio::task::spawn_blocking(move || (house.join(), scrub.join(), following.join())).await;
    }
    stop.notify_waiters();
    for door in doors {
        let _ = tokio::time::timeout(CONNECTIONS_PATIENCE, door).await;
    }
    match ended {
        Ended::Asked(_) => Ok(()),
        Ended::Loop => Err(Error::Internal("the daemon's loop ended by itself".into())),
    }
}

enum Ended {
    Asked(&'static str),
    Loop,
}

/// Says when standard input ends. A thread of its own, since a read of it cannot be given up.
fn watch_input(ended: Arc<tokio::sync::Notify>) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        ended.notify_one();
    });
}

async fn wait_for_end(
    service: &Arc<Service>,
    work: &mut tokio::task::JoinHandle<()>,
    input_ended: &tokio::sync::Notify,
) -> Ended {
    let (Ok(mut term), Ok(mut int), Ok(mut hup)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        return Ended::Loop;
    };
    loop {
        tokio::select! {
            _ = term.recv() => return Ended::Asked("SIGTERM"),
            _ = int.recv() => return Ended::Asked("SIGINT"),
            () = input_ended.notified() => return Ended::Asked("standard input ended"),
            _ = hup.recv() => {
                let reloading = service.clone();
                // Not waited for: a repository may take its time, and the next signal must be heard.
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = reloading.reload_catalog() {
                        reloading.board.trouble(format!("the catalogue was not read again: {}", error.chain()));
                    }
                });
            }
            _ = &mut *work => return Ended::Loop,
        }
    }
}

/// A host that can't isolate builds must not run any.
fn require_isolation() -> Result<()> {
    let report = anneal_sandbox::self_check();
    if report.usable {
        return Ok(());
    }
    let mut text = String::from("this host cannot isolate builds, so nothing is started\n");
    for finding in report.findings.iter().filter(|finding| !finding.holds) {
        let mend = finding.mend.as_ref().map(|mend| format!("; {mend}")).unwrap_or_default();
        text.push_str(&format!("  {}: {}{mend}\n", finding.name, finding.detail));
    }
    Err(Error::Input(text))
}
