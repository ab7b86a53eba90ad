//! What a file is and what stands in its bytes, found in one pass.

use super::{ElfFacts, Known, Secret, elf, secret};
use aho_corasick::AhoCorasick;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// Directories of the sandbox that must not be named in what comes out of it.
const BUILD_PATHS: &[&str] = &["/build/", "/sysroot/", "/out/", "/src/"];
/// What a packed executable carries.
const PACKER_MARK: &str = "UPX!";
/// How many build paths of one file are kept.
const BUILD_PATHS_KEPT: usize = 8;
/// How much of a build path is shown.
const BUILD_PATH_SHOWN: usize = 96;

/// What a file is, by its first bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// No bytes.
    Empty,
    /// An ELF file, readable or not.
    Elf,
    /// Begins with `#!` and this interpreter.
    Script {
        /// The interpreter's path.
        interpreter: String,
    },
    /// A static archive.
    Archive,
    /// A Windows program or library.
    Windows,
    /// A macOS program or library.
    MacOs,
    /// Anything else.
    Other,
}

/// What an ELF file says, or why it can't be read.
pub type Elf = Known<Box<ElfFacts>>;

/// What was learnt from a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// How many bytes.
    pub size: u64,
    /// What it is.
    pub kind: FileKind,
    /// For an ELF file, what it says.
    pub elf: Option<Elf>,
    /// Keys and tokens.
    pub secrets: Vec<Secret>,
    /// Paths of the build sandbox, the first few.
    pub build_paths: Vec<String>,
    /// The mark of an executable packer.
    pub packed: bool,
}

static MARKS: LazyLock<Result<(Vec<&'static str>, AhoCorasick), String>> = LazyLock::new(|| {
    let marks: Vec<&str> =
        BUILD_PATHS.iter().copied().chain([PACKER_MARK]).chain(secret::MARKS.iter().copied()).collect();
    AhoCorasick::new(&marks).map(|found| (marks, found)).map_err(|e| format!("markers cannot be searched for: {e}"))
});

impl FileFacts {
    /// Reads a file's bytes once.
    pub fn of(bytes: &[u8]) -> Known<Self> {
        let (marks, searcher) = match MARKS.as_ref() {
            Ok(found) => found,
            Err(why) => return Known::Unreadable(why.clone()),
        };
        let kind = kind_of(bytes);
        let elf = (kind == FileKind::Elf).then(|| match elf::ElfFacts::read(bytes) {
            Ok(facts) => Known::Read(Box::new(facts)),
            Err(why) => Known::Unreadable(why),
        });
        let mut facts = FileFacts {
            size: bytes.len() as u64,
            kind,
            elf,
            secrets: secret::in_whole_file(bytes),
            build_paths: Vec::new(),
            packed: false,
        };
        for found in searcher.find_iter(bytes) {
            let Some(mark) = marks.get(found.pattern().as_usize()) else { continue };
            if *mark == PACKER_MARK {
                facts.packed = true;
            } else if BUILD_PATHS.contains(mark) {
                facts.note_build_path(bytes, found.start());
            } else if let Some(secret) = secret::at_mark(bytes, found.start(), mark) {
                facts.secrets.push(secret);
            }
        }
        facts.secrets.sort();
        facts.secrets.dedup();
        Known::Read(facts)
    }

    /// Keeps a path, if the bytes before it do not show that it is the tail of a longer one.
    fn note_build_path(&mut self, bytes: &[u8], at: usize) {
        let before = bytes.get(..at).unwrap_or_default();
        let flagged = before.ends_with(b"-I") || before.ends_with(b"-L");
        let inside = before.last().is_some_and(|b| b.is_ascii_alphanumeric() || b"_.-/})".contains(b));
        if (inside && !flagged) || self.build_paths.len() >= BUILD_PATHS_KEPT {
            return;
        }
        let tail = bytes.get(at..).unwrap_or_default();
        let text: String =
            tail.iter().take(BUILD_PATH_SHOWN).take_while(|b| b.is_ascii_graphic()).map(|b| char::from(*b)).collect();
        if !self.build_paths.contains(&text) {
            self.build_paths.push(text);
        }
    }
}

fn kind_of(bytes: &[u8]) -> FileKind {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok()).map(u32::from_le_bytes);
    if bytes.is_empty() {
        FileKind::Empty
    } else if bytes.starts_with(b"\x7fELF") {
        FileKind::Elf
    } else if let Some(line) = bytes.strip_prefix(b"#!") {
        FileKind::Script { interpreter: first_word(line) }
    } else if bytes.starts_with(b"!<arch>\n") || bytes.starts_with(b"!<thin>\n") {
        FileKind::Archive
    } else if bytes.starts_with(b"MZ")
        && word(0x3c).is_some_and(|at| bytes.get(at as usize..).is_some_and(|b| b.starts_with(b"PE\0\0")))
    {
        FileKind::Windows
    } else if matches!(word(0), Some(0xfeed_face | 0xfeed_facf | 0xcefa_edfe | 0xcffa_edfe)) {
        FileKind::MacOs
    } else {
        FileKind::Other
    }
}

/// The interpreter of a `#!` line, at most 255 bytes as the kernel has it.
fn first_word(line: &[u8]) -> String {
    let line = line.get(..line.len().min(255)).unwrap_or_default();
    let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).split_ascii_whitespace().next().unwrap_or_default().to_owned()
}
