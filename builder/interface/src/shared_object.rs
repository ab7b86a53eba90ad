//! A shared object as a linker sees it.
//!
//! A linker reads section headers and a loader the dynamic segment; they must agree, or the file is not understood. What
//! is kept is what can show in something that is linked against it: names, versions, what data an executable may copy,
//! and what the file says about its machine. Code, addresses and the build id are left out.

use crate::symbol::{Data, Place, Symbol};
use object::elf;
use object::endian::Endianness;
use object::read::elf::{Dyn as _, FileHeader, ProgramHeader as _, SectionHeader as _, SectionTable, Sym as _};
use object::read::elf::{SymbolTable, VersionTable};
use object::{StringTable, SymbolIndex};
use serde::Serialize;
use std::collections::BTreeMap;

/// How many dynamic symbols one file may have.
const SYMBOLS_MAX: usize = 1_000_000;
/// How many entries its dynamic table may have.
const DYNAMIC_MAX: usize = 65_536;
/// How many versions it may define, and how many parents they may have together.
const VERSIONS_MAX: usize = 65_536;
/// How many bytes all names together may have: names may overlap in the file.
const NAME_BYTES_MAX: usize = 64 << 20;
/// How many bytes its notes may have.
const NOTE_BYTES_MAX: usize = 64 << 10;

/// A shared object, reduced to what can show in a dependent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SharedObject {
    /// For what machine.
    pub target: Target,
    /// `DT_SONAME`.
    pub soname: Option<String>,
    /// `DT_NEEDED`, in order.
    pub needed: Vec<String>,
    /// Other entries of the dynamic table that name something: where to search, what to filter, who audits.
    pub names: Vec<(String, String)>,
    /// `DT_FLAGS` and `DT_FLAGS_1`.
    pub flags: (u64, u64),
    /// The versions that it defines, in order.
    pub versions: Vec<VersionDefinition>,
    /// Its notes but for the build id, in order.
    pub notes: Vec<Note>,
    /// Its dynamic symbols, sorted.
    pub symbols: Vec<Symbol>,
}

/// For what machine a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// 32 or 64.
    pub bits: u8,
    /// Little-endian.
    pub is_little: bool,
    /// `e_machine`.
    pub machine: u16,
    /// `EI_OSABI`.
    pub os_abi: u8,
    /// `EI_ABIVERSION`.
    pub abi_version: u8,
    /// `e_flags`.
    pub flags: u32,
}

/// A version that a file defines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VersionDefinition {
    /// Its name.
    pub name: String,
    /// `vd_flags`.
    pub flags: u16,
    /// The versions that it follows.
    pub parents: Vec<String>,
}

/// A note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Note {
    /// Whose.
    pub owner: String,
    /// Of what type.
    #[serde(rename = "type")]
    pub kind: u32,
    /// What it says, in hex.
    pub says: String,
}

impl SharedObject {
    /// Reads a whole file. The error says what is not understood.
    ///
    /// # Errors
    /// Whatever is no shared object with a dynamic table, or says two things about itself.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let object = read_any(bytes, Accept::Libraries)?;
        object.ok_or_else(|| "no dynamic table".to_owned())
    }

    /// Reads a library or a program that a loader puts together with others; nothing where there is nothing to put
    /// together, as in a static program, an object and whatever is not ELF.
    ///
    /// # Errors
    /// What has a dynamic table that is not understood.
    pub fn read_loaded(bytes: &[u8]) -> Result<Option<Self>, String> {
        if bytes.starts_with(&elf::ELFMAG) { read_any(bytes, Accept::WhatIsLoaded) } else { Ok(None) }
    }
}

/// Which files are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accept {
    Libraries,
    WhatIsLoaded,
}

fn read_any(bytes: &[u8], accept: Accept) -> Result<Option<SharedObject>, String> {
    match bytes.get(4).copied() {
        Some(1) => read_class::<elf::FileHeader32<Endianness>>(bytes, accept),
        Some(2) => read_class::<elf::FileHeader64<Endianness>>(bytes, accept),
        other => Err(format!("ELF class {other:?}, expected 1 or 2")),
    }
}

/// Makes texts of names, as long as they are not too much together.
struct Names(usize);

impl Names {
    fn text(&mut self, name: &[u8]) -> Result<String, String> {
        self.0 = self.0.checked_sub(name.len()).ok_or_else(|| format!("names of more than {NAME_BYTES_MAX} bytes"))?;
        // Two names that are no text could look alike.
        String::from_utf8(name.to_vec()).map_err(|e| format!("a name is not UTF-8: {e}"))
    }
}

fn say(what: &'static str) -> impl Fn(object::Error) -> String {
    move |e| format!("{what}: {e}")
}

fn read_class<Elf: FileHeader<Endian = Endianness>>(
    bytes: &[u8],
    accept: Accept,
) -> Result<Option<SharedObject>, String> {
    let header = Elf::parse(bytes).map_err(say("file header"))?;
    let endian = header.endian().map_err(say("file header"))?;
    let only_libraries = accept == Accept::Libraries;
    if only_libraries && header.e_type(endian) != elf::ET_DYN {
        return Err(format!("type {}, expected a shared object", header.e_type(endian).0));
    }
    let ident = header.e_ident();
    let target = Target {
        bits: if header.is_class_64() { 64 } else { 32 },
        is_little: header.is_little_endian(),
        machine: header.e_machine(endian).0,
        os_abi: ident.os_abi.0,
        abi_version: ident.abi_version,
        flags: header.e_flags(endian).0,
    };
    let sections = header.sections(endian, bytes).map_err(say("section headers"))?;
    let segments = header.program_headers(endian, bytes).map_err(say("program headers"))?;
    if !only_libraries && !segments.iter().any(|segment| segment.p_type(endian) == elf::PT_DYNAMIC) {
        return Ok(None);
    }
    if only_libraries && segments.iter().any(|segment| segment.p_type(endian) == elf::PT_INTERP) {
        return Err("it is a program: it names an interpreter".into());
    }
    let one_each = [elf::SHT_DYNAMIC, elf::SHT_DYNSYM];
    let at_most_one = [elf::SHT_GNU_VERSYM, elf::SHT_GNU_VERDEF, elf::SHT_GNU_VERNEED];
    for kind in one_each.into_iter().chain(at_most_one) {
        let found = sections.iter().filter(|section| section.sh_type(endian) == kind).count();
        if found > 1 || (found == 0 && one_each.contains(&kind)) {
            return Err(format!("{found} sections of type {:#x}", kind.0));
        }
    }
    let mut names = Names(NAME_BYTES_MAX);
    let mut object = SharedObject {
        target,
        soname: None,
        needed: Vec::new(),
        names: Vec::new(),
        flags: (0, 0),
        versions: Vec::new(),
        notes: notes(&sections, endian, bytes, &mut names)?,
        symbols: Vec::new(),
    };
    let symbols = sections.symbols(endian, bytes, elf::SHT_DYNSYM).map_err(say("dynamic symbols"))?;
    dynamic(&sections, segments, endian, bytes, &mut names, &mut object)?;
    if only_libraries && object.flags.1 & elf::DF_1_PIE.0 != 0 {
        return Err("it is a program: it says that it is one".into());
    }
    object.versions = version_definitions(&sections, endian, bytes, &mut names)?;
    object.symbols = dynamic_symbols(&sections, &symbols, endian, bytes, &mut names)?;
    Ok(Some(object))
}

fn dynamic<Elf: FileHeader<Endian = Endianness>>(
    sections: &SectionTable<'_, Elf>,
    segments: &[Elf::ProgramHeader],
    endian: Endianness,
    bytes: &[u8],
    names: &mut Names,
    object: &mut SharedObject,
) -> Result<(), String> {
    let found = sections.iter().find_map(|section| section.dynamic(endian, bytes).transpose());
    let (entries, link) = found.transpose().map_err(say("dynamic table"))?.ok_or("no dynamic table")?;
    if entries.len() > DYNAMIC_MAX {
        return Err(format!("{} entries of the dynamic table, more than {DYNAMIC_MAX}", entries.len()));
    }
    let strings = sections.strings(endian, bytes, link).map_err(say("dynamic strings"))?;
    let address_of =
        |kind: elf::SectionType| sections.iter().find(|s| s.sh_type(endian) == kind).map(|s| s.sh_addr(endian).into());
    let strings_at: u64 = sections.section(link).map_err(say("dynamic strings"))?.sh_addr(endian).into();
    let table_at: Option<u64> = sections
        .iter()
        .find(|section| section.sh_type(endian) == elf::SHT_DYNAMIC)
        .map(|section| section.sh_offset(endian).into());
    let segment = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_DYNAMIC);
    if table_at != segment.map(|segment| segment.p_offset(endian).into()) {
        return Err("a linker and a loader would read different dynamic tables".into());
    }
    let agree = |what: &str, section: Option<u64>, loader: u64| {
        let wrong = || Err(format!("a linker and a loader would read different {what}"));
        if section == Some(loader) { Ok(()) } else { wrong() }
    };
    for entry in entries {
        let value: u64 = entry.d_val(endian).into();
        let tag = entry.d_tag(endian);
        match tag {
            elf::DT_NULL => break,
            elf::DT_NEEDED => object.needed.push(string(strings, value, names)?),
            elf::DT_SONAME => object.soname = Some(string(strings, value, names)?),
            elf::DT_RPATH
            | elf::DT_RUNPATH
            | elf::DT_FILTER
            | elf::DT_AUXILIARY
            | elf::DT_AUDIT
            | elf::DT_DEPAUDIT
            | elf::DT_CONFIG => {
                let name = string(strings, value, names)?;
                object.names.push((format!("{:#x}", tag.0), name));
            }
            elf::DT_FLAGS => object.flags.0 = value,
            elf::DT_FLAGS_1 => object.flags.1 = value,
            elf::DT_STRTAB => agree("string tables", Some(strings_at), value)?,
            elf::DT_SYMTAB => agree("symbol tables", address_of(elf::SHT_DYNSYM), value)?,
            elf::DT_VERSYM => agree("symbol versions", address_of(elf::SHT_GNU_VERSYM), value)?,
            elf::DT_VERDEF => agree("version definitions", address_of(elf::SHT_GNU_VERDEF), value)?,
            elf::DT_VERNEED => agree("needed versions", address_of(elf::SHT_GNU_VERNEED), value)?,
            _ => {}
        }
    }
    Ok(())
}

fn string(strings: StringTable<'_>, at: u64, names: &mut Names) -> Result<String, String> {
    let outside = || format!("dynamic string at {at}, outside the table");
    let offset = u32::try_from(at).map_err(|_| outside())?;
    names.text(strings.get(offset).map_err(|()| outside())?)
}

/// Sections by which a file says something to a linker that is not in its symbols.
const SPEAKS_TO_LINKERS: &[&[u8]] = &[b".gnu.warning", b".gnu.lto_", b".gnu_object_only"];

fn notes<Elf: FileHeader<Endian = Endianness>>(
    sections: &SectionTable<'_, Elf>,
    endian: Endianness,
    bytes: &[u8],
    names: &mut Names,
) -> Result<Vec<Note>, String> {
    let (mut found, mut left) = (Vec::new(), NOTE_BYTES_MAX);
    for section in sections.iter() {
        let name = sections.section_name(endian, section).map_err(say("section name"))?;
        if SPEAKS_TO_LINKERS.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(format!("section {} speaks to linkers", String::from_utf8_lossy(name)));
        }
        let Some(mut notes) = section.notes(endian, bytes).map_err(say("notes"))? else { continue };
        while let Some(note) = notes.next().map_err(say("notes"))? {
            if note.name() == elf::ELF_NOTE_GNU && note.n_type(endian) == elf::NT_GNU_BUILD_ID {
                continue;
            }
            left = left
                .checked_sub(note.desc().len())
                .ok_or_else(|| format!("notes of more than {NOTE_BYTES_MAX} bytes"))?;
            let says = note.desc().iter().map(|byte| format!("{byte:02x}")).collect();
            found.push(Note { owner: names.text(note.name())?, kind: note.n_type(endian).0, says });
        }
    }
    Ok(found)
}

fn version_definitions<Elf: FileHeader<Endian = Endianness>>(
    sections: &SectionTable<'_, Elf>,
    endian: Endianness,
    bytes: &[u8],
    names: &mut Names,
) -> Result<Vec<VersionDefinition>, String> {
    let Some((mut definitions, link)) = sections.gnu_verdef(endian, bytes).map_err(say("version definitions"))? else {
        return Ok(Vec::new());
    };
    let strings = sections.strings(endian, bytes, link).map_err(say("version names"))?;
    let (mut found, mut count) = (Vec::new(), 0);
    while let Some((definition, mut own)) = definitions.next().map_err(say("version definitions"))? {
        let mut all = Vec::new();
        while let Some(name) = own.next().map_err(say("version definitions"))? {
            all.push(names.text(name.name(endian, strings).map_err(say("version names"))?)?);
            count += 1;
            if count > VERSIONS_MAX {
                return Err(format!("more than {VERSIONS_MAX} versions"));
            }
        }
        let mut all = all.into_iter();
        let name = all.next().ok_or("a version without a name")?;
        found.push(VersionDefinition { name, flags: definition.vd_flags.get(endian).0, parents: all.collect() });
    }
    Ok(found)
}

fn dynamic_symbols<'data, Elf: FileHeader<Endian = Endianness>>(
    sections: &SectionTable<'data, Elf>,
    table: &SymbolTable<'data, Elf>,
    endian: Endianness,
    bytes: &'data [u8],
    names: &mut Names,
) -> Result<Vec<Symbol>, String> {
    if table.len() > SYMBOLS_MAX {
        return Err(format!("{} dynamic symbols, more than {SYMBOLS_MAX}", table.len()));
    }
    let versions = sections.versions(endian, bytes).map_err(say("symbol versions"))?;
    let mut found = Vec::new();
    let mut addresses: BTreeMap<(u16, u64), Vec<usize>> = BTreeMap::new();
    for (index, symbol) in table.iter().enumerate().skip(1) {
        if symbol.st_bind() == elf::STB_LOCAL {
            continue;
        }
        let name = names.text(symbol.name(endian, table.strings()).map_err(say("symbol name"))?)?;
        if name.is_empty() {
            return Err(format!("symbol {index} has no name"));
        }
        let (section, value, kind) = (symbol.st_shndx(endian), symbol.st_value(endian).into(), symbol.st_type());
        let place = match section {
            elf::SHN_UNDEF => Place::Undefined,
            elf::SHN_ABS => Place::Absolute { value },
            elf::SHN_COMMON => Place::Common,
            special if special.is_special() => Place::Special { section: special.0 },
            _ => Place::Defined,
        };
        let has_data = !matches!(place, Place::Undefined) && kind != elf::STT_FUNC && kind != elf::STT_GNU_IFUNC;
        let mut data = None;
        if has_data {
            let size = symbol.st_size(endian).into();
            let at = table.symbol_section(endian, symbol, SymbolIndex(index)).map_err(say("symbol's section"))?;
            let home = at.map(|at| sections.section(at)).transpose().map_err(say("symbol's section"))?;
            let boundary: u64 = home.map_or(1, |home| home.sh_addralign(endian).into()).max(1);
            // As far as the address keeps the section's boundary: so a linker aligns its copy.
            let align = if value == 0 { boundary } else { boundary.min(1 << value.trailing_zeros()) };
            let read_only = home.is_some_and(|home| !home.sh_flags(endian).contains(elf::SHF_WRITE));
            data = Some(Data { size, align, read_only, same_as: None });
            if place == Place::Defined {
                addresses.entry((section.0, value)).or_default().push(found.len());
            }
        }
        let (version, hidden_version) = version(versions.as_ref(), endian, index, names)?;
        let (kind, bind, other) = (kind.0, symbol.st_bind().0, symbol.st_other().0);
        found.push(Symbol { name, version, hidden_version, place, kind, bind, other, data });
    }
    for group in addresses.into_values().filter(|group| group.len() > 1) {
        let first = group.iter().filter_map(|at| found.get(*at)).map(|symbol| symbol.name.clone()).min();
        for at in group {
            if let Some(data) = found.get_mut(at).and_then(|symbol| symbol.data.as_mut()) {
                data.same_as.clone_from(&first);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn version<Elf: FileHeader<Endian = Endianness>>(
    versions: Option<&VersionTable<'_, Elf>>,
    endian: Endianness,
    index: usize,
    names: &mut Names,
) -> Result<(Option<String>, bool), String> {
    let Some(table) = versions else { return Ok((None, false)) };
    let at = table.version_index(endian, SymbolIndex(index));
    let found = table.version(at.index()).map_err(say("symbol version"))?;
    let text = match found {
        None if at.is_local() => Some("local".to_owned()),
        None => None,
        Some(version) => {
            let name = names.text(version.name())?;
            let file = version.file().map(|file| names.text(file)).transpose()?;
            Some(file.map_or_else(|| name.clone(), |file| format!("{name} of {file}")))
        }
    };
    Ok((text, at.is_hidden()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_up_to_the_limit_and_only_as_text() {
        let mut names = Names(7);
        assert_eq!(names.text(b"four").as_deref(), Ok("four"));
        assert_eq!(names.text(b"two").as_deref(), Ok("two"));
        assert!(names.text(b"!").is_err_and(|e| e.contains("more than 67108864 bytes")));
        assert!(Names(7).text(b"\xff").is_err_and(|e| e.contains("UTF-8")));
    }
}
