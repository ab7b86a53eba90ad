//! The second wall, and the locks on privilege: what they hold, and that work goes on behind them.

use anneal_sandbox::{CgroupKind, Error, IdMode, MountSource};

use crate::bench::{Bench, needs_sandbox};

#[test]
fn builds_work_behind_the_second_wall_as_they_do_without() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.output("/out");
    bench.mount("/build", MountSource::Scratch { bytes: 16 << 20, inodes: 1000 });
    let said = bench.says(&["walls", "work", "/tmp", "/build", "/out", "/dev/shm"]);
    assert_eq!(said.matches(": Ok(())").count(), 4, "{said}");
    bench.spec.writable_root = true;
    let said = bench.says(&["walls", "work", "/", "/tmp", "/out"]);
    assert_eq!(said.matches(": Ok(())").count(), 3, "{said}");
}

#[test]
fn processes_of_one_sandbox_reach_each_other_and_not_process_1() {
    needs_sandbox!();
    let bench = Bench::new();
    let (outcome, said) = bench.run(&["walls", "together"]).unwrap();
    for line in [
        "child connects: Ok(())",
        "kill child: 0",
        "child ended by: 15",
        "write /dev/null: Ok(())",
        "write /dev/zero: Ok(())",
        "shared memory: Ok(())",
        "terminal: true",
        "tcp: true",
    ] {
        assert!(said.lines().any(|said| said == line), "{line} is missing in\n{said}");
    }
    if outcome.surroundings.landlock_abi >= 6 {
        assert!(said.contains("signal to process 1: -1"), "{said}");
    }
}

#[test]
fn secure_bits_are_locked() {
    needs_sandbox!();
    let said = Bench::new().says(&["walls", "secure-bits"]);
    assert!(said.starts_with("bits: 0xef\n"), "{said}");
    assert_eq!(said.matches("held: ").count(), 4, "{said}");
}

#[test]
fn a_machine_id_is_what_a_declared_tree_says_or_absent() {
    needs_sandbox!();
    let mut bench = Bench::new();
    for path in ["/etc/machine-id", "/var/lib/dbus/machine-id"] {
        assert!(bench.says(&["read", path]).contains("No such file"), "{path}");
    }
    let tree = bench.tree("etc", "machine-id", "of the tree");
    bench.mount("/etc", MountSource::Trees(vec![tree]));
    assert_eq!(bench.says(&["read", "/etc/machine-id"]), "of the tree");
}

#[test]
fn an_outcome_tells_what_could_not_be_fixed() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let (outcome, _) = bench.run(&["true"]).unwrap();
    let seen = &outcome.surroundings;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(seen.kernel, release.trim());
    assert!(!seen.cpu_model.is_empty());
    assert_eq!(seen.clock_ms, outcome.started_ms);
    assert_eq!(seen.outputs_checked_every_ms, None);
    let root = nix::unistd::geteuid().is_root();
    assert_eq!(seen.id_mode, if root { IdMode::Own } else { IdMode::Shared });
    let limited = !outcome.limits_not_enforced.iter().any(|gap| gap.starts_with("memory: "));
    assert!(!limited || seen.cgroup != CgroupKind::None, "{outcome:?}");
    bench.output("/out");
    assert_eq!(bench.run(&["true"]).unwrap().0.surroundings.outputs_checked_every_ms, Some(250));
}

#[test]
fn a_strict_spec_runs_where_all_of_it_holds_and_is_refused_with_every_gap_and_its_mend_elsewhere() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let gaps = bench.run(&["true"]).unwrap().0.limits_not_enforced;
    bench.spec.strict = true;
    match bench.run(&["true"]) {
        Ok((outcome, _)) => assert!(gaps.is_empty() && outcome.succeeded(), "{gaps:?}"),
        Err(Error::NotEnforced { gaps: told }) => {
            assert_eq!(told.len(), gaps.len());
            for (told, gap) in told.iter().zip(&gaps) {
                assert!(told.starts_with(gap) && told.ends_with(')'), "{told}");
            }
        }
        Err(other) => panic!("{other}"),
    }
    bench.spec.limits.cpus = 4096;
    let told = bench.run(&["true"]).unwrap_err().to_string();
    assert!(told.contains("cpus: 4096 declared") && told.contains("declare no more processors"), "{told}");
}
