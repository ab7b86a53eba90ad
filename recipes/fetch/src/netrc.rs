//! Logins by host, from a file in the form of netrc.
//!
//! Words separated by white space: `machine HOST login NAME password SECRET`, `default` for every
//! other host, `account WORD` skipped, `macdef` skipped to the next empty line. A login is sent to
//! its host only, and over TLS only, except to this machine itself.

use std::{collections::BTreeMap, io::Read, path::Path};

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The logins of one file.
#[derive(Debug, Default)]
pub(crate) struct Netrc {
    machines: BTreeMap<String, Login>,
    default: Option<Login>,
}

impl Netrc {
    /// Reads a file; a missing or unreadable one holds no logins.
    pub(crate) fn load(path: &Path) -> Self {
        let mut text = String::new();
        match std::fs::File::open(path).and_then(|f| f.take(MAX_BYTES).read_to_string(&mut text)) {
            Ok(_) => Self::parse(&text),
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "logins are not used: the file cannot be read");
                }
                Self::default()
            }
        }
    }

    /// Takes a file apart; what is not understood is skipped, as every reader of this form does.
    pub(crate) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let without_macros = text.split("\n\n").map(|block| block.split("macdef").next().unwrap_or_default());
        let joined = without_macros.collect::<Vec<_>>().join("\n");
        let mut words = joined.lines().filter(|l| !l.trim_start().starts_with('#')).flat_map(str::split_whitespace);
        let mut host: Option<Option<String>> = None;
        let mut login = Login { name: String::new(), password: String::new() };
        loop {
            let word = words.next();
            if matches!(word, None | Some("machine" | "default")) {
                let complete = std::mem::replace(&mut login, Login { name: String::new(), password: String::new() });
                match host.take() {
                    Some(Some(host)) => drop(found.machines.entry(host).or_insert(complete)),
                    Some(None) => drop(found.default.get_or_insert(complete)),
                    None => {}
                }
            }
            match word {
                None => return found,
                Some("machine") => host = Some(words.next().map(str::to_ascii_lowercase)),
                Some("default") => host = Some(None),
                Some("login") => login.name = words.next().unwrap_or_default().to_owned(),
                Some("password") => login.password = words.next().unwrap_or_default().to_owned(),
                Some(_) => drop(words.next()),
            }
        }
    }

    /// The login for a host.
    pub(crate) fn login(&self, host: &str) -> Option<&Login> {
        self.machines.get(&host.to_ascii_lowercase()).or(self.default.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(netrc: &Netrc, host: &str) -> Option<String> {
        netrc.login(host).map(|l| format!("{}/{}", l.name, l.password))
    }

    #[test]
    fn a_login_is_found_by_its_host_and_by_no_other() {
        let netrc = Netrc::parse("machine a.example login me password x\nmachine b.example\n login you\n password y\n");
        assert_eq!(name(&netrc, "A.example").as_deref(), Some("me/x"));
        assert_eq!(name(&netrc, "b.example").as_deref(), Some("you/y"));
        assert_eq!(name(&netrc, "c.example"), None);
    }

    #[test]
    fn the_default_login_is_for_every_other_host() {
        let netrc = Netrc::parse("# ours\nmachine a.example login me password x account z default login d password e");
        assert_eq!(name(&netrc, "a.example").as_deref(), Some("me/x"));
        assert_eq!(name(&netrc, "c.example").as_deref(), Some("d/e"));
    }

    #[test]
    fn a_macro_is_no_login() {
        let netrc =
            Netrc::parse("macdef init\nmachine evil login a password b\n\nmachine a.example login m password p");
        assert_eq!(name(&netrc, "evil"), None);
        assert_eq!(name(&netrc, "a.example").as_deref(), Some("m/p"));
    }

    #[test]
    fn a_password_is_not_shown_by_debug() {
        assert!(!format!("{:?}", Netrc::parse("machine a login b password secret")).contains("secret"));
    }
}
