//! Nothing of the host is seen. That nothing can be reached is what `tests/attack` tries.

use std::collections::BTreeMap;

use crate::bench::{Bench, needs_sandbox};

#[test]
fn the_environment_is_the_given_one_and_nothing_else() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.env = BTreeMap::from([("B".to_owned(), "2 = two".to_owned()), ("A".to_owned(), String::new())]);
    assert_eq!(bench.says(&["environment"]), "A=\nB=2 = two\n");
}

#[test]
fn a_payload_starts_as_a_plain_user_with_nothing_open_and_no_privilege() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.uid = 1234;
    bench.spec.gid = 567;
    let said = bench.says(&["facts"]);
    for fact in [
        "fds: 0 1 2 3",
        "uid: 1234",
        "gid: 567",
        "umask: 0022",
        "personality: 40000",
        "cwd: /tmp",
        "cpus: 1",
        "hostname: anneal",
        "boot: 616e6e65-616c-4000-8000-000000000000",
        "CapInh: 0000000000000000",
        "CapPrm: 0000000000000000",
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
        "CapAmb: 0000000000000000",
        "NoNewPrivs: 1",
        "Seccomp: 2",
        "SigBlk: 0000000000000000",
        "interfaces: lo",
        "pids: [1, 2]",
        "pid: 2",
        "session: 2",
    ] {
        assert!(said.lines().any(|line| line == fact), "{fact} is missing in\n{said}");
    }
    let up = said.lines().find_map(|line| line.strip_prefix("up: ")).unwrap();
    assert!(up.parse::<u64>().unwrap() < 10, "up for {up} s");
}

#[test]
fn the_machine_that_proc_shows_is_not_this_one() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.limits.cpus = 3;
    assert_eq!(bench.says(&["read", "/proc/cpuinfo"]).matches("processor").count(), 3);
    assert!(bench.says(&["read", "/proc/meminfo"]).starts_with("MemTotal:        4194304 kB\n"));
    assert_eq!(bench.says(&["read", "/proc/uptime"]), "0.00 0.00\n");
    assert_eq!(bench.says(&["read", "/proc/loadavg"]), "0.00 0.00 0.00 1/1 1\n");
    assert!(bench.says(&["read", "/proc/version"]).starts_with("Linux version 6.1.0-anneal"));
    assert_eq!(bench.says(&["list", "/proc/fs"]), "\n");
}

#[test]
fn a_device_takes_bytes_and_the_file_of_the_host_that_it_is_keeps_its_times() {
    needs_sandbox!();
    for device in ["null", "zero", "full", "random", "urandom", "tty"] {
        let said = Bench::new().says(&["touch", &format!("/dev/{device}")]);
        assert!(said.starts_with("held: touch: Read-only file system"), "{device}: {said}");
    }
    for device in ["null", "zero", "urandom"] {
        let path = format!("/dev/{device}");
        assert_eq!(Bench::new().says(&["write", &path, "x"]), format!("escaped: write {path}\n"));
    }
}

#[test]
fn two_runs_at_once_see_neither_each_other_nor_each_others_files() {
    needs_sandbox!();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let bench = Bench::new();
                    (bench.says(&["facts"]), bench.says(&["list", "/tmp"]))
                })
            })
            .collect();
        for run in runs {
            let (facts, files) = run.join().unwrap();
            assert!(facts.contains("pids: [1, 2]"), "{facts}");
            assert_eq!(files, "\n");
        }
    });
}
