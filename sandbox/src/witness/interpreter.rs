//! What the kernel opens by itself when it executes a file: the interpreter of a script, the loader of a program.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// So much of a file is looked at. Loaders stand near the beginning, and the kernel reads less of a script's first line.
pub(super) const HEAD: usize = 4096;
/// Fields of a 64-bit header and of a program header within it.
const HEADERS_AT: usize = 32;
const HEADER_SIZE_AT: usize = 54;
const HEADER_COUNT_AT: usize = 56;
const OFFSET_AT: usize = 8;
const LENGTH_AT: usize = 32;
/// The program header that names the loader.
const INTERPRETER: u32 = 3;

/// The absolute path that the head of a file names, if it names one.
pub(super) fn named(head: &[u8]) -> Option<PathBuf> {
    let path = if let Some(script) = head.strip_prefix(b"#!") {
        let line = script.split(|byte| *byte == b'\n').next()?;
        line.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty())?
    } else {
        loader(head)?
    };
    let path = PathBuf::from(OsString::from_vec(path.to_vec()));
    path.is_absolute().then_some(path)
}

fn loader(head: &[u8]) -> Option<&[u8]> {
    // 64-bit, little-endian: nothing else runs here.
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let size = usize::from(u16::from_le_bytes(at(head, HEADER_SIZE_AT)?));
    let count = usize::from(u16::from_le_bytes(at(head, HEADER_COUNT_AT)?));
    let first = offset(head, HEADERS_AT)?;
    for index in 0..count {
        let header = head.get(first.checked_add(size.checked_mul(index)?)?..)?;
        if u32::from_le_bytes(at(header, 0)?) == INTERPRETER {
            let (start, length) = (offset(header, OFFSET_AT)?, offset(header, LENGTH_AT)?);
            return head.get(start..start.checked_add(length)?)?.split(|byte| *byte == 0).next();
        }
    }
    None
}

fn offset(bytes: &[u8], place: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(at(bytes, place)?)).ok()
}

fn at<const N: usize>(bytes: &[u8], place: usize) -> Option<[u8; N]> {
    bytes.get(place..)?.first_chunk::<N>().copied()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A program with two headers, of which the second names a loader.
    fn program(loader: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 256];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[HEADERS_AT] = 64;
        bytes[HEADER_SIZE_AT] = 56;
        bytes[HEADER_COUNT_AT] = 2;
        bytes[64] = 1;
        bytes[120] = 3;
        bytes[120 + OFFSET_AT] = 200;
        bytes[120 + LENGTH_AT] = loader.len() as u8;
        bytes[200..200 + loader.len()].copy_from_slice(loader);
        bytes
    }

    #[test]
    fn a_script_names_its_interpreter_and_a_program_its_loader() {
        for (head, expected) in [
            (b"#!/bin/sh\necho".to_vec(), Some("/bin/sh")),
            (b"#! \t/usr/bin/env  python3 -s\n".to_vec(), Some("/usr/bin/env")),
            (b"#!relative\n".to_vec(), None),
            (b"#!\n/bin/sh".to_vec(), None),
            (b"".to_vec(), None),
            (b"text".to_vec(), None),
            (program(b"/lib64/ld.so\0"), Some("/lib64/ld.so")),
        ] {
            assert_eq!(named(&head).as_deref(), expected.map(Path::new), "{head:?}");
        }
    }

    #[test]
    fn a_broken_program_names_nothing() {
        let whole = program(b"/lib64/ld.so\0");
        for length in 0..200 {
            assert_eq!(named(&whole[..length]), None);
        }
        for place in 0..whole.len() {
            let mut broken = whole.clone();
            broken[place] = 0xff;
            // Whatever it says, it says something.
            let _ = named(&broken);
        }
        for place in [HEADERS_AT, 120 + OFFSET_AT, 120 + LENGTH_AT] {
            let mut broken = whole.clone();
            broken[place..place + 8].fill(0xff);
            assert_eq!(named(&broken), None);
        }
    }
}
