//! The one way of writing a recipe down.
//!
//! ```text
//! # Comments stay where they are, above a key, behind a value or inside a list.
//! name = "zlib"                         keys in the order of docs/recipes.md, one space around `=`
//!
//! [[release]]                           one empty line before a table, none before a table of a list's table
//! version = "1.2.11"
//! [[release.source]]
//! places = ["crate:libz-sys/1.1.8"]     a list in one line where it fits 100 columns and has no comment,
//! steps = [                             else with one element a line
//!   "make",  # two spaces before it
//! ]
//! ```
//! Lists whose order means nothing are sorted, unless a comment stands in them. Texts, numbers and dates are left as
//! they are written. What a recipe says is not changed: the result is read again and compared before it is given out.

use crate::{
    Error, Kind, Mistakes,
    read::{mistake_in, shape, syntax},
    shape::{Asked, Shape},
};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Key, RawString, Table, Value};

/// How wide a line with a list may be.
const WIDTH_MAX: usize = 100;
const INDENT: &str = "  ";

/// A recipe's text as it should be written. `path` is named in mistakes; the text must be TOML and need not be a recipe.
pub fn format(kind: Kind, path: &str, text: &str) -> Result<String, Mistakes> {
    syntax(path, text)?;
    let refused = |reason: String| mistake_in(path, text, Error::Unformattable { reason });
    let document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| refused(e.message().to_owned()))?;
    let shape = shape(kind);
    let mut printer = Printer::default();
    printer.table(&[], document.as_table(), Some(&shape));
    printer.lines(&lines(raw(document.trailing())), "");
    let formatted = printer.finish();
    match (said(text, &shape), said(&formatted, &shape)) {
        (Some(before), Some(after)) if before == after => Ok(formatted),
        _ => Err(refused("its meaning would change".to_owned())),
    }
}

/// What a text says, with lists in order whose order means nothing.
fn said(text: &str, shape: &Shape) -> Option<toml::Table> {
    let mut table: toml::Table = text.parse().ok()?;
    sort_sets(&mut table, shape);
    Some(table)
}

fn sort_sets(table: &mut toml::Table, shape: &Shape) {
    for key in &shape.keys {
        match (key.asked, table.get_mut(key.name)) {
            (Asked::Set, Some(toml::Value::Array(array))) => array.sort_by_key(ToString::to_string),
            (_, Some(toml::Value::Table(nested))) => sort_sets(nested, &key.table),
            (_, Some(toml::Value::Array(array))) => {
                array.iter_mut().filter_map(toml::Value::as_table_mut).for_each(|t| sort_sets(t, &key.table));
            }
            _ => {}
        }
    }
}

/// One line of what stands between values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'t> {
    Empty,
    Comment(&'t str),
}

/// Comments and empty lines, of these at most one in a row.
fn lines(text: &str) -> Vec<Line<'_>> {
    let mut found: Vec<Line<'_>> = Vec::new();
    // What follows the last line break is the indentation of what comes next, unless it is a comment at the end.
    for line in text.lines() {
        match line.trim() {
            "" if found.last() == Some(&Line::Empty) => {}
            "" => found.push(Line::Empty),
            comment => found.push(Line::Comment(comment)),
        }
    }
    // The last line is the one that what comes next stands on.
    if found.last() == Some(&Line::Empty) && !text.ends_with("\n\n") && !text.ends_with("\n\r\n") && !blank_end(text) {
        found.pop();
    }
    found
}

/// Whether a whole empty line ends the text, the indentation of what comes next aside.
fn blank_end(text: &str) -> bool {
    let mut ends = text.rsplit('\n');
    let _indentation = ends.next();
    ends.next().is_some_and(|line| line.trim().is_empty())
}

fn raw(text: &RawString) -> &str {
    text.as_str().unwrap_or_default()
}

fn is_comment(line: &Line<'_>) -> bool {
    matches!(line, Line::Comment(_))
}

/// The comments in a piece of decoration, as one.
fn comment(text: Option<&RawString>) -> String {
    let text = text.map(raw).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// One element of a list, with the comments above it and the one behind it.
struct Element<'v> {
    above: Vec<Line<'v>>,
    value: &'v Value,
    behind: String,
}

#[derive(Default)]
struct Printer {
    text: String,
    /// Whether a header was just written, after which no empty line stands.
    fresh: bool,
}

impl Printer {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
    fn empty_line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") && !self.fresh {
            self.text.push('\n');
        }
    }
    fn lines(&mut self, lines: &[Line<'_>], indent: &str) {
        for line in lines {
            match line {
                Line::Empty => self.empty_line(),
                Line::Comment(comment) => {
                    self.line(&format!("{indent}{comment}"));
                    self.fresh = false;
                }
            }
        }
    }
    fn finish(mut self) -> String {
        while self.text.ends_with("\n\n") {
            self.text.pop();
        }
        self.text
    }

    /// The values of a table, then its tables, each in the order of the shape and what it doesn't know behind.
    fn table(&mut self, path: &[String], table: &Table, shape: Option<&Shape>) {
        let place = |name: &str| shape.and_then(|shape| shape.key(name)).map_or(usize::MAX, |(at, _)| at);
        let written = table.get_values();
        let mut values = written.clone();
        values.sort_by_key(|(keys, _)| keys.first().map_or(usize::MAX, |key| place(key.get())));
        let first_before = written.first().and_then(|(keys, _)| keys.last().copied());
        let first_after = values.first().and_then(|(keys, _)| keys.last().copied());
        let mut heading = 0;
        // What stands at the head of a file, set off by an empty line, stays there.
        if let Some(first) = first_before.filter(|_| path.is_empty() && first_before != first_after) {
            let above = above(first);
            heading = above.iter().rposition(|line| *line == Line::Empty).map_or(0, |at| at + 1);
            self.lines(above.get(..heading).unwrap_or_default(), "");
        }
        for (keys, value) in values {
            let Some(leaf) = keys.last() else { continue };
            let above = above(leaf);
            let from = if Some(*leaf) == first_before { heading } else { 0 };
            self.lines(above.get(from..).unwrap_or_default(), "");
            let names: Vec<_> = keys.iter().map(|key| key.display_repr()).collect();
            self.value(&names.join("."), value, asked(shape, &keys));
            self.fresh = false;
        }
        let mut tables: Vec<(&str, &Item)> = table.iter().filter(|(_, item)| !item.is_value()).collect();
        tables.sort_by_key(|(name, _)| place(name));
        for (name, item) in tables {
            let nested = shape.and_then(|shape| shape.key(name)).map(|(_, key)| &key.table);
            let repr = table.key(name).map_or_else(|| name.to_owned(), |key| key.display_repr().into_owned());
            let path: Vec<String> = path.iter().cloned().chain([repr]).collect();
            match item {
                // Its values were among those above.
                Item::Table(table) if table.is_dotted() => {}
                Item::Table(table) => {
                    if !(table.is_implicit() && table.get_values().is_empty()) {
                        self.header(&format!("[{}]", path.join(".")), table, false);
                    }
                    self.table(&path, table, nested);
                }
                Item::ArrayOfTables(array) => {
                    for table in array {
                        self.header(&format!("[[{}]]", path.join(".")), table, path.len() > 1);
                        self.table(&path, table, nested);
                    }
                }
                Item::None | Item::Value(_) => {}
            }
        }
    }

    fn header(&mut self, header: &str, table: &Table, close: bool) {
        let above = lines(table.decor().prefix().map(raw).unwrap_or_default());
        self.fresh = false;
        if !close || above.first() == Some(&Line::Empty) && above.iter().any(is_comment) {
            self.empty_line();
        }
        let last = above.iter().rposition(is_comment).map_or(0, |at| at + 1);
        self.lines(above.get(..last).unwrap_or_default(), "");
        if above.get(last..).is_some_and(|rest| !rest.is_empty()) && last > 0 {
            self.empty_line();
        }
        self.line(&with_comment(header, &comment(table.decor().suffix())));
        self.fresh = true;
    }

    fn value(&mut self, name: &str, value: &Value, asked: Option<(Asked, &Shape)>) {
        let behind = comment(value.decor().suffix());
        let start = format!("{name} = ");
        let Some(array) = value.as_array() else {
            return self.line_as_is(&with_comment(&format!("{start}{}", inline(value, asked)), &behind));
        };
        let (mut elements, end) = elements(array);
        let bare = end.iter().chain(elements.iter().flat_map(|e| &e.above)).all(|line| *line == Line::Empty)
            && elements.iter().all(|element| element.behind.is_empty());
        if bare && asked.is_some_and(|(asked, _)| asked == Asked::Set) {
            elements.sort_by(|a, b| a.value.as_str().cmp(&b.value.as_str()));
        }
        let each: Vec<_> = elements.iter().map(|element| inline(element.value, asked)).collect();
        let one_line = format!("{start}[{}]", each.join(", "));
        let fits = one_line.chars().count() <= WIDTH_MAX && !one_line.contains('\n');
        if bare && (fits || each.is_empty()) {
            return self.line(&with_comment(&one_line, &behind));
        }
        self.line(&format!("{start}["));
        self.fresh = true;
        for (element, text) in elements.iter().zip(&each) {
            self.lines(if bare { &[] } else { &element.above }, INDENT);
            self.line_as_is(&with_comment(&format!("{INDENT}{text},"), &element.behind));
            self.fresh = false;
        }
        let last = end.iter().rposition(is_comment).map_or(0, |at| at + 1);
        self.lines(end.get(..last).unwrap_or_default(), INDENT);
        self.line(&with_comment("]", &behind));
    }

    /// A line that may hold a text of several lines, whose spaces are its own.
    fn line_as_is(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

fn above(key: &Key) -> Vec<Line<'_>> {
    lines(key.leaf_decor().prefix().map(raw).unwrap_or_default())
}

fn with_comment(text: &str, comment: &str) -> String {
    if comment.is_empty() { text.to_owned() } else { format!("{text}  {comment}") }
}

/// What is asked of a key, which may be a dotted one.
fn asked<'s>(shape: Option<&'s Shape>, keys: &[&Key]) -> Option<(Asked, &'s Shape)> {
    let mut found = None;
    let mut shape = shape;
    for key in keys {
        let (_, key) = shape?.key(key.get())?;
        found = Some((key.asked, &key.table));
        shape = Some(&key.table);
    }
    found
}

/// The elements of a list, and the lines before its end. A comment behind a comma belongs to the element before it; one
/// beneath an element, to what follows.
fn elements(array: &Array) -> (Vec<Element<'_>>, Vec<Line<'_>>) {
    let mut elements: Vec<Element<'_>> = Vec::new();
    let mut beneath: Vec<Line<'_>> = Vec::new();
    for value in array {
        let mut above = std::mem::take(&mut beneath);
        above.extend(after_element(value.decor().prefix().map(raw).unwrap_or_default(), elements.last_mut()));
        let suffix = value.decor().suffix().map(raw).unwrap_or_default();
        let (behind, rest) = suffix.split_once('\n').unwrap_or((suffix, ""));
        beneath = lines(rest);
        elements.push(Element { above, value, behind: behind.trim().to_owned() });
    }
    beneath.extend(after_element(raw(array.trailing()), elements.last_mut()));
    (elements, beneath)
}

/// The lines of what follows a comma; what stands in its line is a comment on the element before it.
fn after_element<'v>(text: &'v str, before: Option<&mut Element<'_>>) -> Vec<Line<'v>> {
    let (same_line, rest) = text.split_once('\n').unwrap_or((text, ""));
    match before {
        Some(before) if !same_line.trim().is_empty() => {
            before.behind = format!("{} {}", before.behind, same_line.trim()).trim().to_owned();
            lines(rest)
        }
        _ if same_line.trim().is_empty() => lines(rest),
        _ => lines(text),
    }
}

/// A value within a line.
fn inline(value: &Value, asked: Option<(Asked, &Shape)>) -> String {
    match value {
        Value::String(value) => value.display_repr().into_owned(),
        Value::Integer(value) => value.display_repr().into_owned(),
        Value::Float(value) => value.display_repr().into_owned(),
        Value::Boolean(value) => value.display_repr().into_owned(),
        Value::Datetime(value) => value.display_repr().into_owned(),
        // A comment inside of a value that stands in one line is left with all that is around it.
        value if value.to_string().contains('#') && has_comment(value) => value.to_string().trim().to_owned(),
        Value::Array(array) => {
            let each: Vec<_> = array.iter().map(|value| inline(value, asked)).collect();
            format!("[{}]", each.join(", "))
        }
        Value::InlineTable(table) if table.is_empty() => "{}".to_owned(),
        Value::InlineTable(table) => inline_table(table, asked.map(|(_, shape)| shape)),
    }
}

fn inline_table(table: &InlineTable, shape: Option<&Shape>) -> String {
    let place = |name: &str| shape.and_then(|shape| shape.key(name)).map_or(usize::MAX, |(at, _)| at);
    let mut values = table.get_values();
    values.sort_by_key(|(keys, _)| keys.first().map_or(usize::MAX, |key| place(key.get())));
    let each: Vec<_> = values
        .iter()
        .map(|(keys, value)| {
            let names: Vec<_> = keys.iter().map(|key| key.display_repr()).collect();
            format!("{} = {}", names.join("."), inline(value, asked(shape, keys)))
        })
        .collect();
    format!("{{ {} }}", each.join(", "))
}

/// Whether a comment stands anywhere between the parts of a value.
fn has_comment(value: &Value) -> bool {
    let commented = |text: Option<&RawString>| text.map(raw).unwrap_or_default().contains('#');
    let around = |value: &Value| commented(value.decor().prefix()) || commented(value.decor().suffix());
    match value {
        Value::Array(array) => {
            commented(Some(array.trailing())) || array.iter().any(|value| around(value) || has_comment(value))
        }
        Value::InlineTable(table) => {
            let keys = |(keys, value): (Vec<&Key>, &Value)| {
                let key = |key: &&Key| commented(key.leaf_decor().prefix()) || commented(key.leaf_decor().suffix());
                keys.iter().any(key) || around(value) || has_comment(value)
            };
            commented(Some(table.trailing())) || table.get_values().into_iter().any(keys)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
