//! Packages made for tests, among them such as no honest tool writes.

use std::io::Write as _;
use tar::{EntryType, Header};

/// One entry, with whatever name and size it claims.
pub(crate) struct Packed {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: EntryType,
    pub(crate) mode: u32,
    pub(crate) target: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) declared: Option<u64>,
}

fn entry(name: &str, kind: EntryType, mode: u32, target: &str, content: &[u8]) -> Packed {
    let (name, target) = (name.as_bytes().to_vec(), target.as_bytes().to_vec());
    Packed { name, kind, mode, target, content: content.to_vec(), declared: None }
}

pub(crate) fn file(name: &str, mode: u32, content: &[u8]) -> Packed {
    entry(name, EntryType::Regular, mode, "", content)
}

pub(crate) fn dir(name: &str) -> Packed {
    entry(name, EntryType::Directory, 0o2700, "", b"")
}

pub(crate) fn symlink(name: &str, target: &str) -> Packed {
    entry(name, EntryType::Symlink, 0o777, target, b"")
}

pub(crate) fn hard_link(name: &str, target: &str) -> Packed {
    entry(name, EntryType::Link, 0o644, target, b"")
}

pub(crate) fn other(name: &str, kind: EntryType) -> Packed {
    entry(name, kind, 0o644, "", b"")
}

/// The entries as a tar archive; names and targets that don't fit get GNU's long form.
pub(crate) fn packed(entries: &[Packed]) -> Vec<u8> {
    let mut out = Vec::new();
    for e in entries {
        for (kind, text) in [(b'L', &e.name), (b'K', &e.target)] {
            if text.len() > 100 {
                let mut content = text.clone();
                content.push(0);
                block(&mut out, EntryType::new(kind), b"././@LongLink", 0, b"", content.len() as u64, &content);
            }
        }
        let size = e.declared.unwrap_or(e.content.len() as u64);
        block(&mut out, e.kind, &e.name, e.mode, &e.target, size, &e.content);
    }
    out.extend([0; 1024]);
    out
}

fn block(out: &mut Vec<u8>, kind: EntryType, name: &[u8], mode: u32, target: &[u8], size: u64, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(12345);
    header.set_gid(12345);
    header.set_mtime(1_700_000_000);
    header.set_size(size);
    let old = header.as_old_mut();
    let cut = name.len().min(100);
    old.name[..cut].copy_from_slice(&name[..cut]);
    let cut = target.len().min(100);
    old.linkname[..cut].copy_from_slice(&target[..cut]);
    header.set_cksum();
    out.extend(header.as_bytes());
    out.extend(content);
    out.resize(out.len().next_multiple_of(512), 0);
}

/// A package whose data member has that name, compressed as the name says.
pub(crate) fn deb_of(member: &str, tar: &[u8]) -> Vec<u8> {
    let data = match member.strip_prefix("data.tar").unwrap_or_default() {
        ".gz" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        ".xz" => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        ".zst" => zstd::encode_all(tar, 1).unwrap(),
        _ => tar.to_vec(),
    };
    let mut builder = ar::Builder::new(Vec::new());
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", &[][..]), (member, &data)] {
        let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A package of these entries, as most are.
pub(crate) fn deb(entries: &[Packed]) -> Vec<u8> {
    deb_of("data.tar.xz", &packed(entries))
}

/// Compares with a file of `golden/fetch/`, or rewrites it under UPDATE_GOLDEN=1.
pub(crate) fn check_golden(name: &str, found: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/fetch").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}
