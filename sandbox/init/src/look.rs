//! The program as its own payload: says what a process in the sandbox can see, for the self-check.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The argument that asks for this.
pub(crate) const ARGUMENT: &str = "--look-around";

/// Prints `name: value` lines; false if nobody reads them.
pub(crate) fn report() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or("unknown").to_owned()
    };
    let interfaces = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let interfaces: Vec<&str> =
        interfaces.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect();
    let lines = [
        ("seccomp", field("Seccomp:")),
        ("no-new-privileges", field("NoNewPrivs:")),
        ("capabilities", field("CapEff:")),
        ("bounding", field("CapBnd:")),
        ("interfaces", interfaces.join(",")),
        ("pid", std::process::id().to_string()),
        ("above-root", above_root()),
        ("mounts", mounts()),
    ];
    let mut out = std::io::stdout();
    for (name, value) in lines {
        if writeln!(out, "{name}: {value}").is_err() {
            return false;
        }
    }
    true
}

/// Where the ways up from `/` lead: `itself`, or the first way that leads out or says why it leads nowhere.
fn above_root() -> String {
    let identity = |path: &str| fs::metadata(path).map(|found| (found.dev(), found.ino())).map_err(|e| e.to_string());
    let root = identity("/");
    for start in ["", "/..", "/proc", "/dev", "/proc/self/root"] {
        let way = format!("{start}/..");
        match identity(&way) {
            Err(error) => return format!("{way} {error}"),
            found if found != root => return format!("{way} is another directory"),
            _ => {}
        }
    }
    "itself".to_owned()
}

/// Whether every mount in sight is one that is made for a sandbox, `sandbox only`, or the first that is not.
fn mounts() -> String {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points: Vec<&str> = table.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let own = |point: &str| point == "/" || ["/dev", "/proc"].iter().any(|place| Path::new(point).starts_with(place));
    let foreign = points.iter().find(|point| !own(point) || points.iter().filter(|other| other == point).count() > 1);
    match foreign {
        Some(point) => format!("one too many at {point}"),
        None if points.is_empty() => "unknown".to_owned(),
        None => "sandbox only".to_owned(),
    }
}
