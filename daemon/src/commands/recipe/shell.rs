//! `anneal recipe shell`: a shell in the sandbox that builds a package, where its steps begin or where one fails.

use super::with_help;
use crate::{
    builder::new_builder,
    catalog_files::read_catalog,
    commands::sandbox::cancelled_when_told_to_end,
    error::{Error, Result, io},
    output::{Output, printable},
    settings::Settings,
};
use anneal_builder::{Shell, ShellStart};
use anneal_content::PackageName;
use anneal_store::{OpenMode, Store};
use std::io::IsTerminal as _;

/// Which package, and where the shell begins.
#[derive(Debug, clap::Args)]
pub(crate) struct ShellArgs {
    /// The package
    name: PackageName,
    /// Run the steps, and begin where one fails; without a failure there is no shell
    #[arg(long)]
    keep_failed: bool,
}

pub(super) fn shell(args: &ShellArgs, settings: &Settings, output: &Output) -> Result<()> {
    let catalog = read_catalog(settings, output.color)?;
    catalog.package(&args.name).map_err(|error| with_help(&error))?;
    let store = store(settings, output)?;
    let withdrawn = crate::service::fold(&store)?.withdrawn_packages();
    let builder = new_builder(settings, store, cancelled_when_told_to_end()?)?;
    if let Some(changed) = builder.changed_directories(&catalog, std::slice::from_ref(&args.name))?.into_iter().next() {
        return Err(Error::No(printable(&changed.to_string())));
    }
    let derived = anneal_plan::derive(&catalog, &builder.toolchain(withdrawn))?;
    let prompts = std::io::stdin().is_terminal();
    let start = if args.keep_failed { ShellStart::FailingStep } else { ShellStart::FirstStep };
    if prompts {
        output.note(&format!(
            "a shell as the build of {} sees it; nothing of it is kept; Ctrl-D or `exit` ends it",
            args.name
        ));
    }
    let mut out = std::io::stdout();
    let work = tempfile::tempdir().map_err(io("make a directory in", std::env::temp_dir()))?;
    let shell = Shell {
        package: &args.name,
        start,
        prompts,
        input: Box::new(std::io::stdin()),
        output: &mut Unbuffered(&mut out),
        work_dir: work.path(),
    };
    let outcome = builder.shell(&catalog, &derived, shell, &|progress| {
        tracing::debug!(?progress, "staging");
    })?;
    if outcome.succeeded() {
        return Ok(());
    }
    Err(Error::No(printable(&format!("the shell {}", outcome.ended))))
}

/// The store of the state directory: alone if nobody has it, so that what is missing can be fetched and staged, else
/// beside the daemon, which has staged whatever it tried to build.
fn store(settings: &Settings, output: &Output) -> Result<Store> {
    let dir = settings.state.join("store");
    if !dir.is_dir() {
        return crate::commands::store::open(settings);
    }
    match Store::open_trusting(&dir, OpenMode::ReadWrite, settings.chunk_hash()) {
        Ok(store) => Ok(store),
        Err(error) => {
            tracing::debug!(%error, "the store is another's; it is only read");
            output.note("a daemon has the store: what it staged for the build is used");
            crate::commands::store::open(settings)
        }
    }
}

/// Shows each piece at once, for whoever waits for it.
struct Unbuffered<'a>(&'a mut std::io::Stdout);

impl std::io::Write for Unbuffered<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.0.flush()?;
        Ok(written)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
