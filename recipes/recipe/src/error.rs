//! What can be wrong with a recipe or a catalogue: a message, a stable code and a help for each.

use anneal_content::{OutputName, PackageName, Version};
use std::collections::BTreeSet;

/// One thing that is wrong. Where it is wrong is said by [`crate::Mistake`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file is not TOML.
    #[error("this is not TOML: {reason}")]
    Syntax {
        /// What the parser said.
        reason: String,
    },
    /// The file says nothing about what it is.
    #[error("`{path}` is neither a package recipe nor an image recipe")]
    UnknownKind {
        /// The file.
        path: String,
    },
    /// Something is larger than the limit.
    #[error("{what} has {found} {unit}: at most {most} are read")]
    TooLarge {
        /// What.
        what: String,
        /// How large it is.
        found: usize,
        /// In what it is counted.
        unit: &'static str,
        /// The limit.
        most: usize,
    },
    /// A key that no recipe has.
    #[error("unknown key `{key}` in {table}")]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it stands.
        table: String,
        /// The key that was probably meant.
        near: Option<String>,
        /// The keys that may stand there.
        known: Vec<&'static str>,
    },
    /// A key that must be there is not.
    #[error("{table} has no `{key}`")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// Where it should stand.
        table: String,
        /// A line as it could be.
        example: &'static str,
    },
    /// A value of another type.
    #[error("`{key}` is {found}: expected {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// The type it should have.
        expected: &'static str,
        /// The type it has.
        found: &'static str,
    },
    /// A number out of its range.
    #[error("`{key}` is {found}, out of its range")]
    Range {
        /// The key.
        key: String,
        /// The number.
        found: String,
        /// The smallest allowed.
        least: u64,
        /// The largest allowed.
        most: u64,
    },
    /// Nothing where something is needed.
    #[error("`{key}` is empty")]
    Empty {
        /// The key.
        key: String,
        /// What to do about it.
        help: &'static str,
    },
    /// Text that does not have its form.
    #[error("`{found}` is not a valid {what}")]
    Format {
        /// What was expected.
        what: &'static str,
        /// Its form.
        form: &'static str,
        /// What was found.
        found: String,
    },
    /// A digest that is not 64 hex digits.
    #[error("`{found}` is not a SHA-256: expected 64 lower-case hex digits, found {len} characters{odd}")]
    Digest {
        /// What was found.
        found: String,
        /// How long it is.
        len: usize,
        /// Says so if other characters are in it.
        odd: &'static str,
    },
    /// A licence that is not an SPDX expression.
    #[error("`{found}` is not an SPDX licence expression: {reason}")]
    License {
        /// What was found.
        found: String,
        /// What is wrong with it.
        reason: String,
        /// The licence that was probably meant.
        near: Option<String>,
    },
    /// A place that does not parse.
    #[error("`{found}` is not a place: {reason}")]
    Place {
        /// What was found.
        found: String,
        /// What is wrong with it.
        reason: &'static str,
        /// How such a place is written.
        form: &'static str,
    },
    /// A program's own lock file that can't be used.
    #[error("{path}:{line}: {reason}")]
    LockFile {
        /// The file.
        path: String,
        /// Which line of it.
        line: usize,
        /// What is wrong there.
        reason: String,
        /// What to do about it.
        help: &'static str,
    },
    /// A path that leaves where it belongs.
    #[error("unsafe path `{found}`: {reason}")]
    UnsafePath {
        /// What was found.
        found: String,
        /// What is wrong with it.
        reason: &'static str,
        /// How such a path is written.
        form: &'static str,
    },
    /// A mode with setuid or setgid.
    #[error("mode `{found}` sets {bits}: no file of an image may change who runs it")]
    SpecialMode {
        /// What was found.
        found: String,
        /// The bits that are set.
        bits: &'static str,
    },
    /// A name that two recipes have.
    #[error("{kind} `{name}` is declared twice")]
    DeclaredTwice {
        /// `package` or `image`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Where it was declared first, `file:line`.
        first: String,
    },
    /// A value that stands twice where it may stand once.
    #[error("{what} `{value}` stands twice in {table}")]
    Repeated {
        /// What.
        what: &'static str,
        /// The value.
        value: String,
        /// Where.
        table: String,
    },
    /// A name that no recipe has.
    #[error("there is no {kind} `{name}`")]
    Unknown {
        /// `package` or `image`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The nearest name there is.
        near: Option<String>,
    },
    /// An output that a package can't have.
    #[error("package `{package}` has no output `{output}`")]
    UnknownOutput {
        /// The package.
        package: PackageName,
        /// The output.
        output: OutputName,
        /// The nearest one there is.
        near: Option<String>,
        /// Those that it can have.
        possible: BTreeSet<OutputName>,
    },
    /// A version that the recipe doesn't list.
    #[error("package `{package}` lists no release `{version}`")]
    VersionNotListed {
        /// The package.
        package: PackageName,
        /// The version.
        version: Version,
        /// The versions that are listed.
        listed: Vec<Version>,
    },
    /// Packages that need each other.
    #[error("{}", cycle_text(.path))]
    Cycle {
        /// The way round, beginning and ending with the same package.
        path: Vec<PackageName>,
    },
    /// The version of a package that is not in the image.
    #[error("image `{image}` is tagged with the version of `{package}`, which it doesn't contain")]
    VersionOfAbsent {
        /// The image.
        image: String,
        /// The package.
        package: PackageName,
    },
    /// Two keys that exclude each other.
    #[error("`{first}` and `{second}` exclude each other in {table}")]
    Exclusive {
        /// A key.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Where both stand.
        table: String,
    },
    /// A catalogue that is keyed by other names than its recipes have.
    #[error("{kind} `{name}` is stored under the name `{key}`")]
    Misfiled {
        /// `package` or `image`.
        kind: &'static str,
        /// The recipe's name.
        name: String,
        /// The key.
        key: String,
    },
    /// A recipe of this catalogue and one of another it builds on have the same name.
    #[error("{kind} `{name}` is also in the upstream catalogue `{upstream}`")]
    AlsoUpstream {
        /// `package` or `image`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Whose it is as well.
        upstream: String,
    },
    /// A recipe says that it replaces one that is not there.
    #[error("the upstream catalogue `{upstream}` has no {kind} `{name}` to replace")]
    ReplacesNothing {
        /// `package` or `image`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Whose it should be.
        upstream: String,
    },
    /// A recipe that can't be written in the canonical form.
    #[error("the recipe can't be formatted: {reason}")]
    Unformattable {
        /// Why not.
        reason: String,
    },
    /// A catalogue that has no canonical JSON.
    #[error("the catalogue has no canonical JSON form: {reason}")]
    Json {
        /// What the encoder said.
        reason: String,
    },
}

impl Error {
    /// A stable code for machines, such as `recipe::unknown-key`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "recipe::syntax",
            Self::UnknownKind { .. } => "recipe::unknown-kind",
            Self::TooLarge { .. } => "recipe::too-large",
            Self::UnknownKey { .. } => "recipe::unknown-key",
            Self::MissingKey { .. } => "recipe::missing-key",
            Self::WrongType { .. } => "recipe::wrong-type",
            Self::Range { .. } => "recipe::range",
            Self::Empty { .. } => "recipe::empty",
            Self::Format { .. } => "recipe::format",
            Self::Digest { .. } => "recipe::digest",
            Self::License { .. } => "recipe::license",
            Self::Place { .. } => "recipe::place",
            Self::LockFile { .. } => "recipe::lock-file",
            Self::UnsafePath { .. } => "recipe::unsafe-path",
            Self::SpecialMode { .. } => "recipe::special-mode",
            Self::DeclaredTwice { .. } => "recipe::declared-twice",
            Self::Repeated { .. } => "recipe::repeated",
            Self::Unknown { .. } => "recipe::unknown-name",
            Self::UnknownOutput { .. } => "recipe::unknown-output",
            Self::VersionNotListed { .. } => "recipe::version-not-listed",
            Self::Cycle { .. } => "recipe::cycle",
            Self::VersionOfAbsent { .. } => "recipe::version-of-absent",
            Self::Exclusive { .. } => "recipe::exclusive",
            Self::Misfiled { .. } => "recipe::misfiled",
            Self::AlsoUpstream { .. } => "recipe::also-upstream",
            Self::ReplacesNothing { .. } => "recipe::replaces-nothing",
            Self::Unformattable { .. } => "recipe::unformattable",
            Self::Json { .. } => "recipe::json",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let meant = |near: &Option<String>| near.as_ref().map(|near| format!("did you mean `{near}`?"));
        let help = match self {
            Self::UnknownKind { .. } => {
                "put package recipes under `packages/` and image recipes under `images/`".into()
            }
            Self::TooLarge { .. } => "make it smaller, or split it".into(),
            Self::UnknownKey { near, known, .. } => {
                return meant(near).or_else(|| Some(format!("the keys there are: {}", known.join(", "))));
            }
            Self::MissingKey { example, .. } => format!("add a line such as `{example}`"),
            Self::Format { form, .. } => format!("write {form}"),
            Self::Digest { .. } => "`sha256sum FILE` prints it".into(),
            Self::License { near, .. } => {
                return meant(near)
                    .or_else(|| Some("write an SPDX expression such as `MIT OR Apache-2.0`; `LicenseRef-name` is a licence of its own".into()));
            }
            Self::Place { form, .. } | Self::UnsafePath { form, .. } => format!("write {form}"),
            Self::SpecialMode { .. } => "leave out the leading digit, as in `0755`".into(),
            Self::DeclaredTwice { first, .. } => format!("it is declared first in {first}; rename one or delete it"),
            Self::Repeated { .. } => "delete one of the two".into(),
            Self::Unknown { kind, near, .. } => {
                return meant(near).or_else(|| Some(format!("add a recipe for this {kind}, or delete the name here")));
            }
            Self::UnknownOutput { near, possible, .. } => {
                let possible: Vec<_> = possible.iter().map(OutputName::as_str).collect();
                return meant(near).or_else(|| Some(format!("its outputs are: {}", possible.join(", "))));
            }
            Self::VersionNotListed { listed, .. } => {
                let listed: Vec<_> = listed.iter().map(Version::as_str).collect();
                format!("add a [[release]] for it, or choose one that is listed: {}", listed.join(", "))
            }
            Self::Cycle { .. } => "one of them must do without the other, or be split in two".into(),
            Self::VersionOfAbsent { package, .. } => format!("add `{package}` to `packages`, or name another package"),
            Self::Exclusive { .. } => "keep one of the two".into(),
            Self::Syntax { .. } => "texts stand in quotes, lists in brackets with commas, and each key once".into(),
            Self::WrongType { key, expected, .. } => format!("write {}", example_of(key, expected)),
            Self::Range { least, most, .. } => format!("write a whole number from {least} to {most}"),
            Self::Empty { help, .. } | Self::LockFile { help, .. } => (*help).to_owned(),
            Self::AlsoUpstream { upstream, .. } => {
                format!("write `replaces = \"{upstream}\"` if this one is to be built instead, or give it another name")
            }
            Self::ReplacesNothing { .. } => "delete `replaces`, or look for the name it has there".into(),
            Self::Unformattable { .. } => "leave it as it is, and say so where Anneal's errors are collected".into(),
            Self::Misfiled { .. } | Self::Json { .. } => return None,
        };
        Some(help)
    }
}

fn cycle_text(path: &[PackageName]) -> String {
    let names: Vec<_> = path.iter().map(PackageName::as_str).collect();
    match names.as_slice() {
        [name, _] => format!("package `{name}` needs itself"),
        names => format!("packages need each other: {}", names.join(" -> ")),
    }
}

/// How a key is written that has a value of the expected type.
fn example_of(key: &str, expected: &str) -> String {
    match expected {
        "a text" if key == "mode" => "`mode = \"0644\"`, in octal and in quotes".to_owned(),
        "a text" => format!("`{key} = \"...\"`, in quotes"),
        "a whole number" => format!("`{key} = 2`, without quotes"),
        "a list of texts" => format!("`{key} = [\"...\", \"...\"]`"),
        "a list of tables" => format!("`[[{key}]]` and its keys beneath"),
        _ => format!("`[{key}]` and its keys beneath"),
    }
}

/// A value shortened for a message: at most 120 characters, with control characters escaped.
pub(crate) fn shown(value: &str) -> String {
    value.chars().take(120).flat_map(|c| c.escape_debug()).collect()
}

/// Text that does not have its form.
pub(crate) fn format_error(what: &'static str, form: &'static str, found: &str) -> Error {
    Error::Format { what, form, found: shown(found) }
}

impl From<anneal_content::Error> for Error {
    fn from(error: anneal_content::Error) -> Self {
        match error {
            anneal_content::Error::Name { kind, rule, found } => Self::Format { what: kind, form: rule, found },
            other => Self::Json { reason: other.to_string() },
        }
    }
}
