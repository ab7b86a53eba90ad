//! What else goes on on a disk: without it, a file system would write little but what the store syncs, one thing at a time.
//!
//! A process writes, renames and removes files of its own without ever syncing, and asks the kernel to write back what is
//! dirty, the store's unfinished files included. So between two flushes there is more for a power cut to lose and mix.
//!
//! A process, and no thread beside the disk's server: that one must touch nothing on its own disk. If it is killed while one
//! of its threads waits for the disk, it can't end, the disk is never given up, and everything on it waits for ever.

use crate::{Dice, noise};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

/// How many files it has at most.
const FILES: usize = 40;
/// How long it rests between two things.
const REST: Duration = Duration::from_micros(400);

/// Lives beside the store until standard input ends.
pub fn be_a_neighbour(dir: &Path, store: &Path, seed: u64) {
    let watch = std::thread::spawn(|| io::stdin().lock().read(&mut [0]));
    let mut dice = Dice::new(seed);
    while !watch.is_finished() {
        // a full disk, or a file that is gone meanwhile, is nothing to it
        let _ = live(dir, store, &mut dice);
        std::thread::sleep(REST);
    }
}

fn live(dir: &Path, store: &Path, dice: &mut Dice) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let (here, there) = (dir.join(dice.below(FILES).to_string()), dir.join(dice.below(FILES).to_string()));
    match dice.below(4) {
        0 => {
            let len = 1 + dice.below(60_000);
            fs::write(&here, noise(dice.roll(), len))?;
            write_back(&here)
        }
        1 => fs::rename(here, there),
        2 => fs::remove_file(here),
        _ => unfinished(store).iter().try_for_each(|path| write_back(path)),
    }
}

/// Files of the store that may have something in memory that is not on the disk.
fn unfinished(store: &Path) -> Vec<PathBuf> {
    let list = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let batches =
        list(store.join("tmp")).flat_map(|path| if path.is_dir() { list(path).collect() } else { vec![path] });
    let logs = list(store.join("db")).filter(|path| path.extension().is_some_and(|end| end == "log" || end == "sst"));
    batches.chain(logs).chain([store.join("HEAD")]).collect()
}

/// Asks the kernel to begin to write what is dirty; it waits for nothing and flushes nothing.
fn write_back(path: &Path) -> io::Result<()> {
    Ok(posix_fadvise(File::open(path)?, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
}
