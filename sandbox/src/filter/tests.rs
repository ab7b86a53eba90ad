//! The compiled filters and the rules that the launcher asks again are of one mind.

use super::compile::answer;
use super::*;

const ARCHITECTURE: u32 = 0xc000_003e;

fn unpack(op: &Op) -> Vec<libc::sock_filter> {
    let (Op::Seccomp { program, .. } | Op::Witness { program, .. }) = op else { panic!("{op} is no filter") };
    let one = |packed: &u64| libc::sock_filter {
        code: (packed >> 48) as u16,
        jt: (packed >> 40) as u8,
        jf: (packed >> 32) as u8,
        k: *packed as u32,
    };
    program.iter().map(one).collect()
}

/// Arguments that meet and miss the conditions of every rule about a call, alone and in pairs.
fn arguments(number: i64) -> Vec<[u64; 6]> {
    let mut values: Vec<u64> = vec![0, 1, u64::MAX, 0x1_0000_0000, 0xffff_ffff];
    let told = rules(true).iter().map(|rule| (rule.number, &rule.when));
    let quiet = rules::quiet();
    for (_, when) in told.chain(quiet.iter().map(|(number, when)| (*number, when))).filter(|(of, _)| *of == number) {
        for Condition { value, mask, .. } in when {
            values.extend([u64::from(*value), u64::from(*value) | 1 << 32, u64::from(*mask), u64::from(value ^ 1)]);
        }
    }
    values.sort_unstable();
    values.dedup();
    let mut all = Vec::new();
    for one in &values {
        for two in &values {
            all.push([*one, *two, *one, *two, *one, *two]);
            all.push([*one, *one, *two, *two, *one, *one]);
            all.push([*one, *two, *two, *one, *one, *two]);
        }
    }
    all
}

fn calls() -> Vec<(i64, [u64; 6])> {
    (0..480).flat_map(|number| arguments(number).into_iter().map(move |one| (number, one))).collect()
}

#[test]
fn the_kernel_asks_about_a_call_exactly_where_a_rule_fits_it() {
    for trace in [false, true] {
        let program = unpack(&compile(trace)[1]);
        for (number, arguments) in calls().into_iter().chain([(0x4000_0000 | 165, [0; 6])]) {
            let fits = rules(trace).iter().find(|rule| rule.fits(number, &arguments));
            let expected = fits.map_or(libc::SECCOMP_RET_ALLOW, |rule| ask(rule.notice));
            let said = answer(&program, ARCHITECTURE, number as u32, &arguments);
            assert_eq!(said, expected, "call {number} with {arguments:x?}, trace {trace}");
        }
    }
}

/// An error of any filter keeps the launcher from hearing of a call. What it refuses the others must let through, and
/// what they let through it must refuse.
#[test]
fn a_call_that_exists_only_to_be_told_of_is_never_let_through() {
    let [allow, witness, quiet, attributes] = <[Op; 4]>::try_from(compile(false)).unwrap();
    let [allow, witness, quiet, attributes] = [&allow, &witness, &quiet, &attributes].map(unpack);
    let mut refused = 0;
    for (number, arguments) in calls() {
        let said = |program| answer(program, ARCHITECTURE, number as u32, &arguments);
        let listed = allowed::CALLS.iter().any(|(_, listed)| *listed == number);
        let exists = said(&allow) == libc::SECCOMP_RET_ALLOW;
        let told = said(&witness) & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_USER_NOTIF;
        let errno = said(&witness) & libc::SECCOMP_RET_DATA;
        assert!(listed || !exists || told && errno != 0, "call {number} with {arguments:x?} exists");
        if told {
            assert!(exists, "call {number} does not come to the launcher");
            for other in [&quiet, &attributes] {
                assert_eq!(said(other), libc::SECCOMP_RET_ALLOW, "call {number} with {arguments:x?}");
            }
            refused += u32::from(errno != 0);
        }
    }
    assert!(refused > 1000);
}

#[test]
fn a_traced_run_refuses_what_any_other_does() {
    for (number, arguments) in calls() {
        let of = |trace| rules(trace).iter().find(|rule| rule.fits(number, &arguments)).map(|rule| rule.notice);
        match (of(false), of(true)) {
            (None, None | Some(Notice::Observe(_))) => {}
            (plain, traced) => assert_eq!(plain, traced, "call {number} with {arguments:x?}"),
        }
    }
}
