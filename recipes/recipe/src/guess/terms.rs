//! Which licence a text is, by phrases that stand in it and in no other.
//!
//! A text that isn't recognised has no licence: nothing here takes the nearest.

/// A licence, what must stand in its text, and what must not.
struct Terms {
    id: &'static str,
    all: &'static [&'static str],
    none: &'static [&'static str],
}

const fn terms(id: &'static str, all: &'static [&'static str], none: &'static [&'static str]) -> Terms {
    Terms { id, all, none }
}

const REDISTRIBUTION: &str = "redistribution and use in source and binary forms";
const NO_ENDORSEMENT: &str = "may be used to endorse or promote products";
const ADVERTISING: &str = "all advertising materials";

/// Phrases in lower case, with single spaces and no quotes. Of the GNU licences the text doesn't say whether a later
/// version may be chosen: see [`later_version`].
const KNOWN: &[Terms] = &[
    terms("Apache-2.0", &["apache license", "version 2.0, january 2004"], &[]),
    terms("AGPL-3.0", &["gnu affero general public license version 3, 19 november 2007"], &[]),
    terms(
        "GPL-3.0",
        &["gnu general public license version 3, 29 june 2007"],
        &["gnu lesser general public license version 3"],
    ),
    terms("GPL-2.0", &["gnu general public license version 2, june 1991"], &[]),
    terms("LGPL-3.0", &["gnu lesser general public license version 3, 29 june 2007"], &[]),
    terms("LGPL-2.1", &["gnu lesser general public license version 2.1, february 1999"], &[]),
    terms("LGPL-2.0", &["gnu library general public license version 2, june 1991"], &[]),
    terms("MPL-2.0", &["mozilla public license version 2.0", "covered software"], &[]),
    terms("BSL-1.0", &["boost software license - version 1.0"], &[]),
    terms("CC0-1.0", &["cc0 1.0 universal"], &[]),
    terms("Unlicense", &["this is free and unencumbered software released into the public domain"], &[]),
    terms(
        "Zlib",
        &["altered source versions must be plainly marked as such", "this notice may not be removed"],
        &[ADVERTISING],
    ),
    terms("bzip2-1.0.6", &["this program, bzip2, the associated library libbzip2"], &[]),
    terms("PSF-2.0", &["python software foundation license version 2"], &[]),
    terms("OpenSSL", &["openssl toolkit", ADVERTISING], &[]),
    terms(
        "curl",
        &["copyright (c) 1996", "daniel stenberg", "permission to use, copy, modify, and distribute this software"],
        &[],
    ),
    terms(
        "PostgreSQL",
        &["postgresql database management system", "permission to use, copy, modify, and distribute"],
        &[],
    ),
    terms("Unicode-3.0", &["unicode license v3"], &[]),
    terms("libpng-2.0", &["png reference library license version 2"], &[]),
    terms("blessing", &["may you do good and not evil", "may you share freely"], &[]),
    terms("NCSA", &["university of illinois/ncsa open source license"], &[]),
    terms(
        "MIT-0",
        &["permission is hereby granted, free of charge, to any person obtaining a copy"],
        &["the above copyright notice and this permission notice"],
    ),
    terms(
        "X11",
        &[
            "permission is hereby granted, free of charge, to any person obtaining a copy",
            "the above copyright notice and this permission notice",
            "x consortium",
        ],
        &[],
    ),
    terms(
        "MIT",
        &[
            "permission is hereby granted, free of charge, to any person obtaining a copy",
            "the above copyright notice and this permission notice",
        ],
        &["x consortium"],
    ),
    terms(
        "0BSD",
        &["permission to use, copy, modify, and/or distribute this software for any purpose"],
        &["provided that the above copyright notice"],
    ),
    terms(
        "ISC",
        &[
            "permission to use, copy, modify, and",
            "distribute this software for any purpose with or without fee",
            "provided that the above copyright notice and this permission notice appear in all copies",
        ],
        &["daniel stenberg"],
    ),
    terms("BSD-4-Clause", &[REDISTRIBUTION, ADVERTISING], &["openssl toolkit"]),
    terms("BSD-3-Clause", &[REDISTRIBUTION, NO_ENDORSEMENT], &[ADVERTISING]),
    terms(
        "BSD-2-Clause",
        &[REDISTRIBUTION, "redistributions in binary form must reproduce"],
        &[NO_ENDORSEMENT, ADVERTISING],
    ),
];

/// A text with its words alone: lower case, one space between them, without quotes and the marks of comments.
fn words(text: &str) -> String {
    let plain = |c: char| {
        if matches!(c, '"' | '\'' | '`' | '*' | '#' | '\u{201c}' | '\u{201d}' | '\u{2019}') { ' ' } else { c }
    };
    let lower: String = text.chars().map(plain).flat_map(char::to_lowercase).collect();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The licences whose text this is, by their SPDX names; several where one file holds several texts.
pub(super) fn licenses_in(text: &str) -> Vec<&'static str> {
    let words = words(text);
    let is = |terms: &&Terms| {
        terms.all.iter().all(|phrase| words.contains(phrase)) && !terms.none.iter().any(|phrase| words.contains(phrase))
    };
    KNOWN.iter().filter(is).map(|terms| terms.id).collect()
}

/// Whether a file's head says that a later version of its GNU licence may be chosen; `None` where it says nothing.
pub(super) fn later_version(head: &str) -> Option<bool> {
    let words = words(head);
    if !words.contains("general public license") {
        return None;
    }
    if ["any later version", "or later"].iter().any(|phrase| words.contains(phrase)) {
        return Some(true);
    }
    let only = ["version 2 only", "version 3 only", "version 2 of the license.", "license version 2 as published"];
    only.iter().any(|phrase| words.contains(phrase)).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIT: &str = "Copyright (c) 2020 A\n\nPermission is hereby granted, free of charge, to any person\nobtaining a copy \
        of this software ...\n * The above copyright notice and this permission notice (including ...";
    const BSD: &str = "Redistribution and use in source and binary forms, with or without\n# modification ...\n\
        2. Redistributions in binary form must reproduce the above";

    #[test]
    fn a_text_is_known_by_its_own_phrases_however_it_is_broken_into_lines() {
        assert_eq!(licenses_in(MIT), ["MIT"]);
        assert_eq!(licenses_in(BSD), ["BSD-2-Clause"]);
        assert_eq!(licenses_in(&format!("{BSD}\nmay be used to\nendorse or promote products")), ["BSD-3-Clause"]);
        assert_eq!(licenses_in("GNU GENERAL PUBLIC LICENSE\n   Version 2, June 1991\n"), ["GPL-2.0"]);
        assert_eq!(licenses_in("GNU LESSER GENERAL PUBLIC LICENSE\nVersion 2.1, February 1999"), ["LGPL-2.1"]);
        assert_eq!(licenses_in(&format!("{MIT}\n---\n{BSD}")), ["MIT", "BSD-2-Clause"]);
    }

    #[test]
    fn what_only_looks_like_a_licence_is_none() {
        for text in ["", "All rights reserved.", "MIT", "Licensed under the GPL, version 2.", "do whatever you like"] {
            assert_eq!(licenses_in(text), [] as [&str; 0], "{text}");
        }
    }

    #[test]
    fn a_head_says_whether_a_later_version_will_do_or_says_nothing() {
        let head = |tail: &str| format!("/* under the terms of the GNU General Public License {tail} */");
        assert_eq!(
            later_version(&head("as published ..., either version 2, or (at your option)\n * any later version")),
            Some(true)
        );
        assert_eq!(later_version(&head("version 2 only")), Some(false));
        assert_eq!(later_version(&head("see COPYING")), None);
        assert_eq!(later_version("any later version of this program"), None);
    }

    #[test]
    fn every_name_is_one_of_spdx() {
        for Terms { id, .. } in KNOWN {
            let gnu = ["GPL-", "LGPL-", "AGPL-"].iter().any(|start| id.starts_with(start));
            let id = if gnu { format!("{id}-only") } else { (*id).to_owned() };
            assert!(id.parse::<crate::License>().is_ok(), "{id}");
        }
    }
}
