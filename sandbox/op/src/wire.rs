//! How lists and events cross the control socket: four bytes of little-endian length, then JSON.

use serde::{Serialize, de::DeserializeOwned};

/// The longest message either side accepts.
pub const MAX_MESSAGE: usize = 8 << 20;

/// Why a message could not be written or read.
#[derive(Debug)]
pub enum WireError {
    /// It is longer than [`MAX_MESSAGE`].
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is not the JSON that was expected.
    Json(serde_json::Error),
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(f, "control message of {bytes} bytes, expected at most {MAX_MESSAGE}"),
            // What was not expected is quoted, and it may be anything.
            Self::Json(error) => {
                f.write_str("control message is not what was expected: ")?;
                error.to_string().chars().try_for_each(|c| match c.is_control() {
                    true => write!(f, "{}", c.escape_debug()),
                    false => write!(f, "{c}"),
                })
            }
        }
    }
}

impl std::error::Error for WireError {}

/// A message with its length in front.
pub fn encode<T: Serialize + ?Sized>(message: &T) -> Result<Vec<u8>, WireError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message).map_err(WireError::Json)?;
    let length = bytes.len() - 4;
    if length > MAX_MESSAGE {
        return Err(WireError::TooLong { bytes: length });
    }
    for (slot, byte) in bytes.iter_mut().zip((length as u32).to_le_bytes()) {
        *slot = byte;
    }
    Ok(bytes)
}

/// How many bytes follow a length prefix.
pub fn frame_length(prefix: [u8; 4]) -> Result<usize, WireError> {
    let bytes = u32::from_le_bytes(prefix) as usize;
    if bytes > MAX_MESSAGE { Err(WireError::TooLong { bytes }) } else { Ok(bytes) }
}

/// The message in the bytes after a length prefix.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    serde_json::from_slice(bytes).map_err(WireError::Json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Op};

    #[test]
    fn a_list_of_operations_survives_the_wire() {
        let ops = vec![Op::DieWithParent, Op::Symlink { at: "/dev/fd".into(), to: "/proc/self/fd".into() }];
        let bytes = encode(&ops).unwrap();
        let length = frame_length(bytes[..4].try_into().unwrap()).unwrap();
        assert_eq!(length, bytes.len() - 4);
        assert_eq!(decode::<Vec<Op>>(&bytes[4..]).unwrap(), ops);
    }

    #[test]
    fn what_an_error_quotes_does_nothing_to_a_terminal() {
        let text = decode::<Vec<Op>>(b"[{\"op\":\"h\\u001b[2J\"}]").unwrap_err().to_string();
        assert!(text.contains("h\\u{1b}[2J") && !text.contains(char::is_control), "{text}");
    }

    #[test]
    fn a_message_beyond_the_limit_is_refused_by_both_sides() {
        assert!(frame_length((MAX_MESSAGE as u32).to_le_bytes()).is_ok());
        assert!(frame_length((MAX_MESSAGE as u32 + 1).to_le_bytes()).is_err());
        let long = Event::Degraded { what: "x".repeat(MAX_MESSAGE) };
        assert!(matches!(encode(&long), Err(WireError::TooLong { .. })));
    }
}
