//! `anneal recipe log`: what the last build of a package wrote, or its tests where those did not pass.

use crate::{
    builder::new_builder,
    commands::{
        log::{last_build, log_text, whole},
        store,
    },
    error::{Error, Result},
    output::{Output, printable},
    settings::Settings,
};
use anneal_builder::FailedTest;
use anneal_content::PackageName;
use anneal_recipe::Catalog;
use anneal_sandbox::CancelToken;
use serde_json::json;

/// The largest catalogue that is read.
const CATALOG_BYTES_MAX: u64 = 64 << 20;

pub(super) fn log(name: &PackageName, settings: &Settings, output: &Output) -> Result<()> {
    let store = store::open(settings)?;
    let trusted = crate::keys::result_keys(&settings.state.join("keys"))?.trusted;
    let Some(build) = last_build(&store, &trusted, name)? else {
        return Err(Error::No(format!("{name} was never built here; `anneal build` builds what images ask for")));
    };
    output.note(&printable(&build.headline()));
    let test = if build.failed { Ok(None) } else { failed_test(name, settings) };
    let test = test.unwrap_or_else(|error| {
        output.note(&printable(&format!("whether its tests passed is not known: {}", error.chain())));
        None
    });
    let text = match (&test, &build.log) {
        (Some(test), _) => {
            let how = test.summary.lines().next().unwrap_or_default();
            output.note(&printable(&format!("its tests did not pass: {how}; log {}", test.log)));
            log_text(&whole(&store, &test.log)?)
        }
        (None, Some(digest)) => log_text(&whole(&store, digest)?),
        (None, None) => format!("{}\n", printable(&build.summary)),
    };
    output.result(|| text.clone(), &json!({ "build": &build, "test": &test, "text": &text }))
}

/// Tests that did not pass with what is built of the active catalogue.
fn failed_test(name: &PackageName, settings: &Settings) -> Result<Option<FailedTest>> {
    let store = store::open(settings)?;
    let state = crate::service::fold(&store)?;
    let Some((_, blob)) = state.revision else { return Ok(None) };
    let catalog = Catalog::from_json(&store.read_blob(&blob, CATALOG_BYTES_MAX)?)?;
    if !catalog.packages().contains_key(name) {
        return Ok(None);
    }
    let builder = new_builder(settings, store, CancelToken::default())?;
    let derived = anneal_plan::derive(&catalog, &builder.toolchain(state.withdrawn_packages()))?;
    Ok(builder.failed_test(&catalog, &derived, name)?)
}
