//! What is run in which order.

use std::io;
use std::path::Path;
use std::time::Instant;

use anneal_measure::{Sample, cpu, milliseconds, paired};
use anneal_sandbox::Pool;

use crate::contender::Contender;
use crate::report::{AtOnce, Measured, Row};
use crate::roots::{LARGE, SMALL};

/// Runs before the first that counts.
const WARM_UP: usize = 10;
/// Prepared sandboxes; one for each of two threads, and one more each while that is replaced.
const PREPARED: usize = 4;

/// Everything, as the user of this process.
pub(crate) fn all(dir: &Path, runs: usize) -> io::Result<Measured> {
    let pool = Pool::new(PREPARED).map_err(io::Error::other)?;
    let (small, large) = (dir.join(SMALL.0), dir.join(LARGE.0));
    let here: Vec<Contender> = Contender::ALL.into_iter().filter(|contender| contender.is_here()).collect();
    let entries: Vec<(Contender, &Path)> = here.iter().map(|contender| (*contender, small.as_path())).collect();
    let start_up = in_turns(&entries, &pool, runs)?;
    let by_size = in_turns(&[(Contender::Anneal, &large), (Contender::Anneal, &small)], &pool, runs)?;
    let samples = |wanted| here.iter().position(|contender| *contender == wanted).and_then(|index| start_up.get(index));
    let ratio = |first, second| Some(paired(samples(first)?, samples(second)?));
    let sizes = [("5000 files", 0), ("50 files", 1)];
    Ok(Measured {
        user: if nix::unistd::geteuid().is_root() { "root" } else { "an ordinary user" }.to_owned(),
        start_up: here.iter().zip(&start_up).map(|(contender, samples)| Row::of(contender.name(), samples)).collect(),
        against_bwrap: ratio(Contender::Anneal, Contender::Bubblewrap),
        pool_against_bwrap: ratio(Contender::Pooled, Contender::Bubblewrap),
        skipped: Contender::ALL
            .into_iter()
            .filter(|contender| !here.contains(contender))
            .map(|contender| format!("no {}", contender.name()))
            .collect(),
        roots: sizes.iter().filter_map(|(name, at)| Some(Row::of(name, by_size.get(*at)?))).collect(),
        large_against_small: match by_size.as_slice() {
            [large, small] => Some(paired(large, small)),
            _ => None,
        },
        at_once: here
            .iter()
            .filter(|contender| **contender != Contender::Unshare)
            .map(|contender| at_once(*contender, &small, &pool, runs))
            .collect::<io::Result<_>>()?,
    })
}

/// One contender again and again, without a word about it.
pub(crate) fn only(name: &str, dir: &Path, runs: usize) -> io::Result<()> {
    let found = Contender::ALL.into_iter().find(|contender| contender.name() == name);
    let contender = found.ok_or_else(|| io::Error::other(format!("there is no contender {name}")))?;
    let pool = Pool::new(PREPARED).map_err(io::Error::other)?;
    in_turns(&[(contender, &dir.join(SMALL.0))], &pool, runs).map(drop)
}

/// Runs each in turn, again and again, and begins each round with another one.
fn in_turns(entries: &[(Contender, &Path)], pool: &Pool, runs: usize) -> io::Result<Vec<Vec<Sample>>> {
    let mut samples = vec![Vec::with_capacity(runs); entries.len()];
    for round in 0..runs + WARM_UP {
        for step in 0..entries.len() {
            let index = (round + step) % entries.len();
            let (Some((contender, root)), Some(of_this)) = (entries.get(index), samples.get_mut(index)) else {
                continue;
            };
            let (started, used) = (Instant::now(), cpu());
            contender.go(root, pool)?;
            let wall = milliseconds(started.elapsed());
            // What is prepared or taken down in the background is work as well, and must not disturb the next one.
            pool.settle();
            let sample = Sample { wall, cpu: cpu() - used };
            if round >= WARM_UP {
                of_this.push(sample);
            }
        }
    }
    Ok(samples)
}

/// A number of runs by one thread, then as many by each of two.
fn at_once(contender: Contender, root: &Path, pool: &Pool, runs: usize) -> io::Result<AtOnce> {
    let burst = |threads: usize| -> io::Result<Sample> {
        let (started, used) = (Instant::now(), cpu());
        std::thread::scope(|scope| {
            let each = || (0..runs).try_for_each(|_| contender.go(root, pool));
            let started: Vec<_> = (0..threads).map(|_| scope.spawn(each)).collect();
            started.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread that measures has died")))
            })
        })?;
        let count = (runs * threads) as f64;
        Ok(Sample { wall: milliseconds(started.elapsed()) / count, cpu: (cpu() - used) / count })
    };
    let (one, two) = (burst(1)?, burst(2)?);
    Ok(AtOnce {
        name: contender.name().to_owned(),
        one_per_second: 1000.0 / one.wall,
        two_per_second: 1000.0 / two.wall,
        one_cpu_ms: one.cpu,
        two_cpu_ms: two.cpu,
    })
}
