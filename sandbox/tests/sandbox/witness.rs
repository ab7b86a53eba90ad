//! What a payload attempts is heard and refused, `uname` is the same everywhere, and a traced run says what it read.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anneal_sandbox::{Attempt, Ended, Kind, MountSource, Outcome, Trace};

use crate::bench::{Bench, PAYLOAD, needs_sandbox, patient, payload};

const GRACE: Duration = Duration::from_secs(2);
const EPERM: i32 = 1;
const ENOSYS: i32 = 38;
const ENETUNREACH: i32 = 101;
/// Set in a test process that another program listens to.
const HEARD: &str = "ANNEAL_TEST_HEARD";

/// Every attempt that the payload makes: the error it must see, and how it is listed.
const ATTEMPTS: &[(&str, i32, Attempt, &str, &str)] = &[
    ("mount", EPERM, Attempt::Mount, "mount", "/tmp/\\u{1b}here"),
    ("fsopen", ENOSYS, Attempt::Mount, "fsopen", "tmpfs"),
    ("unshare", EPERM, Attempt::Namespace, "unshare", "user,network"),
    ("clone", EPERM, Attempt::Namespace, "clone", "user"),
    ("keyctl", EPERM, Attempt::Keyring, "keyctl", "operation 0"),
    ("ptrace", EPERM, Attempt::TraceProcess, "ptrace", "request 16"),
    ("mknod", EPERM, Attempt::Device, "mknodat", "/tmp/mem mode 20666"),
    ("ioctl", EPERM, Attempt::Device, "ioctl", "command TIOCSTI"),
    ("chmod", EPERM, Attempt::SetId, "chmod", "/tmp/file mode 4755"),
    ("open", EPERM, Attempt::SetId, "open", "/tmp/made mode 2755"),
    ("bpf", EPERM, Attempt::Kernel, "bpf", "command 5"),
    ("io_uring_setup", ENOSYS, Attempt::Kernel, "io_uring_setup", ""),
    ("socket", EPERM, Attempt::Network, "socket", "family vsock, type 1, protocol 0"),
    ("raw socket", EPERM, Attempt::Network, "socket", "family inet, type 3, protocol 1"),
    ("connect", ENETUNREACH, Attempt::Network, "connect", "192.0.2.1:443"),
    ("sendto", ENETUNREACH, Attempt::Network, "sendto", "198.51.100.7:123"),
];
/// It sends this one too, and whether that fails is the kernel's business.
const NAME_SERVICE: (Attempt, &str, &str) = (Attempt::Network, "sendto", "127.0.0.1:53 (name service)");

#[test]
fn each_refused_attempt_is_listed_and_fails_as_if_nobody_listened() {
    needs_sandbox!();
    for trace in [false, true] {
        let mut bench = Bench::new();
        bench.spec.trace = trace;
        let (outcome, said) = bench.run(&["attempt-each"]).unwrap();
        assert!(outcome.succeeded(), "{} {said}", outcome.ended);
        for (name, errno, ..) in ATTEMPTS {
            let line = format!("{name}: {errno}");
            assert!(said.lines().any(|said| said == line), "{line} is missing in\n{said}");
        }
        let listed: Vec<(Attempt, &str, &str)> =
            outcome.refused.iter().map(|seen| (seen.what, seen.call.as_str(), seen.detail.as_str())).collect();
        let made = ATTEMPTS.iter().map(|(_, _, what, call, detail)| (*what, *call, *detail)).chain([NAME_SERVICE]);
        assert_eq!(listed, made.collect::<Vec<_>>());
        assert!(outcome.refused.iter().all(|seen| seen.times == 1) && !outcome.refused_more);
    }
}

#[test]
fn a_payload_that_attempts_nothing_has_nothing_listed() {
    needs_sandbox!();
    let (outcome, _) = Bench::new().run(&["true"]).unwrap();
    assert!(outcome.refused.is_empty() && !outcome.refused_more && outcome.trace.is_none(), "{outcome:#?}");
}

#[test]
fn an_attempt_has_the_word_of_its_sort_in_json() {
    needs_sandbox!();
    let (outcome, _) = Bench::new().run(&["attempt-each"]).unwrap();
    let json = serde_json::to_value(&outcome).unwrap();
    let words: Vec<&str> =
        json["refused"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    for word in ["network", "device", "mount", "namespace", "keyring", "trace-process", "kernel", "set-id"] {
        assert!(words.contains(&word), "{word} is missing in {words:?}");
    }
}

/// What a program without a C library of its own to ask sees.
#[test]
fn uname_is_the_same_on_every_machine_and_for_every_kind() {
    needs_sandbox!();
    for (kind, trace) in [(Kind::Build, false), (Kind::Test, false), (Kind::Run, false), (Kind::Build, true)] {
        let mut bench = Bench::new();
        (bench.spec.kind, bench.spec.trace) = (kind, trace);
        bench.spec.hostname = "somewhere".to_owned();
        let said = bench.says(&["names"]);
        let expected = "uname: 0\nLinux\nsomewhere\n6.1.0-anneal\n#1 SMP\nx86_64\n(none)\nuname to nowhere: 14\n";
        assert_eq!(said, expected);
    }
}

/// What a program of the host says, which is linked dynamically.
#[test]
fn uname_as_a_program_prints_it_is_what_proc_says() {
    needs_sandbox!();
    let usr = ["/usr/bin/uname", "/usr/lib64/ld-linux-x86-64.so.2"];
    if let Some(missing) = usr.iter().find(|path| !Path::new(path).exists()) {
        std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: no {missing}\n").as_bytes()).unwrap();
        return;
    }
    let mut bench = Bench::new();
    for name in ["lib", "lib64"] {
        symlink(format!("usr/{name}"), bench.spec.root[0].join(name)).unwrap();
    }
    bench.mount("/usr", MountSource::Trees(vec!["/usr".into()]));
    let (outcome, said) = bench.run_program(&["/usr/bin/uname", "-srvnm"]).unwrap();
    assert!(outcome.succeeded(), "{said}");
    assert_eq!(said, "Linux anneal 6.1.0-anneal #1 SMP x86_64\n");
    assert!(bench.says(&["read", "/proc/version"]).starts_with("Linux version 6.1.0-anneal "));
}

#[test]
fn a_flood_of_attempts_ends_at_the_wall_limit_and_hides_nothing_else() {
    needs_sandbox!();
    for trace in [false, true] {
        let mut bench = Bench::new();
        bench.spec.trace = trace;
        bench.spec.limits.wall = patient(patient(Duration::from_secs(1)));
        let start = Instant::now();
        // So many that one always waits: without a bound on what is answered at once nobody would look at the clock.
        let (outcome, _) = bench.run(&["attempt-flood", "48"]).unwrap();
        assert_eq!(outcome.ended, Ended::WallLimit);
        assert!(start.elapsed() < bench.spec.limits.wall + patient(GRACE), "{:?}", start.elapsed());
        assert_eq!(outcome.refused.len(), 8, "{:#?}", outcome.refused);
        assert!(outcome.refused_more);
    }
}

#[test]
fn a_lease_on_a_script_that_is_executed_keeps_nobody_waiting() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.trace = true;
    bench.spec.limits.wall = patient(Duration::from_secs(1));
    let start = Instant::now();
    let (outcome, said) = bench.run(&["execute-leased", "/tmp/script"]).unwrap();
    assert_eq!((outcome.ended, said.as_str()), (Ended::WallLimit, "leased\n"));
    assert!(start.elapsed() < bench.spec.limits.wall + patient(GRACE), "{:?}", start.elapsed());
}

#[test]
fn a_grandchild_that_is_killed_while_it_waits_for_an_answer_harms_nobody() {
    needs_sandbox!();
    let (outcome, said) = Bench::new().run(&["killed-while-waiting", "200"]).unwrap();
    assert_eq!((outcome.ended, said.as_str()), (Ended::Exited(0), "all dead\n"));
    assert!(outcome.refused.iter().all(|seen| seen.what == Attempt::Namespace), "{:#?}", outcome.refused);
    assert!(outcome.refused[0].times > 10, "{:#?}", outcome.refused);
}

#[test]
fn many_heard_runs_leave_no_descriptor_behind() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.trace = true;
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for index in 0..60 {
        // A third ends while calls wait for their answers.
        bench.spec.limits.wall = Duration::from_millis(if index % 3 == 0 { 20 } else { 60_000 });
        let order: &[&str] = if index % 3 == 0 { &["attempt-flood", "4"] } else { &["names"] };
        bench.run(order).unwrap();
    }
    assert!(open() < before + 50, "{} descriptors after {before}", open());
}

/// A bench with declared inputs of each sort, and what a traced run of it says of these paths.
fn traced(paths: &[&str]) -> (Trace, Outcome) {
    let mut bench = Bench::new();
    bench.spec.trace = true;
    let one = bench.tree("one", "used", "1");
    for file in ["unused", "linked", "sub/near", "sub/far", "a/other", "b/header"] {
        bench.tree("one", file, "x");
    }
    symlink("linked", one.join("link")).unwrap();
    std::fs::copy(payload(), one.join("tool")).unwrap();
    std::fs::set_permissions(one.join("tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = bench.tree("one", "script", "#!/in/tool\n").join("script");
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = bench.tree("two", "file", "2").join("file");
    let spare = bench.tree("three", "file", "3").join("file");
    bench.mount("/in", MountSource::Trees(vec![one]));
    bench.mount("/file", MountSource::File(file));
    bench.mount("/spare", MountSource::File(spare));
    bench.output("/out");
    let args: Vec<&str> = ["look"].iter().chain(paths).copied().collect();
    let (mut outcome, said) = bench.run(&args).unwrap();
    assert!(outcome.succeeded(), "{} {said}", outcome.ended);
    let trace = outcome.trace.take().unwrap();
    assert!(!trace.truncated, "{trace:#?}");
    assert!(trace.method.contains("Not observed does not mean none"), "{}", trace.method);
    (trace, outcome)
}

#[test]
fn a_trace_names_what_was_looked_for_and_not_declared() {
    needs_sandbox!();
    let (trace, _) = traced(&[
        "/in/used",
        "/in/gone",
        "/opt/sdk/lib/x.so",
        "cwd:/in/sub:../absent",
        "at:/in/sub:lost",
        "stat:/etc/machine-id",
        "stat:/sys/devices/system/cpu/online",
        "/dev/kvm",
        // These are the run's own or the sandbox's, and no news.
        "/tmp/gone",
        "/out/gone",
        "/dev/null",
        "/proc/nothing",
        "make:/tmp/new",
        "/tmp/new",
        // A search that finds, and one that should not have looked there.
        "/opt/include/header",
        "stat:/in/a/header",
        "stat:/in/a/variant/of/header",
        "/in/b/header",
    ]);
    let outside = [
        "/dev/kvm",
        "/etc/machine-id",
        "/in/absent",
        "/in/gone",
        "/in/sub/lost",
        "/opt/include/header",
        "/opt/sdk/lib/x.so",
        "/sys/devices/system/cpu/online",
    ];
    assert_eq!(trace.reads_outside, outside);
}

#[test]
fn a_trace_names_declared_files_that_nothing_opened() {
    needs_sandbox!();
    let all = [
        "/file",
        "/in/a/other",
        "/in/b/header",
        "/in/linked",
        "/in/script",
        "/in/sub/far",
        "/in/sub/near",
        "/in/tool",
        "/in/unused",
        "/in/used",
        "/spare",
    ];
    // To ask about a file is not to read it.
    assert_eq!(traced(&["stat:/in/used"]).0.never_read, all);
    let read = ["/in/used", "/in/link", "cwd:/in/sub:near", "at:/in/b:../sub/far", "run:/in/tool", "/file"];
    let (trace, _) = traced(&read);
    assert_eq!(trace.never_read, ["/in/a/other", "/in/b/header", "/in/script", "/in/unused", "/spare"]);
    assert_eq!(trace.reads_outside, [""; 0]);
    // The kernel opens what a script names.
    let (trace, _) = traced(&["run:/in/script"]);
    assert!(!trace.never_read.iter().any(|path| path == "/in/tool" || path == "/in/script"), "{trace:#?}");
}

#[test]
fn the_program_of_a_spec_counts_as_read() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.trace = true;
    bench.mount("/tool", MountSource::File(bench.spec.root[0].join("payload")));
    bench.mount("/bin", MountSource::Trees(vec![bench.spec.root[0].clone()]));
    bench.spec.env.insert("PATH".to_owned(), "/nowhere:/bin".to_owned());
    for (args, unread) in [
        (&["/tool", "true"][..], &["/bin/payload"][..]),
        (&["payload", "look", "/bin/none"][..], &["/tool"][..]),
        (&["/payload", "true"][..], &["/bin/payload", "/tool"][..]),
    ] {
        let (outcome, said) = bench.run_program(args).unwrap();
        assert!(outcome.succeeded(), "{said}");
        assert_eq!(outcome.trace.unwrap().never_read, unread, "{args:?}");
    }
}

/// The kernel lets one program listen. A sandbox inside what is listened to must be as strong, and say what it can't tell.
#[test]
fn where_another_program_listens_calls_are_refused_all_the_same_and_the_result_says_so() {
    needs_sandbox!();
    if std::env::var_os(HEARD).is_some() {
        let mut bench = Bench::new();
        bench.spec.trace = true;
        let (outcome, said) = bench.run(&["attempt-each"]).unwrap();
        for (name, errno, ..) in ATTEMPTS {
            let line = format!("{name}: {errno}");
            assert!(said.lines().any(|said| said == line), "{line} is missing in\n{said}");
        }
        assert!(outcome.refused.is_empty());
        let gap = "refused attempts are not listed";
        assert!(outcome.limits_not_enforced.iter().any(|found| found.starts_with(gap)), "{outcome:#?}");
        let trace = outcome.trace.unwrap();
        assert!(trace.truncated && trace.method.starts_with("Not observed"), "{trace:#?}");
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = "witness::where_another_program_listens_calls_are_refused_all_the_same_and_the_result_says_so";
    command.args(["--exact", test, "--nocapture"]).env(HEARD, "1").env(PAYLOAD, payload()).current_dir("/");
    // SAFETY: two system calls and no memory but the stack's.
    unsafe { command.pre_exec(be_heard) };
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Installs a filter that allows everything and has a listener, whom nobody hears.
fn be_heard() -> std::io::Result<()> {
    let mut allow = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW }];
    let program = libc::sock_fprog { len: 1, filter: allow.as_mut_ptr() };
    // SAFETY: integers, and a program that lives through the call.
    let listener = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &program,
        )
    };
    if listener < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned it.
    let listener = unsafe { OwnedFd::from_raw_fd(listener as i32) };
    // It listens as long as it is open, in this process and across exec.
    // SAFETY: integers only.
    unsafe { libc::fcntl(listener.as_raw_fd(), libc::F_SETFD, 0) };
    std::mem::forget(listener);
    Ok(())
}
