//! Which ids the administrator has given to a user: `/etc/subuid` and `/etc/subgid`, one `user:first:count` a line. Pure.

use anneal_sandbox_op::IdRange;

use crate::slot::SLOTS;

/// Longer files than this are not looked at.
pub(crate) const FILE_BYTES: u64 = 1 << 20;

/// The range of a user, who is named by name or by number: the first that has a number for each slot, else the largest.
/// What is no range is passed over, and so is one that holds the user's own id or that of the superuser.
pub(crate) fn range_of(text: &str, name: Option<&str>, id: u32) -> Option<IdRange> {
    let number = id.to_string();
    let theirs = |line: &&str| {
        line.split_once(':').is_some_and(|(owner, _)| owner == number || name.is_some_and(|name| owner == name))
    };
    let ranges: Vec<IdRange> = text.lines().filter(theirs).filter_map(|line| range(line, id)).collect();
    let enough = ranges.iter().find(|range| range.count >= SLOTS);
    enough.or_else(|| ranges.iter().max_by_key(|range| range.count)).copied()
}

fn range(line: &str, id: u32) -> Option<IdRange> {
    let mut parts = line.split(':').skip(1);
    let mut number = || parts.next()?.trim().parse::<u32>().ok();
    let (first, count) = (number()?, number()?);
    let range = IdRange { first, count };
    // The last number that there is means "none".
    let fits = first.checked_add(count).is_some() && count > 0 && parts.next().is_none();
    (fits && !range.contains(0) && !range.contains(id)).then_some(range)
}

/// The first of so many ids in a row that no line of these files gives to anybody, counted on from `from`; none where each of
/// the first hundred places overlaps a line.
pub(crate) fn free_ids(files: &[&str], from: u32, count: u32) -> Option<u32> {
    let given = |first: u32| {
        files.iter().flat_map(|text| text.lines()).any(|line| {
            let mut parts = line.split(':').skip(1).map(|part| part.trim().parse::<u64>().unwrap_or(0));
            let (theirs, many) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
            theirs < u64::from(first) + u64::from(count) && u64::from(first) < theirs.saturating_add(many)
        })
    };
    (0..100).filter_map(|place: u32| from.checked_add(place.checked_mul(count)?)).find(|first| !given(*first))
}

/// The id of a run: from the middle of the range on, since containers of the same user take ids from its ends.
pub(crate) fn id_of_slot(range: IdRange, slot: u32) -> Option<u32> {
    let middle = range.count / 2;
    let from = if range.count - middle >= SLOTS { middle } else { 0 };
    let place = from.checked_add(slot)?;
    (place < range.count).then(|| range.first + place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# a comment\nalice:100000:65536\nbob:165536:10\nbob:300000:2000\n1002:400000:65536\n\
                        carol:0:65536\ndave:500000:0\neve:4294967290:10\nfrank:a:b\ngrace:1:2:3\n";

    #[test]
    fn a_range_is_found_by_name_and_by_number() {
        let found = |name, id| range_of(FILE, Some(name), id).map(|range| (range.first, range.count));
        assert_eq!(found("alice", 1000), Some((100_000, 65_536)));
        assert_eq!(found("bob", 1001), Some((300_000, 2_000)), "the first is too small");
        assert_eq!(found("nobody", 1002), Some((400_000, 65_536)));
        assert_eq!(range_of(FILE, None, 1002).map(|range| range.first), Some(400_000));
        assert_eq!(found("ali", 10), None);
    }

    #[test]
    fn what_would_give_a_payload_somebody_elses_id_is_no_range() {
        for name in ["carol", "dave", "eve", "frank", "grace", "# a comment", ""] {
            assert_eq!(range_of(FILE, Some(name), 1000), None, "{name}");
        }
        assert_eq!(range_of(FILE, Some("alice"), 100_005), None, "the user's own id is in it");
    }

    #[test]
    fn ids_that_a_line_gives_to_somebody_are_passed_over() {
        let free = |files: &[&str]| free_ids(files, 4_200_000, 4096);
        assert_eq!(free(&[FILE, ""]), Some(4_200_000));
        assert_eq!(free(&["a:4100000:65536\n"]), Some(4_200_000), "it ends before");
        assert_eq!(free(&["a:4195000:5001\n"]), Some(4_204_096), "its last is the first");
        assert_eq!(free(&["", "a:4204095:1\n"]), Some(4_204_096), "the groups count as well");
        assert_eq!(free(&["a:4200000:4096\nb:4204096:10\n"]), Some(4_208_192));
        assert_eq!(free(&["a:4000000:4000000\n"]), None);
    }

    #[test]
    fn each_slot_has_an_id_of_its_own_within_the_range() {
        let large = IdRange { first: 100_000, count: 65_536 };
        assert_eq!(id_of_slot(large, 0), Some(132_768));
        assert_eq!(id_of_slot(large, SLOTS - 1), Some(132_768 + SLOTS - 1));
        let small = IdRange { first: 100_000, count: 4 };
        let ids: Vec<Option<u32>> = (0..6).map(|slot| id_of_slot(small, slot)).collect();
        assert_eq!(ids, [Some(100_000), Some(100_001), Some(100_002), Some(100_003), None, None]);
    }
}
