//! What `uname` says: the same of every machine.

use crate::plan::{DOMAIN, RELEASE, VERSION};

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

#[cfg(test)]
mod tests {
    use super::*;

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
