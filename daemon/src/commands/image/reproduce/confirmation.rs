//! The statement of an operator who built somebody else's image again and got the same digest: provenance of this build, with
//! the definition that was built from, signed by the build key of whoever built. What it is worth, who reads it decides
//! (`anneal verify --confirmation`).

use crate::{
    error::{Error, Result, io},
    keys::read_key,
    settings::Settings,
};
use anneal_attest::{
    BuildMetadata, Builder as BuilderId, Predicate, Provenance, Role, RunDetails, SecretKey, Statement, Timestamp,
    sign_statement,
};
use anneal_builder::CONFIRMED_PARAMETERS;
use anneal_content::BlobDigest;
use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

/// A statement that is to be written.
pub(super) struct Confirmation {
    key: SecretKey,
    builder_id: String,
    file: PathBuf,
}

impl Confirmation {
    /// Looks for the key, and that nothing is overwritten.
    pub(super) fn open(file: &Path, settings: &Settings) -> Result<Self> {
        if file.symlink_metadata().is_ok() {
            return Err(Error::Input(format!("{} is there already; name another file", file.display())));
        }
        let path = settings.state.join("keys/build.pem");
        if !path.is_file() {
            return Err(Error::Input(format!(
                "{} is not there, and the build key signs what was built: name a daemon's state directory with --state",
                path.display()
            )));
        }
        let key = read_key(&path, Role::Build)?;
        Ok(Self { key, builder_id: settings.builder_id.clone(), file: file.to_owned() })
    }

    /// Signs and writes it; gives the key's id. `built_ms` is when the build began and ended, milliseconds since 1970.
    pub(super) fn write(&self, manifest: &BlobDigest, confirmed: &Provenance, built_ms: (u64, u64)) -> Result<String> {
        let seconds = |ms: u64| Timestamp::from_unix(i64::try_from(ms / 1000).unwrap_or(i64::MAX));
        let mut definition = confirmed.build_definition.clone();
        // the others tell of runs that were not these
        definition.internal_parameters.retain(|name, _| CONFIRMED_PARAMETERS.contains(&name.as_str()));
        let image = definition.external_parameters.image.to_string();
        let provenance = Provenance {
            build_definition: definition,
            run_details: RunDetails {
                builder: BuilderId {
                    id: self.builder_id.clone(),
                    version: BTreeMap::from([("anneal".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
                    builder_dependencies: Vec::new(),
                },
                metadata: BuildMetadata {
                    invocation_id: format!("urn:anneal:reproduction:{}:{}", manifest.hex(), built_ms.1),
                    started_on: Some(seconds(built_ms.0)?),
                    finished_on: Some(seconds(built_ms.1)?),
                },
                byproducts: Vec::new(),
            },
        };
        let statement = Statement::about(image, *manifest, Predicate::Provenance(Box::new(provenance)));
        let bundle = sign_statement(&statement, &self.key)?;
        let mut file = File::create_new(&self.file).map_err(io("create", &self.file))?;
        file.write_all(bundle.json()).and_then(|()| file.sync_all()).map_err(io("write", &self.file))?;
        Ok(self.key.public().id().hex())
    }
}
