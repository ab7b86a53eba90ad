//! The same build on another machine: clock, kernel and processor are what no spec can change.
//!
//! It says what it made and what stood around it. `tests/tests/guest.rs` runs it here and in the guest and compares.
//! `ANNEAL_TEST_BUSYBOX` names a static busybox, the only tool of this build.
#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

#[allow(dead_code, reason = "not everything that the other tests share is needed here")]
#[path = "sandbox/bench.rs"]
mod bench;

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use anneal_sandbox::{CancelToken, run};

use bench::{Bench, needs_sandbox};

/// Makes files in an order that is not that of their names, works on them, packs them. The last line takes the clock in.
const SCRIPT: &str = r#"
set -eu
mkdir tree
cd tree
i=0
while [ $i -lt 300 ]; do
  echo "$((i * 7919 % 307)) $i" >"$((i * 31 % 300)).txt"
  i=$((i + 1))
done
find . -type f | sort >../names
xargs cat <../names | sort -n | awk '{ sum += $1 * NR; print NR, $2, sum }' | tee table | md5sum >sums
echo ./table >>../names
echo ./sums >>../names
touch -d "@$SOURCE_DATE_EPOCH" ./*
tar -c -f ../all.tar $(cat ../names)
gzip -9 <../all.tar >/out/all.tar.gz
{ cat /out/all.tar.gz; date +%Y; } >/out/careless
cd /out
sha256sum all.tar.gz careless
"#;

#[test]
fn a_build_says_what_it_made_and_what_stood_around_it() {
    needs_sandbox!();
    let mut say = std::io::stderr();
    let Some(busybox) = std::env::var_os("ANNEAL_TEST_BUSYBOX") else {
        say.write_all(b"skipped: a build elsewhere: no ANNEAL_TEST_BUSYBOX\n").unwrap();
        return;
    };
    let mut bench = Bench::new();
    let bin = bench.spec.root[0].join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::copy(busybox, bin.join("busybox")).unwrap();
    std::fs::set_permissions(bin.join("busybox"), std::fs::Permissions::from_mode(0o755)).unwrap();
    for tool in "sh mkdir find sort xargs cat awk tee md5sum touch tar gzip date sha256sum".split(' ') {
        symlink("busybox", bin.join(tool)).unwrap();
    }
    bench.output("/out");
    bench.spec.env = [("PATH", "/bin"), ("SOURCE_DATE_EPOCH", "1000000000")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    bench.spec.argv = ["/bin/sh", "-c", SCRIPT].map(str::to_owned).into();
    let mut log = Vec::new();
    let outcome = run(&bench.spec, &mut log, &CancelToken::new()).unwrap();
    let log = String::from_utf8_lossy(&log);
    assert!(outcome.succeeded(), "{} {log}", outcome.ended);
    let made: Vec<&str> = log.lines().filter_map(|line| line.split_once("  ").map(|(digest, _)| digest)).collect();
    let [careful, careless] = made[..] else { panic!("{log}") };
    let around = outcome.surroundings;
    let line = serde_json::json!({
        "careful": careful,
        "careless": careless,
        "kernel": around.kernel,
        "cpu_model": around.cpu_model,
        "clock_ms": around.clock_ms,
    });
    say.write_all(format!("elsewhere: {line}\n").as_bytes()).unwrap();
}
