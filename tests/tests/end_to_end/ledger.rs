//! What the ledger has of images and packages against `golden/`.

use crate::story;
use anneal_tests::{build_root_line, golden, image_text, images, package_lines};

#[test]
fn images_and_packages_are_byte_for_byte_what_they_were() {
    let place = &story().place;
    let images = images(place);
    assert_eq!(images.len(), 4, "three images, and nginx once more");
    let lines: String = package_lines(place, &images).iter().map(|line| format!("{line}\n")).collect();
    golden("packages.txt", &format!("{}{lines}", build_root_line()));
    let text: String = images.iter().map(|digest| image_text(place, digest)).collect();
    golden("images.txt", &format!("{}{text}", build_root_line()));
}
