//! The loop: ask the ledger what is next, do it, journal it, ask again.
//!
//! Level-triggered: a task is read off the state each time, so a crash between an effect and its event repeats the
//! effect (which is idempotent), and a lost wake-up costs at most one period. Building runs beside the loop, so that
//! approvals and advisories don't wait for a compiler; so does the proof of a kept build, while nothing else is built.

use crate::{error::Result, service::Service, service::now_ms, tasks};
use anneal_ledger::{Task, next_tasks};
use anneal_sandbox::CancelToken;
use std::{
    collections::BTreeMap,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How long the loop sleeps when nothing happens; the feed directory is looked at as often.
const PERIOD: Duration = Duration::from_millis(500);
/// How long a build that was cancelled may take to end, before the process ends without it: a fetch may be waiting for
/// somebody who does not answer, and what is half done is nothing that a start does not clear.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);
/// How long a task that failed is left alone.
const BACK_OFF: Duration = Duration::from_secs(10);

/// Tasks that failed for a reason of their own, and when they may be tried again.
#[derive(Default)]
struct Held(BTreeMap<String, Instant>);

impl Held {
    fn holds(&self, task: &Task) -> bool {
        self.0.get(&format!("{task:?}")).is_some_and(|until| Instant::now() < *until)
    }
    fn hold(&mut self, task: &Task) {
        self.0.retain(|_, until| Instant::now() < *until);
        self.0.insert(format!("{task:?}"), Instant::now() + BACK_OFF);
    }
}

/// A proof of a kept build, or what a swapped one stands in for, beside the loop: nobody waits for it, so it gives way to whatever is to be built.
struct Proving {
    task: Task,
    cancel: CancelToken,
    thread: JoinHandle<Result<()>>,
}

impl Proving {
    fn begin(service: &Arc<Service>, task: &Task) -> Self {
        let (worker, cancel) = (service.clone(), service.cancel.child());
        let token = cancel.clone();
        let own = task.clone();
        let thread = std::thread::spawn(move || match own {
            Task::ProveKept { derivation, .. } => tasks::prove_kept(&worker, &derivation, &token),
            Task::Settle { derivation, .. } => tasks::settle(&worker, &derivation, &token),
            _ => Ok(()),
        });
        Self { task: task.clone(), cancel, thread }
    }
}

/// Runs until the service drains; what was being built is then finished or, after the drain time, cancelled.
pub(crate) fn reconcile(service: &Arc<Service>) {
    let mut feed = tasks::Feed::default();
    let mut held = Held::default();
    let mut building: Option<(Task, JoinHandle<Result<()>>)> = None;
    let mut proving: Option<Proving> = None;
    while !service.is_draining() {
        feed.poll(service);
        if building.as_ref().is_some_and(|(_, thread)| thread.is_finished())
            && let Some((task, thread)) = building.take()
        {
            settle(service, &mut held, &task, joined(thread));
        }
        if proving.as_ref().is_some_and(|proving| proving.thread.is_finished())
            && let Some(Proving { task, thread, .. }) = proving.take()
        {
            settle(service, &mut held, &task, joined(thread));
        }
        let due = service.with_state(|state| next_tasks(state, &service.wanted(), now_ms()));
        let mut idle = true;
        for task in due.into_iter().filter(|task| !held.holds(task)) {
            if let Task::Build(images) = &task {
                if let Some(proving) = &proving {
                    proving.cancel.cancel();
                } else if building.is_none() {
                    let (worker, images) = (service.clone(), images.clone());
                    let thread = std::thread::spawn(move || tasks::build(&worker, &images));
                    building = Some((task, thread));
                }
                continue;
            }
            if let Task::ProveKept { .. } | Task::Settle { .. } = &task {
                if building.is_none() && proving.is_none() {
                    proving = Some(Proving::begin(service, &task));
                }
                continue;
            }
            let result = tasks::perform(service, &task);
            settle(service, &mut held, &task, result);
            // What is due may have changed: ask again.
            idle = false;
            break;
        }
        if let Some(proving) = proving.as_ref().filter(|_| service.again.is_asked()) {
            proving.cancel.cancel();
        } else if building.is_none() {
            let images = service.again.take();
            if !images.is_empty() {
                let (worker, task) = (service.clone(), Task::Build(images.clone()));
                building = Some((task, std::thread::spawn(move || tasks::build(&worker, &images))));
            }
        }
        if idle {
            service.wait(PERIOD);
        }
    }
    if let Some(proving) = proving {
        proving.cancel.cancel();
        ended(proving.thread);
    }
    if let Some((_, thread)) = building {
        finish(service, thread);
    }
}

fn joined(thread: JoinHandle<Result<()>>) -> Result<()> {
    thread.join().unwrap_or_else(|_| Err(crate::error::Error::Internal("a builder panicked".into())))
}

fn settle(service: &Arc<Service>, held: &mut Held, task: &Task, result: Result<()>) {
    if let Err(error) = result {
        service.board.trouble(format!("{}: {}", tasks::name(task), error.chain()));
        held.hold(task);
    }
}

fn finish(service: &Arc<Service>, thread: JoinHandle<Result<()>>) {
    wait(&thread, Duration::from_secs(service.settings.drain_seconds));
    service.cancel.cancel();
    ended(thread);
}

/// Waits for a build that was cancelled.
fn ended(thread: JoinHandle<Result<()>>) {
    wait(&thread, CANCEL_PATIENCE);
    if !thread.is_finished() {
        tracing::warn!("a build does not hear that it was cancelled; the process ends without it");
        return;
    }
    if let Ok(Err(error)) = thread.join() {
        tracing::info!("the build was stopped: {}", error.chain());
    }
}

fn wait(thread: &JoinHandle<Result<()>>, patience: Duration) {
    let until = Instant::now() + patience;
    while !thread.is_finished() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
}
