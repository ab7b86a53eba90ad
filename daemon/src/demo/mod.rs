//! `anneal demo`: the whole story on real sources, told by the real daemon.
//!
//! A daemon is started on a state directory of its own and driven as anyone would drive it: through its socket, its feed
//! directory and its registry. Nothing here is a shortcut; what is shown is read from the ledger.

mod chapters;
mod facts;
mod host;
mod pull;
mod screen;

use crate::{
    error::{Error, Result},
    output::{Output, write_file},
    settings::Settings,
};
use std::path::PathBuf;

/// How the demo is told.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Write the facts as JSON to a file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Tells the story.
pub(crate) fn run(args: &DemoArgs, settings: Settings, output: &Output) -> Result<()> {
    if !pull::skopeo_is_there() {
        let text = "the demo pulls with skopeo, which is not here; install it (on Debian: apt-get install skopeo)";
        return Err(Error::Input(text.into()));
    }
    let settings = host::own_state(settings)?;
    let screen = screen::Screen::new(output);
    let facts = chapters::tell(&settings, &screen)?;
    let json = serde_json::to_string_pretty(&facts).map_err(|e| Error::Internal(e.to_string()))?;
    if let Some(file) = &args.output {
        write_file(file, format!("{json}\n").as_bytes())?;
    }
    if output.json { output.text(&format!("{json}\n")) } else { Ok(()) }
}
