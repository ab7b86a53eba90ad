//! Sandboxes that are made ahead of time, up to where the spec matters.
//!
//! A run from the pool takes the same operations in the same order as one without; the first part is done before it is
//! asked for: the namespaces, `/dev`, `/proc` and what masks it. Each prepared sandbox has its user id, its control group
//! and its namespaces to itself from the beginning, is used for one run or for none, and has executed no program but our
//! own. Clocks start at zero when it is used. The paths of a spec are opened when it is used, and compared with what
//! the launcher sees there, since its view of the host's mounts is as old as itself.
//!
//! One thread prepares, and takes down what runs leave in the kernel. It prepares for the kind of spec that ran last, only
//! after a run, and ends what nobody used within [`MAX_AGE`]. Prepared sandboxes die with that thread, so with the process.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::launch::{self, Place};
use crate::{CancelToken, Error, Outcome, Result, Spec};

/// How long a sandbox may wait for its run.
pub const MAX_AGE: Duration = Duration::from_secs(30);
/// How many mount namespaces may wait to be taken down before a run does it itself.
const MAX_REMAINS: usize = 16;

/// Prepared sandboxes, and the thread that prepares them.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Prepared>,
    /// The spec that ran last, until as many as there should be are prepared for its like.
    wanted: Option<Spec>,
    /// Mount namespaces of runs that have ended.
    remains: Vec<File>,
    /// Whether the thread is at work outside of the lock.
    busy: bool,
    stop: bool,
}

#[derive(Debug)]
struct Prepared {
    place: Place,
    /// Keeps the mount namespace when process 1 ends, which then need not wait for its end.
    mounts: Option<File>,
    spec: Spec,
    since: Instant,
}

impl Prepared {
    fn make(spec: Spec) -> Result<Self> {
        let place = Place::new(&spec.limits, None)?.prepare(&spec)?;
        Ok(Self { mounts: place.mount_namespace(), place, spec, since: Instant::now() })
    }

    /// Limits are set when a control group is made, so they must be the same.
    fn fits(&self, spec: &Spec) -> bool {
        self.since.elapsed() < MAX_AGE && self.spec.limits == spec.limits && self.place.fits(spec)
    }
}

impl Pool {
    /// A pool of up to `size` prepared sandboxes; the first are prepared after the first run.
    pub fn new(size: usize) -> Result<Self> {
        let shared = Arc::new(Shared { size, state: Mutex::default(), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let keeper = std::thread::Builder::new()
            .name("sandbox-pool".to_owned())
            .spawn(move || theirs.keep())
            .map_err(|source| Error::Launch { action: "start the thread of the pool", source })?;
        Ok(Self { shared, keeper: Some(keeper) })
    }

    /// As [`crate::run`], in a prepared sandbox where one fits.
    pub fn run(&self, spec: &Spec, log: &mut dyn Write, cancel: &CancelToken) -> Result<Outcome> {
        spec.check()?;
        // What others may not read takes a place that is the caller's own.
        let prepared = if launch::closed_to_others(spec).is_none() { self.shared.take(spec) } else { None };
        let outcome = match prepared {
            Some(Prepared { place, mounts, .. }) => {
                match launch::run_in(place, spec, &launch::unchanged, log, cancel) {
                    // The host's mounts have changed since it was prepared. Nothing has run yet.
                    Err(Error::Operation { op, .. }) if op.starts_with("same ") => launch::run(spec, log, cancel),
                    // It finds that out again, and goes on without a user of its own.
                    Err(Error::OutputKept { .. }) => launch::run(spec, log, cancel),
                    outcome => {
                        self.shared.leave(mounts);
                        outcome
                    }
                }
            }
            None => launch::run(spec, log, cancel),
        };
        self.shared.want(spec);
        outcome
    }

    /// Prepares for specs of this kind now, and not only after the first of them has run; see [`Pool::settle`].
    pub fn prepare_for(&self, spec: &Spec) {
        self.shared.want(spec);
    }

    /// How many sandboxes are prepared.
    pub fn ready(&self) -> usize {
        self.shared.lock().ready.len()
    }

    /// Waits until the thread has nothing left to do: all are prepared, and nothing of earlier runs is left.
    pub fn settle(&self) {
        let mut state = self.shared.lock();
        while state.busy || !state.remains.is_empty() || state.wanted.is_some() {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(keeper) = self.keeper.take() {
            // It can't be of use any more if it has panicked; what it made died with it.
            let _ = keeper.join();
        }
    }
}

impl Shared {
    /// No one panics with the lock held, so what it guards is whole even if someone did.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, spec: &Spec) -> Option<Prepared> {
        let mut state = self.lock();
        let index = state.ready.iter().position(|prepared| prepared.fits(spec))?;
        state.ready.remove(index)
    }

    /// Leaves a mount namespace for the thread to take down, unless it is behind.
    fn leave(&self, mounts: Option<File>) {
        let mut state = self.lock();
        if state.remains.len() < MAX_REMAINS {
            state.remains.extend(mounts);
            self.changed.notify_all();
        }
    }

    fn want(&self, spec: &Spec) {
        let mut state = self.lock();
        state.wanted = Some(spec.clone());
        self.changed.notify_all();
    }

    /// What the thread does until it is told to stop.
    fn keep(&self) {
        let mut state = self.lock();
        while !state.stop {
            let old = state.ready.front().is_some_and(|first| first.since.elapsed() >= MAX_AGE);
            let expired = if old { state.ready.pop_front() } else { None };
            let remains = std::mem::take(&mut state.remains);
            let wanted = state.wanted.take();
            state.busy = true;
            drop(state);
            let idle = expired.is_none() && remains.is_empty() && wanted.is_none();
            drop((expired, remains));
            let rest = wanted.and_then(|spec| self.prepare_one(spec));
            state = self.lock();
            state.busy = false;
            if let Some(spec) = rest {
                state.wanted.get_or_insert(spec);
            }
            self.changed.notify_all();
            if idle && !state.stop && state.wanted.is_none() && state.remains.is_empty() {
                let next = state.ready.front().map_or(MAX_AGE, |first| MAX_AGE.saturating_sub(first.since.elapsed()));
                state = self.changed.wait_timeout(state, next).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        let left = std::mem::take(&mut *state);
        drop(state);
        drop(left);
    }

    /// Prepares one sandbox; returns the spec if more of them are missing.
    fn prepare_one(&self, spec: Spec) -> Option<Spec> {
        let (missing, unfit) = {
            let mut state = self.lock();
            let fitting = state.ready.iter().filter(|prepared| prepared.fits(&spec)).count();
            let full = state.ready.len() >= self.size;
            let unfit = if full && fitting < self.size {
                let index = state.ready.iter().position(|prepared| !prepared.fits(&spec));
                index.and_then(|index| state.ready.remove(index))
            } else {
                None
            };
            (self.size.saturating_sub(fitting), unfit)
        };
        drop(unfit);
        if missing == 0 {
            return None;
        }
        match Prepared::make(spec.clone()) {
            Ok(prepared) => {
                let mut state = self.lock();
                state.ready.push_back(prepared);
                (missing > 1).then_some(spec)
            }
            Err(error) => {
                // The next run finds out for itself what is wrong, and says it.
                tracing::debug!(%error, "no sandbox could be prepared");
                None
            }
        }
    }
}
