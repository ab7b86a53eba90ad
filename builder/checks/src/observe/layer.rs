//! What a layer's bytes say: every member of the archive as it is written, and the digest of what was packed.
//!
//! The archive is read here a second time, by other code than the one that wrote it. Nothing is unpacked: members are
//! facts, and what is odd about them is left to the checks. A file's bytes are looked at while they pass by.

use super::compression::Plain;
use super::{FILE_BYTES_MAX, FileFacts, Known};
use anneal_content::{BlobDigest, BlobHasher};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufReader, Read};

/// How many members a layer may have.
const MEMBERS_MAX: usize = 2_000_000;
/// How large a layer may be when the compression is off, in bytes.
const LAYER_BYTES_MAX: u64 = 32 * 1024 * 1024 * 1024;
/// How large a pax or GNU header may be, in bytes.
const EXTENSION_BYTES_MAX: u64 = 1024 * 1024;
/// How large a file may be that is kept whole for the checks, in bytes.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// How many faults of the format are kept.
const FAULTS_KEPT: usize = 64;
/// How much is read at a time.
const CHUNK: usize = 64 * 1024;
/// Files whose text a check reads.
const KEPT: &[&str] = &["etc/passwd", "etc/group", "etc/shadow", "etc/ld-musl-x86_64.path", "etc/ld-musl-aarch64.path"];

/// What stands at one place of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberKind {
    /// A regular file.
    File {
        /// Its bytes.
        digest: BlobDigest,
        /// How many.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// What it points to, as written.
        target: String,
    },
    /// A second name of an earlier member.
    HardLink {
        /// The first name, as written.
        target: String,
    },
    /// A device, a pipe or something that no image needs.
    Special {
        /// In words.
        what: String,
    },
}

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The path exactly as written, without a closing slash.
    pub path: String,
    /// What it is.
    pub kind: MemberKind,
    /// Mode bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Time, in seconds since 1970.
    pub mtime: u64,
    /// Names of extended attributes.
    pub xattrs: Vec<String>,
}

/// What was read from a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFacts {
    /// The compressed size.
    pub size: u64,
    /// The digest of the uncompressed archive.
    pub diff_id: BlobDigest,
    /// Members in the archive's order.
    pub members: Vec<Member>,
    /// What is not normal about the archive's headers.
    pub archive_faults: Vec<String>,
    /// What is not normal about the compression's headers.
    pub compression_faults: Vec<String>,
    /// The text of the few files that checks read, by path.
    pub kept: BTreeMap<String, Vec<u8>>,
}

/// Counts and hashes what passes by.
struct Watched<R> {
    inner: R,
    hasher: Option<BlobHasher>,
    count: u64,
    limit: u64,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(out)?;
        self.count += count as u64;
        if self.count > self.limit {
            return Err(std::io::Error::other(format!("more than {} bytes", self.limit)));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(out.get(..count).unwrap_or_default());
        }
        Ok(count)
    }
}

/// Reads a layer to its end. Facts about its files are added to `files`.
pub(super) fn read(
    reader: impl Read,
    media_type: &str,
    files: &mut BTreeMap<BlobDigest, Known<FileFacts>>,
) -> Result<LayerFacts, String> {
    let compressed = Watched { inner: reader, hasher: None, count: 0, limit: LAYER_BYTES_MAX };
    let mut buffered = BufReader::with_capacity(CHUNK, compressed);
    let plain = Plain::new(&mut buffered, media_type)?;
    let mut plain = Watched { inner: plain, hasher: Some(BlobHasher::new()), count: 0, limit: LAYER_BYTES_MAX };
    let mut facts = LayerFacts {
        size: 0,
        diff_id: BlobDigest::from_bytes([0; 32]),
        members: Vec::new(),
        archive_faults: Vec::new(),
        compression_faults: Vec::new(),
        kept: BTreeMap::new(),
    };
    read_members(&mut plain, &mut facts, files).map_err(|why| format!("archive: {why}"))?;
    read_tail(&mut plain, &mut facts).map_err(|e| format!("archive: after its end: {e}"))?;
    facts.compression_faults = plain.inner.faults().to_vec();
    if let Some(hasher) = plain.hasher.take() {
        facts.diff_id = hasher.finish().0;
    }
    drop(plain);
    facts.size = buffered.into_inner().count;
    Ok(facts)
}

/// What extension headers say about the member that follows them.
#[derive(Default)]
struct Extension {
    path: Option<String>,
    target: Option<String>,
    size: Option<u64>,
    xattrs: Vec<String>,
}

fn read_members(
    plain: &mut dyn Read,
    facts: &mut LayerFacts,
    files: &mut BTreeMap<BlobDigest, Known<FileFacts>>,
) -> Result<(), String> {
    let mut archive = tar::Archive::new(plain);
    let mut extension = Extension::default();
    for member in archive.entries().map_err(|e| e.to_string())?.raw(true) {
        let mut member = member.map_err(|e| e.to_string())?;
        let kind = member.header().entry_type();
        if matches!(kind, tar::EntryType::XHeader | tar::EntryType::XGlobalHeader)
            || matches!(kind, tar::EntryType::GNULongName | tar::EntryType::GNULongLink)
        {
            let mut bytes = Vec::new();
            member.by_ref().take(EXTENSION_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
            if bytes.len() as u64 > EXTENSION_BYTES_MAX {
                return Err(format!("an extension header is larger than {EXTENSION_BYTES_MAX} bytes"));
            }
            read_extension(kind, &bytes, &mut extension, &mut facts.archive_faults)?;
            continue;
        }
        if facts.members.len() >= MEMBERS_MAX {
            return Err(format!("more than {MEMBERS_MAX} members"));
        }
        let read = read_member(&mut member, std::mem::take(&mut extension), facts, files)?;
        facts.members.push(read);
    }
    Ok(())
}

fn fault(faults: &mut Vec<String>, what: String) {
    if faults.len() < FAULTS_KEPT {
        faults.push(what);
    }
}

fn read_extension(
    kind: tar::EntryType,
    bytes: &[u8],
    extension: &mut Extension,
    faults: &mut Vec<String>,
) -> Result<(), String> {
    let trimmed = || String::from_utf8_lossy(bytes.strip_suffix(b"\0").unwrap_or(bytes)).into_owned();
    match kind {
        tar::EntryType::GNULongName => {
            fault(faults, "a GNU long name where a pax header belongs".into());
            extension.path = Some(trimmed());
        }
        tar::EntryType::GNULongLink => {
            fault(faults, "a GNU long link where a pax header belongs".into());
            extension.target = Some(trimmed());
        }
        tar::EntryType::XGlobalHeader => fault(faults, "a global pax header".into()),
        _ => {
            for record in tar::PaxExtensions::new(bytes) {
                let record = record.map_err(|e| format!("pax header: {e}"))?;
                let key = record.key().map_err(|e| format!("pax header: {e}"))?;
                let value = String::from_utf8_lossy(record.value_bytes()).into_owned();
                match key {
                    "path" => extension.path = Some(value),
                    "linkpath" => extension.target = Some(value),
                    "size" => extension.size = value.parse().ok(),
                    _ => match key.strip_prefix("SCHILY.xattr.").or_else(|| key.strip_prefix("LIBARCHIVE.xattr.")) {
                        Some(name) => extension.xattrs.push(name.to_owned()),
                        None => fault(faults, format!("a pax header with the key {key:?}")),
                    },
                }
            }
        }
    }
    Ok(())
}

fn read_member(
    member: &mut tar::Entry<'_, &mut dyn Read>,
    extension: Extension,
    facts: &mut LayerFacts,
    files: &mut BTreeMap<BlobDigest, Known<FileFacts>>,
) -> Result<Member, String> {
    let header = member.header().clone();
    let written = extension.path.unwrap_or_else(|| String::from_utf8_lossy(&header.path_bytes()).into_owned());
    let path = written.strip_suffix('/').unwrap_or(&written).to_owned();
    let number = |what: &str, value: std::io::Result<u64>| value.map_err(|e| format!("{path}: {what}: {e}"));
    let names = [header.username_bytes(), header.groupname_bytes()];
    if names.iter().flatten().any(|n| !n.is_empty()) {
        fault(&mut facts.archive_faults, format!("{path}: owner or group by name"));
    }
    let declared = number("size", header.entry_size())?;
    if extension.size.is_some_and(|size| size != declared) {
        return Err(format!("{path}: its pax header gives another size than its header"));
    }
    let target = || {
        let written = header.link_name_bytes().map(|t| String::from_utf8_lossy(&t).into_owned());
        extension.target.clone().or(written).unwrap_or_default()
    };
    let kind = match header.entry_type() {
        tar::EntryType::Regular | tar::EntryType::Continuous => {
            if written.ends_with('/') {
                return Err(format!("{path}: a file whose name ends with a slash"));
            }
            read_content(member, declared, &path, facts, files)?
        }
        tar::EntryType::Directory => MemberKind::Directory,
        tar::EntryType::Symlink => MemberKind::Symlink { target: target() },
        tar::EntryType::Link => MemberKind::HardLink { target: target() },
        tar::EntryType::Char => MemberKind::Special { what: "a character device".into() },
        tar::EntryType::Block => MemberKind::Special { what: "a block device".into() },
        tar::EntryType::Fifo => MemberKind::Special { what: "a pipe".into() },
        other => MemberKind::Special { what: format!("an archive member of type {:?}", char::from(other.as_byte())) },
    };
    Ok(Member {
        kind,
        mode: header.mode().map_err(|e| format!("{path}: mode: {e}"))?,
        uid: number("owner", header.uid())?,
        gid: number("group", header.gid())?,
        mtime: number("time", header.mtime())?,
        xattrs: extension.xattrs,
        path,
    })
}

fn read_content(
    member: &mut impl Read,
    declared: u64,
    path: &str,
    facts: &mut LayerFacts,
    files: &mut BTreeMap<BlobDigest, Known<FileFacts>>,
) -> Result<MemberKind, String> {
    let say = |e: std::io::Error| format!("{path}: {e}");
    let mut hasher = BlobHasher::new();
    let mut bytes = Vec::with_capacity(usize::try_from(declared.min(FILE_BYTES_MAX).min(1 << 24)).unwrap_or(0));
    member.by_ref().take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(say)?;
    hasher.update(&bytes);
    let beyond = std::io::copy(member, &mut hasher).map_err(say)?;
    let (digest, size) = hasher.finish();
    if size != declared {
        return Err(format!("{path}: {size} bytes, the header says {declared}"));
    }
    if !matches!(files.get(&digest), Some(Known::Read(_))) {
        let known = if beyond > 0 {
            Known::Unreadable(format!("larger than {FILE_BYTES_MAX} bytes, which is the most that is read"))
        } else {
            FileFacts::of(&bytes)
        };
        files.insert(digest, known);
    }
    if KEPT.contains(&path) && bytes.len() <= KEPT_BYTES_MAX {
        facts.kept.insert(path.to_owned(), bytes);
    }
    Ok(MemberKind::File { digest, size })
}

/// What follows the archive's end marker belongs to the digest, and must be padding.
fn read_tail(plain: &mut dyn Read, facts: &mut LayerFacts) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut hidden = 0u64;
    loop {
        let count = plain.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        hidden += chunk.get(..count).unwrap_or_default().iter().filter(|b| **b != 0).count() as u64;
    }
    if hidden > 0 {
        fault(&mut facts.archive_faults, format!("{hidden} bytes of data after the archive's end"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_up_to_its_limit_and_not_a_byte_further() {
        for (limit, readable) in [(4, true), (3, false)] {
            let mut watched = Watched { inner: &b"four"[..], hasher: None, count: 0, limit };
            assert_eq!(watched.read_to_end(&mut Vec::new()).is_ok(), readable);
        }
    }

    #[test]
    fn faults_beyond_those_that_are_kept_are_dropped() {
        let mut faults = Vec::new();
        (0..=FAULTS_KEPT).for_each(|n| fault(&mut faults, n.to_string()));
        assert_eq!(faults.len(), FAULTS_KEPT);
    }
}
