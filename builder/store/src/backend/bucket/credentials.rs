//! What requests are signed with: from a file, or from the variables that all S3 clients know.
//!
//! ```text
//! [default]                          the usual form; other sections are not looked at
//! aws_access_key_id = NAME
//! aws_secret_access_key = SECRET
//! aws_session_token = TOKEN          optional
//! ```

use super::{
    BucketPlace,
    fault::{BucketFault, Unfit},
};
use crate::Result;
use std::{fs::File, io::Read as _, os::unix::fs::PermissionsExt as _, path::Path};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// The largest part of one that is taken.
const VALUE_BYTES_MAX: usize = 8 << 10;
/// The variables, and what they are called in a file.
const NAMES: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "aws_access_key_id"),
    ("AWS_SECRET_ACCESS_KEY", "aws_secret_access_key"),
    ("AWS_SESSION_TOKEN", "aws_session_token"),
];

/// A name, its secret, and a token where the secret is a borrowed one.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) key: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Those for a bucket; `variable` looks a variable of the environment up.
    pub(super) fn find(place: &BucketPlace, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let unfit = |wrong: String, next| BucketFault::unfit(place, Unfit { wrong, next });
        let Some(path) = &place.credentials else {
            return Self::of(|(name, _)| variable(name)).ok_or_else(|| {
                let wrong = "there are no credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned();
                unfit(wrong, "set both, or name a file with `credentials`")
            });
        };
        let text =
            read(path).map_err(|wrong| unfit(wrong, "make it a file that its owner alone may read: chmod 600"))?;
        Self::of(|(_, name)| value(&text, name)).ok_or_else(|| {
            let wrong = format!("{} has no aws_access_key_id and aws_secret_access_key", path.display());
            unfit(wrong, "write `NAME = VALUE` lines, under [default]")
        })
    }

    fn of(get: impl Fn((&str, &str)) -> Option<String>) -> Option<Self> {
        let is_good = |value: &String| {
            (1..=VALUE_BYTES_MAX).contains(&value.len()) && value.chars().all(|c| c.is_ascii_graphic())
        };
        let [key, secret, token] = NAMES.map(|names| get(names).filter(is_good));
        Some(Self { key: key?, secret: secret?, token })
    }
}

/// A file that nobody else may read.
fn read(path: &Path) -> std::result::Result<String, String> {
    let wrong = |e: std::io::Error| format!("cannot read the credentials in {}: {e}", path.display());
    let file = File::open(path).map_err(wrong)?;
    let metadata = file.metadata().map_err(wrong)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!("the credentials in {} can be read by others (mode {mode:04o})", path.display()));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(wrong)?;
    Ok(text)
}

fn value(text: &str, name: &str) -> Option<String> {
    let mut is_ours = true;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            is_ours = section.trim_end_matches(']').trim() == "default";
        } else if let Some((left, right)) = line.split_once('=')
            && is_ours
            && left.trim() == name
        {
            return Some(right.trim().to_owned());
        }
    }
    None
}

/// The environment of this process, where a store is opened.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(credentials: Option<&Path>) -> BucketPlace {
        BucketPlace {
            endpoint: "https://s3.example".to_owned(),
            region: "us-east-1".to_owned(),
            name: "blobs".to_owned(),
            prefix: String::new(),
            credentials: credentials.map(Path::to_owned),
        }
    }

    #[test]
    fn a_file_is_read_by_section_and_only_where_nobody_else_may() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        let text =
            "[other]\naws_access_key_id = no\n[default]\naws_access_key_id = me\naws_secret_access_key=hush/hush=\n";
        std::fs::write(&path, text).unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        let error = Credentials::find(&place(Some(&path)), &|_| None).unwrap_err();
        assert!(error.to_string().contains("mode 0640") && !format!("{error:?}").contains("hush"), "{error}");
        mode(0o600);
        let found = Credentials::find(&place(Some(&path)), &|_| None).unwrap();
        assert_eq!((found.key.as_str(), found.secret.as_str(), &found.token), ("me", "hush/hush=", &None));
        assert!(!format!("{found:?}").contains("hush"));
    }

    #[test]
    fn without_a_file_the_variables_are_asked_and_a_missing_one_is_named() {
        let some = |name: &str| (name != "AWS_SESSION_TOKEN").then(|| name.to_lowercase());
        let found = Credentials::find(&place(None), &some).unwrap();
        assert_eq!((found.secret.as_str(), found.token), ("aws_secret_access_key", None));
        let error = Credentials::find(&place(None), &|_| None).unwrap_err().to_string();
        assert!(error.contains("AWS_SECRET_ACCESS_KEY"), "{error}");
    }
}
