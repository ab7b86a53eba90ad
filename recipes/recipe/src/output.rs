//! Which files of a package belong to which output: what runs, what dependents compile against, what people read.

use crate::{Error, PackageRecipe, error::shown};
use anneal_content::{OutputName, TreePath};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// A pattern of paths: `*` and `?` stay within one component, `**` is any number of whole components.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glob(String);

/// Files that go to one output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OutputRule {
    /// The output.
    pub name: OutputName,
    /// Its files; none: no file goes to it, not even by the default rule.
    pub paths: Vec<Glob>,
}

/// What a dependent compiles against.
const DEV: [&str; 9] = [
    "usr/include/**",
    "usr/lib/**/*.la",
    "usr/lib/**/*.o",
    "usr/lib/pkgconfig/**",
    "usr/lib/cmake/**",
    "usr/share/pkgconfig/**",
    "usr/share/cmake/**",
    "usr/share/aclocal/**",
    "usr/bin/*-config",
];
/// Links that only a linker follows; a file of such a name is the library itself.
const DEV_LINKS: &str = "usr/lib/*.so";
/// What only those take in who link statically: an output of its own, so that nobody else follows its changes.
const STATIC: &str = "usr/lib/**/*.a";
/// What people read.
const DOC: [&str; 3] = ["usr/share/man/**", "usr/share/doc/**", "usr/share/info/**"];

/// The output that a file or link of a package belongs to.
///
/// The recipe's own rules come first, in their order. A recipe without a rule for `static`, `dev` or `doc` has the
/// default one.
/// Everything else is `out`.
pub fn split_outputs(recipe: &PackageRecipe, path: &TreePath, is_symlink: bool) -> OutputName {
    let path = path.as_str();
    let own = recipe.outputs.iter().find(|rule| rule.paths.iter().any(|glob| glob.matches(path)));
    if let Some(rule) = own {
        return rule.name.clone();
    }
    let defaulted = |name: &OutputName| !recipe.outputs.iter().any(|rule| rule.name == *name);
    let any = |patterns: &[&str]| patterns.iter().any(|pattern| glob_matches(pattern, path));
    let (out, dev, doc) = (OutputName::out(), OutputName::dev(), OutputName::doc());
    if defaulted(&OutputName::archives()) && glob_matches(STATIC, path) {
        return OutputName::archives();
    }
    if defaulted(&dev) && (any(&DEV) || (is_symlink && glob_matches(DEV_LINKS, path))) {
        return dev;
    }
    if defaulted(&doc) && any(&DOC) { doc } else { out }
}

/// The outputs that files of a package can go to.
pub fn possible_outputs(recipe: &PackageRecipe) -> BTreeSet<OutputName> {
    let own = recipe.outputs.iter().map(|rule| rule.name.clone());
    let defaults = [OutputName::out(), OutputName::dev(), OutputName::archives(), OutputName::doc()];
    own.chain(defaults).collect()
}

impl Glob {
    /// Whether a path, without a leading slash, fits the pattern.
    pub fn matches(&self, path: &str) -> bool {
        glob_matches(&self.0, path)
    }
    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn glob_matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    wildcard(&pattern, &path, |part| *part == "**", |part, name| component_matches(part, name))
}

fn component_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    wildcard(&pattern, &name, |c| *c == '*', |p, c| *p == '?' || p == c)
}

/// Matches a sequence with items that stand for any number of others, going back only to the last such item, so the
/// time is at most the product of the two lengths.
fn wildcard<T>(pattern: &[T], text: &[T], is_star: impl Fn(&T) -> bool, fits: impl Fn(&T, &T) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && is_star(&pattern[p]) {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && fits(&pattern[p], &text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((star_p, star_t)) = star {
            star = Some((star_p, star_t + 1));
            (p, t) = (star_p + 1, star_t + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(is_star)
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl FromStr for Glob {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        const FORM: &str = "a pattern without a leading slash, such as \"usr/include/**\" or \"usr/lib/*.a\"";
        let wrong = |reason| Error::UnsafePath { found: shown(text), reason, form: FORM };
        if text.starts_with('/') {
            return Err(wrong("it is absolute"));
        }
        if let Some(reason) = crate::path::unclean(text) {
            return Err(wrong(reason));
        }
        if text.contains(['[', ']', '{', '}', '\\']) {
            return Err(wrong("only `*`, `**` and `?` are patterns"));
        }
        if text.split('/').any(|part| part.contains("**") && part != "**") {
            return Err(wrong("`**` stands for whole components"));
        }
        Ok(Self(text.to_owned()))
    }
}
crate::text::serde_as_text!(Glob);
