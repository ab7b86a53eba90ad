//! The filters of system calls, the same for every sandbox but for what a traced run looks at.
//!
//! Four stand on top of each other and the strictest answer wins; an error is stricter than telling the launcher, and of
//! two errors that of the later filter counts:
//! 1. what a build, a test or a server may call at all; anything else does not exist (`ENOSYS`), so a
//!    program falls back as it would on an older kernel; a foreign architecture is killed;
//! 2. calls that the launcher is asked about and answers ([`crate::witness`]): those that are refused and are worth
//!    telling (set-user-id bits, device files, new namespaces, mounts, other processes, keyrings, terminal injection,
//!    families of sockets), attempts at the network, and `uname`. Nobody to ask means `ENOSYS` from the kernel;
//! 3. other arguments that are refused (`EPERM`) although programs hope for them: file flags, personalities, huge pages;
//!    commands that tell of the disk (`ENOTTY`); and a choice
//!    of processors, which is advice about speed: it is heard and nothing comes of it, so that a payload has those that
//!    were declared and a program that pins its threads still starts them;
//! 4. extended attributes, which no file system here has (`ENOTSUP`).
//!
//! `clone3` does not exist since its flags lie behind a pointer; the C libraries then use `clone`. Device control
//! commands are compared by their low 32 bits, as the kernel reads them.

mod allowed;
mod compile;
mod rules;

use std::sync::OnceLock;

use anneal_sandbox_op::Op;
use compile::{Case, Condition};
pub(crate) use rules::{Detail, Lookup, NAMESPACE_FLAGS, Notice, Purpose, Rule};

/// The filters as operations, in the order in which they are installed.
pub(crate) fn operations(trace: bool) -> Vec<Op> {
    static COMPILED: [OnceLock<Vec<Op>>; 2] = [OnceLock::new(), OnceLock::new()];
    let [plain, traced] = &COMPILED;
    (if trace { traced } else { plain }).get_or_init(|| compile(trace)).clone()
}

/// The filter of a steward, which makes no connection, starts nothing and changes nothing but owners and names.
pub(crate) fn of_a_steward() -> Op {
    let calls = allowed::OF_A_STEWARD;
    Op::Seccomp {
        summary: format!("allow {} calls, else ENOSYS, foreign architectures killed", calls.len()),
        program: pack(&compile::allow(calls.iter().copied())),
    }
}

/// The rules about the calls that the launcher is asked about.
pub(crate) fn rules(trace: bool) -> &'static [Rule] {
    static RULES: [OnceLock<Vec<Rule>>; 2] = [OnceLock::new(), OnceLock::new()];
    let [plain, traced] = &RULES;
    (if trace { traced } else { plain }).get_or_init(|| rules::witnessed(trace))
}

fn compile(trace: bool) -> Vec<Op> {
    let witnessed = rules(trace);
    let (quiet, of_the_disk) = (rules::quiet(), rules::of_the_disk());
    let whole = |numbers: &[i64]| numbers.iter().map(|number| (*number, Vec::new())).collect::<Vec<_>>();
    let (without, idle) = (whole(rules::attributes()), whole(rules::WITHOUT_EFFECT));
    let refused = witnessed.iter().filter(|rule| matches!(rule.notice, Notice::Refuse { .. }));
    let traced = if trace { ", and calls with a path" } else { "" };
    vec![
        Op::Seccomp {
            summary: format!("allow {} calls, else ENOSYS, foreign architectures killed", allowed::CALLS.len()),
            program: pack(&compile::allow(existing(witnessed))),
        },
        Op::Witness {
            summary: format!(
                "refuse {} calls or arguments of them and tell, ask about connect, sendto, uname, sysinfo and times{traced}",
                numbers(refused.map(|rule| rule.number))
            ),
            program: pack(&questions(witnessed)),
        },
        Op::Seccomp {
            summary: format!(
                "refuse {} calls or arguments of them with EPERM, {} commands with ENOTTY, {} without effect",
                numbers(quiet.iter().map(|(n, _)| *n)),
                of_the_disk.len(),
                rules::WITHOUT_EFFECT.len()
            ),
            program: pack(&compile::cases(
                &[of(&quiet, libc::EPERM), of(&of_the_disk, libc::ENOTTY), of(&idle, 0)].concat(),
            )),
        },
        Op::Seccomp {
            summary: format!("refuse {} calls with ENOTSUP", without.len()),
            program: pack(&compile::cases(&of(&without, libc::EOPNOTSUPP))),
        },
    ]
}

/// The numbers that the first filter lets through: the allowed ones, and those that the second one is there for. An error
/// of the first would keep the launcher from hearing of them.
fn existing(witnessed: &[Rule]) -> impl Iterator<Item = i64> {
    allowed::CALLS.iter().map(|(_, number)| *number).chain(witnessed.iter().map(|rule| rule.number))
}

/// The answer that asks the launcher. The kernel passes over its low bits; there the init program finds the error that
/// stands in for the launcher's answer where nobody can be asked, zero for none.
fn ask(notice: Notice) -> u32 {
    let errno = if let Notice::Refuse { errno, .. } = notice { errno } else { 0 };
    libc::SECCOMP_RET_USER_NOTIF | errno as u32 & libc::SECCOMP_RET_DATA
}

/// A filter that asks where a rule matches.
fn questions(rules: &[Rule]) -> Vec<libc::sock_filter> {
    let cases =
        rules.iter().map(|rule| Case { number: rule.number as u32, when: &rule.when, answer: ask(rule.notice) });
    compile::cases(&cases.collect::<Vec<_>>())
}

/// Cases that are answered with an error; zero is success, and the call is not done.
fn of(rules: &[(i64, Vec<Condition>)], errno: i32) -> Vec<Case<'_>> {
    let answer = libc::SECCOMP_RET_ERRNO | errno as u32;
    rules.iter().map(|(number, when)| Case { number: *number as u32, when, answer }).collect()
}

fn numbers(numbers: impl Iterator<Item = i64>) -> usize {
    numbers.collect::<std::collections::BTreeSet<i64>>().len()
}

/// Instructions as numbers.
fn pack(program: &[libc::sock_filter]) -> Vec<u64> {
    let one = |i: &libc::sock_filter| {
        u64::from(i.code) << 48 | u64::from(i.jt) << 40 | u64::from(i.jf) << 32 | u64::from(i.k)
    };
    program.iter().map(one).collect()
}

/// The names of the allowed calls, sorted, one a line.
#[cfg(test)]
pub(crate) fn allowed_text() -> String {
    let mut names: Vec<&str> = allowed::CALLS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.iter().map(|name| format!("{name}\n")).collect()
}

#[cfg(test)]
mod tests;
