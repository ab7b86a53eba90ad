//! Which packages share a layer, when there are more packages than layers.
//!
//! A layer is pulled again when any package in it changes. If each package is as likely to change as another, a
//! layer costs a client its number of packages times its bytes, so the two groups whose union adds least to that
//! are joined, again and again, until the budget holds: small packages share, large ones keep their own.
//! Sizes count only to the next power of two, so that a patch that makes a package a little larger does not
//! move other packages between layers.

use anneal_content::PackageName;
use std::collections::BTreeSet;

struct Group {
    /// Where its first package stands in the input.
    first: usize,
    members: Vec<usize>,
    bytes: u128,
}

/// Divides packages into at most `budget` layers; a budget of 0 counts as 1.
///
/// Groups, and the packages in each, stand in the order of the input: lower layers first. A name that is given
/// twice counts once.
pub fn group(packages: &[(PackageName, u64)], budget: usize) -> Vec<Vec<PackageName>> {
    let mut seen = BTreeSet::new();
    let packages: Vec<_> = packages.iter().filter(|(name, _)| seen.insert(name)).collect();
    let rounded = |bytes: u64| u128::from(bytes.max(1)).next_power_of_two();
    let mut groups: Vec<Group> = packages
        .iter()
        .enumerate()
        .map(|(at, (_, bytes))| Group { first: at, members: vec![at], bytes: rounded(*bytes) })
        .collect();
    while groups.len() > budget.max(1) {
        let Some((a, b)) = cheapest(&groups, &packages) else { break };
        let joined = groups.remove(b);
        if let Some(group) = groups.get_mut(a) {
            group.first = group.first.min(joined.first);
            group.bytes += joined.bytes;
            group.members.extend(joined.members);
        }
    }
    groups.sort_by_key(|group| group.first);
    let names = |mut members: Vec<usize>| {
        members.sort_unstable();
        members.into_iter().filter_map(|at| packages.get(at).map(|(name, _)| name.clone())).collect()
    };
    groups.into_iter().map(|group| names(group.members)).collect()
}

/// The two groups to join, lower position first: least added cost, then by name so that the input's order decides
/// nothing but the output's.
///
/// Joining adds `count_a * bytes_b + count_b * bytes_a`. Among groups of one count only the two smallest can be
/// cheapest, so only those are compared.
fn cheapest(groups: &[Group], packages: &[&(PackageName, u64)]) -> Option<(usize, usize)> {
    let name = |group: &Group| group.members.iter().filter_map(|at| packages.get(*at).map(|(name, _)| name)).min();
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|at| groups.get(*at).map(|group| (group.members.len(), group.bytes, name(group))));
    let mut candidates: Vec<(usize, &Group)> = Vec::new();
    for at in order {
        let Some(group) = groups.get(at) else { continue };
        let same = candidates.iter().filter(|(_, other)| other.members.len() == group.members.len()).count();
        if same < 2 {
            candidates.push((at, group));
        }
    }
    let pairs =
        candidates.iter().enumerate().flat_map(|(i, a)| candidates.iter().skip(i + 1).map(move |b| (*a, *b))).map(
            |((at, a), (bt, b))| {
                let cost = a.members.len() as u128 * b.bytes + b.members.len() as u128 * a.bytes;
                (cost, name(a).min(name(b)), name(a).max(name(b)), at.min(bt), at.max(bt))
            },
        );
    pairs.min().map(|(_, _, _, a, b)| (a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(list: &[(&str, u64)]) -> Vec<(PackageName, u64)> {
        list.iter().map(|(name, bytes)| (PackageName::new(*name).unwrap(), *bytes)).collect()
    }

    fn grouped(list: &[(&str, u64)], budget: usize) -> String {
        let groups = group(&packages(list), budget);
        let text = |group: Vec<PackageName>| group.iter().map(|n| n.as_str()).collect::<Vec<_>>().join("+");
        groups.into_iter().map(text).collect::<Vec<_>>().join(" ")
    }

    const NGINX: [(&str, u64); 6] = [
        ("musl", 640_000),
        ("zlib", 110_000),
        ("pcre2", 600_000),
        ("nginx", 1_300_000),
        ("certs", 230_000),
        ("tzdata", 400_000),
    ];

    #[test]
    fn within_the_budget_each_package_has_its_layer() {
        assert_eq!(grouped(&NGINX, 6), "musl zlib pcre2 nginx certs tzdata");
        assert_eq!(grouped(&NGINX, 99), "musl zlib pcre2 nginx certs tzdata");
    }

    #[test]
    fn over_the_budget_small_packages_share_and_large_ones_do_not() {
        assert_eq!(grouped(&NGINX, 5), "musl zlib+certs pcre2 nginx tzdata");
        assert_eq!(grouped(&NGINX, 3), "musl+pcre2 zlib+certs+tzdata nginx");
        assert_eq!(grouped(&NGINX, 2), "musl+pcre2+nginx zlib+certs+tzdata");
        assert_eq!(grouped(&NGINX, 1), "musl+zlib+pcre2+nginx+certs+tzdata");
        assert_eq!(grouped(&NGINX, 0), grouped(&NGINX, 1));
        assert_eq!(grouped(&[], 3), "");
    }

    #[test]
    fn a_patch_that_grows_a_package_a_little_moves_nothing() {
        let mut patched = NGINX;
        patched[1].1 += 3_000;
        for budget in 1..=6 {
            assert_eq!(grouped(&patched, budget), grouped(&NGINX, budget));
        }
    }

    #[test]
    fn the_same_packages_in_another_order_share_layers_the_same_way() {
        let sets = |list: &[(&str, u64)], budget| -> BTreeSet<BTreeSet<PackageName>> {
            group(&packages(list), budget).into_iter().map(|g| g.into_iter().collect()).collect()
        };
        let mut turned = NGINX;
        for _ in 0..6 {
            turned.rotate_left(1);
            for budget in 1..=6 {
                assert_eq!(sets(&turned, budget), sets(&NGINX, budget));
            }
        }
    }
}
