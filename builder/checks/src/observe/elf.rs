//! What an ELF file says about itself: how it is protected, what it needs and what it offers.
//!
//! The program headers and the dynamic segment are what a loader obeys, so they are read first. Symbols come from the
//! section headers, which a loader ignores: the two must name the same table, or the file counts as unreadable.

use object::elf;
use object::endian::Endianness;
use object::read::elf::{Dyn as _, FileHeader, ProgramHeader as _, SectionHeader as _, SectionTable, Sym as _};
use object::{StringTable, SymbolIndex};
use serde::{Deserialize, Serialize};

/// How many dynamic symbols one file may have.
const SYMBOLS_MAX: usize = 1_000_000;
/// How long a name in a string table may be, in bytes.
const NAME_BYTES_MAX: usize = 64 * 1024;

/// What sort of ELF file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ElfKind {
    /// An object file for a linker.
    Relocatable,
    /// An executable at a fixed address.
    FixedExecutable,
    /// A shared object or a position-independent executable.
    Dynamic,
    /// A core dump or something else that is not linked.
    Other,
}

/// Whether the stack is executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stack {
    /// `PT_GNU_STACK` is there without X.
    NotExecutable,
    /// `PT_GNU_STACK` is there with X.
    Executable,
    /// There is no `PT_GNU_STACK`: the kernel then makes the stack executable.
    Unstated,
}

/// A dynamic symbol.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Its version, where the file has versions.
    pub version: Option<String>,
    /// Nothing fails if it is missing.
    pub weak: bool,
}

/// What was read from an ELF file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElfFacts {
    /// What sort it is.
    pub kind: ElfKind,
    /// 64-bit.
    pub is_64: bool,
    /// Little-endian.
    pub is_little: bool,
    /// `e_machine`.
    pub machine: u16,
    /// `DF_1_PIE` is set.
    pub pie_flag: bool,
    /// `PT_INTERP`.
    pub interpreter: Option<String>,
    /// There is a `PT_DYNAMIC`.
    pub is_dynamic: bool,
    /// `DT_NEEDED`, in order.
    pub needed: Vec<String>,
    /// `DT_SONAME`.
    pub soname: Option<String>,
    /// The directories of `DT_RPATH` and `DT_RUNPATH`, as written.
    pub search: Vec<String>,
    /// Symbols are bound at start.
    pub bind_now: bool,
    /// There is a `PT_GNU_RELRO`.
    pub relro: bool,
    /// The stack.
    pub stack: Stack,
    /// `PT_LOAD` segments that are writable and executable at once.
    pub writable_code: usize,
    /// Relocations write to code.
    pub textrel: bool,
    /// Names of sections with debug information.
    pub debug_sections: Vec<String>,
    /// There is a `.symtab`.
    pub has_symtab: bool,
    /// The build id in hex.
    pub build_id: Option<String>,
    /// Undefined dynamic symbols, sorted.
    pub imports: Vec<Symbol>,
    /// Defined, visible dynamic symbols, sorted.
    pub exports: Vec<Symbol>,
}

impl ElfFacts {
    /// Reads a whole file. The error says what could not be read.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let class = bytes.get(4).copied();
        match class {
            Some(1) => read_class::<elf::FileHeader32<Endianness>>(bytes),
            Some(2) => read_class::<elf::FileHeader64<Endianness>>(bytes),
            other => Err(format!("ELF class {other:?}, expected 1 or 2")),
        }
    }
    /// Whether the kernel can execute it as a program.
    pub fn is_program(&self) -> bool {
        self.kind == ElfKind::FixedExecutable
            || (self.kind == ElfKind::Dynamic
                && (self.pie_flag || (self.interpreter.is_some() && self.soname.is_none())))
    }
    /// Whether it is linked: a program or a shared object.
    pub fn is_linked(&self) -> bool {
        matches!(self.kind, ElfKind::FixedExecutable | ElfKind::Dynamic)
    }
}

fn read_class<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<ElfFacts, String> {
    let say = |what: &'static str| move |e: object::Error| format!("{what}: {e}");
    let header = Elf::parse(bytes).map_err(say("file header"))?;
    let endian = header.endian().map_err(say("file header"))?;
    let kind = match header.e_type(endian) {
        elf::ET_REL => ElfKind::Relocatable,
        elf::ET_EXEC => ElfKind::FixedExecutable,
        elf::ET_DYN => ElfKind::Dynamic,
        _ => ElfKind::Other,
    };
    let mut facts = ElfFacts {
        kind,
        is_64: header.is_class_64(),
        is_little: header.is_little_endian(),
        machine: header.e_machine(endian).0,
        pie_flag: false,
        interpreter: None,
        is_dynamic: false,
        needed: Vec::new(),
        soname: None,
        search: Vec::new(),
        bind_now: false,
        relro: false,
        stack: Stack::Unstated,
        writable_code: 0,
        textrel: false,
        debug_sections: Vec::new(),
        has_symtab: false,
        build_id: None,
        imports: Vec::new(),
        exports: Vec::new(),
    };
    let segments = header.program_headers(endian, bytes).map_err(say("program headers"))?;
    if facts.is_linked() && segments.is_empty() {
        return Err("linked file without program headers".into());
    }
    let table = segment_facts::<Elf>(segments, endian, bytes, &mut facts)?;
    let sections = header.sections(endian, bytes).map_err(say("section headers"))?;
    section_facts(&sections, endian, bytes, &mut facts)?;
    if let Some(table) = table {
        symbol_facts(&sections, endian, bytes, table, &mut facts)?;
    }
    Ok(facts)
}

/// What the program headers say; gives the address of the dynamic symbol table where there is one.
fn segment_facts<Elf: FileHeader<Endian = Endianness>>(
    segments: &[Elf::ProgramHeader],
    endian: Endianness,
    bytes: &[u8],
    facts: &mut ElfFacts,
) -> Result<Option<u64>, String> {
    let mut dynamic = None;
    for segment in segments {
        let flags = segment.p_flags(endian);
        let (write, run) = (flags.contains(elf::PF_W), flags.contains(elf::PF_X));
        match segment.p_type(endian) {
            elf::PT_LOAD if write && run => facts.writable_code += 1,
            elf::PT_GNU_RELRO => facts.relro = true,
            elf::PT_GNU_STACK => facts.stack = if run { Stack::Executable } else { Stack::NotExecutable },
            elf::PT_INTERP => {
                let text = segment.interpreter(endian, bytes).map_err(|e| format!("interpreter: {e}"))?;
                facts.interpreter = text.map(|t| String::from_utf8_lossy(t).into_owned());
            }
            elf::PT_DYNAMIC => {
                dynamic = segment.dynamic(endian, bytes).map_err(|e| format!("dynamic segment: {e}"))?;
            }
            _ => {}
        }
    }
    let Some(dynamic) = dynamic else { return Ok(None) };
    facts.is_dynamic = true;
    let strings = dynamic_strings::<Elf>(segments, dynamic, endian, bytes)?;
    let mut symbols = None;
    for entry in dynamic {
        let value: u64 = entry.d_val(endian).into();
        let text = || {
            let at = u32::try_from(value).map_err(|_| format!("dynamic string at {value}, outside the table"))?;
            let found = strings.get(at).map_err(|()| format!("dynamic string at {at}, outside the table"))?;
            shorter(found)
        };
        match entry.d_tag(endian) {
            elf::DT_NULL => break,
            elf::DT_NEEDED => facts.needed.push(text()?),
            elf::DT_SONAME => facts.soname = Some(text()?),
            elf::DT_RPATH | elf::DT_RUNPATH => facts.search.extend(text()?.split(':').map(str::to_owned)),
            elf::DT_TEXTREL => facts.textrel = true,
            elf::DT_BIND_NOW => facts.bind_now = true,
            elf::DT_FLAGS => {
                facts.bind_now |= value & elf::DF_BIND_NOW.0 != 0;
                facts.textrel |= value & elf::DF_TEXTREL.0 != 0;
            }
            elf::DT_FLAGS_1 => {
                facts.bind_now |= value & elf::DF_1_NOW.0 != 0;
                facts.pie_flag |= value & elf::DF_1_PIE.0 != 0;
            }
            elf::DT_SYMTAB => symbols = Some(value),
            _ => {}
        }
    }
    Ok(symbols)
}

/// The string table that a loader would use.
fn dynamic_strings<'data, Elf: FileHeader<Endian = Endianness>>(
    segments: &[Elf::ProgramHeader],
    dynamic: &[Elf::Dyn],
    endian: Endianness,
    bytes: &'data [u8],
) -> Result<StringTable<'data>, String> {
    let mut address = None;
    let mut size = 0;
    for entry in dynamic {
        match entry.d_tag(endian) {
            elf::DT_NULL => break,
            elf::DT_STRTAB => address = Some(entry.d_val(endian).into()),
            elf::DT_STRSZ => size = entry.d_val(endian).into(),
            _ => {}
        }
    }
    let Some(address): Option<u64> = address else { return Ok(StringTable::default()) };
    for segment in segments.iter().filter(|s| s.p_type(endian) == elf::PT_LOAD) {
        let start: u64 = segment.p_vaddr(endian).into();
        let held: u64 = segment.p_filesz(endian).into();
        if address >= start && address - start < held {
            let offset: u64 = segment.p_offset(endian).into();
            let from = offset.checked_add(address - start).ok_or("dynamic string table: address overflows")?;
            let to = from.checked_add(size).ok_or("dynamic string table: size overflows")?;
            if to > bytes.len() as u64 {
                return Err(format!("dynamic string table ends at {to}, the file at {}", bytes.len()));
            }
            return Ok(StringTable::new(bytes, from, to));
        }
    }
    Err(format!("dynamic string table at address {address:#x}: no segment holds it"))
}

fn section_facts<Elf: FileHeader<Endian = Endianness>>(
    sections: &SectionTable<'_, Elf>,
    endian: Endianness,
    bytes: &[u8],
    facts: &mut ElfFacts,
) -> Result<(), String> {
    for section in sections.iter() {
        let name = sections.section_name(endian, section).map_err(|e| format!("section name: {e}"))?;
        if name.starts_with(b".debug_") || name.starts_with(b".zdebug_") {
            facts.debug_sections.push(String::from_utf8_lossy(name).into_owned());
        }
        facts.has_symtab |= section.sh_type(endian) == elf::SHT_SYMTAB;
        if let Some(mut notes) = section.notes(endian, bytes).map_err(|e| format!("notes: {e}"))? {
            while let Some(note) = notes.next().map_err(|e| format!("notes: {e}"))? {
                if note.name() == elf::ELF_NOTE_GNU && note.n_type(endian) == elf::NT_GNU_BUILD_ID {
                    facts.build_id = Some(hex::encode(note.desc()));
                }
            }
        }
    }
    facts.debug_sections.sort();
    Ok(())
}

fn symbol_facts<'data, Elf: FileHeader<Endian = Endianness>>(
    sections: &SectionTable<'data, Elf>,
    endian: Endianness,
    bytes: &'data [u8],
    table_address: u64,
    facts: &mut ElfFacts,
) -> Result<(), String> {
    let section = sections.iter().find(|s| s.sh_type(endian) == elf::SHT_DYNSYM);
    let Some(section) = section else {
        return Err("it is linked dynamically but has no section header for its dynamic symbols".into());
    };
    let at: u64 = section.sh_addr(endian).into();
    if at != table_address {
        return Err(format!("section headers place the dynamic symbols at {at:#x}, the loader at {table_address:#x}"));
    }
    let symbols = sections.symbols(endian, bytes, elf::SHT_DYNSYM).map_err(|e| format!("dynamic symbols: {e}"))?;
    if symbols.len() > SYMBOLS_MAX {
        return Err(format!("{} dynamic symbols, more than {SYMBOLS_MAX}", symbols.len()));
    }
    let versions = sections.versions(endian, bytes).map_err(|e| format!("symbol versions: {e}"))?;
    for (index, symbol) in symbols.iter().enumerate().skip(1) {
        let bind = symbol.st_bind();
        if bind == elf::STB_LOCAL {
            continue;
        }
        let name = symbol.name(endian, symbols.strings()).map_err(|e| format!("symbol {index}: {e}"))?;
        if name.is_empty() {
            continue;
        }
        let version = match &versions {
            None => None,
            Some(table) => {
                let at = table.version_index(endian, SymbolIndex(index));
                let found = table.version(at.index()).map_err(|e| format!("symbol {index}: version: {e}"))?;
                found.map(|v| String::from_utf8_lossy(v.name()).into_owned())
            }
        };
        let read = Symbol { name: shorter(name)?, version, weak: bind == elf::STB_WEAK };
        if symbol.is_undefined(endian) {
            facts.imports.push(read);
        } else if matches!(symbol.st_visibility(), elf::STV_DEFAULT | elf::STV_PROTECTED) {
            facts.exports.push(read);
        }
    }
    facts.imports.sort();
    facts.exports.sort();
    Ok(())
}

fn shorter(name: &[u8]) -> Result<String, String> {
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("a name of {} bytes, more than {NAME_BYTES_MAX}", name.len()));
    }
    Ok(String::from_utf8_lossy(name).into_owned())
}
