//! The last steps before the payload takes over.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;

use anneal_sandbox_op::Resource;

use crate::syscall::{self, Fault, c_string, check};

/// Signal numbers end here.
const LAST_SIGNAL: i32 = 64;

/// Gives every signal its default action and lets all of them through.
pub(crate) fn reset_signals() -> Result<(), Fault> {
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: the default action is no function; signals that can't be changed are an error we do not need.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: a signal set is plain integers.
    let mut none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a live set; null asks for no copy of the old one.
    let result = unsafe {
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut())
    };
    check(libc::c_long::from(result), "sigprocmask").map(drop)
}

/// Runs on the given processors only.
pub(crate) fn affinity(cpus: &[u32]) -> Result<(), Fault> {
    // SAFETY: a set of processors is plain integers.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in cpus.iter().filter(|cpu| **cpu < libc::CPU_SETSIZE as u32) {
        // SAFETY: the number is within the set.
        unsafe { libc::CPU_SET(*cpu as usize, &mut set) };
    }
    // SAFETY: the set outlives the call and its size is given.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    check(libc::c_long::from(result), "sched_setaffinity").map(drop)
}

/// Turns address space randomisation off.
pub(crate) fn fixed_addresses() -> Result<(), Fault> {
    // SAFETY: one integer.
    let result = unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
    check(libc::c_long::from(result), "personality").map(drop)
}

/// Starts a session without a terminal.
pub(crate) fn new_session() -> Result<(), Fault> {
    // SAFETY: no arguments.
    check(libc::c_long::from(unsafe { libc::setsid() }), "setsid").map(drop)
}

/// Limits a resource, never above what is there already.
pub(crate) fn limit(resource: Resource, soft: u64, hard: u64) -> Result<(), Fault> {
    let number = match resource {
        Resource::Core => libc::RLIMIT_CORE,
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
        Resource::Processes => libc::RLIMIT_NPROC,
        Resource::Stack => libc::RLIMIT_STACK,
        Resource::Locked => libc::RLIMIT_MEMLOCK,
        Resource::Queues => libc::RLIMIT_MSGQUEUE,
        Resource::Signals => libc::RLIMIT_SIGPENDING,
        Resource::Nice => libc::RLIMIT_NICE,
        Resource::RealTime => libc::RLIMIT_RTPRIO,
    };
    let mut current = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a live buffer of the right type.
    check(libc::c_long::from(unsafe { libc::getrlimit(number, &mut current) }), "getrlimit")?;
    let hard = hard.min(current.rlim_max);
    let limit = libc::rlimit { rlim_cur: soft.min(hard), rlim_max: hard };
    // SAFETY: as above.
    check(libc::c_long::from(unsafe { libc::setrlimit(number, &limit) }), "setrlimit").map(drop)
}

/// Leaves nothing to do but exec: goes to the working directory and lets go of every descriptor but the standard ones.
pub(crate) fn prepare(cwd: &str) -> Result<(), Fault> {
    std::env::set_current_dir(cwd).map_err(|e| Fault::io(format!("chdir {cwd}"), &e))?;
    let null = File::open("/dev/null").map_err(|e| Fault::io("open /dev/null", &e))?;
    syscall::replace_standard(null.as_fd(), 0)?;
    syscall::close_from(3, true)
}

/// Becomes the payload. Returns only if that fails.
pub(crate) fn exec(argv: &[String], env: &[String]) -> Result<(), Fault> {
    let arguments = argv.iter().map(|text| c_string(text)).collect::<Result<Vec<CString>, Fault>>()?;
    let variables = env.iter().map(|text| c_string(text)).collect::<Result<Vec<CString>, Fault>>()?;
    let program = argv.first().ok_or_else(|| Fault::check("argv is empty"))?;
    let mut denied = false;
    for candidate in candidates(program, env) {
        match execve(&c_string(&candidate)?, &arguments, &variables).errno() {
            libc::ENOENT | libc::ENOTDIR if !program.contains('/') => {}
            libc::EACCES if !program.contains('/') => denied = true,
            errno => return Err(Fault::io("execve", &std::io::Error::from_raw_os_error(errno))),
        }
    }
    let errno = if denied { libc::EACCES } else { libc::ENOENT };
    Err(Fault::io("execve", &std::io::Error::from_raw_os_error(errno)))
}

/// The paths at which a program may be.
fn candidates(program: &str, env: &[String]) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let path = env.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or_default();
    path.split(':').filter(|dir| dir.starts_with('/')).map(|dir| format!("{dir}/{program}")).collect()
}

fn execve(program: &CString, arguments: &[CString], variables: &[CString]) -> Fault {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, variables) = (pointers(arguments), pointers(variables));
    // SAFETY: both arrays end with null and point to strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), variables.as_ptr()) };
    Fault::last("execve")
}
