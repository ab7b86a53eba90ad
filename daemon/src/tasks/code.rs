//! Whether directories of a team's own code are what their recipes list, for whoever asks for a build.
//!
//! A daemon by itself builds what is listed: the archive keeps it, and people go on working in the directory meanwhile.

use crate::{error::Result, service::Service};
use anneal_builder::ChangedDirectory;
use anneal_content::{ImageName, PackageName};
use anneal_recipe::Needs;
use std::collections::BTreeSet;

/// The directories that changed, of all that these images and packages are built from; without any, of the catalogue.
pub(crate) fn changed_directories(service: &Service, names: &[String]) -> Result<Vec<ChangedDirectory>> {
    let catalog = service.active().catalog;
    let mut wanted = BTreeSet::new();
    for name in names {
        if let Ok(image) = ImageName::new(name.as_str())
            && catalog.images().contains_key(&image)
        {
            wanted.extend(catalog.image_packages(&image)?);
        }
        if let Ok(package) = PackageName::new(name.as_str())
            && catalog.packages().contains_key(&package)
        {
            wanted.insert(package);
        }
    }
    let packages = match names {
        [] => catalog.topological(),
        _ => catalog.closure(&wanted, Needs::Build)?,
    };
    Ok(service.builder.changed_directories(&catalog, &packages)?)
}
