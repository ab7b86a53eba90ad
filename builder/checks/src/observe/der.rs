//! As much of DER as tells a private key from other data.
//!
//! ```text
//! PKCS#8  SEQUENCE { INTEGER 0|1, SEQUENCE { OID .. }, OCTET STRING .. }
//! PKCS#1  SEQUENCE { INTEGER 0, INTEGER n, INTEGER e, INTEGER d, .. }   (nine integers)
//! SEC 1   SEQUENCE { INTEGER 1, OCTET STRING .. }
//! PKCS#12 SEQUENCE { INTEGER 3, SEQUENCE { OID 1.2.840.113549.1.7.1, .. } .. }
//! ```

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// 1.2.840.113549.1.7.1, `data` of PKCS#7.
const PKCS7_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// The smallest key there is: 32 bytes and its frame.
const KEY_BYTES_MIN: usize = 40;

/// One element: its tag, its content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if first & 0x80 == 0 {
        (usize::from(*first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if !(1..=4).contains(&count) {
            return None;
        }
        let (digits, rest) = rest.split_at_checked(count)?;
        (digits.iter().fold(0usize, |n, b| (n << 8) | usize::from(*b)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// Whether the bytes are one sequence and nothing else.
pub(super) fn is_one_sequence(bytes: &[u8]) -> bool {
    matches!(element(bytes), Some((SEQUENCE, _, [])))
}

/// The form of the private key that the bytes are, if they are one.
pub(super) fn private_key_form(bytes: &[u8]) -> Option<&'static str> {
    if bytes.len() < KEY_BYTES_MIN {
        return None;
    }
    let (SEQUENCE, body, []) = element(bytes)? else { return None };
    let (INTEGER, [version], rest) = element(body)? else { return None };
    let (tag, content, rest) = element(rest)?;
    match (version, tag) {
        (0 | 1, SEQUENCE) => {
            let (oid, _, _) = element(content)?;
            let (next, _, _) = element(rest)?;
            (oid == OID && next == OCTET_STRING).then_some("PKCS#8 private key")
        }
        (0, INTEGER) => (integers(rest)? >= 7).then_some("PKCS#1 private key"),
        (1, OCTET_STRING) => (content.len() >= 20).then_some("SEC 1 private key"),
        (3, SEQUENCE) => {
            let (oid, name, _) = element(content)?;
            (oid == OID && name == PKCS7_DATA).then_some("PKCS#12 key store")
        }
        _ => None,
    }
}

/// How many integers there are, if there is nothing else.
fn integers(mut bytes: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !bytes.is_empty() {
        let (INTEGER, _, rest) = element(bytes)? else { return None };
        bytes = rest;
        count += 1;
    }
    Some(count)
}
