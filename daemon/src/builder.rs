//! The builder of a state directory: its build root, its places to fetch from, its keys.

use crate::{
    error::{Error, Result, io},
    keys::result_keys,
    settings::Settings,
};
use anneal_builder::{BuildRoot, Builder, BuilderConfig};
use anneal_fetch::{BuildRootLock, FetchConfig, Fetcher};
use anneal_sandbox::CancelToken;
use anneal_store::Store;

/// A builder for these settings.
pub(crate) fn new_builder(settings: &Settings, store: Store, cancel: CancelToken) -> Result<Builder> {
    let lock_path = settings.lock_file().ok_or_else(|| {
        Error::Input("no lock of the build root; name one with `lock` in the configuration or ANNEAL_LOCK".into())
    })?;
    let text = std::fs::read_to_string(&lock_path).map_err(io("read", &lock_path))?;
    builder_over(settings, store, BuildRootLock::parse(&text)?, cancel)
}

/// The same with this lock, whatever the settings say of one.
pub(crate) fn builder_over(
    settings: &Settings,
    store: Store,
    lock: BuildRootLock,
    cancel: CancelToken,
) -> Result<Builder> {
    let root = BuildRoot::new(lock, &settings.state.join("roots"))?;
    let fetch = FetchConfig { spool: settings.state.join("work"), ..fetch_config(settings)? };
    let config = BuilderConfig {
        work_dir: settings.state.join("work"),
        jobs: settings.jobs,
        threads: settings.threads,
        catalog_dir: settings.catalog_dir()?.to_owned(),
        worker: worker_name(),
    };
    let keys = result_keys(&settings.state.join("keys"))?;
    Ok(Builder::new(store, Fetcher::new(fetch), root, config, keys, cancel)?)
}

/// How sources are fetched: as the environment says, with the mirrors of the settings.
pub(crate) fn fetch_config(settings: &Settings) -> Result<FetchConfig> {
    let mut fetch = FetchConfig::from_environment();
    for (kind, mirrors) in &settings.mirrors {
        let known = anneal_fetch::CoordinateKind::ALL.into_iter().find(|k| k.as_str() == kind);
        let known =
            known.ok_or_else(|| Error::Input(format!("mirrors.{kind}: there is no such kind of coordinate")))?;
        fetch.mirrors.insert(known, mirrors.clone());
    }
    Ok(fetch)
}

pub(crate) fn worker_name() -> String {
    let system = nix::sys::utsname::uname().map_or_else(
        |_| "unknown system".to_owned(),
        |u| format!("{} {} {}", u.sysname().display(), u.release().display(), u.machine().display()),
    );
    format!("anneal {}, {system}", env!("CARGO_PKG_VERSION"))
}
