//! What a build requires of a package, as a recipe writes it.
//!
//! ```text
//! "zlib"          what runs and what dependents compile against: the outputs `out` and `dev`
//! "zlib:static"   the same, and the output `static`
//! ```
//! Only what is written is an input: a change of an output that nobody asked for rebuilds nobody.

use crate::{Error, error::format_error};
use anneal_content::{OutputName, PackageName};
use std::{fmt, str::FromStr};

/// One thing that a build requires.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// The package.
    pub package: PackageName,
    /// An output that is mounted beside `out` and `dev`.
    pub output: Option<OutputName>,
}

impl From<PackageName> for Requirement {
    fn from(package: PackageName) -> Self {
        Self { package, output: None }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.output {
            None => write!(f, "{}", self.package),
            Some(output) => write!(f, "{}:{output}", self.package),
        }
    }
}
impl FromStr for Requirement {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        const FORM: &str = "a package, or a package and one of its outputs, such as \"zlib\" or \"zlib:static\"";
        let Some((package, output)) = text.split_once(':') else {
            return Ok(Self { package: text.parse()?, output: None });
        };
        match (package.parse(), output.parse()) {
            (Ok(package), Ok(output)) => Ok(Self { package, output: Some(output) }),
            _ => Err(format_error("requirement", FORM, text)),
        }
    }
}
crate::text::serde_as_text!(Requirement);
