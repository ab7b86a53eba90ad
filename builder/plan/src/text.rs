//! A plan for people and goldens: what is built and why, what is kept, which images change.

use crate::{BuildPlan, KeepGround, Reason, Step};
use std::fmt;

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("never built here"),
            Self::Release { from } => write!(f, "another release, before it was {from}"),
            Self::Recipe => f.write_str("its recipe, build root or sandbox changed"),
            Self::Follows { inputs } => {
                let names: Vec<_> = inputs.iter().map(ToString::to_string).collect();
                write!(f, "built with {}", names.join(", "))
            }
        }
    }
}

impl fmt::Display for BuildPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            match step {
                Step::Build { package, version, reason, .. } => writeln!(f, "build    {package} {version}: {reason}")?,
                Step::Blocked { package, version, why, .. } => writeln!(f, "blocked  {package} {version}: {why}")?,
                Step::Reuse { package, version, .. } => writeln!(f, "reuse    {package} {version}")?,
                Step::Keep { package, version, linked, ground, .. } => {
                    let names: Vec<_> = linked.iter().map(ToString::to_string).collect();
                    let names = names.join(", ");
                    match ground {
                        KeepGround::InterfaceEqual => {
                            writeln!(f, "kept     {package} {version}: interface equal of {names}")?;
                        }
                        KeepGround::Swapped => {
                            writeln!(
                                f,
                                "kept     {package} {version}: runs with {names} as it is now; built again later"
                            )?;
                        }
                    }
                }
            }
        }
        for image in &self.images {
            let names: Vec<_> = image.rebuilt.iter().map(ToString::to_string).collect();
            if image.untouched {
                writeln!(f, "keep     image {}", image.image)?;
            } else if names.is_empty() {
                writeln!(f, "assemble image {}", image.image)?;
            } else {
                let (all, new) = (image.packages.len(), names.len());
                writeln!(f, "assemble image {}: {new} of {all} packages new: {}", image.image, names.join(", "))?;
            }
        }
        Ok(())
    }
}
