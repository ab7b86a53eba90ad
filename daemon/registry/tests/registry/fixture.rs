//! A store with one published image and its evidence, one unpublished image, and a server on a free port.

use crate::http::{Reply, send};
use anneal_content::{BlobDigest, EntryKind, ImageName, Tag, TreePath};
use anneal_oci::*;
use anneal_registry::{Repository, Served, router};
use anneal_store::{OpenMode, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    num::NonZeroUsize,
    sync::Arc,
};
use tokio::sync::watch;

pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
pub(crate) const SBOM: &str = "application/spdx+json";
/// Bytes in the image's one file: enough for a layer of several of the store's chunks.
const PAYLOAD: usize = 5 << 20;

/// An image in the store, published or not.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) manifest: Document,
    pub(crate) config: Document,
    pub(crate) layer: PackedLayer,
    pub(crate) layer_bytes: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<Store>,
    pub(crate) published: Image,
    pub(crate) unpublished: Image,
    pub(crate) attached: Vec<Descriptor>,
    pub(crate) served: watch::Sender<Arc<Served>>,
    // dropped last: the server runs in the runtime and reads the directory
    _runtime: tokio::runtime::Runtime,
    pub(crate) dir: tempfile::TempDir,
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 4);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 24).to_le_bytes()[..4]);
    }
    bytes.truncate(length);
    bytes
}

fn image(store: &Store, seed: u64) -> Image {
    let payload = noise(seed, PAYLOAD);
    let digest = store.put_blob(&payload).unwrap();
    let kind = EntryKind::File { digest, size: payload.len() as u64 };
    let path = TreePath::new("usr/share/noise").unwrap();
    let entries = [LayerEntry { path, kind, mode: 0o644, uid: 0, gid: 0 }];
    let packing = Packing::new(Compression::Gzip, NonZeroUsize::MIN, 86_400);
    let mut layer_bytes = Vec::new();
    let layer = pack_layer(&entries, store, &packing, &mut layer_bytes).unwrap();
    let config = image_config(&ConfigInput {
        platform: Platform::linux_amd64(),
        created_secs: 86_400,
        user: "65532:65532".into(),
        entrypoint: vec!["/usr/share/noise".into()],
        cmd: Vec::new(),
        env: BTreeMap::new(),
        workdir: None,
        ports: BTreeSet::new(),
        stop_signal: None,
        labels: BTreeMap::new(),
        layers: vec![ConfigLayer { diff_id: layer.diff_id, created_by: "test".into() }],
    })
    .unwrap();
    let manifest = image_manifest(&ManifestInput {
        config: config.descriptor(),
        layers: vec![layer.descriptor()],
        annotations: BTreeMap::new(),
    })
    .unwrap();
    store.put_blobs(&[&layer_bytes, &config.bytes, &manifest.bytes]).unwrap();
    Image { manifest, config, layer, layer_bytes, payload }
}

/// Evidence about the image: its manifest's descriptor for the list of referrers.
fn attach(store: &Store, subject: &Image, kind: &str, repository: &mut Repository) -> Descriptor {
    let evidence = format!("evidence of type {kind}").into_bytes();
    let note = BTreeMap::from([("org.opencontainers.image.created".to_owned(), "1970-01-02T00:00:00Z".to_owned())]);
    let layer = Descriptor::of(kind, &evidence);
    let manifest =
        referrer_manifest(&subject.manifest.descriptor(), kind, std::slice::from_ref(&layer), &note).unwrap();
    store.put_blobs(&[&evidence, EMPTY_CONFIG, &manifest.bytes]).unwrap();
    repository.manifests.insert(manifest.digest(), manifest.media_type.to_owned());
    repository.blobs.extend([layer.digest, BlobDigest::of(EMPTY_CONFIG)]);
    Descriptor { artifact_type: Some(kind.to_owned()), annotations: note, ..manifest.descriptor() }
}

pub(crate) fn name(text: &str) -> ImageName {
    ImageName::new(text).unwrap()
}

pub(crate) fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap()
}

impl Registry {
    /// The image `team/noise` under the tags `latest` and `1.0`, with a signature and an SBOM, and `other`, an
    /// empty repository.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("store"), OpenMode::ReadWrite).unwrap());
        let (published, unpublished) = (image(&store, 1), image(&store, 2));
        let manifest = published.manifest.digest();
        let mut repository = Repository {
            tags: BTreeMap::from([(tag("latest"), manifest), (tag("1.0"), manifest)]),
            manifests: BTreeMap::from([(manifest, MediaType::MANIFEST.to_owned())]),
            blobs: BTreeSet::from([published.config.digest(), published.layer.digest]),
            referrers: BTreeMap::new(),
        };
        let attached = [BUNDLE, SBOM].map(|kind| attach(&store, &published, kind, &mut repository)).to_vec();
        repository.referrers.insert(manifest, attached.clone());
        let repositories = [(name("team/noise"), repository), (name("other"), Repository::default())];
        let (served, receiver) = watch::channel(Arc::new(Served { repositories: repositories.into() }));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let app = router(Arc::clone(&store), receiver);
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { address, store, published, unpublished, attached, served, _runtime: runtime, dir }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[])
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        send(self.address, method, path, headers)
    }

    /// Changes what is served, as the daemon does after a publication.
    pub(crate) fn change(&self, change: impl FnOnce(&mut BTreeMap<ImageName, Repository>)) {
        let mut next = Served::clone(&self.served.borrow());
        change(&mut next.repositories);
        self.served.send_replace(Arc::new(next));
    }

    pub(crate) fn layer_path(&self) -> String {
        format!("/v2/team/noise/blobs/{}", self.published.layer.digest)
    }
}
