//! Former builds in the place of those that a catalogue asks for, until those are made.
//!
//! ```text
//! nginx -> zlib           as the catalogue asks for it
//! nginx' -> zlib'         as it was released; zlib' has a hole, and nginx' runs with zlib
//! swap: the image names nginx' and zlib
//! ```
//! Whether a build runs with what it was not built with is judged elsewhere. Here it is only named: an image with a
//! swapped package names the derivation that it really ships, so it has a key of its own, and what is built with that
//! package is built with what ships.

use crate::{Derivation, Derived, Error, Toolchain};
use anneal_content::DerivationId;
use anneal_recipe::Catalog;
use std::{collections::BTreeMap, sync::Arc};

/// A former build that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// Its derivation.
    pub former: DerivationId,
    /// That, and those of everything that it was built with.
    pub derivations: BTreeMap<DerivationId, Arc<Derivation>>,
}

impl Swap {
    /// The build of a package in a catalogue of before, by its derivation there; none where it is another one.
    pub fn of(former: DerivationId, before: &Derived) -> Option<Self> {
        let name = &before.derivations.get(&former)?.name;
        let closure = before.closure_of(std::slice::from_ref(name));
        let found = |id: DerivationId| Some((id, before.derivations.get(&id)?.clone()));
        closure.contains(&former).then(|| Self { former, derivations: closure.into_iter().filter_map(found).collect() })
    }
}

/// Former builds by the derivation in whose place they are used.
pub type Swaps = BTreeMap<DerivationId, Swap>;

/// A derived catalogue with former builds in place of some of its own.
pub fn swap(asked: &Derived, catalog: &Catalog, toolchain: &Toolchain, swaps: &Swaps) -> Result<Derived, Error> {
    let mut derived = Derived { order: asked.order.clone(), ..Derived::default() };
    for name in &asked.order {
        let id = asked.ids.get(name).copied();
        let id = id.ok_or_else(|| Error::Unresolved { package: name.clone(), input: name.clone() })?;
        if let Some(swap) = swaps.get(&id) {
            derived.ids.insert(name.clone(), swap.former);
            derived.derivations.extend(swap.derivations.iter().map(|(id, one)| (*id, one.clone())));
            derived.swapped.insert(name.clone(), id);
        } else {
            let (id, derivation) = derived.derive_one(catalog, catalog.package(name)?, toolchain)?;
            derived.ids.insert(name.clone(), id);
            derived.derivations.insert(id, derivation);
        }
    }
    for (name, recipe) in catalog.images() {
        let need = derived.need(catalog, recipe, toolchain)?;
        derived.images.insert(name.clone(), Arc::new(need));
    }
    Ok(derived)
}
