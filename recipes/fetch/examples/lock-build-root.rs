//! Locks the build root anew, or assembles one from a lock: what `anneal recipe lock build-root` and a first build do.
//!
//! ```text
//! lock-build-root lock FILE [NAME...]  apt resolves; the lock is written to FILE. `vendor/abi-tools.lock` is that of `abigail-tools`
//! lock-build-root assemble FILE DIR    every package of the lock is fetched, checked and unpacked into DIR
//! ```

use anneal_fetch::{
    BUILD_ROOT_PACKAGES, BuildRootLock, FetchConfig, Fetcher, Wanted, assemble_build_root, lock_build_root,
};
use std::{
    error::Error,
    fs,
    io::Write,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

type Failure = Box<dyn Error + Send + Sync>;

/// How many packages are downloaded at once.
const DOWNLOADS: usize = 4;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["lock", file, wanted @ ..] => {
            let wanted = if wanted.is_empty() { &BUILD_ROOT_PACKAGES } else { wanted };
            let lock = lock_build_root(&FetchConfig::from_environment(), wanted)?;
            fs::write(file, lock.to_toml())?;
            say(&format!("{} packages, {} bytes, {}", lock.packages.len(), lock.total_bytes(), lock.digest()?))
        }
        ["assemble", file, dir] => assemble(&BuildRootLock::parse(&fs::read_to_string(file)?)?, Path::new(dir)),
        _ => Err("expected `lock FILE [NAME...]` or `assemble FILE DIR`".into()),
    }
}

fn assemble(lock: &BuildRootLock, dest: &Path) -> Result<(), Failure> {
    let kept = tempfile::tempdir()?;
    let fetcher = Fetcher::new(FetchConfig::from_environment());
    let started = Instant::now();
    let next = AtomicUsize::new(0);
    let worker = || -> Result<(), Failure> {
        while let Some(package) = lock.packages.get(next.fetch_add(1, Ordering::Relaxed)) {
            let places = [package.place()];
            let wanted = Wanted { sha256: package.sha256, bytes: package.bytes, places: &places };
            let mut file = fs::File::create(kept.path().join(package.sha256.hex()))?;
            fetcher.fetch(&wanted, Path::new("."), &mut file)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..DOWNLOADS).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|w| w.join().map_err(|_| "a download panicked")?)
    })?;
    say(&format!("fetched and verified {} packages in {:.1} s", lock.packages.len(), started.elapsed().as_secs_f64()))?;
    let started = Instant::now();
    let threads = std::thread::available_parallelism()?.get();
    let open = |package: &anneal_fetch::LockedPackage| -> std::io::Result<Box<dyn std::io::Read + Send>> {
        Ok(Box::new(fs::File::open(kept.path().join(package.sha256.hex()))?))
    };
    let unpacked = assemble_build_root(lock, &open, dest, threads)?;
    let seconds = started.elapsed().as_secs_f64();
    say(&format!("{} files, {} bytes in {seconds:.2} s with {threads} threads", unpacked.files, unpacked.bytes))
}

fn say(line: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
