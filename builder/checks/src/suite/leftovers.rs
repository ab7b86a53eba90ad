//! What a build or a developer leaves behind and an image does not need.

use crate::catalogue::{Check, Look, Report, check};
use crate::observe::{FileFacts, FileKind};
use crate::root::NodeKind;
use crate::verdict::Severity::{Block, Warn};
use crate::view::{File, View};

pub(crate) const CHECKS: &[Check] = &[
    check("FS-07", Block, "no files where only a running system writes", Look::Root(volatile)),
    check("FS-08", Warn, "no shell, package manager or compiler that is not the image's purpose", Look::Root(tools)),
    check("FS-09", Warn, "no documentation, tests or link-time files", Look::Root(not_for_running)),
    check("FS-11", Warn, "no version control, editor backups or core dumps", Look::Root(strays)),
    check("FS-14", Warn, "no programs of other operating systems", Look::Files(foreign)),
];

const VOLATILE: &[&str] =
    &["tmp/", "run/", "var/tmp/", "var/run/", "var/cache/", "var/empty/", "dev/", "proc/", "sys/"];

fn volatile(view: &View<'_>, report: &mut Report) {
    for (path, node) in view.nodes() {
        report.saw();
        if node.kind != NodeKind::Directory && VOLATILE.iter().any(|dir| path.starts_with(dir)) {
            report.fail(
                view.path(path),
                "nothing but directories there",
                "a file or link",
                "remove it when the package is installed, or move it to /usr or /etc",
            );
        }
    }
}

const SHELLS: &[&str] = &["sh", "ash", "bash", "dash", "zsh", "ksh", "csh", "tcsh", "fish", "hush"];
const MANAGERS: &[&str] =
    &["apt", "apt-get", "dpkg", "rpm", "dnf", "yum", "apk", "pacman", "zypper", "pip", "pip3", "npm", "gem", "cargo"];
const COMPILERS: &[&str] = &["cc", "gcc", "g++", "c++", "clang", "clang++", "tcc", "ld", "as", "rustc", "go", "javac"];
const PROGRAM_DIRS: &[&str] = &["bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin"];

fn tools(view: &View<'_>, report: &mut Report) {
    // A shell image is for its shell: other names of the same program are its purpose too.
    let argv: Vec<&str> = match &view.open {
        Some(Ok(open)) => open.config.config.argv(),
        _ => Vec::new(),
    };
    let purpose: Vec<String> = argv.first().iter().filter_map(|program| find_program(view, program)).collect();
    for (path, node) in view.nodes() {
        let Some((dir, name)) = path.rsplit_once('/') else { continue };
        if node.kind == NodeKind::Directory || !PROGRAM_DIRS.contains(&dir) {
            continue;
        }
        report.saw();
        let what = [(SHELLS, "a shell"), (MANAGERS, "a package manager"), (COMPILERS, "a compiler or linker")];
        let Some((_, what)) = what.iter().find(|(names, _)| names.contains(&name)) else { continue };
        if view.root.file(path).is_some_and(|(real, _)| purpose.contains(&real)) {
            continue;
        }
        report.fail(
            view.path(path),
            "nothing that helps an intruder",
            *what,
            "leave it out, or waive it with the reason why the image needs it",
        );
    }
}

/// The file that a command line's first word runs.
fn find_program(view: &View<'_>, program: &str) -> Option<String> {
    if program.contains('/') {
        return Some(view.root.file(program)?.0);
    }
    PROGRAM_DIRS.iter().find_map(|dir| Some(view.root.file(&format!("{dir}/{program}"))?.0))
}

const DOC_DIRS: &[&str] =
    &["usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/gtk-doc/", "usr/include/"];
const LINK_TIME: &[&str] = &[".a", ".la", ".o", ".pc"];

fn not_for_running(view: &View<'_>, report: &mut Report) {
    for (path, node) in view.nodes() {
        if node.kind == NodeKind::Directory {
            continue;
        }
        report.saw();
        let found = if DOC_DIRS.iter().any(|dir| path.starts_with(dir)) {
            "documentation or headers"
        } else if LINK_TIME.iter().any(|end| path.ends_with(end)) {
            "needed only for linking"
        } else if path.split('/').rev().skip(1).any(|dir| dir == "test" || dir == "tests") {
            "tests"
        } else {
            continue;
        };
        report.fail(
            view.path(path),
            "only what is needed to run",
            found,
            "put it into the output `dev` or `doc` with an `[[output]]` rule",
        );
    }
}

const STRAY_DIRS: &[&str] = &[".git", ".svn", ".hg", ".bzr", "CVS", "__MACOSX"];
const STRAY_NAMES: &[&str] =
    &[".gitignore", ".gitattributes", ".gitmodules", ".DS_Store", "Thumbs.db", "core", ".bash_history"];
const STRAY_ENDS: &[&str] = &["~", ".orig", ".rej", ".bak", ".swp", ".swo", ".tmp"];

fn strays(view: &View<'_>, report: &mut Report) {
    for (path, node) in view.nodes() {
        report.saw();
        let name = path.rsplit('/').next().unwrap_or(path);
        let in_dir = path.split('/').any(|part| STRAY_DIRS.contains(&part));
        let is_file = node.kind != NodeKind::Directory;
        let named =
            STRAY_NAMES.contains(&name) || STRAY_ENDS.iter().any(|end| name.len() > end.len() && name.ends_with(end));
        if in_dir || (is_file && named) {
            report.fail(
                view.path(path),
                "no leftovers of editing or version control",
                "looks like one",
                "remove it when the package is installed",
            );
        }
    }
}

fn foreign(view: &View<'_>, file: &File<'_>, facts: &FileFacts, report: &mut Report) {
    report.saw();
    let found = match facts.kind {
        FileKind::Windows => "a Windows program (PE)",
        FileKind::MacOs => "a macOS program (Mach-O)",
        _ => return,
    };
    report.fail(view.path(file.path), "programs for Linux only", found, "leave it out of the package");
}
