//! Where something is wrong: an [`Error`] with its file and span, and all of them together.

use crate::Error;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, NamedSource, SourceCode, SourceSpan};
use std::{fmt, ops::Range, sync::Arc};

/// One mistake in a recipe file.
#[derive(Debug, Clone)]
pub struct Mistake {
    error: Error,
    source: Arc<NamedSource<String>>,
    span: Range<usize>,
}

impl Mistake {
    pub(crate) fn new(error: Error, source: Arc<NamedSource<String>>, span: Range<usize>) -> Self {
        Self { error, source, span }
    }
    /// What is wrong.
    pub fn error(&self) -> &Error {
        &self.error
    }
    /// The file's path, as it was given.
    pub fn file(&self) -> &str {
        self.source.name()
    }
    /// The bytes of the file that are wrong.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
    /// Line and column, from 1; the column counts characters.
    pub fn position(&self) -> (usize, usize) {
        position(self.source.inner(), self.span.start)
    }
}

/// Line and column of a byte, from 1.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    (line, column)
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}
impl std::error::Error for Mistake {}

impl Diagnostic for Mistake {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.error.code()))
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.error.help().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        let span = SourceSpan::from(self.span.clone());
        Some(Box::new(std::iter::once(miette::LabeledSpan::new_primary_with_span(Some("here".into()), span))))
    }
}

/// Every mistake of a set of recipe files, sorted by file and place; never empty.
#[derive(Debug, Clone)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(crate) fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by(|a, b| (a.file(), a.span.start).cmp(&(b.file(), b.span.start)));
        Self(mistakes)
    }
    /// The mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
    /// Everything for a terminal: each mistake with its lines, the place marked, and the help.
    pub fn render(&self, color: bool) -> String {
        let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(120).with_links(false);
        let mut text = String::new();
        for mistake in &self.0 {
            // Writing to a string does not fail.
            let _ = handler.render_report(&mut text, mistake);
            text.push('\n');
        }
        text.push_str(&self.to_string());
        text.push('\n');
        text
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: std::collections::BTreeSet<_> = self.0.iter().map(Mistake::file).collect();
        let plural = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        write!(f, "{} in {}", plural(self.0.len(), "mistake", "mistakes"), plural(files.len(), "file", "files"))
    }
}
impl std::error::Error for Mistakes {}

impl Diagnostic for Mistakes {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.0.iter().map(|mistake| mistake as &dyn Diagnostic)))
    }
}
