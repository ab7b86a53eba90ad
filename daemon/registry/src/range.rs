//! One range of a blob, from a `Range` header (RFC 9110, section 14).
//!
//! Other units, several ranges and text that is no range are ignored, as the RFC allows, and the whole is sent.
//! `500-0` is answered with 416 like a range past the end, which the conformance suite of OCI wants.

/// What part of a blob to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// From the first byte named to the last, both included.
    Range {
        first: u64,
        last: u64,
    },
    Unsatisfiable,
}

/// Reads a `Range` header for a blob of `size` bytes.
pub(crate) fn part(header: Option<&str>, size: u64) -> Part {
    let spec = header.and_then(|h| h.trim().strip_prefix("bytes="));
    let Some((from, to)) = spec.and_then(|s| s.trim().split_once('-')) else { return Part::Whole };
    let (Some(from), Some(to)) = (number(from), number(to)) else { return Part::Whole };
    let end = size.saturating_sub(1);
    match (from, to) {
        (None, None) => Part::Whole,
        (None, Some(0)) => Part::Unsatisfiable,
        (None | Some(_), _) if size == 0 => Part::Unsatisfiable,
        (None, Some(suffix)) => Part::Range { first: size.saturating_sub(suffix), last: end },
        (Some(first), _) if first >= size => Part::Unsatisfiable,
        (Some(first), None) => Part::Range { first, last: end },
        (Some(first), Some(last)) if last < first => Part::Unsatisfiable,
        (Some(first), Some(last)) => Part::Range { first, last: last.min(end) },
    }
}

/// `Some(None)` where there is no number, `None` where there is something else. Too large a number is the largest.
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    text.bytes().all(|b| b.is_ascii_digit()).then(|| Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clipped_to_the_blob_or_refused() {
        let range = |first, last| Part::Range { first, last };
        for (header, expected) in [
            ("bytes=0-0", range(0, 0)),
            ("bytes=500-1499", range(500, 1499)),
            ("bytes=500-", range(500, 2999)),
            ("bytes=-500", range(2500, 2999)),
            ("bytes=-5000", range(0, 2999)),
            ("bytes=2000-5000", range(2000, 2999)),
            ("bytes=0-99999999999999999999999", range(0, 2999)),
            ("bytes=500-0", Part::Unsatisfiable),
            ("bytes=3000-", Part::Unsatisfiable),
            ("bytes=5000-10000", Part::Unsatisfiable),
            ("bytes=99999999999999999999999-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=0-1,5-6", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes", Part::Whole),
            ("lines=0-1", Part::Whole),
        ] {
            assert_eq!(part(Some(header), 3000), expected, "{header}");
        }
        assert_eq!(part(None, 3000), Part::Whole);
        assert_eq!(part(Some("bytes=0-"), 0), Part::Unsatisfiable);
        assert_eq!(part(Some("bytes=-1"), 0), Part::Unsatisfiable);
    }
}
