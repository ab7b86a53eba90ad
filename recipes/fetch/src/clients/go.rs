//! `go:` through go.
//!
//! `go mod download` fetches that module and no other into a cache that is thrown away; of a `go.mod` alone, `go list`.
//! Neither runs anything of the module. Go's own database of hashes is not asked: the digest decides, and where none is
//! known yet, the `go.sum` of whoever uses the module does, in the build.

use super::{
    Downloaded,
    run::{Run, directory},
};
use crate::{CoordinateKind, FetchConfig, fetcher::Unavailable, mirror::go_path};

pub(super) fn download(
    config: &FetchConfig,
    (module, version, go_mod): (&str, &str, bool),
    limit: u64,
) -> Result<Downloaded, Unavailable> {
    let via = || Some("go".to_owned());
    let keep = directory(&config.spool)?;
    let cache = keep.path().join("cache");
    let run = Run {
        program: &config.clients.go,
        instead: &CoordinateKind::Go.instead(),
        dir: keep.path(),
        cwd: None,
        limit,
        patience: config.patience,
    };
    let wanted = format!("{module}@{version}");
    let arguments: &[&str] = if go_mod { &["list", "-m", &wanted] } else { &["mod", "download", &wanted] };
    let (cache_text, own) = (cache.to_string_lossy(), keep.path().to_string_lossy());
    let environment = [
        ("GOMODCACHE", &*cache_text),
        ("GOCACHE", &*own),
        ("GOFLAGS", "-mod=mod -modcacherw"),
        ("GOSUMDB", "off"),
        ("GOTOOLCHAIN", "local"),
        ("GOWORK", "off"),
        ("GO111MODULE", "on"),
    ];
    run.answer(arguments.iter().copied(), &environment).map_err(|e| Unavailable { via: via(), ..e })?;
    let path = cache.join("cache/download").join(go_path(module, version, go_mod));
    if !path.is_file() {
        return Err(Unavailable { via: via(), reason: format!("go left no file of {wanted}") });
    }
    Ok(Downloaded { path, via: "go".to_owned(), _keep: Some(keep) })
}
