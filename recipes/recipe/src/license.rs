//! A licence as an SPDX expression.

use crate::{Error, error::shown, near::nearest};
use std::{fmt, str::FromStr};

/// A valid SPDX licence expression, as written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct License(String);

impl License {
    /// The expression as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for License {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl FromStr for License {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match spdx::Expression::parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => {
                let term = text.get(error.span.clone()).unwrap_or(text);
                Err(Error::License { found: shown(text), reason: error.reason.to_string(), near: near(term) })
            }
        }
    }
}
crate::text::serde_as_text!(License);

/// The licence that was probably meant: a deprecated GNU name with `-only`, the nearest name, or a common wrong one.
fn near(term: &str) -> Option<String> {
    let only = format!("{term}-only");
    if spdx::license_id(&only).is_some() {
        return Some(only);
    }
    let current = spdx::identifiers::LICENSES.iter().map(|license| license.name);
    let current = current.filter(|name| spdx::license_id(name).is_some_and(|id| !id.is_deprecated()));
    nearest(term, current).or_else(|| spdx::imprecise_license_id(term).map(|(id, _)| id.name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_licence_names_the_one_that_was_meant() {
        for (written, meant) in [
            ("Apache 2.0", "Apache-2.0"),
            ("zlib", "Zlib"),
            ("GPL-2.0", "GPL-2.0-only"),
            ("BSD-2-clause", "BSD-2-Clause"),
        ] {
            match written.parse::<License>() {
                Err(Error::License { near, .. }) => assert_eq!(near.as_deref(), Some(meant), "{written}"),
                other => panic!("{written} gave {other:?}"),
            }
        }
    }

    #[test]
    fn an_expression_of_listed_and_own_licences_is_accepted() {
        for text in
            ["MIT OR Apache-2.0", "BSD-2-Clause AND LicenseRef-public-domain", "GPL-2.0-only WITH Linux-syscall-note"]
        {
            assert_eq!(text.parse::<License>().unwrap().as_str(), text);
        }
    }
}
