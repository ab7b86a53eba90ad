//! Every input of the corpus, once.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is a test")]

use anneal_fuzz::TARGETS;
use std::{fs, path::Path};

/// A corpus is read by people; longer inputs find no more.
const INPUT_BYTES_MAX: usize = 16 << 10;

#[test]
fn no_input_of_the_corpus_breaks_a_promise() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut broken = Vec::new();
    for (name, target) in TARGETS {
        let mut inputs: Vec<_> = fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(inputs.len() >= 3, "{name} has {} inputs", inputs.len());
        for input in &inputs {
            let bytes = fs::read(input).unwrap();
            assert!(bytes.len() <= INPUT_BYTES_MAX, "{} has {} bytes", input.display(), bytes.len());
            // The panic says why; this is how to see it alone.
            if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                broken.push(format!("tests/fuzz/run {name} {}", input.display()));
            }
        }
        println!("{name}: {} inputs", inputs.len());
    }
    assert!(broken.is_empty(), "each of these breaks a promise:\n  {}\n", broken.join("\n  "));
}

#[test]
fn every_folder_of_the_corpus_has_a_target() {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(anneal_fuzz::target(&name).is_some(), "{name} is nobody's");
    }
}
