//! The init program as a memory file that nothing can change.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::{Error, Result};

/// The program, built by `build.rs`.
pub(crate) const BYTES: &[u8] = include_bytes!(env!("ANNEAL_SANDBOX_INIT"));

/// A path at which this process and its children can execute the program.
pub(crate) fn path() -> Result<PathBuf> {
    static PROGRAM: OnceLock<std::result::Result<OwnedFd, i32>> = OnceLock::new();
    match PROGRAM.get_or_init(|| seal().map_err(|error| error.raw_os_error().unwrap_or(0))) {
        Ok(file) => Ok(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))),
        Err(errno) => Err(Error::Launch {
            action: "put the init program into memory",
            source: std::io::Error::from_raw_os_error(*errno),
        }),
    }
}

/// Writes the program into a memory file and seals it.
fn seal() -> std::io::Result<OwnedFd> {
    let base = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Kernels from 6.3 on want to be told that it will be executed; older ones do not know the flag.
    let executable = MFdFlags::from_bits_retain(libc::MFD_EXEC);
    let file = match memfd_create(c"anneal-sandbox-init", base | executable) {
        Err(Errno::EINVAL) => memfd_create(c"anneal-sandbox-init", base)?,
        other => other?,
    };
    let mut file = File::from(file);
    file.write_all(BYTES)?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}
