//! A tar header as git writes it: ustar, owned by root, behind a pax header where a path or a target is too long.

use crate::beneath::FIXED_TIME_SECONDS;

pub(super) const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    File,
    Symlink,
    Directory,
}

/// What a header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header<'a> {
    /// A directory's ends with a slash.
    pub(super) path: &'a [u8],
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) size: u64,
    /// A link's, else empty.
    pub(super) target: &'a [u8],
}

impl Header<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut records = Vec::new();
        let end = |text: &[u8]| text.get(text.len().saturating_sub(NAME)..).unwrap_or_default().to_vec();
        let (prefix, name) = match split(self.path) {
            Some((prefix, name)) => (prefix, name.to_vec()),
            None => {
                records.extend(record("path", self.path));
                (&[][..], end(self.path))
            }
        };
        let mut target = self.target.to_vec();
        if target.len() > NAME {
            records.extend(record("linkpath", &target));
            target = end(&target);
        }
        let mut out = Vec::new();
        if !records.is_empty() {
            out.extend(block((&[], b"source.paxheader"), 'x', 0o644, records.len() as u64, &[]));
            out.append(&mut records);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        let flag = match self.kind {
            Kind::File => '0',
            Kind::Symlink => '2',
            Kind::Directory => '5',
        };
        out.extend(block((prefix, &name), flag, self.mode, self.size, &target));
        out
    }
}

/// Prefix and name, if the path fits: the longest prefix that leaves a name, as git takes it.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME {
        return Some((&[], path));
    }
    let last = path.len() - usize::from(path.ends_with(b"/"));
    let at = path.get(..last.min(PREFIX))?.iter().rposition(|b| *b == b'/')?;
    let (prefix, name) = (path.get(..at)?, path.get(at + 1..)?);
    (at > 0 && name.len() <= NAME).then_some((prefix, name))
}

/// `LENGTH key=value\n`, where the length counts itself.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

fn block((prefix, name): (&[u8], &[u8]), flag: char, mode: u32, size: u64, target: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        for (slot, byte) in block.iter_mut().skip(at).zip(bytes) {
            *slot = *byte;
        }
    };
    put(0, name);
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, format!("{FIXED_TIME_SECONDS:011o}").as_bytes());
    put(148, b"        ");
    put(156, flag.encode_utf8(&mut [0; 4]).as_bytes());
    put(157, target);
    put(257, b"ustar\x0000");
    put(265, b"root");
    put(297, b"root");
    put(329, b"0000000");
    put(337, b"0000000");
    put(345, prefix);
    let sum: u64 = block.iter().copied().map(u64::from).sum();
    for (slot, byte) in block.iter_mut().skip(148).zip(format!("{sum:07o}\0").bytes()) {
        *slot = byte;
    }
    block
}
