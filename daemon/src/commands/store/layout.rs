//! `anneal store export|import`: published images with their evidence, to and from a directory that is carried by hand.

use super::{collect::writable, open};
use crate::{
    error::{Error, Result, io},
    keys::{read_public, result_keys},
    oci_layout::{self, Imported, TrustedKeys},
    output::{Output, human_bytes, on_one_line, printable},
    service::fold,
    settings::Settings,
    view::daemon,
};
use anneal_api::LayoutRequest;
use anneal_attest::Role;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long an import may take before the command stops waiting for it.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// What is exported, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Published images: NAME, NAME:TAG or the digest of an index or a manifest
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// A directory that is empty or not there yet
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Also what the images were built from, so that they can be built again elsewhere: catalogue, sources, the build
    /// root's packages
    #[arg(long)]
    rebuildable: bool,
}

/// What is imported, and who is believed.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// An OCI image layout
    dir: PathBuf,
    /// A public key that is trusted, such as release=FILE; each image must then have a statement by it. The keys must
    /// not come from where the layout comes from
    #[arg(long, value_name = "ROLE=PEM", value_parser = role_and_file)]
    key: Vec<(Role, PathBuf)>,
}

fn role_and_file(text: &str) -> std::result::Result<(Role, PathBuf), String> {
    let (role, file) = text.split_once('=').ok_or("expected ROLE=PEM, such as release=release.pub")?;
    let role: Role = role.parse().map_err(|e: anneal_attest::Error| e.to_string())?;
    if role == Role::Log {
        return Err("a log key says nothing about images; expected build, test, release or approver".to_owned());
    }
    Ok((role, file.into()))
}

/// Writes published images to a layout.
pub(super) fn export(args: &ExportArgs, settings: &Settings, output: &Output) -> Result<()> {
    let store = open(settings)?;
    let trusted = args.rebuildable.then(|| result_keys(&settings.state.join("keys"))).transpose()?;
    let trusted = trusted.as_ref().map(|keys| &keys.trusted);
    let exported = oci_layout::export(&store, &fold(&store)?, &args.images, &args.dir, trusted)?;
    let text = || {
        let mut text = String::new();
        for image in &exported.images {
            let _ = writeln!(text, "  {image}");
        }
        if args.rebuildable {
            let _ = writeln!(text, "  with {} things that they were built from", exported.inputs);
        }
        for absent in &exported.absent_inputs {
            let _ = writeln!(text, "  without {}: it is not in the store", on_one_line(absent));
        }
        let (blobs, bytes) = (exported.blobs, human_bytes(exported.bytes));
        let (statements, dir) = (exported.statements, args.dir.display());
        let _ = writeln!(
            text,
            "{statements} statements and {blobs} blobs ({bytes}) are in {dir}; hand out keys another way"
        );
        printable(&text)
    };
    output.result(text, &exported)
}

/// Takes in a layout that somebody brought.
pub(super) fn import(args: &ImportArgs, settings: &Settings, output: &Output) -> Result<()> {
    let dir = std::path::absolute(&args.dir).map_err(io("find", &args.dir))?;
    let pem = |(role, path): &(Role, PathBuf)| Ok((*role, read_public(path)?.to_pem()?));
    let keys = args.key.iter().map(pem).collect::<Result<TrustedKeys>>()?;
    let imported: Imported = match daemon(settings) {
        Ok(client) => {
            let keys = keys.into_iter().map(|(role, pem)| (role.as_str().to_owned(), pem)).collect();
            client.patient(PATIENCE).post("/v1/store/import", &LayoutRequest { dir, keys })?
        }
        Err(error) if settings.server.is_some() => return Err(error),
        Err(Error::Unreachable(_)) => {
            let store = writable(settings)?;
            oci_layout::import(&store, &fold(&store)?, &dir, &keys)?
        }
        Err(error) => return Err(error),
    };
    output.result(|| printable(&imported_text(&imported, &args.dir)), &imported)
}

fn imported_text(imported: &Imported, dir: &Path) -> String {
    let mut text = String::new();
    for image in &imported.images {
        let names: Vec<_> = image.names.iter().map(|name| on_one_line(name)).collect();
        let _ = writeln!(text, "image {} (called {})", image.manifest, names.join(", "));
        for one in &image.verified {
            let _ = writeln!(text, "  verified: {}, signed by {} key {}", one.predicate_type, one.role, one.key);
        }
        for why in &image.unverified {
            let _ = writeln!(text, "  NOT verified: {}", on_one_line(why));
        }
        if image.verified.is_empty() {
            text.push_str("  nobody is known to stand behind it: name keys with --key ROLE=PEM\n");
        }
    }
    for digest in &imported.pinned {
        let _ = writeln!(text, "pinned: {digest}");
    }
    let Imported { blobs, new_blobs, bytes, .. } = imported;
    let _ = writeln!(
        text,
        "{blobs} blobs ({}) of {} are in the store, {new_blobs} of them new; each has its digest. They stay \
         until they are unpinned (`anneal store pins` lists them), and are neither published nor served",
        human_bytes(*bytes),
        dir.display()
    );
    text
}
