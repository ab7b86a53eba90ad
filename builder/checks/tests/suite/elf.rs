//! Writes small ELF files with chosen properties: as much as a loader or a check looks at, and no code.
//!
//! The file is one readable segment at address 0, so an address is an offset.

/// What the file says about itself.
#[derive(Debug, Clone)]
pub(crate) struct Elf {
    /// `e_type`.
    pub(crate) kind: u16,
    /// `e_machine`.
    pub(crate) machine: u16,
    pub(crate) pie: bool,
    pub(crate) interpreter: Option<&'static str>,
    pub(crate) needed: Vec<&'static str>,
    pub(crate) soname: Option<&'static str>,
    pub(crate) runpath: Option<&'static str>,
    pub(crate) relro: bool,
    pub(crate) bind_now: bool,
    pub(crate) textrel: bool,
    /// Flags of `PT_GNU_STACK`; `None` leaves it out.
    pub(crate) stack: Option<u32>,
    /// Adds a segment that is writable and executable.
    pub(crate) writable_code: bool,
    /// Names and versions of undefined symbols; a name that begins with `?` is weak.
    pub(crate) imports: Vec<(&'static str, Option<&'static str>)>,
    /// Names and versions of defined symbols.
    pub(crate) exports: Vec<(&'static str, Option<&'static str>)>,
    pub(crate) build_id: bool,
    pub(crate) debug_info: bool,
    /// Bytes at the end.
    pub(crate) tail: Vec<u8>,
    /// Where the section headers say the dynamic symbols are, if not where they are.
    pub(crate) symbols_elsewhere: bool,
}

impl Elf {
    /// A program as it should be.
    pub(crate) fn program() -> Self {
        Self {
            kind: 3,
            machine: 62,
            pie: true,
            interpreter: Some("/lib/ld-musl-x86_64.so.1"),
            needed: vec!["libc.so"],
            soname: None,
            runpath: None,
            relro: true,
            bind_now: true,
            textrel: false,
            stack: Some(6),
            writable_code: false,
            imports: vec![("__stack_chk_fail", None), ("?__gmon_start__", None)],
            exports: Vec::new(),
            build_id: true,
            debug_info: false,
            tail: Vec::new(),
            symbols_elsewhere: false,
        }
    }
    /// A library as it should be.
    pub(crate) fn library(soname: &'static str, exports: &[&'static str]) -> Self {
        Self {
            pie: false,
            interpreter: None,
            soname: Some(soname),
            exports: exports.iter().map(|name| (*name, None)).collect(),
            ..Self::program()
        }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        Writer::default().write(self)
    }
}

#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    /// Name, type, offset, size, link, entry size, info.
    sections: Vec<(&'static str, u32, u64, u64, u32, u64, u32)>,
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}
fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}
fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// A string table that is being filled.
struct Strings(Vec<u8>);
impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        let at = self.0.len() as u32;
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        at
    }
}

const EHDR: usize = 64;
const PHDR: usize = 56;
const SLOTS: usize = 8;

impl Writer {
    fn section(&mut self, name: &'static str, kind: u32, bytes: &[u8], link: u32, entry: u64, info: u32) -> u64 {
        while !self.out.len().is_multiple_of(8) {
            self.out.push(0);
        }
        let at = self.out.len() as u64;
        self.out.extend_from_slice(bytes);
        self.sections.push((name, kind, at, bytes.len() as u64, link, entry, info));
        at
    }

    fn write(mut self, elf: &Elf) -> Vec<u8> {
        self.out = vec![0; EHDR + PHDR * SLOTS];
        let mut segments: Vec<(u32, u32, u64, u64)> = Vec::new();
        let mut strings = Strings(vec![0]);
        let is_dynamic = elf.kind != 1 && !(elf.needed.is_empty() && elf.soname.is_none() && elf.imports.is_empty());
        if let Some(path) = elf.interpreter {
            let text = [path.as_bytes(), b"\0"].concat();
            let at = self.section(".interp", 1, &text, 0, 0, 0);
            segments.push((3, 4, at, text.len() as u64));
        }
        if is_dynamic {
            self.dynamic(elf, &mut strings, &mut segments);
        }
        if elf.build_id {
            let mut note = Vec::new();
            put32(&mut note, 4);
            put32(&mut note, 8);
            put32(&mut note, 3);
            note.extend_from_slice(b"GNU\0\x01\x02\x03\x04\x05\x06\x07\x08");
            self.section(".note.gnu.build-id", 7, &note, 0, 0, 0);
        }
        if elf.debug_info {
            self.section(".debug_info", 1, b"debug", 0, 0, 0);
        }
        if !elf.tail.is_empty() {
            self.section(".rodata", 1, &elf.tail, 0, 0, 0);
        }
        if elf.relro {
            segments.push((0x6474_e552, 4, 0, 8));
        }
        if let Some(flags) = elf.stack {
            segments.push((0x6474_e551, flags, 0, 0));
        }
        self.finish(elf, segments)
    }

    fn dynamic(&mut self, elf: &Elf, strings: &mut Strings, segments: &mut Vec<(u32, u32, u64, u64)>) {
        let mut dynamic: Vec<(u64, u64)> = Vec::new();
        for name in &elf.needed {
            dynamic.push((1, u64::from(strings.add(name))));
        }
        if let Some(name) = elf.soname {
            dynamic.push((14, u64::from(strings.add(name))));
        }
        if let Some(path) = elf.runpath {
            dynamic.push((29, u64::from(strings.add(path))));
        }
        let mut symbols = vec![0u8; 24];
        let mut versions: Vec<u16> = vec![0];
        let mut defined: Vec<&str> = Vec::new();
        let all = elf.imports.iter().map(|s| (s, 0u16)).chain(elf.exports.iter().map(|s| (s, 1)));
        for ((name, version), section) in all {
            let (bind, name) = name.strip_prefix('?').map_or((1u8, *name), |weak| (2, weak));
            put32(&mut symbols, strings.add(name));
            symbols.extend_from_slice(&[(bind << 4) | 2, 0]);
            put16(&mut symbols, section);
            put64(&mut symbols, u64::from(section) * 64);
            put64(&mut symbols, 8);
            versions.push(match version {
                Some(version) if section == 1 => {
                    let known = defined.iter().position(|v| v == version);
                    let at = known.unwrap_or_else(|| {
                        defined.push(version);
                        defined.len() - 1
                    });
                    at as u16 + 2
                }
                Some(_) => 100,
                None => 1,
            });
        }
        let needs = elf.imports.iter().find_map(|(_, version)| *version);
        let library = elf.needed.first().copied().unwrap_or_default();
        let definitions = definitions(&defined, strings);
        let requirement = needs.map(|version| requirement(library, version, strings));
        let strings_at = self.section(".dynstr", 3, &strings.0, 0, 0, 0);
        let link = self.sections.len() as u32; // the null section comes first
        let symbols_at = self.section(".dynsym", 11, &symbols, link, 24, 1);
        let symbols_link = self.sections.len() as u32;
        if !defined.is_empty() || needs.is_some() {
            let table: Vec<u8> = versions.iter().flat_map(|v| v.to_le_bytes()).collect();
            self.section(".gnu.version", 0x6fff_ffff, &table, symbols_link, 2, 0);
        }
        if !defined.is_empty() {
            self.section(".gnu.version_d", 0x6fff_fffd, &definitions, link, 0, defined.len() as u32);
        }
        if let Some(requirement) = requirement {
            self.section(".gnu.version_r", 0x6fff_fffe, &requirement, link, 0, 1);
        }
        dynamic.extend([(5, strings_at), (10, strings.0.len() as u64), (6, symbols_at)]);
        if elf.bind_now {
            dynamic.push((30, 8));
        }
        let flags = u64::from(elf.bind_now) | if elf.pie { 0x0800_0000 } else { 0 };
        dynamic.push((0x6fff_fffb, flags));
        if elf.textrel {
            dynamic.push((22, 0));
        }
        dynamic.push((0, 0));
        let bytes: Vec<u8> =
            dynamic.iter().flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()].concat()).collect();
        let at = self.section(".dynamic", 6, &bytes, link, 16, 0);
        segments.push((2, 6, at, bytes.len() as u64));
    }

    fn finish(mut self, elf: &Elf, segments: Vec<(u32, u32, u64, u64)>) -> Vec<u8> {
        let mut names = Strings(vec![0]);
        let shstrtab_name = names.add(".shstrtab");
        let named: Vec<u32> = self.sections.iter().map(|s| names.add(s.0)).collect();
        let names_at = self.out.len() as u64;
        self.out.extend_from_slice(&names.0);
        while !self.out.len().is_multiple_of(8) {
            self.out.push(0);
        }
        let headers_at = self.out.len() as u64;
        self.out.extend_from_slice(&[0; 64]);
        for (section, name) in self.sections.iter().zip(&named) {
            let (_, kind, at, size, link, entry, info) = *section;
            let address = if kind == 11 && elf.symbols_elsewhere { at + 24 } else { at };
            put32(&mut self.out, *name);
            put32(&mut self.out, kind);
            for value in [2, address, at, size] {
                put64(&mut self.out, value);
            }
            put32(&mut self.out, link);
            put32(&mut self.out, info);
            put64(&mut self.out, 4);
            put64(&mut self.out, entry);
        }
        put32(&mut self.out, shstrtab_name);
        put32(&mut self.out, 3);
        for value in [0, 0, names_at, names.0.len() as u64] {
            put64(&mut self.out, value);
        }
        put64(&mut self.out, 0);
        put64(&mut self.out, 1);
        put64(&mut self.out, 0);
        let size = self.out.len() as u64;
        let mut all = vec![(1u32, 5u32, 0u64, size)];
        if elf.writable_code {
            all.push((1, 7, 0, 8));
        }
        all.extend(segments);
        if elf.kind == 1 {
            all.clear();
        }
        assert!(all.len() <= SLOTS);
        let mut headers = Vec::new();
        for (kind, flags, at, held) in &all {
            put32(&mut headers, *kind);
            put32(&mut headers, *flags);
            for value in [*at, *at, *at, *held, *held, 8] {
                put64(&mut headers, value);
            }
        }
        self.out[EHDR..EHDR + headers.len()].copy_from_slice(&headers);
        let count = self.sections.len() as u16 + 2;
        self.out[..EHDR].copy_from_slice(&file_header(elf, all.len() as u16, headers_at, count));
        self.out
    }
}

fn file_header(elf: &Elf, segments: u16, headers_at: u64, sections: u16) -> Vec<u8> {
    let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    put16(&mut head, elf.kind);
    put16(&mut head, elf.machine);
    put32(&mut head, 1);
    put64(&mut head, 64);
    put64(&mut head, if segments == 0 { 0 } else { EHDR as u64 });
    put64(&mut head, headers_at);
    put32(&mut head, 0);
    for value in [EHDR as u16, PHDR as u16, segments, 64, sections, sections - 1] {
        put16(&mut head, value);
    }
    head
}

fn definitions(names: &[&str], strings: &mut Strings) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, name) in names.iter().enumerate() {
        put16(&mut out, 1);
        put16(&mut out, 0);
        put16(&mut out, number as u16 + 2);
        put16(&mut out, 1);
        put32(&mut out, 0);
        put32(&mut out, 20);
        put32(&mut out, if number + 1 == names.len() { 0 } else { 28 });
        put32(&mut out, strings.add(name));
        put32(&mut out, 0);
    }
    out
}

fn requirement(library: &str, version: &str, strings: &mut Strings) -> Vec<u8> {
    let mut out = Vec::new();
    put16(&mut out, 1);
    put16(&mut out, 1);
    put32(&mut out, strings.add(library));
    put32(&mut out, 16);
    put32(&mut out, 0);
    put32(&mut out, 0);
    put16(&mut out, 0);
    put16(&mut out, 100);
    put32(&mut out, strings.add(version));
    put32(&mut out, 0);
    out
}
