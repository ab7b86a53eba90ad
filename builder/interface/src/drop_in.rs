//! Whether a program that was linked against one build of a library goes on with another.
//!
//! ```text
//! each name that the dependent has in its dynamic symbols and that the library offered before
//!     the library offers it now: the same version, type, binding, visibility, size of data  ──▶ it goes on
//!     a copy of data that a linker made: laid out as before, too
//! a name that it looked for elsewhere and that the library offers now                       ──▶ it may not
//! ```
//! What a type means is not seen here: that is for a comparison of debug information. Anything that is not understood is an
//! [`Obstacle`], because unknown is never the same.

use crate::{Place, SharedObject, Symbol};
use std::collections::BTreeMap;

/// Why a dependent may not go on, in words.
pub type Obstacle = String;

/// Whether what was linked against `before` may run with `after`, as far as symbols tell.
///
/// # Errors
/// The first [`Obstacle`].
pub fn drop_in(dependent: &SharedObject, before: &SharedObject, after: &SharedObject) -> Result<(), Obstacle> {
    let soname = before.soname.as_deref().ok_or("it had no soname")?;
    if after.soname.as_deref() != Some(soname) {
        let now = after.soname.as_deref().unwrap_or("none");
        return Err(format!("its soname was {soname} and is {now}"));
    }
    if before.target != after.target {
        return Err(format!("{soname} is for another machine than it was"));
    }
    let (old, new) = (Offered::of(before), Offered::of(after));
    for symbol in &dependent.symbols {
        let (version, library) = asked_version(symbol);
        if library.is_some_and(|library| library != soname) {
            continue;
        }
        let name = Name { name: &symbol.name, version };
        match (old.find(&name), new.find(&name)) {
            (None, _) if library.is_some() => return Err(format!("{soname} did not offer {name} as far as is seen")),
            (None, Some(_)) if symbol.place == Place::Undefined => {
                return Err(format!("{soname} offers {name} now, which was looked for elsewhere"));
            }
            (None, _) => {}
            (Some(_), None) => return Err(format!("{soname} does not offer {name} any more")),
            (Some(was), Some(is)) => same(soname, &name, was, is, symbol.place != Place::Undefined)?,
        }
    }
    Ok(())
}

/// What a dependent asks for.
struct Name<'a> {
    name: &'a str,
    version: Option<&'a str>,
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// The version that a symbol names, and the library of which it names it.
fn asked_version(symbol: &Symbol) -> (Option<&str>, Option<&str>) {
    match symbol.version.as_deref().filter(|_| symbol.place == Place::Undefined) {
        Some(version) => match version.split_once(" of ") {
            Some((version, library)) => (Some(version), Some(library)),
            None => (Some(version), None),
        },
        None => (None, None),
    }
}

/// What a library defines, by name.
struct Offered<'a>(BTreeMap<&'a str, Vec<&'a Symbol>>);

impl<'a> Offered<'a> {
    fn of(object: &'a SharedObject) -> Self {
        let mut offered: BTreeMap<&str, Vec<&Symbol>> = BTreeMap::new();
        for symbol in object.symbols.iter().filter(|symbol| symbol.place != Place::Undefined) {
            offered.entry(&symbol.name).or_default().push(symbol);
        }
        Self(offered)
    }

    /// The one that a loader would choose: of a version that is named, or the default.
    fn find(&self, name: &Name<'_>) -> Option<&'a Symbol> {
        let all = self.0.get(name.name)?;
        all.iter().copied().find(|symbol| match name.version {
            Some(version) => symbol.version.as_deref() == Some(version),
            None => !symbol.hidden_version,
        })
    }
}

fn same(soname: &str, name: &Name<'_>, was: &Symbol, is: &Symbol, is_copied: bool) -> Result<(), Obstacle> {
    if was.version != is.version {
        let told = |symbol: &Symbol| symbol.version.clone().unwrap_or_else(|| "no version".to_owned());
        return Err(format!("{soname} offered {name} as {} and offers it as {}", told(was), told(is)));
    }
    if (was.kind, was.bind, was.other) != (is.kind, is.bind, is.other) {
        return Err(format!("{name} of {soname} has another type, binding or visibility than it had"));
    }
    let size = |symbol: &Symbol| symbol.data.as_ref().map(|data| data.size);
    if size(was) != size(is) {
        let told = |symbol: &Symbol| size(symbol).map_or("no data".to_owned(), |size| format!("{size} bytes"));
        return Err(format!("{name} of {soname} had {} and has {}", told(was), told(is)));
    }
    if is_copied && was.data != is.data {
        return Err(format!("{name} of {soname}, of which a copy was linked, is laid out otherwise"));
    }
    Ok(())
}
