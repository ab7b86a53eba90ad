//! The process that plays the scenario and tells each step once it is acknowledged.
//!
//! ```text
//! anneal-power-scenario STORE SOURCES [in-step]
//! anneal-power-scenario neighbour DIR STORE SEED     the other one on the disk (neighbour.rs)
//!
//! ready                    it waits for a line, then begins
//! acknowledged N           N steps are; in step, it waits for a line
//! refused N TEXT           the step after N was refused; then it tries to go on:
//! read ok | unreadable TEXT
//! after BLOB EVENT         whether a blob and an event were taken then; in step, the end
//! done                     all steps are acknowledged
//! ```
#![allow(clippy::print_stdout, reason = "what it tells")]

use anneal_power::{STEPS, Scenario, be_a_neighbour, told};
use std::{
    io::{self, BufRead as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

fn wait() {
    let mut line = String::new();
    let _ = io::stdin().lock().read_line(&mut line);
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if let [neighbour, dir, store, seed] = arguments.as_slice()
        && neighbour == Path::new("neighbour")
    {
        let seed = seed.to_str().and_then(|text| text.parse().ok()).unwrap_or_default();
        be_a_neighbour(dir, store, seed);
        return ExitCode::SUCCESS;
    }
    let [store, sources, rest @ ..] = arguments.as_slice() else { return ExitCode::from(2) };
    let is_in_step = !rest.is_empty();
    println!("ready");
    wait();
    let mut scenario = Scenario::new(store, sources);
    for (number, step) in STEPS.iter().enumerate() {
        if let Err(error) = scenario.play(*step) {
            println!("refused {number} {}", one_line(&told(&error)));
            match scenario.logical() {
                Ok(_) => println!("read ok"),
                Err(text) => println!("unreadable {}", one_line(&text)),
            }
            let after = scenario.goes_on().map(|tried| tried.is_ok());
            println!("after {} {}", after[0], after[1]);
            return ExitCode::from(3);
        }
        println!("acknowledged {}", number + 1);
        if is_in_step {
            wait();
        }
    }
    println!("done");
    ExitCode::SUCCESS
}
