//! Power goes at any moment: whatever of the unflushed writes is left, the store opens and has what it acknowledged.
//!
//! The scenario is played once on a disk that writes down what it is told; at each acknowledgement it is noted how far the
//! disk had come. Then, for many cuts, what the cut leaves is mounted (the file system replays its journal), and the store
//! is opened and read whole.
//!
//! ```text
//!                               a sample              ANNEAL_FULL
//! at an acknowledgement         every third, nothing  all, with nothing and with everything that was not flushed
//! before a flush                by chance             the same
//! the prefixes of the log       -                     all
//! some of what was not flushed  20 by chance          1000 by chance
//! ```
//! `ANNEAL_SEED` repeats what chance chose; the kernel, whose writes it chooses from, has a will of its own.

use crate::{is_full, prepare, scenario, seed};
use anneal_power::{
    Acknowledged, Blocks, Cut, Dice, Disk, FileSystem, Image, Left, Logical, Mounted, STEPS, boot_again, head_is_whole,
    is_alone, judge, missing, ram_dir, run_alone,
};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

/// How many cuts are left to chance on each of three file systems where everything is tried.
const FULL: usize = 1000;
/// And otherwise; beside them, every third acknowledgement.
const SAMPLE: usize = 20;

/// What the disk was told, and how far it was when each step was acknowledged.
struct Recording {
    blocks: Blocks,
    /// Where the scenario begins: the file system is made and mounted.
    begin: usize,
    /// How much the disk had been told at the latest when step n was acknowledged.
    acknowledged: Vec<usize>,
}

/// Plays the scenario on a disk of its own.
fn record(file_system: FileSystem, dir: &Path, sources: &Path, seed: u64) -> Recording {
    let disk = Disk::new(&dir.join("fuse"), file_system.disk_bytes()).unwrap();
    file_system.format(disk.path()).unwrap();
    let mounted = Mounted::new(file_system, disk.path(), &dir.join("mounted")).unwrap();
    let begin = disk.position();
    let store = dir.join("mounted/store");
    let mut neighbour = Command::new(env!("CARGO_BIN_EXE_anneal-power-scenario"));
    neighbour.arg("neighbour").arg(dir.join("mounted/neighbour")).arg(&store).arg(seed.to_string());
    let mut neighbour = neighbour.stdin(Stdio::piped()).spawn().unwrap();
    let mut command = scenario(&store, sources);
    let mut child = command.arg("in-step").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut acknowledged = Vec::new();
    for line in stdout.lines() {
        let line = line.unwrap();
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["ready"] | ["done"] => {}
            ["acknowledged", _] => acknowledged.push(disk.position()),
            _ => panic!("{}: {line}", file_system.name()),
        }
        // at the end nobody waits any more
        let _ = writeln!(stdin, "go on");
    }
    assert!(child.wait().unwrap().success());
    drop(neighbour.stdin.take());
    assert!(neighbour.wait().unwrap().success());
    mounted.unmount().unwrap();
    assert_eq!(acknowledged.len(), STEPS.len());
    Recording { blocks: disk.blocks(), begin, acknowledged }
}

impl Recording {
    /// What had been acknowledged for sure when the disk had been told so much.
    fn known(&self, at: usize) -> Acknowledged {
        Acknowledged {
            steps: self.acknowledged.iter().filter(|acknowledged| **acknowledged <= at).count(),
            after: None,
        }
    }

    /// The cuts to try, in the order of their positions.
    fn cuts(&self, count: usize, dice: &mut Dice) -> Vec<Cut> {
        let mut positions = self.acknowledged.clone();
        let boundaries: Vec<usize> = self.blocks.boundaries(self.begin).collect();
        let mut cuts: Vec<Cut> = Vec::new();
        if is_full() {
            positions.extend(&boundaries);
            let every =
                positions.iter().flat_map(|at| [Left::Nothing, Left::Everything].map(|left| Cut { at: *at, left }));
            cuts.extend(every);
            // every prefix there is
            cuts.extend((self.begin..=self.blocks.len()).map(|at| Cut { at, left: Left::Everything }));
        } else {
            let third = positions.iter().skip(dice.below(3)).step_by(3);
            cuts.extend(third.map(|at| Cut { at: *at, left: Left::Nothing }));
        }
        let fixed = cuts.len();
        while cuts.len() < fixed + count {
            let anywhere = self.begin + dice.below(self.blocks.len() + 1 - self.begin);
            let at = if dice.below(3) > 0 { boundaries[dice.below(boundaries.len())] } else { anywhere };
            cuts.push(Cut { at, left: Left::Some(dice.roll()) });
        }
        cuts.sort_by_key(|cut| (cut.at, cut.left));
        cuts.dedup();
        cuts
    }
}

/// Mounts what a cut leaves, and asks everything of the store on it. Says whether the file system was checked before.
fn try_cut(
    file_system: FileSystem,
    image: &mut Image<'_>,
    cut: Cut,
    dir: &Path,
    held: &[Logical],
    known: Acknowledged,
) -> Result<bool, String> {
    let disk = dir.join("left");
    image.write_out(cut, &disk).unwrap();
    let (mounted, is_checked) =
        Mounted::at_boot(file_system, &disk, &dir.join("after")).map_err(|e| format!("it does not mount: {e}"))?;
    let store = dir.join("after/store");
    let judged = head_is_whole(&store).and_then(|()| judge(&store, held, known));
    mounted.unmount().unwrap();
    judged.map(|_| is_checked)
}

/// The whole test over one file system; its name, as the test that runs alone.
fn cut_power(file_system: FileSystem, test: &str) {
    if let Some(reason) = missing(file_system) {
        println!("skipped: {reason}");
        return;
    }
    if !is_alone() {
        assert!(run_alone(&format!("power_cut::{test}")), "see above");
        return;
    }
    let (seed, name, dir) = (seed(), file_system.name(), ram_dir(file_system.name()));
    let (sources, held) = prepare(dir.path());
    let recording = record(file_system, dir.path(), &sources, seed);
    boot_again(dir.path()).unwrap();
    let cuts = recording.cuts(if is_full() { FULL } else { SAMPLE }, &mut Dice::new(seed));
    let (blocks, flushes) = (&recording.blocks, recording.blocks.flushes(recording.begin));
    let writes = blocks.len() - recording.begin - flushes;
    let stake: usize = cuts.iter().map(|cut| blocks.at_stake(cut.at)).sum();
    println!(
        "{name}: seed {seed}: {} cuts of {writes} writes and {flushes} flushes, {stake} writes at stake",
        cuts.len()
    );
    let begun = std::time::Instant::now();
    let mut image = Image::new(blocks, file_system.disk_bytes(), file_system.sector_bytes());
    let (mut wrong, mut checked) = (0, 0);
    for (number, cut) in cuts.iter().enumerate() {
        if number % 500 == 499 {
            println!("{name}: {} of {} cuts", number + 1, cuts.len());
        }
        let known = recording.known(cut.at);
        match try_cut(file_system, &mut image, *cut, dir.path(), &held, known) {
            Ok(is_checked) => checked += usize::from(is_checked),
            Err(text) => {
                let (stake, steps) = (blocks.at_stake(cut.at), known.steps);
                println!("{name}: {cut:?} ({stake} writes at stake), {steps} steps acknowledged: {text}");
                wrong += 1;
            }
        }
    }
    println!("{name}: {checked} times the file system was checked before it could be mounted");
    assert!(checked * 100 <= cuts.len(), "a file system that is torn so often says little about the store");
    println!("{name}: {} cuts took {} s", cuts.len(), begun.elapsed().as_secs());
    assert_eq!(wrong, 0, "seed {seed}: {wrong} of {} cuts went wrong, see above", cuts.len());
}

#[test]
fn a_torn_superblock_is_mended_from_its_copies_as_when_a_machine_boots() {
    if let Some(reason) = missing(FileSystem::Ext4) {
        println!("skipped: {reason}");
        return;
    }
    let test = "power_cut::a_torn_superblock_is_mended_from_its_copies_as_when_a_machine_boots";
    if !is_alone() {
        assert!(run_alone(test), "see above");
        return;
    }
    let dir = ram_dir("superblock");
    let (disk, at) = (dir.path().join("disk"), dir.path().join("at"));
    std::fs::File::create(&disk).unwrap().set_len(FileSystem::Ext4.disk_bytes() as u64).unwrap();
    FileSystem::Ext4.format(&disk).unwrap();
    let mounted = Mounted::new(FileSystem::Ext4, &disk, &at).unwrap();
    std::fs::write(at.join("file"), "what is there").unwrap();
    mounted.unmount().unwrap();
    let mut bytes = std::fs::read(&disk).unwrap();
    // the first of the superblock's two sectors is one of earlier: its count of free blocks
    bytes[1024 + 12] ^= 1;
    std::fs::write(&disk, bytes).unwrap();
    assert!(Mounted::new(FileSystem::Ext4, &disk, &at).is_err(), "the file system notices that itself");
    let (mounted, is_checked) = Mounted::at_boot(FileSystem::Ext4, &disk, &at).unwrap();
    assert!(is_checked && std::fs::read(at.join("file")).unwrap() == b"what is there");
    mounted.unmount().unwrap();
}

#[test]
fn power_goes_at_any_moment_on_ext4() {
    cut_power(FileSystem::Ext4, "power_goes_at_any_moment_on_ext4");
}

#[test]
fn power_goes_at_any_moment_on_xfs() {
    cut_power(FileSystem::Xfs, "power_goes_at_any_moment_on_xfs");
}

#[test]
fn power_goes_at_any_moment_on_btrfs() {
    cut_power(FileSystem::Btrfs, "power_goes_at_any_moment_on_btrfs");
}
