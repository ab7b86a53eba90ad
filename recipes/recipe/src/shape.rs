//! The shape of a recipe: which keys a table has, in which order, and what each holds.
//!
//! Nobody writes it down. The readers in `read/` are run over a file with nothing in it, and a [`Recorder`] takes down
//! what they ask for. So what is derived from it, the order of [`crate::format`] and [`crate::schema`], can't say
//! anything that the readers don't do.

use std::{cell::RefCell, collections::BTreeMap};

/// What a reader wants of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A text, which has a form of its own.
    Text,
    /// A whole number.
    Number { least: u64, most: u64 },
    /// A list of texts.
    Texts,
    /// A list of texts in which none stands twice and whose order means nothing.
    Set,
    /// A table of texts by names that the recipe chooses.
    Map,
    /// A table.
    Table,
    /// A list of tables.
    Tables,
}

/// One table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Its keys, in the order in which they are asked for.
    pub(crate) keys: Vec<Key>,
    /// Of each of these pairs, one must be there.
    pub(crate) one_of: Vec<(&'static str, &'static str)>,
    /// Of each of these pairs, at most one may be there.
    pub(crate) exclusive: Vec<(&'static str, &'static str)>,
}

/// One key of a table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) asked: Asked,
    pub(crate) required: bool,
    /// What the table has, or each of the tables; nothing for any other value.
    pub(crate) table: Shape,
}

impl Shape {
    /// A key and its place among the others.
    pub(crate) fn key(&self, name: &str) -> Option<(usize, &Key)> {
        self.keys.iter().enumerate().find(|(_, key)| key.name == name)
    }
}

/// One table while it is taken down.
#[derive(Debug, Default)]
struct Noted {
    keys: Vec<(&'static str, Asked)>,
    required: Vec<&'static str>,
    one_of: Vec<(&'static str, &'static str)>,
    exclusive: Vec<(&'static str, &'static str)>,
}

/// Takes down what readers ask for, by the prefix of the table: nothing for the whole recipe, `build.` for `[build]`.
#[derive(Debug, Default)]
pub(crate) struct Recorder(RefCell<BTreeMap<String, Noted>>);

impl Recorder {
    fn note(&self, prefix: &str, note: impl FnOnce(&mut Noted)) {
        note(self.0.borrow_mut().entry(prefix.to_owned()).or_default());
    }
    pub(crate) fn asked(&self, prefix: &str, key: &'static str, asked: Asked) {
        self.note(prefix, |noted| noted.keys.push((key, asked)));
    }
    pub(crate) fn required(&self, prefix: &str, key: &'static str) {
        self.note(prefix, |noted| noted.required.push(key));
    }
    pub(crate) fn one_of(&self, prefix: &str, key: &'static str, other: &'static str) {
        self.note(prefix, |noted| noted.one_of.push((key, other)));
    }
    pub(crate) fn exclusive(&self, prefix: &str, first: &'static str, second: &'static str) {
        self.note(prefix, |noted| noted.exclusive.push((first, second)));
    }
    /// The whole recipe.
    pub(crate) fn into_shape(self) -> Shape {
        shape_of("", &mut self.0.into_inner())
    }
}

fn shape_of(prefix: &str, tables: &mut BTreeMap<String, Noted>) -> Shape {
    let noted = tables.remove(prefix).unwrap_or_default();
    let key = |(name, asked): (&'static str, Asked)| {
        let table = match asked {
            Asked::Table | Asked::Tables => shape_of(&format!("{prefix}{name}."), tables),
            _ => Shape::default(),
        };
        Key { name, asked, required: noted.required.contains(&name), table }
    };
    let keys = noted.keys.into_iter().map(key).collect();
    Shape { keys, one_of: noted.one_of, exclusive: noted.exclusive }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, read::shape};

    #[test]
    fn the_shape_is_what_the_readers_ask_for_with_nested_tables_and_what_must_be_there() {
        let package = shape(Kind::Package);
        let names: Vec<_> = package.keys.iter().map(|key| key.name).collect();
        assert_eq!(names[..6], ["name", "replaces", "summary", "homepage", "license", "version"]);
        let (_, release) = package.key("release").unwrap();
        assert!(release.required && release.asked == Asked::Tables);
        let (_, source) = release.table.key("source").unwrap();
        let (_, bytes) = source.table.key("bytes").unwrap();
        assert_eq!((source.required, bytes.required), (false, true));
        assert_eq!(bytes.asked, Asked::Number { least: 1, most: 4 << 30 });
        let image = shape(Kind::Image);
        let (_, run) = image.key("run").unwrap();
        assert_eq!(run.table.one_of, [("exits", "http")]);
        assert!(run.table.exclusive.contains(&("argv", "args")));
        assert!(run.table.keys.iter().all(|key| !key.required));
    }
}
