//! `anneal build --vary`: packages built again in other surroundings, and what of these showed in the result.

use super::BuildArgs;
use crate::{
    client::Client,
    error::{Error, Result},
    output::{Output, human_bytes, printable},
};
use anneal_api::{TrialGoal, TrialRequest};
use anneal_builder::{Change, ChangedBytes, Described, Found, Place, PlaceChange, TrialReport};
use anneal_content::PackageName;
use anneal_sandbox::Variation;
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// A package that takes hours is built more than a dozen times where it differs.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bytes of a row of a dump.
const ROW: usize = 16;

/// What came of all of it.
#[derive(Debug, Serialize)]
struct Tried {
    /// How many came out the same.
    reproducible: usize,
    /// Of how many.
    of: usize,
    packages: Vec<TrialReport>,
}

/// Tries the packages, several at once.
pub(super) fn run(args: &BuildArgs, client: &Client, jobs: usize, output: &Output) -> Result<()> {
    let names = args.names.iter().map(ToString::to_string).collect();
    let packages: Vec<PackageName> = client.post("/v1/trials/goal", &TrialGoal { names })?;
    let all = || Variation::all().aspects().map(|aspect| aspect.to_string()).collect();
    let varied: Vec<String> = if args.aspect.is_empty() { all() } else { args.aspect.clone() };
    let client = client.clone().patient(PATIENCE);
    let (of, queue) = (packages.len(), Mutex::new(packages.into_iter().enumerate()));
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((at, package)) = next else { return };
                    let request = TrialRequest { package, varied: varied.clone() };
                    let result: Result<TrialReport> = client.post("/v1/trials", &request);
                    if let Ok(report) = &result {
                        output.note(&printable(&headline(report)));
                    }
                    let failed = result.is_err();
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                    if failed {
                        // Nothing more is begun; the error is told when the others are done.
                        queue.lock().unwrap_or_else(PoisonError::into_inner).by_ref().for_each(drop);
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    let reports = results.into_iter().map(|(_, result)| result).collect::<Result<Vec<_>>>()?;
    let reproducible = reports.iter().filter(|report| report.reproducible).count();
    let tried = Tried { reproducible, of, packages: reports };
    output.result(|| printable_lines(&text(&tried)), &tried)?;
    if reproducible == of {
        return Ok(());
    }
    let wrong = tried.packages.iter().filter(|report| !report.reproducible);
    let names: Vec<_> = wrong.map(|report| report.package.to_string()).collect();
    Err(Error::No(format!("not reproducible: {}", names.join(", "))))
}

/// A text of which each line may be shown.
fn printable_lines(text: &str) -> String {
    text.lines().map(|line| printable(line) + "\n").collect()
}

fn headline(report: &TrialReport) -> String {
    let TrialReport { package, version, .. } = report;
    if report.reproducible {
        let varied = report.varied.aspects().count();
        return format!("{package} {version} came out the same with {varied} things varied at once");
    }
    let causes: Vec<_> = report.causes.iter().map(|found| found.cause.to_string()).collect();
    format!("{package} {version} is NOT reproducible: {}", causes.join(", "))
}

fn text(tried: &Tried) -> String {
    let mut text = String::new();
    for report in &tried.packages {
        text.push_str(&headline(report));
        text.push('\n');
        report.causes.iter().for_each(|found| found_text(&mut text, found));
    }
    let not_varied: BTreeSet<_> = tried.packages.iter().flat_map(|report| &report.not_varied).collect();
    for what in not_varied {
        let _ = writeln!(text, "not varied: {what}");
    }
    let Tried { reproducible, of, .. } = tried;
    let _ = writeln!(text, "reproducible: {reproducible} of {of}{}", rate(*reproducible, *of));
    text
}

/// A share that is never rounded up to all.
fn rate(some: usize, of: usize) -> String {
    if of == 0 {
        return String::new();
    }
    let tenths = some * 1000 / of;
    format!(" ({}.{} %)", tenths / 10, tenths % 10)
}

fn found_text(text: &mut String, found: &Found) {
    let _ = writeln!(text, "  {}: {}", found.cause, found.because);
    for file in &found.files {
        let _ = writeln!(text, "    {}: {}", place_text(&file.place), change_text(file));
        match &file.described {
            Some(Described::Told(told)) => {
                told.lines().for_each(|line| {
                    let _ = writeln!(text, "      {line}");
                });
                continue;
            }
            Some(Described::Not(why)) => {
                let _ = writeln!(text, "      diffoscope does not say how: {why}");
            }
            None => {}
        }
        for range in &file.ranges {
            range_text(text, range);
        }
    }
    if found.more > 0 {
        let _ = writeln!(text, "    and {} more", found.more);
    }
}

fn place_text(place: &Place) -> String {
    match place {
        Place::Run => "the build".to_owned(),
        Place::At(output, path) => format!("{output} {path}"),
    }
}

fn change_text(file: &PlaceChange) -> String {
    match &file.change {
        Change::Failed { ended } => format!("fails: {ended}"),
        Change::Gone => "is missing".to_owned(),
        Change::New => "is new".to_owned(),
        Change::Kind { was, is } => format!("is {is} in place of {was}"),
        Change::Mode { was, is } => format!("has mode {is} in place of {was}"),
        Change::Target { was, is } => format!("points to {is} in place of {was}"),
        Change::Content { was_size, is_size, .. } if was_size == is_size => {
            format!("differs in its {}", human_bytes(*was_size))
        }
        Change::Content { was_size, is_size, .. } => format!("has {is_size} bytes in place of {was_size}"),
    }
}

/// The rows that differ, of both, as a hexadecimal dump has them.
fn range_text(text: &mut String, range: &ChangedBytes) {
    let (was, is) = range.bytes();
    let rows = was.len().max(is.len()).div_ceil(ROW);
    for row in 0..rows {
        let of = |bytes: &[u8]| bytes.chunks(ROW).nth(row).unwrap_or_default().to_vec();
        let (was, is) = (of(&was), of(&is));
        if was != is {
            let at = range.from + (row * ROW) as u64;
            let _ = writeln!(text, "      - {}\n      + {}", dump(at, &was), dump(at, &is));
        }
    }
}

fn dump(at: u64, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x} ")).collect();
    let shown = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
    format!("{at:08x}  {hex:48} {}", bytes.iter().map(shown).collect::<String>()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_all_only_where_all_are() {
        assert_eq!(rate(19, 19), " (100.0 %)");
        assert_eq!(rate(9_999, 10_000), " (99.9 %)");
        assert_eq!(rate(0, 0), "");
    }

    #[test]
    fn what_another_program_tells_takes_the_place_of_bytes_and_its_failure_one_line() {
        let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
        let told = |described| {
            let range = ChangedBytes { offset: 0, from: 0, was: hex("a"), is: hex("b") };
            let digest = anneal_content::BlobDigest::of(b"");
            let file = PlaceChange {
                place: Place::Run,
                change: Change::Content { was: digest, is: digest, was_size: 1, is_size: 1 },
                ranges: vec![range],
                described,
            };
            let cause = anneal_builder::Cause::Randomness;
            let mut text = String::new();
            found_text(&mut text, &Found { cause, because: String::new(), files: vec![file], more: 0 });
            printable_lines(&text).lines().skip(2).map(str::to_owned).collect::<Vec<_>>()
        };
        let bytes = told(None);
        assert_eq!(bytes.len(), 2);
        let hostile = "-a\u{1b}]0;title\u{7}\n+b\u{202e}\n";
        assert_eq!(
            told(Some(Described::Told(hostile.into()))),
            ["      -a\u{fffd}]0;title\u{fffd}", "      +b\u{fffd}"]
        );
        let failed = told(Some(Described::Not("reached its limit of wall time".into())));
        assert_eq!(failed[0], "      diffoscope does not say how: reached its limit of wall time");
        assert_eq!(failed[1..], bytes);
    }

    #[test]
    fn only_the_rows_that_differ_are_dumped_each_of_both() {
        let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
        let range = ChangedBytes {
            offset: 16,
            from: 0,
            was: hex("0123456789abcdefanneal\n"),
            is: hex("0123456789abcdefi-capture\n"),
        };
        let mut text = String::new();
        range_text(&mut text, &range);
        assert_eq!(
            text,
            "      - 00000010  61 6e 6e 65 61 6c 0a                             anneal.\n      \
             + 00000010  69 2d 63 61 70 74 75 72 65 0a                    i-capture.\n"
        );
    }
}
