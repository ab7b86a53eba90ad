//! What changed in a recipe, as a patch that `git apply` and `patch` take.
//!
//! ```text
//! diff --git a/PATH b/PATH
//! --- a/PATH
//! +++ b/PATH
//! @@ -OLD,COUNT +NEW,COUNT @@
//! ```
//! There is one hunk: from the first line that differs to the last, with three lines around it.

use std::fmt::Write as _;

/// How many lines stand around what changed.
const AROUND: usize = 3;

/// The patch from one text of a file to another; nothing where they are the same.
pub fn unified_diff(path: &str, before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    if old == new {
        return String::new();
    }
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let shorter = old.len().min(new.len()) - same;
    let end = old.iter().rev().zip(new.iter().rev()).take(shorter).take_while(|(a, b)| a == b).count();
    let start = same.saturating_sub(AROUND);
    let behind = end.min(AROUND);
    let counted = |lines: usize| lines - end + behind - start;
    // Of no lines, the line that they would follow is named.
    let first = |count: usize| if count == 0 { start } else { start + 1 };
    let (was, is) = (counted(old.len()), counted(new.len()));
    let mut text = format!("diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n");
    // Writing to a string does not fail.
    let _ = writeln!(text, "@@ -{},{was} +{},{is} @@", first(was), first(is));
    let mut lines = |mark: char, lines: &[&str]| {
        for line in lines {
            let _ = write!(text, "{mark}{line}");
            if !line.ends_with('\n') {
                text.push_str("\n\\ No newline at end of file\n");
            }
        }
    };
    lines(' ', old.get(start..same).unwrap_or_default());
    lines('-', old.get(same..old.len() - end).unwrap_or_default());
    lines('+', new.get(same..new.len() - end).unwrap_or_default());
    lines(' ', old.get(old.len() - end..old.len() - end + behind).unwrap_or_default());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: &str, after: &str, hunk: &str) {
        assert_eq!(
            unified_diff("a.toml", before, after).split_once("+++ b/a.toml\n").map_or("", |(_, rest)| rest),
            hunk
        );
    }

    #[test]
    fn a_changed_line_stands_with_three_around_it() {
        check(
            "1\n2\n3\n4\n5\n6\n7\n8\n9\n",
            "1\n2\n3\n4\nfive\n6\n7\n8\n9\n",
            "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n",
        );
        check("1\n2\n", "one\n2\n", "@@ -1,2 +1,2 @@\n-1\n+one\n 2\n");
        check(
            "1\n2",
            "1\ntwo",
            "@@ -1,2 +1,2 @@\n 1\n-2\n\\ No newline at end of file\n+two\n\\ No newline at end of file\n",
        );
        check("1\n1\n", "1\n", "@@ -1,2 +1,1 @@\n 1\n-1\n");
        check("", "1\n", "@@ -0,0 +1,1 @@\n+1\n");
        check("1\n", "1\n", "");
    }
}
