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
fn memory_load_and_time_are_those_of_no_machine() {
    needs_sandbox!();
    let said = Bench::new().says(&["walls", "size"]);
    assert_eq!(said, "0: up 0 load [0, 0, 0] memory 4294967296 4294967296 unit 1\n");
}

/// What `/proc` may hold beside processes without being covered by a mount of ours: links into the own process,
/// objects of the own namespace, and what only the superuser of the host can read.
const PROC_UNCOVERED: &[&str] = &["mounts", "net", "self", "sysvipc", "thread-self"];
const PROC_SUPERUSER: &[&str] = &["kpagecgroup", "kpagecount", "kpageflags", "pagetypeinfo", "slabinfo", "vmallocinfo"];

#[test]
fn everything_in_proc_is_covered_or_of_the_payload_itself() {
    needs_sandbox!();
    let bench = Bench::new();
    let table = bench.says(&["read", "/proc/self/mountinfo"]);
    let covered: Vec<&str> = table.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let listed = bench.says(&["list", "/proc"]);
    let mut seen = 0;
    for name in listed.split_whitespace().filter(|name| name.parse::<u32>().is_err()) {
        seen += 1;
        let path = format!("/proc/{name}");
        if covered.contains(&path.as_str()) || PROC_UNCOVERED.contains(&name) {
            continue;
        }
        assert!(PROC_SUPERUSER.contains(&name), "{path} shows something of the host");
        let said = bench.says(&["read", &path]);
        assert!(said.starts_with("held: "), "{said}");
    }
    assert!(seen > 30, "{listed}");
}

#[test]
fn settings_of_the_kernel_are_the_same_on_every_host() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.hostname = "elsewhere".to_owned();
    let said = bench.says(&["walls", "sys"]);
    for line in [
        "/proc/sys/kernel/hostname: elsewhere",
        "/proc/sys/kernel/domainname: (none)",
        "/proc/sys/kernel/osrelease: 6.1.0-anneal",
        "/proc/sys/kernel/random/boot_id: 616e6e65-616c-4000-8000-000000000000",
        "/proc/sys/kernel/random/uuid: 616e6e65-616c-4000-8000-000000000001",
    ] {
        assert!(said.lines().any(|said| said == line), "{line} is missing in\n{said}");
    }
    assert_eq!(said.lines().count(), 28, "{said}");
}

#[test]
fn nothing_that_protects_the_launcher_protects_its_payload() {
    needs_sandbox!();
    let bench = Bench::new();
    assert_eq!(bench.says(&["read", "/proc/self/oom_score_adj"]), "1000\n");
    let said = bench.says(&["read", "/proc/self/limits"]);
    let limit = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(limit("Max nice priority"), "0 0");
    assert_eq!(limit("Max realtime priority"), "0 0");
    assert_eq!(limit("Max pending signals"), "4096 4096");
    assert_eq!(bench.says(&["read", "/proc/1/cmdline"]), "anneal-sandbox\0");
}

#[test]
fn a_payload_that_asks_for_more_processors_is_not_told_no_and_gets_none() {
    needs_sandbox!();
    let said = Bench::new().says(&["walls", "widen"]);
    assert_eq!(said, "asked: 0\nprocessors: 1\n");
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
    let shares = outcome.limits_not_enforced.iter().any(|gap| gap.starts_with("own user: "));
    let root = nix::unistd::geteuid().is_root();
    let expected = if root { IdMode::Own } else { IdMode::Subordinate };
    assert_eq!(seen.id_mode, if shares { IdMode::Shared } else { expected }, "{outcome:?}");
    assert!(!(root && shares));
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

#[test]
fn what_the_machine_has_one_of_for_all_is_not_to_be_had_and_nothing_tells_which_machine_it_is() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.output("/out");
    bench.spec.limits.open_files = 512;
    let (outcome, said) = bench.run(&["walls", "shared-tables", "/out"]).unwrap();
    assert!(outcome.succeeded(), "{said}");
    assert_eq!((said.matches("held: ").count(), said.matches("escaped: ").count()), (15, 0), "{said}");
    let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let ticks = value("ticks: ");
    assert!(ticks.ends_with(" [0, 0, 0, 0] true"), "{ticks}");
    assert!(ticks.split(' ').next().unwrap().parse::<u64>().unwrap() < 100 * 120, "{ticks}");
    assert_eq!(value("terminals: "), "64");
    let pairs = outcome.refused.iter().filter(|attempt| attempt.call == "socketpair");
    assert_eq!(pairs.map(|attempt| attempt.times).sum::<u64>(), 3, "{:?}", outcome.refused);
}
