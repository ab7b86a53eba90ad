//! How large a layer, a path, an image and a document may be.
//!
//! Layers are made of what builds left behind, and documents may come from any registry, so each size has a limit.

use crate::Error;

/// The most entries in one layer, synthesized parents included.
pub const ENTRIES_MAX: u64 = 1_000_000;
/// The most bytes of file content in one layer.
pub const LAYER_BYTES_MAX: u64 = 64 << 30;
/// The longest path in a layer; Linux allows 4096 with the final NUL.
pub const PATH_BYTES_MAX: u64 = 4095;
/// The most layers in an image: what overlay-based clients can mount.
pub const LAYERS_MAX: u64 = 127;
/// The largest config, manifest or index that is written or parsed: 4 MiB, as registries accept.
pub const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// The latest time in a layer: what eleven octal digits hold.
pub(crate) const EPOCH_MAX: u64 = 0o777_7777_7777;

/// Refuses what is over its limit.
pub(crate) fn within(what: &'static str, limit: u64, found: u64) -> Result<(), Error> {
    if found > limit { Err(Error::TooLarge { what, limit, found }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_admits_itself_and_nothing_more() {
        for limit in [ENTRIES_MAX, LAYER_BYTES_MAX, PATH_BYTES_MAX, LAYERS_MAX, DOCUMENT_BYTES_MAX, EPOCH_MAX] {
            assert!(within("thing", limit, limit).is_ok());
            let refused = within("thing", limit, limit + 1).unwrap_err().to_string();
            assert!(refused.contains(&limit.to_string()), "{refused}");
        }
    }
}
