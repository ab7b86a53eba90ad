//! Which names and link targets a tree may hold. One spelling each: a name is canonical or refused, never mended.

use crate::{
    Result,
    error::{Error, refused},
};
use anneal_content::{EntryName, TreePath};

/// How many directories deep a tree may be, as in `anneal_content::list`.
const DEPTH_MAX: usize = 64;
/// The longest symbolic link target, as in `anneal_content::Directory`.
const TARGET_BYTES_MAX: usize = 4095;
/// The longest path: what Linux opens in one call, with room for the directory that a tree is put in.
pub(crate) const PATH_BYTES_MAX: usize = 4095 - 255;
/// What names a deletion in an OCI layer: with such a name a package could remove another's files from an image.
const WHITEOUT: &str = ".wh.";

/// The path of an entry, given the directory that it is in and its name as the file system has it.
pub(crate) fn tree_path(base: Option<&TreePath>, name: &[u8]) -> Result<TreePath> {
    let wrong = |reason: &str| -> Error {
        let name = printable(name);
        refused(&base.map_or_else(|| name.clone(), |base| format!("{base}/{name}")), reason)
    };
    let text = std::str::from_utf8(name).map_err(|_| wrong("its name is not UTF-8"))?;
    if text.starts_with(WHITEOUT) {
        return Err(wrong("its name begins with `.wh.`, which an image layer reads as a deletion; rename it"));
    }
    if text.chars().any(misleads) {
        return Err(wrong("its name holds characters that can't be seen or turn the text around; rename it"));
    }
    let name = EntryName::new(text).map_err(|e| wrong(&e.to_string()))?;
    let path = base.map_or_else(|| TreePath::from(name.clone()), |base| base.join(&name));
    if path.as_str().split('/').count() > DEPTH_MAX {
        return Err(refused(path.as_str(), format!("it is deeper than {DEPTH_MAX} directories")));
    }
    if path.as_str().len() > PATH_BYTES_MAX {
        return Err(refused(path.as_str(), format!("its path is longer than {PATH_BYTES_MAX} bytes")));
    }
    Ok(path)
}

/// What a symbolic link says; where it leads is not looked at.
pub(crate) fn check_target(path: &TreePath, target: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(target).map_err(|_| refused(path.as_str(), "its target is not UTF-8"))?;
    if text.is_empty() || text.len() > TARGET_BYTES_MAX {
        let reason = format!("its target has {} bytes, expected 1 to {TARGET_BYTES_MAX}", text.len());
        return Err(refused(path.as_str(), reason));
    }
    if text.chars().any(|c| c.is_control() || misleads(c)) {
        let reason = format!("its target `{}` holds characters that can't be seen", printable(target));
        return Err(refused(path.as_str(), reason));
    }
    Ok(text.to_owned())
}

/// Characters that show nothing or change how what is beside them is shown: two names with and without them look the
/// same to whoever approves. The joiners U+200C and U+200D stay: some scripts are not written without them.
fn misleads(c: char) -> bool {
    let blank = matches!(c, '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2065}' | '\u{feff}');
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    blank || turns
}

/// Bytes for an error message.
pub(crate) fn printable(bytes: &[u8]) -> String {
    bytes.escape_ascii().take(300).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &[u8]) -> String {
        let base = TreePath::new("usr").unwrap();
        tree_path(Some(&base), name).map_or_else(|e| e.to_string(), |path| path.to_string())
    }

    #[test]
    fn names_of_ordinary_packages_are_taken_as_they_are() {
        for name in ["a", "-rf", "trailing.", "a b", "\\", "caf\u{e9}", "cafe\u{301}", "\u{645}\u{200c}\u{646}", ".whx"]
        {
            assert_eq!(told(name.as_bytes()), format!("usr/{name}"));
        }
        assert_eq!(told(&[b'x'; 255]).len(), "usr/".len() + 255);
    }

    #[test]
    fn names_that_mean_something_else_to_someone_are_refused_with_the_name_escaped() {
        let cases: &[(&[u8], &str, &str)] = &[
            (b"", "`usr/`", "255 bytes"),
            (b".", "`usr/.`", "255 bytes"),
            (b"..", "`usr/..`", "255 bytes"),
            (b"a/b", "`usr/a/b`", "255 bytes"),
            (b"a\0b", r"`usr/a\x00b`", "control"),
            (b"a\x7f", r"`usr/a\x7f`", "control"),
            (b"a\xc2\x85", r"`usr/a\xc2\x85`", "control"),
            (b"\xff", r"`usr/\xff`", "UTF-8"),
            (b"\xed\xa0\x80", r"`usr/\xed\xa0\x80`", "UTF-8"),
            (b".wh.x", "`usr/.wh.x`", "deletion"),
            (b".wh..wh..opq", "`usr/.wh..wh..opq`", "deletion"),
            (b".wh.", "`usr/.wh.`", "deletion"),
            ("a\u{202e}txt.exe".as_bytes(), r"`usr/a\xe2\x80\xaetxt.exe`", "turn the text"),
            ("a\u{200b}".as_bytes(), r"`usr/a\xe2\x80\x8b`", "can't be seen"),
        ];
        for (name, shown, why) in cases {
            let text = told(name);
            assert!(text.contains(shown) && text.contains(why), "{text}");
        }
        assert!(told(&[b'x'; 256]).contains("255 bytes"));
    }

    #[test]
    fn a_path_is_as_deep_and_as_long_as_allowed_and_no_more() {
        let base = |depth: usize, name: &str| TreePath::new(vec![name; depth].join("/")).unwrap();
        assert!(tree_path(Some(&base(DEPTH_MAX - 1, "d")), b"d").is_ok());
        assert!(tree_path(Some(&base(DEPTH_MAX, "d")), b"d").unwrap_err().to_string().contains("deeper than 64"));
        let name = "x".repeat(255);
        // 14 names and a fifteenth are 3,839 bytes; one more of a single byte is one too many.
        assert!(tree_path(Some(&base(14, &name)), name.as_bytes()).is_ok());
        assert!(tree_path(Some(&base(15, &name)), b"x").unwrap_err().to_string().contains("longer than 3840"));
    }

    #[test]
    fn a_target_says_something_that_can_be_read() {
        let path = TreePath::new("link").unwrap();
        for target in ["/etc/passwd", "../../../..", "caf\u{e9}", " "] {
            assert_eq!(check_target(&path, target.as_bytes()).unwrap(), target);
        }
        assert!(check_target(&path, &[b'x'; TARGET_BYTES_MAX]).is_ok());
        for target in [&b""[..], b"\xff", b"a\nb", b"a\x1b[2J", "\u{202e}".as_bytes(), &[b'x'; TARGET_BYTES_MAX + 1]] {
            assert!(check_target(&path, target).unwrap_err().to_string().contains("`link`"));
        }
    }
}
