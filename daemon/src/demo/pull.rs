//! A client of the registry that we did not write, and what it does with what it pulled.

use crate::error::{Error, Result, io};
use anneal_builder::{ImageRun, LayoutImage, read_layout, run_image, unpack_layers};
use anneal_sandbox::{CancelToken, Pool};
use anneal_store::{OpenMode, Store};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Whether skopeo can be started.
pub(super) fn skopeo_is_there() -> bool {
    let mut command = Command::new("skopeo");
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Pulls `reference` into an OCI layout; blobs that the layout has are not pulled again. Returns the bytes pulled.
pub(super) fn skopeo_pull(reference: &str, layout: &Path, tag: &str) -> Result<u64> {
    let before = blob_bytes(layout)?;
    let mut command = Command::new("skopeo");
    command.args(["copy", "--quiet", "--insecure-policy", "--src-tls-verify=false"]);
    command.arg(format!("docker://{reference}")).arg(format!("oci:{}:{tag}", layout.display()));
    let run = command.stdin(Stdio::null()).output().map_err(io("start", "skopeo"))?;
    if !run.status.success() {
        let said = String::from_utf8_lossy(&run.stderr);
        return Err(Error::Internal(format!("skopeo could not pull {reference}: {}", said.trim())));
    }
    Ok(blob_bytes(layout)?.saturating_sub(before))
}

fn blob_bytes(layout: &Path) -> Result<u64> {
    let dir = layout.join("blobs/sha256");
    if !dir.is_dir() {
        return Ok(0);
    }
    let mut bytes = 0;
    for entry in std::fs::read_dir(&dir).map_err(io("read", &dir))? {
        let entry = entry.map_err(io("read", &dir))?;
        bytes += entry.metadata().map_err(io("read", entry.path()))?.len();
    }
    Ok(bytes)
}

/// What a pulled image answered.
pub(super) struct Answered {
    pub(super) image: LayoutImage,
    pub(super) status: u16,
    pub(super) body: String,
    pub(super) after_ms: u64,
    pub(super) stopped_cleanly: bool,
}

/// Unpacks a pulled layout and runs its entrypoint in the sandbox, asking for one page.
pub(super) fn run_pulled(layout: &Path, tag: &str, scratch: &Path, port: u16, path: &str) -> Result<Answered> {
    let image = read_layout(layout, Some(tag))?;
    let store = Store::open(scratch, OpenMode::ReadWrite)?;
    let mut roots = Vec::new();
    for tree in unpack_layers(&image, &store)?.iter().rev() {
        roots.push(store.materialize(tree)?);
    }
    let config = &image.config.config;
    let split = |pair: &String| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    let ids = config.user.split_once(':').and_then(|(u, g)| Some((u.parse().ok()?, g.parse().ok()?)));
    let run = ImageRun {
        argv: config.entrypoint.iter().chain(&config.cmd).cloned().collect(),
        env: config.env.iter().filter_map(split).collect(),
        workdir: if config.working_dir.is_empty() { "/".into() } else { config.working_dir.clone().into() },
        user: ids.ok_or_else(|| Error::Internal(format!("the image's user is `{}`, not numeric", config.user)))?,
        http: Some((port, path.to_owned())),
        stop_signal: Some(config.stop_signal.clone()).filter(|signal| !signal.is_empty()),
    };
    let mut log = Vec::new();
    let outcome = run_image(roots, &run, &Pool::new(0)?, &mut log, &CancelToken::new())?;
    let probe = outcome.probe.ok_or_else(|| {
        Error::No(format!("the pulled image did not answer; it {}:\n{}", outcome.ended, String::from_utf8_lossy(&log)))
    })?;
    Ok(Answered {
        image,
        status: probe.status,
        body: String::from_utf8_lossy(&probe.body).into_owned(),
        after_ms: probe.answered_after_ms,
        stopped_cleanly: probe.stopped_cleanly,
    })
}
