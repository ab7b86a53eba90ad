//! Where the bytes of blobs are, where that is not the state directory: a bucket on an S3-compatible server.
//!
//! ```toml
//! [blobs]
//! bucket = "anneal"                       # alone decides that there is one
//! endpoint = "https://s3.example"
//! region = "us-east-1"                    # the default
//! prefix = "production"                   # what all keys begin with; none by default
//! credentials = "/etc/anneal/bucket"      # mode 0600; without it AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
//! ```

use super::Resolver;
use crate::error::{Error, Result};
use anneal_store::BucketPlace;
use serde::Deserialize;
use std::path::PathBuf;

/// The table of the configuration file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Blobs {
    bucket: Option<String>,
    endpoint: Option<String>,
    region: Option<String>,
    prefix: Option<String>,
    credentials: Option<PathBuf>,
}

impl Resolver<'_> {
    /// The bucket, where there is one.
    pub(super) fn bucket(&mut self, file: Blobs) -> Result<Option<BucketPlace>> {
        let mut text = |name: &str, file: Option<String>, default: Option<&str>, none: &str| {
            let show = |value: &Option<String>| value.clone().unwrap_or_else(|| none.to_owned());
            self.pick(name, None, file.map(Some), default.map(str::to_owned), show, |text| Some(Some(text.to_owned())))
        };
        let Some(name) = text("blobs.bucket", file.bucket, None, "(none: blobs are in the state directory)")? else {
            return Ok(None);
        };
        let endpoint = text("blobs.endpoint", file.endpoint, None, "(none)")?.ok_or_else(|| {
            Error::Input(format!(
                "blobs.bucket is {name}, and no blobs.endpoint says on which server: https://HOST[:PORT]"
            ))
        })?;
        let region = text("blobs.region", file.region, Some("us-east-1"), "")?.unwrap_or_default();
        let prefix = text("blobs.prefix", file.prefix, None, "(none)")?.unwrap_or_default();
        let path = file.credentials.map(|path| path.display().to_string());
        let credentials = text("blobs.credentials", path, None, "(from the environment)")?.map(PathBuf::from);
        let credentials = credentials.map(|path| self.surroundings.cwd.join(path));
        Ok(Some(BucketPlace { endpoint, region, name, prefix, credentials }))
    }
}
