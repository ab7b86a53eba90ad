//! From answers to calls to the instructions that the kernel runs.
//!
//! The kernel runs a new filter once for every number there is, and at every call whose answer depends on an argument.
//! So a program finds a number by halving, and compares an allow-list as ranges: allowed numbers lie close together.

use libc::sock_filter;

/// `AUDIT_ARCH_X86_64`.
const ARCHITECTURE: u32 = 0xc000_003e;
/// Where the kernel's description of a call holds its number, its architecture and its arguments.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;
const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const SKIP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// So many numbers are compared one after the other.
const FEW: usize = 4;

/// Something about the low 32 bits of an argument, which are all that the calls concerned read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Which argument, from zero.
    pub(super) argument: u8,
    /// The bits that count.
    pub(super) mask: u32,
    /// What they are compared with.
    pub(super) value: u32,
    /// Whether they must be equal, or must not.
    pub(super) equal: bool,
}

impl Condition {
    /// Whether a call with these arguments fulfils it, as the kernel's run of the compiled program says.
    pub(super) fn holds(&self, arguments: &[u64; 6]) -> bool {
        let argument = arguments.get(usize::from(self.argument)).copied().unwrap_or(0) as u32;
        (argument & self.mask == self.value) == self.equal
    }
}

/// An answer to a call whose arguments fulfil all conditions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) number: u32,
    pub(super) when: &'a [Condition],
    /// `SECCOMP_RET_...`.
    pub(super) answer: u32,
}

fn step(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// Ends a process that calls with the numbers of another architecture.
fn own_architecture() -> Vec<sock_filter> {
    vec![
        step(LOAD, 0, 0, ARCHITECTURE_AT),
        step(IF_EQUAL, 1, 0, ARCHITECTURE),
        step(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        step(LOAD, 0, 0, NUMBER_AT),
    ]
}

/// Allows these numbers and says `ENOSYS` to all others; a call of another architecture ends the process.
pub(super) fn allow(numbers: impl IntoIterator<Item = i64>) -> Vec<sock_filter> {
    let missing = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let mut program = own_architecture();
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

/// Gives the first case that fits a call, and allows a call that none fits.
pub(super) fn cases(cases: &[Case<'_>]) -> Vec<sock_filter> {
    let mut bodies: std::collections::BTreeMap<u32, Vec<sock_filter>> = std::collections::BTreeMap::new();
    for case in cases {
        bodies.entry(case.number).or_default().extend(body(case));
    }
    for body in bodies.values_mut() {
        body.push(step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    }
    let bodies: Vec<(u32, Vec<sock_filter>)> = bodies.into_iter().collect();
    let mut program = own_architecture();
    program.extend(search(&bodies));
    program
}

/// Answers if every condition holds, and is passed over otherwise. The number is lost, since there is one register.
fn body(case: &Case<'_>) -> Vec<sock_filter> {
    let mut steps = vec![step(RETURN, 0, 0, case.answer)];
    for condition in case.when.iter().rev() {
        // Conditions are few, so the way past them fits the eight bits of a jump.
        let past = steps.len() as u8;
        let (jt, jf) = if condition.equal { (0, past) } else { (past, 0) };
        let at = ARGUMENTS_AT + 8 * u32::from(condition.argument);
        let compare = [step(LOAD, 0, 0, at), step(AND, 0, 0, condition.mask), step(IF_EQUAL, jt, jf, condition.value)];
        steps.splice(0..0, compare);
    }
    steps
}

/// Finds the body of a number by halving.
fn search(bodies: &[(u32, Vec<sock_filter>)]) -> Vec<sock_filter> {
    let mut program = Vec::new();
    if let Some((lower, upper)) = bodies.split_at_checked(bodies.len() / 2).filter(|_| bodies.len() > FEW)
        && let Some((first, _)) = upper.first()
    {
        let lower = search(lower);
        program.push(step(IF_AT_LEAST, 0, 1, *first));
        program.push(step(SKIP, 0, 0, lower.len() as u32));
        program.extend(lower);
        program.extend(search(upper));
        return program;
    }
    for (number, body) in bodies {
        program.push(step(IF_EQUAL, 1, 0, *number));
        program.push(step(SKIP, 0, 0, body.len() as u32));
        program.extend_from_slice(body);
    }
    program.push(step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    program
}

/// What a program answers to a call, as the kernel would run it.
#[cfg(test)]
pub(super) fn answer(program: &[sock_filter], architecture: u32, number: u32, arguments: &[u64; 6]) -> u32 {
    let (mut at, mut value) = (0, 0u32);
    loop {
        let step = &program[at];
        let jump = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
        at += 1 + match step.code {
            LOAD => {
                value = match step.k {
                    NUMBER_AT => number,
                    ARCHITECTURE_AT => architecture,
                    offset => arguments[((offset - ARGUMENTS_AT) / 8) as usize] as u32,
                };
                0
            }
            AND => {
                value &= step.k;
                0
            }
            SKIP => step.k as usize,
            IF_EQUAL => jump(value == step.k),
            IF_GREATER => jump(value > step.k),
            IF_AT_LEAST => jump(value >= step.k),
            RETURN => return step.k,
            other => panic!("instruction {other:#x}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::allowed::CALLS;

    const NONE: [u64; 6] = [0; 6];

    #[test]
    fn exactly_the_listed_calls_are_allowed() {
        let program = allow(CALLS.iter().map(|(_, number)| *number));
        for number in (0..2000).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
            let listed = CALLS.iter().any(|(_, listed)| *listed == i64::from(number));
            let expected = if listed { libc::SECCOMP_RET_ALLOW } else { libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32 };
            assert_eq!(answer(&program, ARCHITECTURE, number, &NONE), expected, "call {number}");
        }
    }

    #[test]
    fn a_foreign_architecture_is_killed_whatever_it_calls() {
        for program in [allow([0, 1, 2]), cases(&[Case { number: 1, when: &[], answer: 7 }])] {
            assert_eq!(answer(&program, 0x4000_0003, 1, &NONE), libc::SECCOMP_RET_KILL_PROCESS);
        }
    }

    #[test]
    fn the_first_case_that_fits_is_the_answer_and_the_high_bits_of_an_argument_do_not_count() {
        let is = |value| [Condition { argument: 1, mask: u32::MAX, value, equal: true }];
        let (five, six) = (is(5), is(6));
        let not = [Condition { argument: 2, mask: 0xf0, value: 0x10, equal: false }, five[0]];
        let mut all = vec![
            Case { number: 40, when: &five, answer: 1 },
            Case { number: 40, when: &six, answer: 2 },
            Case { number: 41, when: &not, answer: 3 },
        ];
        // Enough numbers that they are halved more than once.
        all.extend((100..140).map(|number| Case { number, when: &[], answer: number }));
        let program = cases(&all);
        let said = |number, one, two| answer(&program, ARCHITECTURE, number, &[0, one, two, 0, 0, 0]);
        let allowed = libc::SECCOMP_RET_ALLOW;
        assert_eq!([said(40, 5, 0), said(40, 6, 0), said(40, 7, 0), said(40, 1 << 32 | 5, 0)], [1, 2, allowed, 1]);
        assert_eq!([said(41, 5, 0), said(41, 5, 0x1f), said(41, 4, 0), said(42, 5, 0)], [3, allowed, allowed, allowed]);
        for number in 90..150 {
            let expected = if (100..140).contains(&number) { number } else { allowed };
            assert_eq!(said(number, 0, 0), expected, "call {number}");
        }
    }
}
