//! Tar headers: POSIX ustar, preceded by a pax header for what ustar cannot say.
//!
//! Each header is 512 bytes: octal numbers with a final NUL, `ustar` and version `00`, no owner names, and
//! zeros wherever there is nothing to say. A pax header is written only for a path or link target that is not
//! ASCII or too long, a file of 8 GiB or more, or an owner above 2097151; it holds just those fields, in
//! alphabetical order.

use std::fmt::Write as _;

/// Tar is made of these.
pub(crate) const BLOCK: usize = 512;
/// What ends an archive: two blocks of zeros, and no more.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

const NAME: usize = 100;
const PREFIX: usize = 155;
const SIZE_MAX: u64 = 0o777_7777_7777;
const OWNER_MAX: u64 = 0o777_7777;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Symlink,
    Directory,
}

/// What a header says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a> {
    /// The path; a directory's ends with `/`.
    pub(crate) path: &'a str,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// Seconds since 1970, at most what eleven octal digits hold.
    pub(crate) mtime: u64,
    /// A symbolic link's target, else empty.
    pub(crate) target: &'a str,
}

impl Header<'_> {
    /// The header block, after the blocks of a pax header if one is needed.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let records = self.pax_records();
        let mut out = Vec::with_capacity(3 * BLOCK);
        if !records.is_empty() {
            let base = self.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let name: String = "pax/".chars().chain(ascii(base)).take(NAME).collect();
            let size = octal(records.len() as u64, 11);
            out.extend(raw(&name, "", 'x', [0o644, 0, 0], &size, self.mtime, ""));
            out.extend_from_slice(records.as_bytes());
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        let short: String;
        let (prefix, name) = match split(self.path) {
            Some(parts) => parts,
            None => {
                short = ascii(self.path).take(NAME).collect();
                ("", short.as_str())
            }
        };
        let target: String = ascii(self.target).take(NAME).collect();
        let flag = match self.kind {
            Kind::File => '0',
            Kind::Symlink => '2',
            Kind::Directory => '5',
        };
        let owner = |id: u32| if u64::from(id) > OWNER_MAX { 0 } else { u64::from(id) };
        let numbers = [u64::from(self.mode), owner(self.uid), owner(self.gid)];
        let size = octal(if self.size > SIZE_MAX { 0 } else { self.size }, 11);
        out.extend(raw(name, prefix, flag, numbers, &size, self.mtime, &target));
        out
    }

    fn pax_records(&self) -> String {
        let mut records = String::new();
        if u64::from(self.gid) > OWNER_MAX {
            record(&mut records, "gid", &self.gid.to_string());
        }
        if !self.target.is_ascii() || self.target.len() > NAME {
            record(&mut records, "linkpath", self.target);
        }
        if split(self.path).is_none() {
            record(&mut records, "path", self.path);
        }
        if self.size > SIZE_MAX {
            record(&mut records, "size", &self.size.to_string());
        }
        if u64::from(self.uid) > OWNER_MAX {
            record(&mut records, "uid", &self.uid.to_string());
        }
        records
    }
}

/// `LENGTH key=value\n`, where the length counts itself.
fn record(records: &mut String, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    // Writing to a String does not fail.
    let _ = writeln!(records, "{length} {key}={value}");
}

/// A path as ustar's prefix and name, if it fits.
fn split(path: &str) -> Option<(&str, &str)> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= NAME {
        return Some(("", path));
    }
    // The first slash that leaves a name short enough leaves the shortest prefix.
    let from = path.len() - NAME - 1;
    let at = from + path.get(from..)?.find('/')?;
    let (prefix, name) = (path.get(..at)?, path.get(at + 1..)?);
    (prefix.len() <= PREFIX && !name.is_empty()).then_some((prefix, name))
}

/// The text with `_` for what ustar cannot hold; readers take the pax record instead.
fn ascii(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().map(|c| if c.is_ascii() { c } else { '_' })
}

fn octal(number: u64, digits: usize) -> String {
    format!("{number:0digits$o}")
}

fn raw(
    name: &str,
    prefix: &str,
    flag: char,
    [mode, uid, gid]: [u64; 3],
    size: &str,
    mtime: u64,
    target: &str,
) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| {
        for (slot, byte) in block.iter_mut().skip(at).zip(text.bytes()) {
            *slot = byte;
        }
    };
    put(0, name);
    put(100, &octal(mode, 7));
    put(108, &octal(uid, 7));
    put(116, &octal(gid, 7));
    put(124, size);
    put(136, &octal(mtime, 11));
    put(148, "        ");
    put(156, flag.encode_utf8(&mut [0; 4]));
    put(157, target);
    put(257, "ustar\x0000");
    put(329, "0000000");
    put(337, "0000000");
    put(345, prefix);
    let sum: u64 = block.iter().copied().map(u64::from).sum();
    let checksum = format!("{}\0 ", octal(sum, 6));
    for (slot, byte) in block.iter_mut().skip(148).zip(checksum.bytes()) {
        *slot = byte;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(path: &str) -> Header<'_> {
        Header { path, kind: Kind::File, mode: 0o644, uid: 0, gid: 0, size: 5, mtime: 86_400, target: "" }
    }

    fn pax(header: &Header<'_>) -> String {
        header.pax_records()
    }

    #[test]
    fn an_ordinary_path_needs_no_pax_header() {
        assert_eq!(header("usr/lib/libz.so.1.2.13").encode().len(), BLOCK);
        assert_eq!(header(&"a".repeat(100)).encode().len(), BLOCK);
        let two_parts = format!("{}/{}", "d".repeat(155), "f".repeat(100));
        assert_eq!(header(&two_parts).encode().len(), BLOCK);
    }

    #[test]
    fn a_pax_record_counts_its_own_length() {
        for length in [1, 60, 90, 91, 92, 93, 94, 990, 991, 992, 993, 994, 4000] {
            let mut text = String::new();
            record(&mut text, "path", &"x".repeat(length));
            let count: usize = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(count, text.len(), "{length}");
        }
    }

    #[test]
    fn what_ustar_cannot_say_stands_in_a_pax_record() {
        assert_eq!(pax(&header("usr/ä")), "15 path=usr/ä\n");
        assert_eq!(pax(&header(&"a".repeat(101))), format!("111 path={}\n", "a".repeat(101)));
        assert!(pax(&header(&format!("{}/{}", "d".repeat(156), "f".repeat(100)))).starts_with("267 path="));
        let (size, uid) = (8 << 30, 2_097_152);
        assert_eq!(pax(&Header { size, uid, ..header("big") }), "19 size=8589934592\n15 uid=2097152\n");
        assert_eq!(pax(&Header { size: size - 1, uid: uid - 1, gid: uid - 1, ..header("big") }), "");
        let target = "t".repeat(101);
        assert!(pax(&Header { kind: Kind::Symlink, target: &target, ..header("l") }).starts_with("115 linkpath=tt"));
    }
}
