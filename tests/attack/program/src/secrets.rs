//! What the one who started the sandbox knows and this process must not.

use std::collections::VecDeque;
use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::report::Attack;

/// How much is looked through.
const FILES: usize = 5_000;
const BYTES: u64 = 8 << 20;

/// P60: the environment is the declared one.
pub(crate) fn environment(attack: &Attack) {
    let declared = attack.list("env");
    let found: Vec<String> = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    let more = found.iter().filter(|name| !declared.contains(&name.as_str())).count();
    attack.say(more == 0, "variables that were not declared", format!("{more}"));
    let bytes = fs::read("/proc/self/environ").unwrap_or_default();
    let names = bytes.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).count();
    attack.say(names == declared.len(), "variables in /proc/self/environ", format!("{names}"));
    let outside = attack.arg("outside").is_some();
    attack.denied(
        "read the environment of process 1",
        if outside { Ok(Vec::new()) } else { fs::read("/proc/1/environ") },
    );
}

/// The canary is told with every byte changed, or it would be found in the arguments.
fn canary(attack: &Attack) -> Vec<u8> {
    attack.list("secret").iter().filter_map(|part| part.parse::<u8>().ok()).map(|byte| byte ^ 0x5a).collect()
}

fn holds(bytes: &[u8], canary: &[u8]) -> bool {
    !canary.is_empty() && bytes.windows(canary.len()).any(|window| window == canary)
}

/// P61: a secret of the host is in no file that can be read and nowhere in memory.
pub(crate) fn search(attack: &Attack) {
    let canary = canary(attack);
    let mut waiting: VecDeque<PathBuf> = attack.list("look").iter().map(PathBuf::from).collect();
    let (mut files, mut found) = (0, Vec::new());
    while let Some(dir) = waiting.pop_front() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && !path.starts_with("/proc") && !path.starts_with("/dev") && !path.starts_with("/sys") {
                waiting.push_back(path);
            } else if kind.is_file() && files < FILES {
                files += 1;
                let mut bytes = Vec::new();
                let read = fs::File::open(&path).and_then(|file| file.take(BYTES).read_to_end(&mut bytes));
                if read.is_ok() && holds(&bytes, &canary) {
                    found.push(path);
                }
            }
        }
    }
    attack.say(found.is_empty() && files > 0, "find a secret in a file", format!("{} of {files} files", found.len()));
    let environment: Vec<u8> = std::env::vars_os().flat_map(|(_, value)| value.into_encoded_bytes()).collect();
    attack.say(!holds(&environment, &canary), "find it in the environment", format!("{} bytes", environment.len()));
    memory(attack, &canary);
}

/// Everything that is mapped and can be read, but for what this search itself holds.
fn memory(attack: &Attack, canary: &[u8]) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let Ok(memory) = fs::File::open("/proc/self/mem") else {
        return attack.say(true, "find it in memory", "it can't be read");
    };
    let (mut own, mut found) = (0, 0);
    for line in maps.lines().filter(|line| !line.contains("[v")) {
        let Some((range, rest)) = line.split_once(' ') else { continue };
        let Some((from, to)) = range.split_once('-') else { continue };
        let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16)) else { continue };
        // The heap and the stack hold the needle itself and what was read before.
        if !rest.starts_with('r') || line.ends_with("[heap]") || line.ends_with("[stack]") || rest.ends_with(" 0 ") {
            continue;
        }
        own += 1;
        let mut bytes = vec![0; usize::try_from((to - from).min(BYTES)).unwrap_or(0)];
        if memory.read_at(&mut bytes, from).is_ok() {
            found += usize::from(holds(&bytes, canary) && rest.contains('/'));
        }
    }
    attack.say(found == 0, "find it in memory", format!("{found} of {own} mappings"));
    let foreign =
        maps.lines().filter_map(|line| line.split_whitespace().nth(5)).filter(|path| path.contains(".so")).count();
    attack.say(foreign == 0, "libraries of the host in memory", format!("{foreign}"));
}
