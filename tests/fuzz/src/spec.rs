//! The JSON of a sandbox: what is accepted makes one list of operations, and what isn't says which field.

use crate::check_message;
use anneal_sandbox::{Error, HostFacts, Spec, Users, listing, operations};
use anneal_sandbox_op::{Op, decode, encode};

/// A host with everything and root, or one with nothing and an ordinary user.
fn facts(privileged: bool) -> HostFacts {
    HostFacts {
        outside_uid: 4_200_000,
        outside_gid: 4_200_000,
        users: if privileged { Users::Own } else { Users::Shared { reason: String::new() } },
        cpus: if privileged { vec![0, 1] } else { vec![] },
        time_namespace: privileged,
        landlock_abi: if privileged { 7 } else { 0 },
    }
}

pub(crate) fn spec(input: &[u8]) {
    let spec = match Spec::from_json(input) {
        Ok(spec) => spec,
        Err(error) => return check_field(&error),
    };
    // What is written for others to read is the same spec, with the same operations.
    let again = Spec::from_json(&serde_json::to_vec(&spec).unwrap()).unwrap();
    assert_eq!(again, spec);
    for facts in [facts(true), facts(false)] {
        let made = match operations(&spec, &facts) {
            Ok(made) => made,
            Err(error) => return check_field(&error),
        };
        assert_eq!(operations(&again, &facts).unwrap(), made);
        let text = listing(&made);
        assert_eq!(listing(&made), text);
        assert_eq!(text.lines().count(), made.len(), "an operation is not one line: {text}");
        check_walls(&made, &text);
        let frame = encode(&made).unwrap();
        assert_eq!(decode::<Vec<Op>>(&frame[4..]).unwrap(), made);
    }
}

/// Whatever is asked for, these are there, in this order.
fn check_walls(made: &[Op], text: &str) {
    let at = |wanted: fn(&Op) -> bool| made.iter().position(wanted);
    let order = [
        at(|op| matches!(op, Op::Enter { .. })),
        at(|op| matches!(op, Op::PrivateMounts)),
        at(|op| matches!(op, Op::Pivot)),
        at(|op| matches!(op, Op::DropPrivileges)),
        at(|op| matches!(op, Op::Seccomp { .. })),
        at(|op| matches!(op, Op::Exec { .. })),
    ];
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?}\n{text}");
    assert!(matches!(made.last(), Some(Op::Exec { .. })));
    let Some(Op::Enter { namespaces, .. }) = made.iter().find(|op| matches!(op, Op::Enter { .. })) else { return };
    assert!(namespaces.contains(&anneal_sandbox_op::Namespace::Network), "a spec can't ask for the host's network");
}

fn check_field(error: &Error) {
    check_message(error);
    match error {
        Error::Spec { field, expected, .. } => assert!(!field.is_empty() && !expected.is_empty()),
        Error::Json { reason } => assert!(reason.contains("line") || reason.contains("bytes"), "{reason}"),
        other => panic!("a spec was refused, and not for a field of it: {other}"),
    }
}
