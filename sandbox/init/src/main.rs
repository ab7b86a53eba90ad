//! Applies the operations of a sandbox, one after the other, and reports how it went.
//!
//! It is started with the control socket as standard input and the log pipe as standard output and error, and
//! with nothing else open. It reads a list of [`Op`]s from the socket, whole or in two parts. The list takes it from the host into the
//! new namespaces ([`enter`]), through the making of the root ([`mounts`]) and the loss of all privilege
//! ([`privilege`]) to a fork: process 1 becomes reaper ([`reaper`]) and prober ([`probe`]), its child the payload
//! ([`payload`]). Beside a sandbox of a caller without root it is also that caller's steward ([`steward`]). It is static and has one thread, since a process with two can't enter a user namespace.

#![cfg_attr(not(test), no_main)]

mod control;
mod enter;
mod landlock;
mod look;
mod mounts;
mod nameless;
mod payload;
mod privilege;
mod probe;
mod reaper;
mod steward;
mod syscall;
mod world;

use anneal_sandbox_op::Event;

use crate::control::Control;
use crate::syscall::Fault;
use crate::world::World;

/// Where the C library begins. What the standard library does before its own `main` (looking for its stack in `/proc`,
/// a handler for overflows of it) takes longer than entering the namespaces should, and no one here needs it.
// SAFETY: no other function of this program has this name.
#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn main(_count: libc::c_int, _arguments: *const *const libc::c_char) -> libc::c_int {
    let done = if std::env::args().nth(1).as_deref() == Some(look::ARGUMENT) {
        look::report()
    } else {
        sandbox().is_ok_and(|done| done)
    };
    if done { libc::EXIT_SUCCESS } else { libc::EXIT_FAILURE }
}

/// Reads lists and applies them. Returns only in processes that have nothing more to do, with whether they did it.
fn sandbox() -> Result<bool, Fault> {
    syscall::close_from(3, false)?;
    syscall::umask(0);
    // Otherwise process lists show the number of a descriptor.
    syscall::prctl(libc::PR_SET_NAME, c"anneal-sandbox".as_ptr() as u64, 0, "prctl PR_SET_NAME")?;
    let control = Control::from_standard_input()?;
    let mut world = World::new(control);
    // One list, or two: what can be done ahead of time, and then the rest.
    loop {
        let (ops, descriptor) = world.control().read_operations()?;
        world.take(descriptor);
        for (index, op) in ops.iter().enumerate() {
            match world.apply(op) {
                Ok(world::Next::Continue) => {}
                Ok(world::Next::Finish) => return Ok(true),
                Err(fault) => {
                    world.control().send(&Event::Failed(fault.report(index, op)))?;
                    world.forewarn();
                    return Ok(false);
                }
            }
        }
        world.control().send(&Event::Prepared)?;
    }
}
