//! The shell script that one build or test runs, and the fixed environment that it sees.
//!
//! Sources are unpacked inside the sandbox, by the build root's own tools, so that a hostile archive meets nothing but
//! the sandbox. Each step is a shell of its own and begins in the work directory.

use crate::{failing_step::MARK, shell::ShellStart};
use anneal_plan::{Action, SourceInput};
use std::collections::BTreeMap;

/// Where a build finds things, inside its sandbox.
pub(crate) const OUT: &str = "/out";
pub(crate) const SRC: &str = "/src";
pub(crate) const BUILD: &str = "/build";
pub(crate) const SYSROOT: &str = "/sysroot";

/// The variables that every build sees, before the recipe's own.
pub(crate) fn environment(epoch: u64, cpus: u32, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let fixed = [
        ("PATH", "/sysroot/usr/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned()),
        ("HOME", "/homeless".to_owned()),
        ("TMPDIR", "/tmp".to_owned()),
        ("TZ", "UTC".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("TERM", "dumb".to_owned()),
        ("SOURCE_DATE_EPOCH", epoch.to_string()),
        ("JOBS", cpus.to_string()),
        ("OUT", OUT.to_owned()),
        ("SRC", SRC.to_owned()),
        ("SYSROOT", SYSROOT.to_owned()),
    ];
    let mut all: BTreeMap<String, String> = fixed.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    all.extend(own.iter().map(|(k, v)| (k.clone(), v.clone())));
    all
}

/// A word that the shell takes literally.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn unpack(source: &SourceInput) -> Option<String> {
    let into = format!("{BUILD}/{}", source.unpack.as_ref()?);
    let (into, file) = (quoted(&into), quoted(&format!("{SRC}/{}", source.file)));
    let name = source.file.as_str();
    let command = if name.ends_with(".zip") || name.ends_with(".whl") {
        format!("unzip -q -o {file} -d {into}")
    } else {
        format!(
            "tar --extract --file {file} --directory {into} --strip-components=1 --no-same-owner --no-same-permissions"
        )
    };
    Some(format!("mkdir -p {into}\n{command}\n"))
}

/// The script of a build: unpack, then each step.
pub(crate) fn build_script(action: &Action) -> String {
    let mut script: String = action.sources.iter().filter_map(unpack).collect();
    script.push_str(&steps_script(&format!("{BUILD}/{}", action.workdir), &action.steps));
    script
}

/// The script of a build that ends in a shell: before the first step, or where a step fails.
pub(crate) fn shell_script(action: &Action, start: ShellStart, prompts: bool, input: &str) -> String {
    let workdir = format!("{BUILD}/{}", action.workdir);
    let shell = format!("exec /bin/sh {}< {}", if prompts { "-i " } else { "" }, quoted(input));
    let mut script: String = action.sources.iter().filter_map(unpack).collect();
    if start == ShellStart::FirstStep {
        return format!("{script}cd {}\n{shell}\n", quoted(&workdir));
    }
    for (at, step) in action.steps.iter().enumerate() {
        let number = at + 1;
        let run = steps_script(&workdir, std::slice::from_ref(step))
            .replace(&format!("{MARK}1 of 1: "), &format!("{MARK}{number} of {}: ", action.steps.len()));
        // What is run last says how the step ended; `-e` of this shell must not end it there.
        script.push_str(&format!("set +e\n{run}ended=$?\nset -e\n"));
        script.push_str(&format!(
            "if [ $ended -ne 0 ]; then\necho \"anneal: step {number} ended with $ended; this is where\"\n{shell}\nfi\n"
        ));
    }
    script.push_str("echo 'anneal: every step passed'\n");
    script
}

/// The script of some steps, each a shell of its own that begins in `workdir`.
pub(crate) fn steps_script(workdir: &str, steps: &[String]) -> String {
    let mut script = String::new();
    let all = steps.len();
    for (at, step) in steps.iter().enumerate() {
        let title: String = step.lines().next().unwrap_or_default().chars().take(100).collect();
        let title = quoted(&format!("{MARK}{} of {all}: {title}", at + 1));
        script.push_str(&format!("cd {}\necho {title}\n/bin/sh -eu -c {}\n", quoted(workdir), quoted(step)));
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_with_quotes_reaches_the_shell_unchanged() {
        let script = steps_script("/build/it's", &["echo 'a b' \"$HOME\"".to_owned()]);
        let out = std::process::Command::new("/bin/sh")
            .args(["-c", &script.replace("cd '/build/it'\\''s'", "cd /")])
            .env("HOME", "/homeless")
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(text.ends_with("a b /homeless\n"), "{text}");
    }

    fn action(steps: &[&str]) -> Action {
        Action {
            name: "a".parse().unwrap(),
            version: "1".parse().unwrap(),
            epoch: 0,
            sources: Vec::new(),
            sysroot: BTreeMap::new(),
            cpus: 1,
            workdir: ".".parse().unwrap(),
            env: BTreeMap::new(),
            steps: steps.iter().map(|step| (*step).to_owned()).collect(),
            outputs: Vec::new(),
            build_root: anneal_content::BlobDigest::of(b""),
            sandbox: 1,
            rules: 1,
        }
    }

    /// What a shell's script prints, with these lines typed into it.
    #[track_caller]
    fn typed(action: &Action, start: ShellStart, lines: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("input");
        std::fs::write(&input, lines).unwrap();
        let script = shell_script(action, start, false, input.to_str().unwrap());
        let script = script.replace("cd '/build/.'", &format!("cd '{}'", dir.path().display()));
        let out = std::process::Command::new("/bin/sh").args(["-eu", "-c", &script]).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    #[test]
    fn a_shell_opens_where_a_step_fails_and_sees_what_the_steps_before_it_left() {
        let failing = action(&["echo made > file", "echo begun; false; echo never", "echo later"]);
        assert_eq!(
            typed(&failing, ShellStart::FailingStep, "cat file\nexit 0\n"),
            "anneal: step 1 of 3: echo made > file\nanneal: step 2 of 3: echo begun; false; echo never\nbegun\n\
             anneal: step 2 ended with 1; this is where\nmade\n"
        );
        assert_eq!(typed(&failing, ShellStart::FirstStep, "echo typed\n"), "typed\n");
        let good = typed(&action(&["true"]), ShellStart::FailingStep, "echo typed\n");
        assert_eq!(good, "anneal: step 1 of 1: true\nanneal: every step passed\n");
    }

    #[test]
    fn the_recipes_variables_come_after_the_fixed_ones() {
        let own = BTreeMap::from([("CFLAGS".to_owned(), "-O2".to_owned())]);
        let env = environment(7, 2, &own);
        assert_eq!(env["SOURCE_DATE_EPOCH"], "7");
        assert_eq!(env["JOBS"], "2");
        assert_eq!(env["CFLAGS"], "-O2");
    }
}
