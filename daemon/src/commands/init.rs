//! `anneal init`: a catalogue of one's own, over another one or by itself.

use crate::{
    builder::fetch_config,
    catalog_files::replace_file,
    error::{Error, Result, io},
    output::{Output, printable},
    settings::Settings,
    upstreams::{PINS, Pin, upstream_text},
};
use anneal_fetch::Fetcher;
use anneal_recipe::Place;
use serde_json::json;
use std::{fmt::Write as _, path::PathBuf};

/// What builds start from, in a catalogue that has its own.
const LOCK: &str = "vendor/build-root.lock";

/// Where, and over what.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The catalogue's directory
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// A catalogue to build on, such as git+https://example.org/anneal.git@COMMIT; it is fetched, and pinned by its digest
    #[arg(long, value_name = "PLACE")]
    upstream: Option<Place>,
    /// What recipes call it
    #[arg(long, value_name = "NAME", default_value = "anneal")]
    name: String,
    /// Where in it packages/ and images/ are
    #[arg(long, value_name = "DIR", default_value = "recipes")]
    directory: String,
}

/// Performs the command.
pub(crate) fn run(args: &InitArgs, settings: &Settings, output: &Output) -> Result<()> {
    let path = args.dir.join(PINS);
    if path.exists() {
        return Err(Error::Input(format!("{} is there already; edit it, or name another directory", path.display())));
    }
    std::fs::create_dir_all(&args.dir).map_err(io("create", &args.dir))?;
    let pin = args.upstream.as_ref().map(|place| pin(args, place, settings, output)).transpose()?;
    let lock = match &pin {
        Some(pin) => upstream_text(pin, LOCK, settings, &args.dir)?,
        None => None,
    };
    let mut made = Vec::new();
    for folder in ["packages", "images"] {
        let folder = args.dir.join(folder);
        std::fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        made.push(folder);
    }
    if let Some(lock) = lock.filter(|_| !args.dir.join(LOCK).exists()) {
        replace_file(&args.dir.join(LOCK), lock.as_bytes())?;
        made.push(args.dir.join(LOCK));
    }
    // Last, since it is what makes the directory a catalogue.
    replace_file(&path, text(pin.as_ref()).as_bytes())?;
    made.push(path);
    let said = || {
        let mut said = String::new();
        for path in &made {
            let _ = writeln!(said, "{}", path.display());
        }
        said.push_str(
            "`anneal recipe new NAME --source PLACE` writes a first recipe; `anneal recipe check` says what is wrong\n",
        );
        printable(&said)
    };
    output.result(said, &json!({ "made": made, "upstream": pin }))
}

/// The upstream as it is now.
fn pin(args: &InitArgs, place: &Place, settings: &Settings, output: &Output) -> Result<Pin> {
    output.note(&printable(&format!("fetching {place}")));
    let mut nowhere = std::io::sink();
    let found = Fetcher::new(fetch_config(settings)?).measure(place, &args.dir, &mut nowhere)?;
    let directory = Some(args.directory.clone()).filter(|dir| dir != "." && !dir.is_empty());
    let pin = Pin { name: args.name.clone(), place: place.clone(), sha256: found.sha256.hex(), directory };
    output.note(&format!("pinned at {}", found.sha256));
    Ok(pin)
}

fn text(pin: Option<&Pin>) -> String {
    let mut text =
        "# A catalogue of recipes: packages/ and images/ beside this file, over those of the upstreams named here.\n"
            .to_owned();
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let Some(pin) = pin else {
        text.push_str("# [[upstream]]\n# name = \"anneal\"\n# place = \"git+https://...@commit\"\n# sha256 = \"...\"\n# directory = \"recipes\"\n");
        return text;
    };
    let (name, place) = (quoted(&pin.name), quoted(&pin.place.to_string()));
    let _ = writeln!(text, "\n[[upstream]]\nname = {name}\nplace = {place}\nsha256 = \"{}\"", pin.sha256);
    if let Some(directory) = &pin.directory {
        let _ = writeln!(text, "directory = {}", quoted(directory));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstreams::{is_catalog, pins};

    #[test]
    fn what_is_written_is_what_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let pin = Pin {
            name: "base".to_owned(),
            place: "path:up.tar".parse().unwrap(),
            sha256: anneal_content::BlobDigest::of(b"").hex(),
            directory: Some("recipes".to_owned()),
        };
        std::fs::write(dir.path().join(PINS), text(Some(&pin))).unwrap();
        assert_eq!(pins(dir.path()).unwrap().upstream, [pin]);
        std::fs::write(dir.path().join(PINS), text(None)).unwrap();
        assert!(pins(dir.path()).unwrap().upstream.is_empty() && is_catalog(dir.path()));
    }
}
