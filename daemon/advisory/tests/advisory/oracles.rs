//! The same questions asked of dpkg and of Python's `packaging`. Where one is not installed, a line says so.

use anneal_advisory::compare;
use std::{
    cmp::Ordering,
    io::Write as _,
    process::{Command, Stdio},
};

/// Pairs of versions from a fixed seed: mutations of real ones, so that near and equal pairs are common.
fn pairs(seeds: &[&str], parts: &[&str], count: usize) -> Vec<(String, String)> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    let mut made = Vec::new();
    while made.len() < count {
        let mut one = seeds[next(seeds.len())].to_owned();
        let mut other = if next(2) == 0 { one.clone() } else { seeds[next(seeds.len())].to_owned() };
        for version in [&mut one, &mut other] {
            for _ in 0..next(3) {
                let at = next(version.len() + 1);
                version.insert_str(at, parts[next(parts.len())]);
            }
        }
        made.push((one, other));
    }
    made
}

#[test]
fn dpkg_orders_debian_versions_the_same_way() {
    if Command::new("dpkg").arg("--version").output().is_err() {
        eprintln!("skipped: no dpkg");
        return;
    }
    let seeds = [
        "1.2.11",
        "1:1.2.13.dfsg-1",
        "2.8.0+dfsg1-7+wheezy8",
        "0.9.6c-2.woody.7",
        "5.4.1-0.2",
        "1.0~rc1-1",
        "20230311+deb12u1",
    ];
    let parts = ["0", "1", "9", "~", "+", ".", "a", "z", "-1", "00", "~~", "99999999999999999999"];
    let mut compared = 0;
    for (a, b) in pairs(&seeds, &parts, 300) {
        let Ok(ours) = compare("Debian:12", &a, &b) else { continue };
        let relation = match ours {
            Ordering::Less => "lt",
            Ordering::Equal => "eq",
            Ordering::Greater => "gt",
        };
        let output = Command::new("dpkg").args(["--compare-versions", &a, relation, &b]).output().unwrap();
        // dpkg warns about what its own policy refuses, and says nothing useful about it.
        if output.stderr.is_empty() {
            assert!(output.status.success(), "dpkg: {a} {relation} {b} does not hold");
            compared += 1;
        }
    }
    assert!(compared > 150, "only {compared} pairs were compared");
}

const COMPARE_BY_PACKAGING: &str = "
import sys
from packaging.version import Version, InvalidVersion
for line in sys.stdin:
    a, b = line.rstrip('\\n').split('\\t')
    try:
        a, b = Version(a), Version(b)
        print('<' if a < b else '>' if a > b else '=')
    except InvalidVersion:
        print('?')
";

#[test]
fn packaging_orders_python_versions_the_same_way() {
    let found = Command::new("python3").args(["-c", "import packaging.version"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no packaging for python3");
        return;
    }
    let seeds = ["2022.12.7", "1.0", "1.0.post1", "1.0rc1", "1.0a1.dev3", "1!2.0", "2.0+local.1", "1.0.0"];
    let parts = ["0", "1", ".", ".0", "a1", "rc2", ".dev1", ".post2", "+x"];
    let pairs = pairs(&seeds, &parts, 1500);
    let mut python = Command::new("python3");
    let mut child =
        python.args(["-c", COMPARE_BY_PACKAGING]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines: String = pairs.iter().map(|(a, b)| format!("{a}\t{b}\n")).collect();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    let mut compared = 0;
    for ((a, b), answer) in pairs.iter().zip(answers.lines()) {
        let ours = match compare("PyPI", a, b) {
            Ok(Ordering::Less) => "<",
            Ok(Ordering::Equal) => "=",
            Ok(Ordering::Greater) => ">",
            Err(_) => "?",
        };
        assert_eq!(ours, answer, "{a} and {b}");
        compared += usize::from(answer != "?");
    }
    assert_eq!(answers.lines().count(), pairs.len());
    assert!(compared > 400, "only {compared} pairs were compared");
}
