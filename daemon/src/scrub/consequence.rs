//! What follows from damage: what can be put right from what else is there; and for the rest who needs it, what was built
//! with it and so is in doubt, and how it comes back.
//!
//! Whether something was damaged before or after it was last used nobody knows. So every result that was built with it is
//! named, whatever its age; one that nobody built with it is not.

use super::{How, Kind, Report, once_more, reachable::DIRECTORY};
use crate::{error::Result, retention::Ground};
use anneal_builder::source_roots;
use anneal_content::{BlobDigest, DerivationId, Directory, TreeDigest};
use anneal_plan::Derived;
use anneal_recipe::Catalog;
use anneal_store::{Backup, Mended, Node, Store};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A directory longer than this is not followed.
const DIRECTORY_BYTES_MAX: u64 = 64 << 20;

/// What follows from damage of one blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Consequence {
    /// What names it, up to what is kept for its own sake; none: nothing needs it.
    pub(crate) needed_for: Vec<String>,
    /// Packages and images that were built with it.
    pub(crate) in_doubt: Vec<String>,
    /// How it comes back.
    pub(crate) remedy: String,
}

/// Puts right what can be, and notes how in the place of the damage.
pub(crate) fn mend(store: &Store, report: &mut Report) -> Result<()> {
    for what in report.damage.keys().cloned().collect::<Vec<_>>() {
        let outcome = if let Ok(digest) = what.parse::<BlobDigest>() {
            store.mend_blob(&digest)?
        } else if let Some(tree) = what.strip_prefix(DIRECTORY).and_then(|hex| format!("sha256:{hex}").parse().ok()) {
            store.mend_tree(&tree)?
        } else {
            continue;
        };
        let how = match outcome {
            Mended::Lost(why) => {
                not_mended(report, &what, &why);
                continue;
            }
            Mended::Sound => "it was as it should be when it was looked at again",
            Mended::Mended(how) => how,
        };
        report.damage.remove(&what);
        report.mended.insert(what, how.to_owned());
    }
    Ok(())
}

/// Says with what was found why it could not be put right, where that is something else.
fn not_mended(report: &mut Report, what: &str, why: &str) {
    if let Some(damage) = report.damage.get_mut(what)
        && !damage.why.contains(why)
    {
        damage.why = format!("{}; not mended: {why}", damage.why);
    }
}

/// Puts lost blobs back from a backup, and looks again at what was wrong for the lack of them.
pub(crate) fn mend_from(
    store: &Store,
    how: &How<'_>,
    backup: &Backup,
    lost: &BTreeSet<BlobDigest>,
    report: Report,
) -> Result<Report> {
    let mut report = report;
    for digest in lost {
        match store.mend_from(digest, backup)? {
            Mended::Mended(how) => {
                report.damage.remove(&digest.to_string());
                report.mended.insert(digest.to_string(), how.to_owned());
            }
            Mended::Sound => {}
            Mended::Lost(why) => not_mended(&mut report, &digest.to_string(), &why),
        }
    }
    let is_blob = |what: &str| what.parse::<BlobDigest>().is_ok();
    let of_blobs =
        report.damage.iter().filter(|(what, _)| is_blob(what)).map(|(what, one)| (what.clone(), one.clone()));
    let of_blobs = Report { damage: of_blobs.collect(), ..report.clone() };
    once_more(store, how, &of_blobs, &report)
}

/// What follows from the damage of each thing; where nobody can tell, why.
pub(crate) type Consequences = std::result::Result<BTreeMap<String, Consequence>, String>;

/// Adds what is needed and was taken out of service earlier, so that it is told until it comes again, and says what
/// follows from all that is damaged. Where nobody can say what is needed, everything that was taken out of service counts.
pub(crate) fn follow(store: &Store, ground: Result<Ground<'_>>, report: &mut Report) -> Result<Consequences> {
    let followed = ground.and_then(|ground| ground.follow(report));
    if followed.is_err() {
        for (digest, why) in store.out_of_service()? {
            report.found(digest.to_string(), Kind::Missing, format!("it is out of service: {why}"));
        }
    }
    match report.damage.is_empty() {
        true => Ok(Ok(BTreeMap::new())),
        false => Ok(followed.map_err(|error| error.chain())),
    }
}

impl Ground<'_> {
    fn follow(&self, report: &mut Report) -> Result<BTreeMap<String, Consequence>> {
        let mut damaged: BTreeSet<BlobDigest> = report.damage.keys().filter_map(|what| what.parse().ok()).collect();
        let collection = self.store.collection()?;
        let survey = self.survey(&collection)?;
        // what is out of service is found where it is missed
        let absent: BTreeMap<BlobDigest, &Vec<String>> = survey.absent().iter().map(|(d, why)| (*d, why)).collect();
        for (digest, why) in &absent {
            let why = format!("it is out of service, and needed for {}", why.join(", for "));
            report.found(digest.to_string(), Kind::Missing, why);
        }
        damaged.extend(absent.keys());
        let mut all = BTreeMap::new();
        for digest in &damaged {
            let why = survey.why(&Node::Blob(*digest)).or_else(|| absent.get(digest).map(|why| (*why).clone()));
            let (in_doubt, remedy) = match &self.active {
                Some((catalog, derived)) => self.built_with(digest, catalog, derived)?,
                None => (Vec::new(), None),
            };
            let needed_for = why.unwrap_or_default();
            let remedy = remedy.unwrap_or_else(|| other_remedy(&needed_for).to_owned());
            all.insert(digest.to_string(), Consequence { needed_for, in_doubt, remedy });
        }
        Ok(all)
    }

    /// What was built with a blob, and how it comes back where it is an input or a result of a build.
    fn built_with(
        &self,
        digest: &BlobDigest,
        catalog: &Catalog,
        derived: &Derived,
    ) -> Result<(Vec<String>, Option<String>)> {
        let (mut users, mut remedy) = (BTreeSet::new(), None);
        for (name, id) in &derived.ids {
            let is_source =
                source_roots(catalog.package(name)?, false, "").iter().any(|root| root.node == Node::Blob(*digest));
            if is_source {
                remedy = Some(format!("the next build of {name} fetches it again: `anneal build {name}`"));
            }
            let is_result = self.builder.outputs_of(id)?.iter().any(|tree| holds(self.store, tree, digest));
            if is_result {
                remedy = Some(format!("`anneal build {name}` builds it again"));
            }
            // A kept build was built with a library that no package of the catalogue came out as.
            let is_input = || -> Result<bool> {
                Ok(self.builder.built_with(id)?.iter().any(|tree| holds(self.store, tree, digest)))
            };
            if is_source || is_result || is_input()? {
                users.insert(*id);
            }
        }
        let lock = self.builder.lock();
        if let Some(package) = lock.packages.iter().find(|package| package.sha256 == *digest) {
            remedy = Some(format!("whoever puts the build root together fetches {} again", package.name));
            users.extend(derived.ids.values().copied());
        }
        Ok((in_doubt(&users, derived), remedy))
    }
}

/// Packages whose build needed one of these, themselves among them, and the images that hold one of those.
fn in_doubt(users: &BTreeSet<DerivationId>, derived: &Derived) -> Vec<String> {
    if users.is_empty() {
        return Vec::new();
    }
    let touched = |derivations: &BTreeSet<DerivationId>| !derivations.is_disjoint(users);
    let packages = derived.ids.keys().filter(|name| touched(&derived.closure_of(std::slice::from_ref(*name))));
    let images = derived.images.iter().filter(|(_, need)| touched(&need.derivations));
    packages.map(|name| format!("package {name}")).chain(images.map(|(name, _)| format!("image {name}"))).collect()
}

/// Whether a tree has a blob in it, as one of its directories or files. What cannot be read any more holds whatever it may.
fn holds(store: &Store, tree: &TreeDigest, wanted: &BlobDigest) -> bool {
    let digest = BlobDigest::from_bytes(*tree.as_bytes());
    if digest == *wanted {
        return true;
    }
    let Ok(bytes) = store.read_blob(&digest, DIRECTORY_BYTES_MAX) else { return false };
    let Ok(directory) = Directory::decode(tree, &bytes) else { return false };
    directory.files.iter().any(|file| file.digest == *wanted)
        || directory.directories.iter().any(|inner| holds(store, &inner.digest, wanted))
}

/// What is neither an input nor a result of a build of the active catalogue.
fn other_remedy(needed_for: &[String]) -> &'static str {
    if needed_for.is_empty() {
        "nothing needs it; the next collection clears what is left of it"
    } else {
        "stop the daemon and take it out of a backup (`anneal store scrub --mend --backup DIR`), or from a registry that pulled \
         it (`skopeo copy`, then `anneal store import`)"
    }
}
