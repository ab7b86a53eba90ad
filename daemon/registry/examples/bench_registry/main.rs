//! How fast a blob is given away over loopback, checked, beside the same server that checks nothing.
//!
//! `tests/bench` builds and calls it: `tests/bench [--quick] [--json FILE] [registry]`. Both servers run in this process
//! and send chunks of the same size from the same file, which is in memory; clients take the two in turns.

mod client;
mod unchecked;

use anneal_content::{BlobDigest, ImageName};
use anneal_measure::{Machine, Paired, Percentiles, Sample, cpu, milliseconds, paired, percentiles};
use anneal_registry::{Repository, Served};
use anneal_store::{OpenMode, Store};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Instant,
};
use tokio::{net::TcpListener, sync::watch};

const PAIRS: usize = 40;
const QUICK_PAIRS: usize = 3;
/// What a client asks for: about the size of a layer of a language's base image.
const BLOB_BYTES: usize = 96 << 20;
/// How many clients ask at a time.
const CLIENTS: [usize; 2] = [1, 4];
/// The repository that serves the blob.
const NAME: &str = "bench";

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// So many clients at a time, each taking the blob once.
#[derive(Debug, Serialize)]
struct Measured {
    clients: usize,
    checked: Row,
    unchecked: Row,
    /// The time of the server that checks over that of the other.
    checked_to_unchecked: Paired,
}

#[derive(Debug, Serialize)]
struct Row {
    mib_per_second: f64,
    wall_ms: Percentiles,
    cpu_ms: Percentiles,
}

#[derive(Serialize)]
struct Whole {
    machine: Machine,
    blob_mib: usize,
    gets: Vec<Measured>,
}

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell of a closed standard error.
            let _ = writeln!(io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<(usize, Option<PathBuf>)> {
    let (mut pairs, mut json, mut words) = (PAIRS, None, std::env::args().skip(1));
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => pairs = QUICK_PAIRS,
            "--json" => json = Some(words.next().ok_or("--json needs a file")?.into()),
            other => return Err(format!("{other} is unknown; expected --quick or --json FILE").into()),
        }
    }
    Ok((pairs, json))
}

fn measure() -> Result<()> {
    let (pairs, json) = arguments()?;
    let dir = tempfile::tempdir()?;
    let store = Arc::new(Store::open(dir.path(), OpenMode::ReadWrite)?);
    // Nothing in it repeats, as in a layer.
    let bytes: Vec<u8> =
        (0..BLOB_BYTES as u64 / 32).flat_map(|n| *BlobDigest::of(&n.to_le_bytes()).as_bytes()).collect();
    let digest = store.put_blob(&bytes)?;
    drop(bytes);
    let runtime = tokio::runtime::Runtime::new()?;
    let (checked, unchecked) = runtime.block_on(serve(store, digest))?;
    let path = format!("/v2/{NAME}/blobs/{digest}");
    let mut gets = Vec::new();
    for clients in CLIENTS {
        let measured = in_turns(clients, [checked, unchecked], &path, pairs)?;
        let Measured { checked, unchecked, checked_to_unchecked, .. } = &measured;
        let mut out = io::stdout().lock();
        writeln!(out, "registry: a blob of {} MiB over loopback, {clients} at a time", BLOB_BYTES >> 20)?;
        for (name, row) in [("checked", checked), ("unchecked", unchecked)] {
            writeln!(
                out,
                "  {name:<10} {:>7.0} MiB/s   p50 {:>6.1} ms  p99 {:>6.1} ms   processor p50 {:>6.1} ms",
                row.mib_per_second, row.wall_ms.p50, row.wall_ms.p99, row.cpu_ms.p50
            )?;
        }
        writeln!(
            out,
            "  the checked one has {:.0} % of the other's speed; pair by pair {:.0} % ({pairs} pairs)",
            100.0 / checked_to_unchecked.p50,
            100.0 / checked_to_unchecked.median
        )?;
        gets.push(measured);
    }
    if let Some(path) = json {
        let whole = Whole { machine: Machine::this(), blob_mib: BLOB_BYTES >> 20, gets };
        std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(&whole)?))?;
    }
    Ok(())
}

/// Both servers, on loopback.
async fn serve(store: Arc<Store>, digest: BlobDigest) -> Result<(SocketAddr, SocketAddr)> {
    let blob = unchecked::file_of(store.dir(), &digest);
    let repository = Repository { blobs: BTreeSet::from([digest]), ..Repository::default() };
    let served = Served { repositories: BTreeMap::from([(ImageName::new(NAME)?, repository)]) };
    let (sender, receiver) = watch::channel(Arc::new(served));
    let checked = listen(anneal_registry::router(store, receiver)).await?;
    let unchecked = listen(unchecked::router(blob)).await?;
    // What is served stays as it is until this process ends.
    std::mem::forget(sender);
    Ok((checked, unchecked))
}

async fn listen(router: axum::Router) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// One server, the other, and again; the first pair does not count.
fn in_turns(clients: usize, servers: [SocketAddr; 2], path: &str, pairs: usize) -> Result<Measured> {
    let mut samples = [Vec::new(), Vec::new()];
    for pair in 0..=pairs {
        for (server, samples) in servers.iter().zip(&mut samples) {
            let (start, cpu_before) = (Instant::now(), cpu());
            client::get_all(clients, *server, path, BLOB_BYTES)?;
            let sample = Sample { wall: milliseconds(start.elapsed()), cpu: cpu() - cpu_before };
            if pair > 0 {
                samples.push(sample);
            }
        }
    }
    let row = |samples: &[Sample]| {
        let wall_ms = percentiles(samples.iter().map(|sample| sample.wall));
        let mib = (clients * (BLOB_BYTES >> 20)) as f64;
        Row { mib_per_second: mib * 1000.0 / wall_ms.p50, wall_ms, cpu_ms: percentiles(samples.iter().map(|s| s.cpu)) }
    };
    let [checked, unchecked] = &samples;
    Ok(Measured {
        clients,
        checked: row(checked),
        unchecked: row(unchecked),
        checked_to_unchecked: paired(checked, unchecked),
    })
}
