//! What needs what: closures, dependents and the order in which packages can be built.

/// Which edges of the graph are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// What must be built: requirements of the build and of running.
    Build,
    /// What must be there to run.
    Runtime,
}
