//! What crosses the control socket of a sandbox: whatever is decoded is encoded to what is decoded again.

use crate::check_message;
use anneal_sandbox_op::{Event, MAX_MESSAGE, Op, decode, encode, frame_length, listing};

pub(crate) fn frames(input: &[u8]) {
    let mut rest = input;
    while let Some((prefix, after)) = rest.split_first_chunk::<4>() {
        let length = match frame_length(*prefix) {
            Ok(length) => length,
            Err(error) => return check_message(&error),
        };
        assert!(length <= MAX_MESSAGE);
        let Some((message, after)) = after.split_at_checked(length) else { return };
        rest = after;
        match decode::<Vec<Op>>(message) {
            Ok(ops) => {
                assert_eq!(listing(&ops).lines().count(), ops.len());
                assert_eq!(decode::<Vec<Op>>(&encode(&ops).unwrap()[4..]).unwrap(), ops);
            }
            Err(error) => check_message(&error),
        }
        match decode::<Event>(message) {
            Ok(event) => assert_eq!(decode::<Event>(&encode(&event).unwrap()[4..]).unwrap(), event),
            Err(error) => check_message(&error),
        }
    }
}
