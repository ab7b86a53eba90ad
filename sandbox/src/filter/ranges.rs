//! The allow-list as a program of ranges.
//!
//! The general compiler compares a call's number with every allowed one in turn. The kernel runs a new filter once for
//! every number there is, so for some 280 numbers that alone takes most of a millisecond at each start. Allowed
//! numbers lie close together; as ranges they are a few dozen comparisons.

use seccompiler::sock_filter;

/// `AUDIT_ARCH_X86_64`.
const ARCHITECTURE: u32 = 0xc000_003e;
/// Where the kernel's description of a call holds its number and its architecture.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Allows these numbers and says `ENOSYS` to all others; a call of another architecture ends the process.
pub(super) fn compile(numbers: impl IntoIterator<Item = i64>) -> Vec<sock_filter> {
    let missing = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let mut program = vec![
        step(LOAD, 0, 0, ARCHITECTURE_AT),
        step(IF_EQUAL, 1, 0, ARCHITECTURE),
        step(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        step(LOAD, 0, 0, NUMBER_AT),
    ];
    for (first, last) in ranges(numbers) {
        program.extend([
            step(IF_GREATER, 3, 0, last),
            step(IF_AT_LEAST, 0, 1, first),
            step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
            // Between the range before and this one.
            step(RETURN, 0, 0, missing),
        ]);
    }
    program.push(step(RETURN, 0, 0, missing));
    program
}

/// First and last of each run of numbers, ascending.
fn ranges(numbers: impl IntoIterator<Item = i64>) -> Vec<(u32, u32)> {
    let sorted: std::collections::BTreeSet<u32> =
        numbers.into_iter().filter_map(|number| u32::try_from(number).ok()).collect();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in sorted {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::allowed::CALLS;

    /// What the program answers to a call, as the kernel would run it.
    fn answer(program: &[sock_filter], architecture: u32, number: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let step = &program[at];
            let jump = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
            at += 1 + match step.code {
                LOAD => {
                    value = if step.k == NUMBER_AT { number } else { architecture };
                    0
                }
                IF_EQUAL => jump(value == step.k),
                IF_GREATER => jump(value > step.k),
                IF_AT_LEAST => jump(value >= step.k),
                _ => return step.k,
            };
        }
    }

    #[test]
    fn exactly_the_listed_calls_are_allowed() {
        let program = compile(CALLS.iter().map(|(_, number)| *number));
        for number in (0..2000).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
            let listed = CALLS.iter().any(|(_, listed)| *listed == i64::from(number));
            let expected = if listed { libc::SECCOMP_RET_ALLOW } else { libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32 };
            assert_eq!(answer(&program, ARCHITECTURE, number), expected, "call {number}");
        }
    }

    #[test]
    fn a_foreign_architecture_is_killed_whatever_it_calls() {
        let program = compile([0, 1, 2]);
        assert_eq!(answer(&program, 0x4000_0003, 1), libc::SECCOMP_RET_KILL_PROCESS);
    }
}
