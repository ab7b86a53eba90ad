//! Paths that stay where they belong: beneath the build directory, or in the image.

use crate::{Error, error::shown};
use anneal_content::TreePath;
use std::{fmt, str::FromStr};

/// The longest path, as on Linux with its NUL.
const PATH_MAX: usize = 4095;

/// Why a relative path is not clean.
pub(crate) fn unclean(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.len() > PATH_MAX {
        return Some("it is longer than 4095 bytes");
    }
    if path.chars().any(char::is_control) {
        return Some("it has a control character");
    }
    path.split('/').find_map(|part| match part {
        "" => Some("it has an empty component"),
        "." => Some("it has a `.` component"),
        ".." => Some("it has a `..` component"),
        part if part.len() > 255 => Some("it has a component longer than 255 bytes"),
        _ => None,
    })
}

/// A directory beneath `/build`, such as `src/zlib`; `.` is `/build` itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BuildPath(String);

impl BuildPath {
    /// `/build` itself.
    pub fn top() -> Self {
        Self(".".to_owned())
    }
    /// The path as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The same path in a tree; `None` for `/build` itself.
    pub fn tree_path(&self) -> Option<TreePath> {
        TreePath::new(self.0.as_str()).ok()
    }
}

impl fmt::Display for BuildPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl FromStr for BuildPath {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        const FORM: &str = "a path beneath `/build` without `..`, such as \"src/zlib\"; \".\" is `/build` itself";
        let reason = if text.starts_with('/') { Some("it is absolute") } else { unclean(text) };
        match reason {
            Some(reason) if text != "." => Err(Error::UnsafePath { found: shown(text), reason, form: FORM }),
            _ => Ok(Self(text.to_owned())),
        }
    }
}
crate::text::serde_as_text!(BuildPath);

/// A place in an image, such as `/etc/nginx`; `/` is its root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImagePath(String);

impl ImagePath {
    /// `/`.
    pub fn root() -> Self {
        Self("/".to_owned())
    }
    /// The path with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The same path in a tree; `None` for the root.
    pub fn tree_path(&self) -> Option<TreePath> {
        TreePath::new(self.0.trim_start_matches('/')).ok()
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl FromStr for ImagePath {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        const FORM: &str = "an absolute path without `..`, such as \"/etc/nginx\"";
        let reason = match text.strip_prefix('/') {
            None => Some("it is not absolute"),
            Some("") => None,
            Some(rest) => unclean(rest),
        };
        match reason {
            Some(reason) => Err(Error::UnsafePath { found: shown(text), reason, form: FORM }),
            None => Ok(Self(text.to_owned())),
        }
    }
}
crate::text::serde_as_text!(ImagePath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leaves_its_directory_is_refused() {
        for path in ["", "/src", "..", "src/..", "a/../../etc", "a//b", "a/", "./a", "a\nb"] {
            assert!(path.parse::<BuildPath>().is_err(), "{path:?}");
        }
        for path in ["", "etc", "/..", "/etc/../root", "//etc", "/etc/", "/./etc", "/a\0b"] {
            assert!(path.parse::<ImagePath>().is_err(), "{path:?}");
        }
        assert!(format!("/{}", "a".repeat(256)).parse::<ImagePath>().is_err());
        assert!(["a"; 2049].join("/").parse::<BuildPath>().is_err(), "4097 bytes are more than a path may have");
        assert!(["a"; 2048].join("/").parse::<BuildPath>().is_ok());
    }

    #[test]
    fn a_path_is_known_as_a_path_of_a_tree_unless_it_is_the_top() {
        assert_eq!("/etc/nginx".parse::<ImagePath>().unwrap().tree_path().unwrap().as_str(), "etc/nginx");
        assert_eq!("src/zlib".parse::<BuildPath>().unwrap().tree_path().unwrap().as_str(), "src/zlib");
        assert_eq!((ImagePath::root().tree_path(), BuildPath::top().tree_path()), (None, None));
    }
}
