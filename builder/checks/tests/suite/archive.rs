//! Writes layers with chosen faults.

use flate2::{Compression, GzBuilder};
use std::io::Write as _;

/// The source epoch of the fixtures.
pub(crate) const EPOCH: u64 = 1_484_438_400;

/// One member, as it is to be written.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) path: String,
    /// The type flag of the header.
    pub(crate) flag: u8,
    pub(crate) mode: u32,
    pub(crate) mtime: u64,
    pub(crate) link: String,
    pub(crate) owner_name: &'static str,
    pub(crate) content: Vec<u8>,
    /// Records of a pax header before it.
    pub(crate) pax: Vec<(String, String)>,
}

impl Raw {
    pub(crate) fn new(path: &str, flag: u8, mode: u32) -> Self {
        Self {
            path: path.into(),
            flag,
            mode,
            mtime: EPOCH,
            link: String::new(),
            owner_name: "",
            content: Vec::new(),
            pax: Vec::new(),
        }
    }
    pub(crate) fn file(path: &str, mode: u32, content: &[u8]) -> Self {
        Self { content: content.to_vec(), ..Self::new(path, b'0', mode) }
    }
    pub(crate) fn directory(path: &str, mode: u32) -> Self {
        Self::new(path, b'5', mode)
    }
    pub(crate) fn link(path: &str, target: &str) -> Self {
        Self { link: target.into(), ..Self::new(path, b'2', 0o777) }
    }
}

fn member(out: &mut Vec<u8>, raw: &Raw) {
    let mut header = tar::Header::new_ustar();
    let name = if raw.flag == b'5' { format!("{}/", raw.path) } else { raw.path.clone() };
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..raw.link.len()].copy_from_slice(raw.link.as_bytes());
    header.set_entry_type(tar::EntryType::new(raw.flag));
    header.set_mode(raw.mode);
    header.set_mtime(raw.mtime);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(raw.content.len() as u64);
    header.set_username(raw.owner_name).unwrap();
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(&raw.content);
    while !out.len().is_multiple_of(512) {
        out.push(0);
    }
}

fn pax_records(records: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let length = (1..).map(|digits| digits + rest.len()).find(|l| l.to_string().len() + rest.len() == *l).unwrap();
        write!(out, "{length}{rest}").unwrap();
    }
    out
}

/// The uncompressed archive.
pub(crate) fn archive(members: &[Raw], after_the_end: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for raw in members {
        if !raw.pax.is_empty() {
            let content = pax_records(&raw.pax);
            member(&mut out, &Raw { content, ..Raw::new("pax", b'x', 0o644) });
        }
        member(&mut out, raw);
    }
    out.extend_from_slice(&[0; 1024]);
    out.extend_from_slice(after_the_end);
    out
}

/// As two gzip members, the second one with this time in its header.
pub(crate) fn gzip(bytes: &[u8], time: u32) -> Vec<u8> {
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    let mut out = Vec::new();
    for (part, time) in [(head, 0), (tail, time)] {
        let mut writer = GzBuilder::new().mtime(time).write(&mut out, Compression::new(6));
        writer.write_all(part).unwrap();
        writer.finish().unwrap();
    }
    out
}

/// As one zstd frame, with a skippable frame before it if asked.
pub(crate) fn zstd(bytes: &[u8], skippable: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if skippable {
        out.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, b'a', b'b', b'c']);
    }
    out.extend_from_slice(&::zstd::encode_all(bytes, 3).unwrap());
    out
}
