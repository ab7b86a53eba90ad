//! What `abidiff --leaf-changes-only` prints: whether all that changed is the library's own business.
//!
//! ```text
//! Changed leaf types summary: 1 leaf type changed
//! Removed/Changed/Added functions summary: 0 Removed, 0 Changed, 0 Added function (1 filtered out)
//!
//! 'struct internal_state at deflate.h:97:1' changed:
//!   type size changed ...
//! ```
//! A line that is not understood is an obstacle; so is a count that isn't that of the types that are listed.

/// What it says where it has no types to compare.
const WITHOUT_TYPES: &str = "not referenced by debug info";
const TYPES: &str = "Changed leaf types summary: ";
const OTHERS: [&str; 2] = ["Removed/Changed/Added functions summary: ", "Removed/Changed/Added variables summary: "];
/// What a type may be called after.
const KINDS: [&str; 4] = ["struct", "union", "class", "enum"];

/// Why a comparison does not show that whatever was linked before goes on.
pub(super) fn obstacle(report: &str, before: &str, after: &str) -> Option<String> {
    if report.contains(WITHOUT_TYPES) {
        return Some("abidiff found no types of some of its names in the debug information".to_owned());
    }
    if report.trim().is_empty() {
        return None;
    }
    for what in OTHERS {
        let summary = report.lines().find_map(|line| line.strip_prefix(what));
        if !summary.is_some_and(|counts| counts.starts_with("0 Removed, 0 Changed, 0 Added ")) {
            let told = summary.unwrap_or("nothing");
            return Some(format!("abidiff sees a change: {what}{told}"));
        }
    }
    let count = report.lines().find_map(|line| line.strip_prefix(TYPES)?.split(' ').next()?.parse::<usize>().ok());
    // What changed stands at the beginning of a line, and how it did, further in.
    let listed: Vec<&str> = report.lines().filter(|line| line.starts_with('\'')).collect();
    if count.unwrap_or_default() != listed.len() {
        return Some(format!("abidiff counts {} changed types and lists {}", count.unwrap_or_default(), listed.len()));
    }
    listed.into_iter().find_map(|line| match named(line) {
        Some(name) if !describes(before, name) && !describes(after, name) => None,
        _ => Some(format!("abidiff sees a change of its types: {}", line.trim_end_matches(" changed:"))),
    })
}

/// The name of a type that is listed as changed.
fn named(line: &str) -> Option<&str> {
    let (what, _) = line.strip_prefix('\'')?.split_once(" at ")?;
    let (kind, name) = what.split_once(' ')?;
    let is_name = !name.is_empty() && name.bytes().all(is_of_a_name) && !name.contains("anonymous");
    (KINDS.contains(&kind) && is_name).then_some(name)
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether headers may say more of a type than that there is one, under this name or one that they give it or take for it:
/// `#define internal_state z_internal_state`.
fn describes(headers: &str, name: &str) -> bool {
    let (renaming, others): (Vec<&str>, Vec<&str>) = headers.lines().partition(|line| renamed(line).is_some());
    let others = others.join("\n");
    let renamed = renaming.into_iter().filter_map(renamed);
    let also = renamed.filter_map(|(from, to)| match name {
        _ if from == name => Some(to),
        _ if to == name => Some(from),
        _ => None,
    });
    std::iter::once(name).chain(also).any(|name| is_described(&others, name))
}

/// A line that puts one name in place of another, and does nothing else.
fn renamed(line: &str) -> Option<(&str, &str)> {
    let mut words = line.trim_start().strip_prefix('#')?.split_ascii_whitespace();
    let (define, from, to, end) = (words.next()?, words.next()?, words.next()?, words.next());
    let are_names = from.bytes().chain(to.bytes()).all(is_of_a_name);
    (define == "define" && end.is_none() && are_names).then_some((from, to))
}

/// Whether a name stands elsewhere than after `struct` or the like, or before a brace.
fn is_described(headers: &str, name: &str) -> bool {
    headers.match_indices(name).any(|(at, _)| {
        let front = headers.get(..at).unwrap_or_default();
        let back = headers.get(at + name.len()..).unwrap_or_default();
        let goes_on =
            front.bytes().next_back().is_some_and(is_of_a_name) || back.bytes().next().is_some_and(is_of_a_name);
        let kind = KINDS.iter().find_map(|kind| front.trim_end().strip_suffix(kind));
        let is_declared = kind.is_some_and(|rest| !rest.bytes().next_back().is_some_and(is_of_a_name));
        !goes_on && (!is_declared || back.trim_start().starts_with('{'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAME: &str = "\
Changed leaf types summary: 0 leaf type changed
Removed/Changed/Added functions summary: 0 Removed, 0 Changed, 0 Added function (1 filtered out)
Removed/Changed/Added variables summary: 0 Removed, 0 Changed, 0 Added variable

";
    const OPAQUE: &str =
        "typedef struct z { struct state *own; struct mystate { int a; } b; } z;\nvoid end(struct state *);\n";

    fn changed(line: &str) -> String {
        SAME.replace("0 leaf type", "1 leaf type") + line + "\n  type size changed from 32 to 128 (in bits)\n"
    }

    #[test]
    fn types_of_which_headers_know_no_more_than_the_name_are_the_librarys_own() {
        assert_eq!(obstacle("", "", ""), None);
        assert_eq!(obstacle(SAME, "", ""), None);
        let report = changed("'struct state at deflate.h:97:1' changed:");
        assert_eq!(obstacle(&report, OPAQUE, OPAQUE), None);
        assert_eq!(obstacle(&report, "", ""), None);
        let renamed = format!("#  define state   z_state\n{OPAQUE}");
        assert_eq!(obstacle(&report, &renamed, &renamed), None);
    }

    #[test]
    fn a_type_that_a_header_describes_is_an_obstacle_whatever_file_it_was_compiled_from() {
        let report = changed("'struct state at other.h:97:1' changed:");
        for header in [
            "struct state { int a; };",
            "struct state\n{ int a; };",
            "struct __attribute__((packed)) state { int a; };",
            "typedef struct { int a; } state;",
            "DECLARE(state)",
            "#define state z_state\nstruct z_state { int a; };",
            "#define old_state state\nstruct old_state { int a; };",
            "#define SIZE sizeof(state)",
        ] {
            assert!(obstacle(&report, header, OPAQUE).is_some(), "{header}");
            assert!(obstacle(&report, OPAQUE, header).is_some(), "{header}");
        }
    }

    #[test]
    fn whatever_is_not_understood_of_a_report_is_an_obstacle() {
        let untyped =
            "Function symbols changes summary: 0 Removed, 0 Added function symbol not referenced by debug info\n";
        for report in [
            changed("'typedef state at other.h:97:1' changed:"),
            changed("'struct __anonymous_struct__1 at other.h:97:1' changed:"),
            changed("'struct a::b at other.h:97:1' changed:"),
            changed("struct state changed:"),
            SAME.replace("functions summary: 0 Removed, 0 Changed", "functions summary: 0 Removed, 1 Changed"),
            SAME.replace("variables summary: 0 Removed", "variables summary: 1 Removed"),
            SAME.replace("0 leaf type", "2 leaf types"),
            format!("{SAME}{untyped}"),
            "something else\n".to_owned(),
        ] {
            assert!(obstacle(&report, "", "").is_some(), "{report}");
        }
    }
}
