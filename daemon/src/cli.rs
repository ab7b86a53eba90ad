//! The commands. Their names are a contract; see `--help`.

use crate::{
    commands,
    error::Result,
    output::{Output, Show},
    settings::{Flags, Settings, Surroundings},
};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Keeps container images patched: rebuilds what an advisory touches, checks it, proves it, and waits for your approval.
#[derive(Debug, Parser)]
#[command(
    name = "anneal",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "Exit codes: 0 done; 1 the answer is no; 2 bad use or bad input; 3 unreachable; 4 internal.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) flags: Flags,
    #[command(flatten)]
    pub(crate) show: Show,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The whole story on real sources, in one run
    Demo(crate::demo::DemoArgs),
    /// Start a catalogue of your own, over another one or by itself
    Init(commands::init::InitArgs),
    /// Run the daemon in the foreground
    Daemon(crate::run_daemon::DaemonArgs),
    /// What this host allows, what is missing, how to mend it
    Doctor,
    /// Work on recipes
    #[command(subcommand)]
    Recipe(commands::recipe::RecipeCommand),
    /// Wait until the daemon has built what the catalogue asks for, and say what came of it
    Build(commands::build::BuildArgs),
    /// Advisories: take in, list, explain
    #[command(subcommand)]
    Advisory(commands::advisory::AdvisoryCommand),
    /// What an advisory would rebuild, before anything runs
    Plan(commands::plan::PlanArgs),
    /// What advisories opened
    #[command(subcommand)]
    Case(commands::case::CaseCommand),
    /// Images that await your decision
    #[command(subcommand)]
    Candidate(commands::candidate::CandidateCommand),
    /// Images that were built
    #[command(subcommand)]
    Image(commands::image::ImageCommand),
    /// Keys: yours, and whose decisions count
    #[command(subcommand)]
    Key(commands::key::KeyCommand),
    /// Verify the signature and evidence in a bundle, offline
    Verify(commands::verify::VerifyArgs),
    /// The store
    #[command(subcommand)]
    Store(commands::store::StoreCommand),
    /// Show a build's log or the journal of events; sign where it ends, and verify that it goes on from there
    Log(commands::log::LogArgs),
    /// The sandbox by itself
    #[command(subcommand)]
    Sandbox(commands::sandbox::SandboxCommand),
    /// Settings and where each came from
    #[command(subcommand)]
    Config(commands::config::ConfigCommand),
    /// Completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Performs a command.
pub(crate) fn run(cli: Cli, output: &Output) -> Result<()> {
    let settings = || Settings::resolve(&cli.flags, &Surroundings::of_process());
    match cli.command {
        Command::Demo(args) => crate::demo::run(&args, settings()?, output),
        Command::Init(args) => commands::init::run(&args, &settings()?, output),
        Command::Daemon(args) => crate::run_daemon::run_daemon(&args, settings()?),
        Command::Doctor => commands::doctor::run(&settings()?, output),
        Command::Recipe(command) => commands::recipe::run(&command, &settings()?, output),
        Command::Build(args) => commands::build::run(&args, &settings()?, output),
        Command::Advisory(command) => commands::advisory::run(&command, settings, output),
        Command::Plan(args) => commands::plan::run(&args, &settings()?, output),
        Command::Case(command) => commands::case::run(&command, &settings()?, output),
        Command::Candidate(command) => commands::candidate::run(&command, &settings()?, output),
        Command::Image(command) => commands::image::run(&command, &settings()?, output),
        Command::Key(command) => commands::key::run(&command, &settings()?, output),
        Command::Verify(args) => commands::verify::run(&args, output),
        Command::Store(command) => commands::store::run(&command, &settings()?, output),
        Command::Log(args) => commands::log::run(&args, &settings()?, output),
        Command::Sandbox(command) => commands::sandbox::run(&command, output),
        Command::Config(command) => commands::config::run(&command, &settings()?, output),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut <Cli as clap::CommandFactory>::command(), "anneal", &mut text);
            output.text(&String::from_utf8_lossy(&text))
        }
    }
}

/// A file that a command writes to instead of standard output.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ToFile {
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}
