//! How programs and libraries are protected against exploitation, read from their ELF headers.

use crate::catalogue::{Check, Look, Report, check};
use crate::observe::{ElfKind, FileKind, Stack};
use crate::subject::Package;
use crate::verdict::Severity::{Block, Warn};
use crate::view::{Binary, View};
use anneal_content::EntryKind;

pub(crate) const CHECKS: &[Check] = &[
    check("ELF-01", Block, "programs are position-independent", Look::Binaries(position_independent)),
    check("ELF-02", Block, "relocations are read-only after start (full RELRO)", Look::Binaries(full_relro)),
    check("ELF-03", Block, "the stack is not executable", Look::Binaries(stack_without_code)),
    check("ELF-04", Block, "no segment is writable and executable", Look::Binaries(no_writable_code)),
    check("ELF-05", Warn, "a package's programs use the stack protector", Look::Packages(stack_protector)),
    check("ELF-08", Block, "library search paths stay in the image", Look::Binaries(search_paths)),
    check("ELF-09", Block, "no relocations in code (TEXTREL)", Look::Binaries(no_text_relocations)),
    check("ELF-10", Warn, "stripped, and marked with a build id", Look::Binaries(stripped)),
    check("ELF-12", Block, "no path of the build sandbox in programs", Look::Binaries(no_build_paths)),
    check("ELF-13", Block, "built for the platform's machine", Look::Binaries(machine)),
    check("SEC-06", Warn, "programs are not packed", Look::Binaries(not_packed)),
];

/// Directories that exist only in a build.
const BUILD_ROOTS: &[&str] = &["/build", "/out", "/sysroot", "/src", "/tmp", "/home", "/root"];

fn position_independent(view: &View<'_>, binary: Binary<'_>, report: &mut Report) {
    if !binary.elf.is_program() {
        return;
    }
    report.saw();
    if binary.elf.kind != ElfKind::Dynamic || !binary.elf.pie_flag {
        let found = if binary.elf.kind == ElfKind::Dynamic { "ET_DYN without DF_1_PIE" } else { "ET_EXEC" };
        report.fail(
            view.path(binary.path),
            "ET_DYN with DF_1_PIE",
            found,
            "compile with -fPIE and link with -pie or -static-pie",
        );
    }
}

fn full_relro(view: &View<'_>, binary: Binary<'_>, report: &mut Report) {
    if !binary.elf.is_linked() {
        return;
    }
    report.saw();
    let bound = binary.elf.bind_now || !binary.elf.is_dynamic;
    let found = match (binary.elf.relro, bound) {
        (true, true) => return,
        (true, false) => "PT_GNU_RELRO without BIND_NOW (partial)",
        (false, _) => "no PT_GNU_RELRO",
    };
    report.fail(view.path(binary.path), "PT_GNU_RELRO and BIND_NOW", found, "link with -Wl,-z,relro,-z,now");
}

fn stack_without_code(view: &View<'_>, binary: Binary<'_>, report: &mut Report) {
    if !binary.elf.is_linked() {
        return;
    }
    report.saw();
    let found = match binary.elf.stack {
        Stack::NotExecutable => return,
        Stack::Executable => "PT_GNU_STACK with X",
        Stack::Unstated => "no PT_GNU_STACK, which makes the stack executable",
    };
    report.fail(
        view.path(binary.path),
        "PT_GNU_STACK without X",
        found,
        "link with -Wl,-z,noexecstack; assembler sources need a .note.GNU-stack section",
    );
}

fn no_writable_code(view: &View<'_>, binary: Binary<'_>, report: &mut Report) {
    if !binary.elf.is_linked() {
        return;
    }
    report.saw();
    if binary.elf.writable_code > 0 {
        report.fail(
            view.path(binary.path),
            "no PT_LOAD with both W and X",
            format!("{}", binary.elf.writable_code),
            "link without -N and without a linker script that joins text and data",
        );
    }
}

fn stack_protector(view: &View<'_>, package: &Package, report: &mut Report) {
    let mut linked = 0;
    for entry in &package.entries {
        let EntryKind::File { digest, .. } = &entry.kind else { continue };
        let facts = view.seen.files.get(digest).map(|known| known.get());
        let elf = match facts {
            Some(Ok(facts)) if facts.kind != FileKind::Elf => continue,
            Some(Ok(facts)) => facts.elf.as_ref().map(|elf| elf.get()),
            Some(Err(why)) => Some(Err(why)),
            None => Some(Err("its bytes were not read")),
        };
        match elf {
            Some(Ok(elf)) => {
                linked += usize::from(elf.is_linked() && elf.is_dynamic);
                if elf.imports.iter().chain(&elf.exports).any(|s| s.name == "__stack_chk_fail") {
                    return report.saw();
                }
            }
            Some(Err(why)) => report.fail(
                view.path(entry.path.as_str()),
                "an ELF file that can be read",
                format!("unreadable: {why}"),
                "find out how the build made this file",
            ),
            None => {}
        }
    }
    if linked == 0 {
        return;
    }
    report.saw();
    report.fail(
        view.package(&package.name),
        "at least one program or library that uses __stack_chk_fail",
        format!("none of {linked}"),
        "compile with -fstack-protector-strong",
    );
}

fn search_paths(view: &View<'_>, binary: Binary<'_>, report: &mut Report) {
    if !binary.elf.is_dynamic {
        return;
    }
    report.saw();
    for written in &binary.elf.search {
        let why = if written.is_empty() {
            "an empty element, which means the working directory".to_owned()
        } else if let Some(rest) = written.strip_prefix("$ORIGIN").or_else(|| written.strip_prefix("${ORIGIN}")) {
            let dir = binary.path.rsplit_once('/').map_or("", |(dir, _)| dir);
            match view.root.resolve(&format!("{dir}/{rest}")) {
                Ok(_) => continue,
                Err(lost) => format!("{written:?}: {lost}"),
            }
        } else if !written.starts_with('/') {
            format!("{written:?}, relative to the working directory")
        } else if BUILD_ROOTS.iter().any(|root| written == root || written.starts_with(&format!("{root}/"))) {
            format!("{written:?}, a directory of the build")
        } else {
            match view.root.resolve(written) {
                Ok(_) => continue,
                Err(lost) => format!("{written:?}: {lost}"),
            }
        };
        report.fail(
            view.path(binary.path),
            "no RPATH or RUNPATH, or one that exists in the image",
            why,
            "link without -rpath, or remove it when the package is installed",
        );
    }
}

fn no_text_relocations(view: &View<'_>, binary: Binary<'_>, report: &mut Report) {
    if !binary.elf.is_dynamic {
        return;
    }
    report.saw();
    if binary.elf.textrel {
        report.fail(
            view.path(binary.path),
            "no DT_TEXTREL",
            "DT_TEXTREL",
            "compile every object with -fPIC or -fPIE; assembler sources need position-independent references",
        );
    }
}

fn stripped(view: &View<'_>, binary: Binary<'_>, report: &mut Report) {
    if !binary.elf.is_linked() {
        return;
    }
    report.saw();
    let object = view.path(binary.path);
    const ADVICE: &str = "strip it when it is installed, and keep what is stripped in an output of its own";
    if let Some(first) = binary.elf.debug_sections.first() {
        let count = binary.elf.debug_sections.len();
        report.fail(object.clone(), "no debug sections", format!("{count}, first {first}"), ADVICE);
    } else if binary.elf.has_symtab {
        report.fail(object.clone(), "no static symbol table", ".symtab", ADVICE);
    }
    if binary.elf.build_id.is_none() {
        report.fail(object, "a build id", "none", "link with -Wl,--build-id=sha1");
    }
}

fn no_build_paths(view: &View<'_>, binary: Binary<'_>, report: &mut Report) {
    report.saw();
    if !binary.facts.build_paths.is_empty() {
        report.fail(
            view.path(binary.path),
            "no path beneath /build, /src, /out or /sysroot",
            binary.facts.build_paths.join(", "),
            "compile with -ffile-prefix-map=/build=. and keep configure's arguments out of the program",
        );
    }
}

fn machine(view: &View<'_>, binary: Binary<'_>, report: &mut Report) {
    report.saw();
    let architecture = view.subject.platform.architecture.as_str();
    let wanted = match architecture {
        "amd64" => (object::elf::EM_X86_64.0, true, true),
        "arm64" => (object::elf::EM_AARCH64.0, true, true),
        "386" => (object::elf::EM_386.0, false, true),
        "arm" => (object::elf::EM_ARM.0, false, true),
        "riscv64" => (object::elf::EM_RISCV.0, true, true),
        "s390x" => (object::elf::EM_S390.0, true, false),
        "ppc64le" => (object::elf::EM_PPC64.0, true, true),
        other => {
            let expected = "an architecture whose ELF machine is known";
            return report.fail(
                view.path(binary.path),
                expected,
                format!("{other:?}"),
                "name it as OCI does, such as amd64",
            );
        }
    };
    let elf = binary.elf;
    if (elf.machine, elf.is_64, elf.is_little) != wanted {
        report.fail(
            view.path(binary.path),
            format!("machine {}, 64-bit {}, little-endian {} for {architecture}", wanted.0, wanted.1, wanted.2),
            format!("machine {}, 64-bit {}, little-endian {}", elf.machine, elf.is_64, elf.is_little),
            "build it for the image's platform",
        );
    }
}

fn not_packed(view: &View<'_>, binary: Binary<'_>, report: &mut Report) {
    if !binary.elf.is_linked() {
        return;
    }
    report.saw();
    if binary.facts.packed {
        report.fail(view.path(binary.path), "no mark of a packer", "UPX!", "ship the program as the linker wrote it");
    }
}
