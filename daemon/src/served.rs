//! What the registry may serve: the closures of publications, and nothing else.

use crate::error::{Error, Result};
use anneal_attest::BUNDLE_MEDIA_TYPE;
use anneal_content::{BlobDigest, BlobSource as _};
use anneal_ledger::{EvidenceRef, Publication, State};
use anneal_oci::{Descriptor, EMPTY_CONFIG, ImageManifest, MediaType};
use anneal_registry::{Repository, Served};
use anneal_store::Store;

/// The snapshot that follows from the state.
///
/// A publication with a damaged document is left out, with a line in the log, so that the others go on being served.
pub(crate) fn served(state: &State, store: &Store) -> Served {
    let mut served = Served::default();
    for publication in state.served_publications() {
        let mut repository = served.repositories.get(&publication.image).cloned().unwrap_or_default();
        match add_publication(&mut repository, state, publication, store) {
            Ok(()) => drop(served.repositories.insert(publication.image.clone(), repository)),
            Err(error) => tracing::error!(
                candidate = %publication.candidate, image = %publication.image,
                "a publication is not served: {}; run `anneal store scrub`", error.chain()
            ),
        }
    }
    served
}

fn read(store: &Store, digest: &BlobDigest) -> Result<Vec<u8>> {
    Ok(store.read(digest).map_err(|source| anneal_content::Error::Read { digest: *digest, source })?)
}

fn add_publication(repository: &mut Repository, state: &State, publication: &Publication, store: &Store) -> Result<()> {
    let image = state
        .images
        .get(&publication.manifest)
        .ok_or_else(|| Error::Internal(format!("published image {} is unknown", publication.manifest)))?;
    repository.manifests.insert(publication.index, MediaType::INDEX.into());
    add_manifest(repository, &publication.manifest, store)?;
    for tag in &publication.tags {
        repository.tags.insert(tag.clone(), publication.index);
    }
    for (tag, digest) in &publication.extra_tags {
        repository.tags.insert(tag.clone(), *digest);
        add_manifest(repository, digest, store)?;
    }
    // The release key's word first: some clients read only the first page of referrers.
    for evidence in publication.evidence.iter().chain(&image.evidence) {
        add_referrer(repository, evidence, store)?;
    }
    Ok(())
}

fn add_manifest(repository: &mut Repository, digest: &BlobDigest, store: &Store) -> Result<ImageManifest> {
    let manifest = ImageManifest::parse(&read(store, digest)?)?;
    repository.manifests.insert(*digest, MediaType::MANIFEST.into());
    repository.blobs.insert(manifest.config.digest);
    repository.blobs.extend(manifest.layers.iter().map(|layer| layer.digest));
    Ok(manifest)
}

fn add_referrer(repository: &mut Repository, evidence: &EvidenceRef, store: &Store) -> Result<()> {
    let bytes = read(store, &evidence.referrer)?;
    let manifest = add_manifest(repository, &evidence.referrer, store)?;
    let Some(subject) = &manifest.subject else {
        return Err(Error::Internal(format!("referrer {} has no subject", evidence.referrer)));
    };
    repository.blobs.insert(BlobDigest::of(EMPTY_CONFIG));
    let mut descriptor = Descriptor::of(MediaType::MANIFEST, &bytes);
    descriptor.artifact_type = Some(manifest.artifact_type.clone().unwrap_or_else(|| BUNDLE_MEDIA_TYPE.into()));
    descriptor.annotations.clone_from(&manifest.annotations);
    let listed = repository.referrers.entry(subject.digest).or_default();
    if !listed.iter().any(|known| known.digest == descriptor.digest) {
        listed.push(descriptor);
    }
    Ok(())
}
