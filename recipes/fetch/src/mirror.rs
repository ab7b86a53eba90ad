//! Where a coordinate lies on a mirror.
//!
//! | kind | a mirror is | the file lies at |
//! |---|---|---|
//! | debian, debian-security | the archive's base, above `pool/` | `BASE/POOL-PATH` |
//! | crate | a base, or an address with `{crate}`, `{version}`, `{sha256-checksum}` | `BASE/NAME/VERSION/download` |
//! | pypi | a simple index | the link to FILE on the page `BASE/NAME/` |
//! | npm | a registry | `BASE/NAME/-/NAME-VERSION.tgz` |
//! | go | a module proxy | `BASE/MODULE/@v/VERSION.zip`, or `.mod`; a capital is `!` and the small letter |

use crate::CoordinateKind;
use anneal_content::BlobDigest;
use anneal_recipe::Place;

/// The largest page of a simple index.
pub(crate) const MAX_PAGE_BYTES: u64 = 32 << 20;

/// What has to be asked for a coordinate's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The file itself.
    File(String),
    /// A page that links to it.
    Page {
        /// The page's address.
        address: String,
        /// The file's name.
        file: String,
    },
}

/// The kind of a coordinate; `None` for an address and a path.
pub(crate) fn kind_of(place: &Place) -> Option<CoordinateKind> {
    CoordinateKind::ALL.into_iter().find(|kind| kind.as_str() == place.scheme())
}

/// What to ask a mirror for a coordinate. A mirror that is asked by digest can't be asked without one.
pub(crate) fn ask(base: &str, place: &Place, sha256: Option<&BlobDigest>) -> Option<Ask> {
    let base = base.trim_end_matches('/');
    match place {
        Place::Debian { pool } | Place::DebianSecurity { pool } => Some(Ask::File(format!("{base}/{pool}"))),
        Place::Crate { name, version } if base.contains('{') => {
            let named = base.replace("{crate}", name).replace("{version}", version);
            let digest = sha256.map(BlobDigest::hex);
            let address = digest.map(|digest| named.replace("{sha256-checksum}", &digest));
            address.or_else(|| Some(named).filter(|named| !named.contains('{'))).map(Ask::File)
        }
        Place::Crate { name, version } => Some(Ask::File(format!("{base}/{name}/{version}/download"))),
        Place::Npm { name, version } => {
            let short = name.rsplit('/').next().unwrap_or(name);
            Some(Ask::File(format!("{base}/{name}/-/{short}-{version}.tgz")))
        }
        Place::Pypi { name, file, .. } => {
            Some(Ask::Page { address: format!("{base}/{}/", normal_name(name)), file: file.clone() })
        }
        Place::Go { module, version, go_mod } => {
            Some(Ask::File(format!("{base}/{}", go_path(module, version, *go_mod))))
        }
        _ => None,
    }
}

/// Where a Go module's file lies on a proxy, and in Go's own cache.
pub(crate) fn go_path(module: &str, version: &str, go_mod: bool) -> String {
    let escaped = |text: &str| -> String {
        let one = |c: char| if c.is_ascii_uppercase() { format!("!{}", c.to_ascii_lowercase()) } else { c.to_string() };
        text.chars().map(one).collect()
    };
    let ending = if go_mod { "mod" } else { "zip" };
    format!("{}/@v/{}.{ending}", escaped(module), escaped(version))
}

/// A project's name as simple indexes spell it: lower case, with runs of `-_.` as one hyphen.
fn normal_name(name: &str) -> String {
    let words = name.split(['-', '_', '.']).filter(|w| !w.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// The address of the link to `file` on an index page.
pub(crate) fn link_on(page: &str, page_address: &str, file: &str) -> Option<String> {
    page.split("href=").skip(1).find_map(|rest| {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let target = rest.get(1..)?.split(quote).next()?.split('#').next()?.replace("&amp;", "&");
        let name = target.split('?').next()?.rsplit('/').next()?;
        name.replace("%2B", "+")
            .replace("%2b", "+")
            .eq_ignore_ascii_case(file)
            .then(|| absolute(page_address, &target))
            .flatten()
    })
}

/// A link seen on a page, as an address.
fn absolute(page: &str, target: &str) -> Option<String> {
    let (scheme, rest) = page.split_once(':')?;
    if target.contains("://") {
        return (target.starts_with("https://") || target.starts_with("http://")).then(|| target.to_owned());
    }
    if target.starts_with("//") {
        return Some(format!("{scheme}:{target}"));
    }
    let root_ends = rest.strip_prefix("//").map_or(0, |r| 2 + r.find('/').unwrap_or(r.len()));
    let (root, path) = rest.split_at_checked(root_ends)?;
    if target.starts_with('/') {
        return Some(format!("{scheme}:{root}{target}"));
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." if parts.len() > 1 => drop(parts.pop()),
            ".." => return None,
            part => parts.push(part),
        }
    }
    Some(format!("{scheme}:{root}{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(base: &str, place: &str) -> String {
        match ask(base, &place.parse().unwrap(), Some(&BlobDigest::of(b""))).unwrap() {
            Ask::File(address) => address,
            Ask::Page { address, file } => format!("{address} -> {file}"),
        }
    }

    #[test]
    fn each_kind_of_coordinate_has_its_address_on_a_mirror() {
        let m = "https://m.example/x/";
        assert_eq!(asked(m, "debian:pool/main/z/z.deb"), "https://m.example/x/pool/main/z/z.deb");
        assert_eq!(asked(m, "crate:libz-sys/1.1.8"), "https://m.example/x/libz-sys/1.1.8/download");
        assert_eq!(asked("file:/srv/{crate}-{version}.crate", "crate:a/1.0.0+2"), "file:/srv/a-1.0.0+2.crate");
        assert_eq!(asked(m, "npm:@scope/name/1.0.0"), "https://m.example/x/@scope/name/-/name-1.0.0.tgz");
        assert_eq!(
            asked(m, "go:a.example/Team/b@v1.0.0-RC1"),
            "https://m.example/x/a.example/!team/b/@v/v1.0.0-!r!c1.zip"
        );
        assert_eq!(asked(m, "go:a.example/b@v1.0.0/go.mod"), "https://m.example/x/a.example/b/@v/v1.0.0.mod");
        assert_eq!(asked(m, "pypi:Zope.Deep__x/1/f.whl"), "https://m.example/x/zope-deep-x/ -> f.whl");
    }

    #[test]
    fn a_mirror_that_is_asked_by_digest_is_not_asked_without_one() {
        let place = "crate:a/1.0.0".parse().unwrap();
        let by_digest = "https://m.example/{crate}/{sha256-checksum}";
        assert_eq!(ask(by_digest, &place, None), None);
        let digest = BlobDigest::of(b"a");
        assert_eq!(asked(by_digest, "crate:a/1.0.0"), format!("https://m.example/a/{}", BlobDigest::of(b"").hex()));
        assert!(ask("https://m.example/{crate}", &place, None).is_some());
        assert!(ask(by_digest, &place, Some(&digest)).is_some());
    }

    #[test]
    fn an_address_and_a_path_are_on_no_mirror() {
        for place in ["https://a.example/f", "path:vendor/f"] {
            assert_eq!(ask("https://m.example", &place.parse().unwrap(), None), None);
            assert_eq!(kind_of(&place.parse().unwrap()), None);
        }
    }

    #[test]
    fn a_page_links_to_its_file_absolutely_or_relatively() {
        let page = "<a href=\"../../files/f-1.whl#sha256=00\">f</a> <a href='/p/g-1%2B2.whl'>g</a>\
            <a href=\"https://o.example/h.whl?a=1&amp;b=2\">h</a><a href=\"//o.example/i.whl\">i</a><a href=\"J.whl\">j</a>\
            <a href=\"file:///etc/passwd\">p</a>";
        let link = |file| link_on(page, "https://m.example/simple/f/", file);
        assert_eq!(link("f-1.whl").as_deref(), Some("https://m.example/files/f-1.whl"));
        assert_eq!(link("g-1+2.whl").as_deref(), Some("https://m.example/p/g-1%2B2.whl"));
        assert_eq!(link("h.whl").as_deref(), Some("https://o.example/h.whl?a=1&b=2"));
        assert_eq!(link("i.whl").as_deref(), Some("https://o.example/i.whl"));
        assert_eq!(link("j.whl").as_deref(), Some("https://m.example/simple/f/J.whl"));
        assert_eq!(link("k.whl"), None);
        assert_eq!(link("passwd"), None);
    }
}
