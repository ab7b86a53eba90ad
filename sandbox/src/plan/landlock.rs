//! The second wall: what the payload may do with files even where a handle or a mount of the host should leak in.
//!
//! The mounts of a sandbox decide what can be seen. Landlock holds where they fail: a directory of the host that is
//! reached by a stray handle lies beneath none of the places named here, so nothing in it can be opened, not even for
//! reading. It takes no privilege, so it is the same for root and others. TCP is left alone: Landlock knows ports and
//! no addresses, tests bind the loopback, and the network namespace has nothing else.

use anneal_sandbox_op::{Op, Scope};

use crate::{HostFacts, MountSource, Result, Spec};

/// The first version of the interface that is used: before it no file could be moved to another directory.
pub(crate) const LANDLOCK_ABI: u32 = 2;
/// The first version with scopes.
const SCOPES_ABI: u32 = 6;
/// Places to write that every sandbox has.
const SHARED_MEMORY: &str = "/dev/shm";

/// The wall for a spec, if this host has any.
pub(super) fn operation(spec: &Spec, host: &HostFacts) -> Result<Option<Op>> {
    if host.landlock_abi < LANDLOCK_ABI {
        return Ok(None);
    }
    let mut write = vec![SHARED_MEMORY.to_owned()];
    for (index, mount) in spec.mounts.iter().enumerate() {
        if matches!(mount.source, MountSource::Scratch { .. } | MountSource::Output(_)) {
            write.push(super::mounts::text(&format!("mounts[{index}].at"), &mount.at)?.to_owned());
        }
    }
    if spec.writable_root {
        write = vec!["/".to_owned()];
    }
    write.sort_unstable();
    let scopes = if host.landlock_abi < SCOPES_ABI { Vec::new() } else { vec![Scope::AbstractSockets, Scope::Signals] };
    Ok(Some(Op::Landlock {
        abi: host.landlock_abi,
        read: vec!["/".to_owned()],
        write,
        devices: vec!["/dev".to_owned()],
        scopes,
    }))
}
