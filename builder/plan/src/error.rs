//! Why no plan can be made.

use anneal_content::{OutputName, PackageName};

/// What stands in the way of a plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue does not hold together.
    #[error("the catalogue cannot be planned: {0}")]
    Catalog(#[from] anneal_recipe::Error),
    /// A value has no canonical form.
    #[error("a derivation cannot be written down: {0}")]
    Content(#[from] anneal_content::Error),
    /// An action was resolved before its inputs were built.
    #[error("{package} needs the outputs of {input}, which was not built yet")]
    Unresolved {
        /// The package to be built.
        package: PackageName,
        /// The input that is missing.
        input: PackageName,
    },
    /// An output was asked for of which the build left nothing.
    #[error(
        "{package} requires {input}:{output}, but the build of {input} left no file of that output, only of {}; \
         let it install one, or require {input} alone", listed(.found)
    )]
    NoOutput {
        /// The package to be built.
        package: PackageName,
        /// The package that it requires.
        input: PackageName,
        /// The output that it asks for.
        output: OutputName,
        /// Those that the build left.
        found: Vec<OutputName>,
    },
}

fn listed(outputs: &[OutputName]) -> String {
    outputs.iter().map(OutputName::as_str).collect::<Vec<_>>().join(", ")
}
