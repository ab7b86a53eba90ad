//! Recipes before and after.

use super::*;

#[track_caller]
fn check(text: &str, expected: &str) {
    let formatted = format(Kind::Package, "packages/a.toml", text).unwrap();
    assert_eq!(formatted, expected);
    assert_eq!(format(Kind::Package, "packages/a.toml", &formatted).unwrap(), formatted, "again");
}

#[test]
fn keys_stand_in_the_order_of_the_page_with_one_space_around_the_sign() {
    check(
        "version=\"1\"\nname   =\"a\"   # its name\n[test]\nsteps=['x']\n[build]\nsteps = [ 'y' ]\ncpus   = 2\n",
        "name = \"a\"  # its name\nversion = \"1\"\n\n[build]\ncpus = 2\nsteps = ['y']\n\n[test]\nsteps = ['x']\n",
    );
}

#[test]
fn comments_move_with_what_they_stand_at_and_a_heading_stays() {
    check(
        "# About the file.\n\n# which one\nversion = \"1\"\n# how it is called\nname = \"a\"\n\n\n\n# runs\n[runtime] # now\n# of these\nrequires = []\n# the end\n",
        "# About the file.\n\n# how it is called\nname = \"a\"\n# which one\nversion = \"1\"\n\n# runs\n[runtime]  # now\n# of these\nrequires = []\n# the end\n",
    );
}

#[test]
fn a_list_stands_in_one_line_where_it_fits_and_else_with_an_element_a_line() {
    let long = "x".repeat(60);
    check(
        &format!(
            "[build]\nenv = {{B=\"2\",A=\"1\"}}\nsteps = [\n'a',\n   'b'\n]\n[test]\nsteps = ['{long}', '{long}']\n"
        ),
        &format!(
            "[build]\nenv = {{ B = \"2\", A = \"1\" }}\nsteps = ['a', 'b']\n\n[test]\nsteps = [\n  '{long}',\n  '{long}',\n]\n"
        ),
    );
}

#[test]
fn comments_in_a_list_stay_at_their_elements_and_keep_it_unsorted() {
    check(
        "[build]\nrequires = ['z', 'a']\nsteps = [ # first\n    'a',# about a\n\n\n  # above b\n 'b' # about b\n # the end\n ] # behind\n",
        "[build]\nrequires = ['a', 'z']\nsteps = [\n  # first\n  'a',  # about a\n\n  # above b\n  'b',  # about b\n  # the end\n]  # behind\n",
    );
    check("[build]\nrequires = ['z', # why\n'a']\n", "[build]\nrequires = [\n  'z',  # why\n  'a',\n]\n");
}

#[test]
fn a_text_of_several_lines_is_left_as_it_is() {
    let text = "[build]\nsteps = [\n  '''\n  make   \n\n\n\tinstall\n''',\n  \"\"\"a\\\n  b\"\"\",\n]\n";
    check(text, text);
}

#[test]
fn a_table_of_a_lists_table_follows_closely_and_other_tables_after_an_empty_line() {
    check(
        "name='a'\n[[release]]\nversion='1'\n\n[[release.source]]\nfile='f'\n[[release]]\nversion='2'\n# why this one\n[[release.source]]\nfile='g'\n[build.env]\nA='1'\n",
        "name = 'a'\n\n[[release]]\nversion = '1'\n[[release.source]]\nfile = 'f'\n\n[[release]]\nversion = '2'\n# why this one\n[[release.source]]\nfile = 'g'\n\n[build.env]\nA = '1'\n",
    );
}

#[test]
fn keys_that_no_recipe_has_stand_behind_the_others_and_dotted_keys_stay_dotted() {
    check("zzz = 1\nbuild . cpus = 2\nname = 'a'\n", "name = 'a'\nbuild.cpus = 2\nzzz = 1\n");
}

#[test]
fn line_ends_of_another_system_are_only_kept_inside_of_texts() {
    let formatted = format(Kind::Package, "packages/a.toml", "name = 'a' # b\r\n\r\n# c\r\nversion = '1'\r\n").unwrap();
    assert_eq!(formatted, "name = 'a'  # b\n\n# c\nversion = '1'\n");
}

#[test]
fn what_is_not_toml_is_a_mistake_with_its_place() {
    let mistakes = format(Kind::Package, "packages/a.toml", "name = 'a'\nversion = \n").unwrap_err();
    assert_eq!(mistakes.iter().next().unwrap().position().0, 2);
}

mod any_writing {
    //! Whatever is written between the values, formatting twice is formatting once, and what is said stays.

    use super::*;
    use proptest::prelude::*;

    fn between() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop_oneof![Just("\n"), Just("\n\n"), Just("   \n"), Just("# c\n"), Just("  # d # e\n"), Just("\t\n")],
            0..4,
        )
        .prop_map(|parts| parts.concat())
    }

    fn list() -> impl Strategy<Value = String> {
        let element = prop_oneof![Just("'a'"), Just("\"b # c\""), Just("'''\n x\n'''"), Just("'dddddddddddddddddddd'")];
        let gap = prop_oneof![Just(""), Just(" "), Just("\n"), Just("# c\n"), Just("\n\n  # d\n  ")];
        (prop::collection::vec((gap.clone(), element, gap.clone()), 0..7), gap, any::<bool>()).prop_map(
            |(elements, end, comma)| {
                let each: Vec<_> = elements.iter().map(|(a, e, b)| format!("{a}{e}{b}")).collect();
                let comma = if comma && !each.is_empty() { "," } else { "" };
                format!("[{}{comma}{end}]", each.join(","))
            },
        )
    }

    proptest! {
        #[test]
        fn is_formatted_once_and_says_the_same(
            gaps in prop::collection::vec(between(), 9),
            lists in prop::collection::vec(list(), 3),
        ) {
            let [a, b, c, d, e, f, g, h, i] = <[String; 9]>::try_from(gaps).unwrap();
            let [steps, requires, names] = <[String; 3]>::try_from(lists).unwrap();
            let text = format!(
                "{a}version = '1' # v\n{b}name='n'\n{c}[test]\n{d}steps = {steps}\n{e}[build] # t\nrequires = {requires}\n{f}\
                 [[release]]\n{g}version = '1'\n[[release.source]]\n{h}file = 'f'\n[upstream]\nnames = {names} # n\n{i}"
            );
            let once = format(Kind::Package, "packages/n.toml", &text).unwrap();
            prop_assert_eq!(format(Kind::Package, "packages/n.toml", &once).unwrap(), once.clone());
            prop_assert_eq!(text.matches("# c").count(), once.matches("# c").count(), "{}", once);
            prop_assert_eq!(text.matches("# d").count(), once.matches("# d").count(), "{}", once);
        }
    }
}
