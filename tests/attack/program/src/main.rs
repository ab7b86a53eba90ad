//! Tries to get out of a sandbox, in one way per run, and says of each thing tried how it went.
//!
//! `anneal-attack-program PROBE [NAME=VALUE]...` prints `held WHAT: SEEN` where a wall stood and `escaped WHAT: SEEN` where
//! none did, and a last line `tried N`. A wall counts only for the right reason: each probe says what it takes for a
//! refusal, since one that looked at the wrong place would hold everywhere. `list` prints the names of all probes. `companion`
//! is what stands on the host while a probe runs ([`companion`]).
#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

mod call;
mod companion;
mod files;
mod kernel;
mod lasting;
mod limits;
mod machine;
mod network;
mod process;
mod report;
mod same;
mod secrets;
mod up;

use std::process::ExitCode;
use std::time::Duration;

use crate::report::Attack;

/// The code a probe ends with when it is told to fail.
const FAILURE: u8 = 3;
/// How long a probe waits to be cancelled.
const WAIT: Duration = Duration::from_secs(4);

/// What a probe is: it tries things and says how each went.
type Probe = fn(&Attack);

/// Every probe by its number in the list of probes; a letter tells those with one number apart.
const PROBES: &[(&str, Probe)] = &[
    ("P01", network::host_abstract_socket),
    ("P02", network::own_abstract_socket),
    ("P03", network::pass_a_descriptor),
    ("P04", process::write_programs),
    ("P05", process::look_into_others),
    ("P06", process::inherited),
    ("P07", kernel::terminals),
    ("P08", process::take_over_others),
    ("P09", process::signal_others),
    ("P10", kernel::namespaces),
    ("P11", kernel::mounts),
    ("P12", kernel::kernel_surface),
    ("P13", kernel::keyrings),
    ("P14", network::families),
    ("P15", kernel::architectures),
    ("P16", process::privileges),
    ("P17", kernel::process_settings),
    ("P18", process::become_another),
    ("P19", machine::write_the_kernel),
    ("P20", machine::read_the_kernel),
    ("P21", kernel::device_nodes),
    ("P22", machine::devices),
    ("P23", limits::core_files),
    ("P24", lasting::shared_memory),
    ("P24b", lasting::leave_shared_memory),
    ("P25", limits::scheduling),
    ("P26", files::file_system_commands),
    ("P30", files::host_files),
    ("P30b", up::climb),
    ("P30c", files::private_file),
    ("P31", files::change_inputs),
    ("P32", files::link_inputs),
    ("P33", files::undeclared_trees),
    ("P34", files::replace_the_output),
    ("P35", lasting::swap_in_the_output),
    ("P37", files::set_user_id),
    ("P38", files::attributes),
    ("P41", lasting::daemon),
    ("P42", lasting::mapped_output),
    ("P43", lasting::locked_output),
    ("P46", files::remains_of_a_failure),
    ("P48", same::paths_of_the_host),
    ("P50", network::reach),
    ("P51", network::name_services),
    ("P60", secrets::environment),
    ("P61", secrets::search),
    ("P62", network::control_sockets),
    ("P70", limits::fork_bomb),
    ("P71", limits::memory_bomb),
    ("P72", limits::disk_and_inode_bomb),
    ("P73", limits::log_flood),
    ("P74", limits::deaf_and_stopped),
    ("P75", limits::silence),
    ("P77", limits::orphans),
    ("P80", same::surroundings),
    ("P81", same::clocks),
    ("P82", same::addresses),
    ("P83", machine::processor),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((order, _)) if order == "list" => {
            PROBES.iter().for_each(|(name, _)| println!("{name}"));
            ExitCode::SUCCESS
        }
        Some((order, rest)) if order == "companion" => companion::run(&Attack::new(rest)),
        Some((order, rest)) if order == "forget" => lasting::forget(&Attack::new(rest)),
        Some((order, rest)) if order == "under-key" => companion::under_key(rest),
        Some((order, rest)) => match PROBES.iter().find(|(name, _)| name == order) {
            Some((_, probe)) => {
                let attack = Attack::new(rest);
                probe(&attack);
                attack.close();
                end(&attack)
            }
            None => unknown(order),
        },
        None => unknown(""),
    }
}

/// Ends as the run was told to.
fn end(attack: &Attack) -> ExitCode {
    match attack.arg("ending") {
        Some("fails") => ExitCode::from(FAILURE),
        // Not for ever: where nothing ends it, it must end.
        Some("cancelled") => {
            std::thread::sleep(WAIT);
            ExitCode::SUCCESS
        }
        _ => ExitCode::SUCCESS,
    }
}

fn unknown(order: &str) -> ExitCode {
    println!("unknown probe `{order}`; `list` prints all");
    ExitCode::from(2)
}
