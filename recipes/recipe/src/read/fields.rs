//! One file and its tables: every value is taken with its place, and what is wrong is noted there.

use crate::{
    Error, Mistake,
    near::nearest,
    shape::{Asked, Recorder},
};
use miette::NamedSource;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::{Range, RangeInclusive},
    sync::Arc,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A file with the places of its values and the mistakes found in it so far.
pub(super) struct Document {
    source: Arc<NamedSource<String>>,
    mistakes: RefCell<Vec<Mistake>>,
    spans: RefCell<BTreeMap<String, Range<usize>>>,
    /// Takes down what is asked for, where that is what the reading is for.
    recorder: Option<Recorder>,
    /// Whether it is another catalogue's.
    upstream: bool,
}

impl Document {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let source = Arc::new(NamedSource::new(path, text.to_owned()).with_language("TOML"));
        Self { source, mistakes: RefCell::default(), spans: RefCell::default(), recorder: None, upstream: false }
    }
    /// A file of another catalogue, which mistakes name before its path.
    pub(super) fn of_upstream(upstream: &str, path: &str, text: &str) -> Self {
        Self { upstream: true, ..Self::new(&format!("{upstream}: {path}"), text) }
    }
    pub(super) fn is_upstream(&self) -> bool {
        self.upstream
    }
    /// A file with nothing in it, read to learn what a reader asks for.
    pub(super) fn to_record() -> Self {
        Self { recorder: Some(Recorder::default()), ..Self::new("", "") }
    }
    /// What was asked for, if this was read to learn that.
    pub(super) fn into_recorder(self) -> Option<Recorder> {
        self.recorder
    }
    pub(super) fn path(&self) -> &str {
        self.source.name()
    }
    pub(super) fn text(&self) -> &str {
        self.source.inner()
    }
    pub(super) fn mistake(&self, span: Range<usize>, error: Error) -> Mistake {
        Mistake::new(error, Arc::clone(&self.source), span)
    }
    pub(super) fn report(&self, span: Range<usize>, error: Error) {
        let mistake = self.mistake(span, error);
        self.mistakes.borrow_mut().push(mistake);
    }
    pub(super) fn report_syntax(&self, errors: &[toml::de::Error]) {
        for error in errors {
            self.report(error.span().unwrap_or(0..0), Error::Syntax { reason: error.message().to_owned() });
        }
    }
    pub(super) fn count(&self) -> usize {
        self.mistakes.borrow().len()
    }
    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes.into_inner()
    }
    /// The place of a value such as `build.requires[zlib]`; of the recipe's name if the value isn't written.
    pub(super) fn span_of(&self, field: &str) -> Range<usize> {
        let spans = self.spans.borrow();
        spans.get(field).or_else(|| spans.get("name")).cloned().unwrap_or(0..0)
    }
    fn place(&self, field: String, span: Range<usize>) {
        self.spans.borrow_mut().insert(field, span);
    }
}

/// A table of a file. A table that isn't written is an empty one whose required keys nobody asks for.
pub(super) struct Fields<'d> {
    document: &'d Document,
    table: Option<&'d DeTable<'d>>,
    /// Where it is: its header, or the whole inline table.
    span: Range<usize>,
    /// Its own field path with a dot after it, or nothing for the whole file.
    prefix: String,
    /// What a message calls it.
    label: String,
    asked: RefCell<Vec<&'static str>>,
}

impl<'d> Fields<'d> {
    pub(super) fn root(document: &'d Document, table: &'d DeTable<'d>) -> Self {
        let (prefix, label) = (String::new(), "the recipe".to_owned());
        Self { document, table: Some(table), span: 0..0, prefix, label, asked: RefCell::default() }
    }
    /// Whether this is a recipe of a catalogue that others build on.
    pub(super) fn is_upstream(&self) -> bool {
        self.document.is_upstream()
    }
    pub(super) fn label(&self) -> String {
        self.label.clone()
    }
    /// Whether a key is written.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }
    /// Whether a key is written and its list is empty.
    pub(super) fn array_is_empty(&self, key: &str) -> bool {
        let array = self.table.and_then(|table| table.get(key)).and_then(|value| value.get_ref().as_array());
        array.is_some_and(|array| array.is_empty())
    }
    /// Notes a mistake at a key's value, or at the table if the key isn't written.
    pub(super) fn report(&self, key: &str, error: Error) {
        let span = self.table.and_then(|table| table.get(key)).map_or_else(|| self.place(), Spanned::span);
        self.document.report(span, error);
    }
    /// Notes a mistake at an element of an array of strings.
    pub(super) fn report_element(&self, key: &str, element: &str, error: Error) {
        self.document.report(self.document.span_of(&format!("{}{key}[{element}]", self.prefix)), error);
    }
    /// Says that a key is needed, unless the whole table isn't written.
    pub(super) fn missing(&self, key: &'static str, example: &'static str) {
        self.record(|recorder| recorder.required(&self.prefix, key));
        self.report_missing(key, example);
    }
    /// Says that one of two keys is needed, if neither is there, with an example of the first.
    pub(super) fn missing_both(&self, key: &'static str, other: &'static str, example: &'static str) {
        self.record(|recorder| recorder.one_of(&self.prefix, key, other));
        if !self.has(key) && !self.has(other) {
            self.report_missing(key, example);
        }
    }
    /// Says that two keys exclude each other, if both are there.
    pub(super) fn exclusive(&self, first: &'static str, second: &'static str) {
        self.record(|recorder| recorder.exclusive(&self.prefix, first, second));
        if self.has(first) && self.has(second) {
            self.report(second, Error::Exclusive { first, second, table: self.label() });
        }
    }
    fn report_missing(&self, key: &'static str, example: &'static str) {
        if self.table.is_some() {
            self.document.report(self.place(), Error::MissingKey { key, table: self.label(), example });
        }
    }
    /// The table's place; of the whole file, its name.
    fn place(&self) -> Range<usize> {
        if self.prefix.is_empty() { self.document.span_of("name") } else { self.span.clone() }
    }

    fn record(&self, note: impl FnOnce(&Recorder)) {
        if let Some(recorder) = &self.document.recorder {
            note(recorder);
        }
    }

    fn take(&self, key: &'static str, asked: Asked) -> Option<&'d Spanned<DeValue<'d>>> {
        self.record(|recorder| recorder.asked(&self.prefix, key, asked));
        self.asked.borrow_mut().push(key);
        let value = self.table?.get(key)?;
        self.document.place(format!("{}{key}", self.prefix), value.span());
        Some(value)
    }
    fn wrong_type<T>(&self, key: &str, expected: &'static str, value: &Spanned<DeValue<'_>>) -> Option<T> {
        let found = match value.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a day or a time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.document.report(value.span(), Error::WrongType { key: key.to_owned(), expected, found });
        None
    }
    fn parse<T, E>(&self, text: &str, span: Range<usize>, parse: impl Fn(&str) -> Result<T, E>) -> Option<T>
    where
        Error: From<E>,
    {
        parse(text).map_err(|error| self.document.report(span, error.into())).ok()
    }

    /// A text, if it is written and has its form; nothing is reported.
    pub(super) fn quiet<T, E>(&self, key: &str, parse: impl Fn(&'d str) -> Result<T, E>) -> Option<T> {
        parse(self.table?.get(key)?.get_ref().as_str()?).ok()
    }
    /// A text that may be left out.
    pub(super) fn text<T, E>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T>
    where
        Error: From<E>,
    {
        let value = self.take(key, Asked::Text)?;
        match value.get_ref() {
            DeValue::String(text) => self.parse(text, value.span(), parse),
            DeValue::Datetime(day) => self.parse(&day.to_string(), value.span(), parse),
            _ => self.wrong_type(key, "a text", value),
        }
    }
    /// A text that must be there.
    pub(super) fn required<T, E>(
        &self,
        key: &'static str,
        example: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T>
    where
        Error: From<E>,
    {
        if !self.has(key) {
            self.missing(key, example);
        }
        self.text(key, parse)
    }
    /// A whole number in a range.
    pub(super) fn number(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(key, Asked::Number { least: *range.start(), most: *range.end() })?;
        let DeValue::Integer(integer) = value.get_ref() else { return self.wrong_type(key, "a whole number", value) };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok().and_then(|n| u64::try_from(n).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => {
                let (key, found) = (key.to_owned(), integer.to_string());
                let error = Error::Range { key, found, least: *range.start(), most: *range.end() };
                self.document.report(value.span(), error);
                None
            }
        }
    }
    /// A list of texts; `None` if it isn't written.
    pub(super) fn texts<T, E>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>>
    where
        Error: From<E>,
    {
        self.list(key, Asked::Texts, parse)
    }
    fn list<T, E>(&self, key: &'static str, asked: Asked, parse: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>>
    where
        Error: From<E>,
    {
        let value = self.take(key, asked)?;
        let DeValue::Array(array) = value.get_ref() else { return self.wrong_type(key, "a list of texts", value) };
        let mut texts = Vec::new();
        for element in array.iter() {
            let DeValue::String(text) = element.get_ref() else {
                self.wrong_type::<()>(key, "a list of texts", element);
                continue;
            };
            self.document.place(format!("{}{key}[{text}]", self.prefix), element.span());
            texts.extend(self.parse(text, element.span(), &parse));
        }
        Some(texts)
    }
    /// A list of texts in which none stands twice and the order doesn't matter.
    pub(super) fn set<T, E>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<BTreeSet<T>>
    where
        T: Ord + ToString,
        Error: From<E>,
    {
        let mut set = BTreeSet::new();
        for text in self.list(key, Asked::Set, parse)? {
            let value = text.to_string();
            if !set.insert(text) {
                let table = format!("`{key}`");
                self.report_element(key, &value.clone(), Error::Repeated { what: "value", value, table });
            }
        }
        Some(set)
    }
    /// A table of texts by names.
    pub(super) fn map(
        &self,
        key: &'static str,
        name: impl Fn(&str) -> Result<String, Error>,
        text: impl Fn(&str) -> Result<String, Error>,
    ) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        let Some(value) = self.take(key, Asked::Map) else { return map };
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type::<()>(key, "a table of texts", value);
            return map;
        };
        for (entry, value) in table.iter() {
            let entry_name = self.parse(entry.get_ref(), entry.span(), &name);
            let DeValue::String(content) = value.get_ref() else {
                self.wrong_type::<()>(entry.get_ref(), "a text", value);
                continue;
            };
            let content = self.parse(content, value.span(), &text);
            map.extend(entry_name.zip(content));
        }
        map
    }
    /// A table; an unwritten one is empty.
    pub(super) fn table(&self, key: &'static str, label: &str) -> Fields<'d> {
        let value = self.take(key, Asked::Table);
        let table = value.and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => self.wrong_type(key, "a table", value),
        });
        let span = value.map_or_else(|| self.place(), Spanned::span);
        self.nested(table, span, format!("{}{key}.", self.prefix), label)
    }
    /// A list of tables; an unwritten one is empty.
    pub(super) fn tables(&self, key: &'static str, label: &str) -> Vec<Fields<'d>> {
        let Some(value) = self.take(key, Asked::Tables) else {
            // Who only learns what is asked for is shown one table, with nothing in it.
            let one = self.nested(None, 0..0, format!("{}{key}.", self.prefix), label);
            return if self.document.recorder.is_some() { vec![one] } else { Vec::new() };
        };
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_type::<()>(key, "a list of tables", value);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, element) in array.iter().enumerate() {
            match element.get_ref() {
                DeValue::Table(table) => {
                    let prefix = format!("{}{key}[{index}].", self.prefix);
                    tables.push(self.nested(Some(table), element.span(), prefix, label));
                }
                _ => drop(self.wrong_type::<()>(key, "a list of tables", element)),
            }
        }
        tables
    }
    fn nested(&self, table: Option<&'d DeTable<'d>>, span: Range<usize>, prefix: String, label: &str) -> Fields<'d> {
        let (document, label, asked) = (self.document, label.to_owned(), RefCell::default());
        Fields { document, table, span, prefix, label, asked }
    }
    /// Reports every key that was never asked for; called when everything else has been.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, _) in self.table.into_iter().flat_map(|table| table.iter()) {
            let name: &str = key.get_ref();
            if !asked.contains(&name) {
                let (near, known) = (nearest(name, asked.iter().copied()), asked.clone());
                let key_text = crate::error::shown(name);
                let error = Error::UnknownKey { key: key_text, table: self.label(), near, known };
                self.document.report(key.span(), error);
            }
        }
    }
}
