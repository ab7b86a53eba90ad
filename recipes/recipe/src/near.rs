//! The name that was probably meant.

/// The nearest of some names, if one is near enough to be what was meant: a third of its letters may differ.
pub(crate) fn nearest<'a>(meant: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let limit = (meant.chars().count().max(3) / 3).min(4);
    let lower = meant.to_lowercase();
    // names of quite another length are not near, and there may be thousands
    let likely = names.into_iter().filter(|name| name.chars().count().abs_diff(lower.chars().count()) <= limit);
    let near = likely.map(|name| (distance(&lower, &name.to_lowercase()), name));
    near.filter(|(distance, _)| *distance <= limit).min().map(|(_, name)| name.to_owned())
}

/// How many letters are to be added, left out, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(128).collect(), b.chars().take(128).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(x != y)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_name_and_a_stranger_finds_none() {
        let names = ["zlib", "musl", "nginx", "pcre2", "ca-certificates"];
        for (meant, near) in
            [("zilb", "zlib"), ("ngnix", "nginx"), ("pcre", "pcre2"), ("ca-certficates", "ca-certificates")]
        {
            assert_eq!(nearest(meant, names).as_deref(), Some(near));
        }
        assert_eq!(nearest("openssl", names), None);
    }
}
