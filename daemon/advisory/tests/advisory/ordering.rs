//! The orders of versions: a few places by hand, and the laws of an order on versions made up.

use anneal_advisory::compare;
use proptest::prelude::*;
use std::cmp::Ordering;

/// Each list rises.
const RISING: &[(&str, &[&str])] = &[
    (
        "generic",
        &[
            "0", "0.9", "1", "1.1.1", "1.1.1a", "1.1.1k", "1.1.1z", "1.1.1za", "1.1.2", "1.2.9", "1.2.11", "2026a",
            "2026b",
        ],
    ),
    ("Debian", &["1.0~rc1-1", "1.0-1", "1.0-1+deb12u1", "1.0-2", "1.0.1-1", "1:0.1-1", "2:0~0-0"]),
    ("Ubuntu:22.04:LTS", &["1.0-1", "1.0-1ubuntu0.1", "1.0-1ubuntu1"]),
    (
        "Alpine:v3.19",
        &["1.01", "1.1_alpha", "1.1_rc1-r9", "1.1", "1.1-r1", "1.1_git2024", "1.1_p1", "1.1a", "1.1.0", "1.9", "1.10"],
    ),
    ("crates.io", &["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-rc.2", "1.0.0-rc.10", "1.0.0", "1.0.1"]),
    ("Go", &["v0.0.0-20200101000000-abcdefabcdef", "v1.2.0", "1.10.0", "v2.0.0+incompatible"]),
    ("PyPI", &["1.0.dev1", "1.0a1", "1.0rc1", "1.0", "1.0.post1", "1.1", "1!0.1"]),
];

const EQUAL: &[(&str, &str, &str)] = &[
    ("generic", "1.2", "1.2.0.0"),
    ("generic", "1.02", "1.2"),
    ("Debian:12", "1.0", "0:1.0-0"),
    ("npm", "1.2.3+a", "1.2.3+b"),
    ("npm", "v1.2", "1.2.0"),
    ("PyPI", "1.0", "1.0.0"),
    ("Wolfi", "1.0-r1", "1.0-r01"),
];

#[test]
fn versions_rise_as_their_ecosystem_says() {
    for (ecosystem, rising) in RISING {
        for (i, a) in rising.iter().enumerate() {
            for (j, b) in rising.iter().enumerate() {
                assert_eq!(compare(ecosystem, a, b), Ok(i.cmp(&j)), "{ecosystem}: {a} and {b}");
            }
        }
    }
    for (ecosystem, a, b) in EQUAL {
        assert_eq!(compare(ecosystem, a, b), Ok(Ordering::Equal), "{ecosystem}: {a} and {b}");
    }
}

#[test]
fn a_version_that_its_ecosystem_does_not_admit_has_no_place() {
    let odd = [
        ("generic", ["1.0-rc1", "1.0b2", "v1.0", "1.0rc", "1..0", "", "1.0ab", "1.0A"].as_slice()),
        ("Debian", &["", "1:", "a b", "1.0-", "ü"]),
        ("Alpine", &["", "1.2.0A", "0..1", "1-r", "1_foo", "v1.0", "1.0-r1x"]),
        ("npm", &["", "x", "1.2.3.4", "1.2.3-"]),
        ("PyPI", &["", "french toast", "1.0-"]),
    ];
    for (ecosystem, versions) in odd {
        for version in versions {
            let unknown = compare(ecosystem, version, "1.0").unwrap_err();
            assert_eq!(unknown.version, *version, "{ecosystem}");
        }
    }
}

#[test]
fn an_ecosystem_without_a_known_order_orders_nothing() {
    let text = compare("Maven", "1.0", "1.0").unwrap_err().to_string();
    assert!(text.contains("order of this ecosystem is not known"), "{text}");
}

/// Versions as each ecosystem writes them, few enough parts that equal and near ones are common.
fn version(ecosystem: &'static str) -> BoxedStrategy<String> {
    let number = prop_oneof!["[0-9]", "[0-9]{2}", "0[0-9]", Just("99999999999999999999".to_owned())];
    let numbers = proptest::collection::vec(number, 1..4).prop_map(|n| n.join("."));
    let plain = "(0|[1-9][0-9]?)[.](0|[1-9])[.](0|[1-9])";
    match ecosystem {
        "generic" => (numbers, "(|[a-c]|z[ab])").prop_map(|(n, l)| n + &l).boxed(),
        "Debian" => ("(|[0-2]:)", numbers, "[a~+.]{0,2}[0-9]?", "(|-[0-9~+.a]{1,3})")
            .prop_map(|(e, n, m, r)| e + &n + &m + &r)
            .boxed(),
        "Alpine" => (numbers, "(|[a-c])", "(|_(alpha|rc|git|p)[0-9]?)(|_p1)", "(|-r[0-9])")
            .prop_map(|(n, l, s, r)| n + &l + &s + &r)
            .boxed(),
        "PyPI" => ("(|1!)", numbers, "(|a1|b2|rc1)(|[.]post1)(|[.]dev2)").prop_map(|(e, n, s)| e + &n + &s).boxed(),
        _ => (plain, "(|-(alpha|rc|1)(|[.][0-9]|[.]x))", "(|[+]b[0-9])").prop_map(|(n, p, b)| n + &p + &b).boxed(),
    }
}

fn three() -> impl Strategy<Value = (&'static str, [String; 3])> {
    proptest::sample::select(vec!["generic", "Debian", "Alpine", "PyPI", "npm"])
        .prop_flat_map(|e| (Just(e), [version(e), version(e), version(e)]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_order_holds_both_ways_round((ecosystem, [a, b, _]) in three()) {
        let there = compare(ecosystem, &a, &b);
        prop_assert_eq!(there.clone().map(Ordering::reverse).ok(), compare(ecosystem, &b, &a).ok());
        if there.is_ok() {
            prop_assert_eq!(compare(ecosystem, &a, &a), Ok(Ordering::Equal));
        }
    }

    #[test]
    fn an_order_is_transitive((ecosystem, mut versions) in three()) {
        let known = versions.iter().all(|v| compare(ecosystem, v, v).is_ok());
        prop_assume!(known);
        versions.sort_by(|a, b| compare(ecosystem, a, b).unwrap());
        let [a, b, c] = &versions;
        let (ab, bc) = (compare(ecosystem, a, b).unwrap(), compare(ecosystem, b, c).unwrap());
        prop_assert!(ab.is_le() && bc.is_le());
        prop_assert_eq!(compare(ecosystem, a, c).unwrap(), ab.then(bc), "{} {} {}", a, b, c);
    }

    #[test]
    fn no_text_stops_a_comparison(ecosystem in "(generic|Debian|Alpine|PyPI|npm|Go|Maven)", a in ".{0,40}", b in "[0-9a-z.+~:_-]{0,40}") {
        let _ = compare(&ecosystem, &a, &b);
    }
}
