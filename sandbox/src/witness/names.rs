//! What `uname` and `sysinfo` say: the same of every machine.

use crate::plan::{DOMAIN, MEMORY_KIB, RELEASE, VERSION};

/// Length of each name with the zero at its end.
const FIELD: usize = 65;

/// The six names as the kernel writes them.
#[derive(Debug)]
pub(super) struct Names([u8; 6 * FIELD]);

impl Names {
    /// With this host name, which is the only one that specs choose.
    pub(super) fn of(hostname: &str) -> Self {
        let mut bytes = [0; 6 * FIELD];
        let names = ["Linux", hostname, RELEASE, VERSION, "x86_64", DOMAIN];
        for (field, name) in bytes.chunks_exact_mut(FIELD).zip(names) {
            for (slot, byte) in field.iter_mut().take(FIELD - 1).zip(name.bytes()) {
                *slot = byte;
            }
        }
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Places in the kernel's `struct sysinfo`: 64-bit words from its start, a count of processes in a word of its own, and the
/// unit of sizes near its end.
const TOTAL_MEMORY: usize = 4;
const FREE_MEMORY: usize = 5;
const PROCESSES: usize = 10;
const UNIT: usize = 13;
const WORDS: usize = 14;

/// The answer to `sysinfo`: as much memory as `/proc/meminfo` shows, all of it free, up for no time and without load.
pub(super) fn size() -> [u8; WORDS * 8] {
    let mut bytes = [0; WORDS * 8];
    for (index, word) in bytes.chunks_exact_mut(8).enumerate() {
        let value = match index {
            TOTAL_MEMORY | FREE_MEMORY => MEMORY_KIB << 10,
            PROCESSES | UNIT => 1,
            _ => 0,
        };
        word.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_where_the_kernel_puts_them() {
        use std::mem::offset_of;
        assert_eq!(size().len(), size_of::<libc::sysinfo>());
        assert_eq!(TOTAL_MEMORY * 8, offset_of!(libc::sysinfo, totalram));
        assert_eq!(FREE_MEMORY * 8, offset_of!(libc::sysinfo, freeram));
        assert_eq!(PROCESSES * 8, offset_of!(libc::sysinfo, procs));
        assert_eq!(UNIT * 8, offset_of!(libc::sysinfo, mem_unit));
    }

    #[test]
    fn names_are_laid_out_as_the_kernel_does_and_each_ends_with_zero() {
        let long = "h".repeat(64);
        let names = Names::of(&long);
        assert_eq!(names.bytes().len(), size_of::<libc::utsname>());
        let fields: Vec<&str> = names
            .bytes()
            .chunks(FIELD)
            .map(|field| std::str::from_utf8(field).unwrap().trim_end_matches('\0'))
            .collect();
        assert_eq!(fields, ["Linux", &long, "6.1.0-anneal", "#1 SMP", "x86_64", "(none)"]);
        assert!(names.bytes().chunks(FIELD).all(|field| field.last() == Some(&0)));
    }
}
