//! A strict spec is refused before anything of it runs, where what is missing can be known before.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anneal_sandbox::Error;

use crate::bench::{Bench, PAYLOAD, needs_sandbox, payload};

/// Set in the process around which calls are denied.
const DENIED: &str = "ANNEAL_TEST_DENIED";
const GAPS: [&str; 2] = ["processor affinity: ", "a session keyring of its own: "];

#[test]
fn what_a_policy_around_the_launcher_denies_is_known_before_the_start_and_told_once() {
    needs_sandbox!();
    if std::env::var_os(DENIED).is_some() {
        let mut bench = Bench::new();
        let out = bench.output("/out");
        let told = bench.run(&["true"]).unwrap().0.limits_not_enforced;
        for gap in GAPS {
            assert_eq!(told.iter().filter(|told| told.starts_with(gap)).count(), 1, "{told:?}");
        }
        bench.spec.strict = true;
        let Err(Error::NotEnforced { gaps }) = bench.run(&["write", "/out/file", "x"]) else { panic!("it ran") };
        for gap in GAPS {
            assert!(gaps.iter().any(|told| told.starts_with(gap) && told.contains("policy")), "{gaps:?}");
        }
        assert_eq!(std::fs::read_dir(out).unwrap().count(), 0);
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = "strict::what_a_policy_around_the_launcher_denies_is_known_before_the_start_and_told_once";
    command.args(["--exact", test, "--nocapture"]).env(DENIED, "1").env(PAYLOAD, payload()).current_dir("/");
    // SAFETY: two system calls and no memory but the stack's.
    unsafe { command.pre_exec(deny) };
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Denies two calls from here on, as the policies of containers do.
fn deny() -> std::io::Result<()> {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(equal, 1, 0, libc::SYS_keyctl as u32),
        step(equal, 0, 1, libc::SYS_sched_setaffinity as u32),
        step(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: integers, and a program that lives through the call.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program)
    };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
