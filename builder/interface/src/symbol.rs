//! A dynamic symbol, as far as a linker lets it show in what it links.

use serde::{Serialize, Serializer};

/// A dynamic symbol of a shared object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Its version, where the file has versions; of a symbol that is needed, with the library that it is needed of.
    pub version: Option<String>,
    /// `@` and not `@@`: who names no version doesn't get this one.
    pub hidden_version: bool,
    /// Where it is.
    pub place: Place,
    /// `func`, `object`, `tls` and so on.
    #[serde(rename = "type", serialize_with = "kind_text")]
    pub kind: u8,
    /// `global`, `weak`, `unique`.
    #[serde(serialize_with = "bind_text")]
    pub bind: u8,
    /// `st_other`: the visibility, and what the machine's ABI keeps beside it.
    pub other: u8,
    /// How it is laid out; none for a function, whose body is nobody's business.
    pub data: Option<Data>,
}

/// Where a symbol is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the library.
    Defined,
    /// Elsewhere: an executable that has one of this name exports it for the library.
    Undefined,
    /// Nowhere: the value is the symbol.
    Absolute {
        /// The value.
        value: u64,
    },
    /// In the library, of no section yet.
    Common,
    /// In a section of a meaning of its own.
    Special {
        /// `st_shndx`.
        section: u16,
    },
}

/// Data that an executable may take a copy of when it is linked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Data {
    /// `st_size`: how many bytes are copied.
    pub size: u64,
    /// On what boundary the copy is put: that of the section, as far as the address keeps it.
    pub align: u64,
    /// Whether the copy is made read-only.
    pub read_only: bool,
    /// The first name of the same address: a copy takes all names along.
    pub same_as: Option<String>,
}

pub(crate) fn kind_name(kind: u8) -> String {
    match kind {
        0 => "notype".into(),
        1 => "object".into(),
        2 => "func".into(),
        3 => "section".into(),
        4 => "file".into(),
        5 => "common".into(),
        6 => "tls".into(),
        10 => "gnu-ifunc".into(),
        other => format!("type-{other}"),
    }
}

pub(crate) fn bind_name(bind: u8) -> String {
    match bind {
        0 => "local".into(),
        1 => "global".into(),
        2 => "weak".into(),
        10 => "unique".into(),
        other => format!("bind-{other}"),
    }
}

pub(crate) fn visibility_name(other: u8) -> String {
    match other {
        0 => "default".into(),
        1 => "internal".into(),
        2 => "hidden".into(),
        3 => "protected".into(),
        more => format!("other-{more:#x}"),
    }
}

fn kind_text<S: Serializer>(kind: &u8, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&kind_name(*kind))
}
fn bind_text<S: Serializer>(bind: &u8, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&bind_name(*bind))
}
