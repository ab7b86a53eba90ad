//! A started init program and this side of its control socket.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anneal_sandbox_op::{WireError, decode, encode, frame_length};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result, program};

/// Starts the init program with a control socket as its standard input; what it says goes to the two others.
pub(crate) fn start(output: Stdio, error: Stdio) -> Result<(Child, UnixStream)> {
    let launch = |action| move |source| Error::Launch { action, source };
    let (control, theirs) = UnixStream::pair().map_err(launch("make the control socket"))?;
    let mut command = Command::new(program::path()?);
    // Otherwise process lists show the number of a descriptor.
    command.arg0("anneal-sandbox");
    command.env_clear().current_dir("/");
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(output).stderr(error);
    // With the command go this process's copies of the other ends.
    let child = command.spawn().map_err(launch("start the init program"))?;
    Ok((child, control))
}

/// Sends a message, and a descriptor with its first byte.
pub(crate) fn send<T: Serialize + ?Sized>(
    mut control: &UnixStream,
    message: &T,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let bytes = encode(message).map_err(broken)?;
    let Some(descriptor) = descriptor else { return control.write_all(&bytes) };
    let (first, rest) = bytes.split_at_checked(1).unwrap_or((&bytes, &[]));
    let passed = [descriptor.as_raw_fd()];
    let with = [ControlMessage::ScmRights(&passed)];
    sendmsg::<()>(control.as_raw_fd(), &[IoSlice::new(first)], &with, MsgFlags::MSG_NOSIGNAL, None)?;
    control.write_all(rest)
}

/// Waits for the next message, and takes the descriptor that came with its first byte.
pub(crate) fn receive<T: DeserializeOwned>(mut control: &UnixStream) -> io::Result<(T, Option<OwnedFd>)> {
    let mut prefix = [0; 4];
    let (length, descriptor) = receive_some(control, &mut prefix)?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    control.read_exact(prefix.get_mut(length..).unwrap_or_default())?;
    let mut bytes = vec![0; frame_length(prefix).map_err(broken)?];
    control.read_exact(&mut bytes)?;
    Ok((decode(&bytes).map_err(broken)?, descriptor))
}

/// What there is of a message, up to the room for it.
pub(crate) fn receive_some(control: &UnixStream, room: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [IoSliceMut::new(room)];
    let message = recvmsg::<()>(control.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut passed = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            // SAFETY: the kernel has just made these descriptors for this message; nothing else owns them.
            passed.extend(descriptors.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok((message.bytes, passed.pop()))
}

fn broken(error: WireError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
