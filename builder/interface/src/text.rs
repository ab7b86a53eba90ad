//! An Interface for people and goldens: one line for each path, and beneath a library what it offers.

use crate::{
    Interface, Seen, SeenAs, SharedObject,
    symbol::{Place, Symbol, bind_name, kind_name, visibility_name},
};
use std::fmt;

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, entries) in self.outputs() {
            writeln!(f, "{name}")?;
            entries.iter().try_for_each(|seen| write!(f, "{seen}"))?;
        }
        for path in self.executables() {
            writeln!(f, "executable {path}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, mode, what } = self;
        match what {
            SeenAs::File { digest } => writeln!(f, "  -{mode:04o} {path} {}", digest.short()),
            SeenAs::Directory => writeln!(f, "  d{mode:04o} {path}"),
            SeenAs::Symlink { target } => writeln!(f, "  l{mode:04o} {path} -> {target}"),
            SeenAs::SharedObject(object) => write!(f, "  -{mode:04o} {path}\n{object}"),
        }
    }
}

impl fmt::Display for SharedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(soname) = &self.soname {
            writeln!(f, "      soname {soname}")?;
        }
        self.needed.iter().try_for_each(|name| writeln!(f, "      needs {name}"))?;
        self.names.iter().try_for_each(|(tag, name)| writeln!(f, "      dynamic {tag} {name}"))?;
        if self.flags != (0, 0) {
            writeln!(f, "      flags {:#x} {:#x}", self.flags.0, self.flags.1)?;
        }
        for version in &self.versions {
            let parents: String = version.parents.iter().map(|parent| format!(" after {parent}")).collect();
            writeln!(f, "      version {} flags {}{parents}", version.name, version.flags)?;
        }
        self.notes.iter().try_for_each(|n| writeln!(f, "      note {} {} {}", n.owner, n.kind, n.says))?;
        self.symbols.iter().try_for_each(|symbol| writeln!(f, "      {symbol}"))
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.hidden_version { "@" } else { "@@" };
        let version = self.version.as_ref().map(|version| format!("{at}{version}")).unwrap_or_default();
        let (bind, kind) = (bind_name(self.bind), kind_name(self.kind));
        let place = match &self.place {
            Place::Defined => String::new(),
            Place::Undefined => " undefined".to_owned(),
            Place::Absolute { value } => format!(" absolute {value:#x}"),
            Place::Common => " common".to_owned(),
            Place::Special { section } => format!(" section {section:#x}"),
        };
        write!(f, "{}{version} {bind} {kind} {}{place}", self.name, visibility_name(self.other))?;
        let Some(data) = &self.data else { return Ok(()) };
        write!(f, " size {} align {}", data.size, data.align)?;
        if data.read_only {
            f.write_str(" read-only")?;
        }
        data.same_as.as_ref().map_or(Ok(()), |first| write!(f, " same as {first}"))
    }
}
