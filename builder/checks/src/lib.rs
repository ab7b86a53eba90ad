//! The verification suite: a package or an image, as data, gives findings; a policy makes a verdict of them.

mod subject;

pub use subject::{
    HttpFacts, Image, JudgedAdvisory, Judgement, Package, PlannedChange, Platform, Previous, PreviousImage,
    PreviousPackage, Role, Run, RunFacts, Subject, Tests, VersionChange,
};
