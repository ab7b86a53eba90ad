//! The same for many, on all processors.

use std::{
    num::NonZero,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// More threads than this only wait for the disk.
const THREADS_MAX: usize = 16;

/// Does the same to every item, in as many threads as there are CPUs; ends at the first error. Results are in order.
pub fn in_parallel<T: Sync, R: Send, E: Send>(
    items: &[T],
    act: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut done = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            done.push((index, act(item).inspect_err(|_| stop.store(true, Ordering::Relaxed))?));
        }
        Ok(done)
    };
    let threads = cpus.min(THREADS_MAX).min(items.len());
    let mut done = if threads <= 1 {
        work()?
    } else {
        let parts = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            handles.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        let mut done = Vec::with_capacity(items.len());
        for part in parts {
            done.extend(part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        done
    };
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}
