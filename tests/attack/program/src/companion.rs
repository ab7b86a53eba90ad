//! What stands on the host while a probe runs: things of the same user that must be out of its reach.
//!
//! It holds what its arguments name until its standard input closes, and then says what was touched.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::call::{c, raw};
use crate::report::Attack;

const PAUSE: Duration = Duration::from_millis(3);

/// Holds `abstract=NAME`, `socket=PATH`, `tcp=yes`, `memory=KEY` and calls `inward=NAME`.
pub(crate) fn run(attack: &Attack) -> ExitCode {
    let named =
        |name: &str| SocketAddr::from_abstract_name(name).and_then(|address| UnixListener::bind_addr(&address)).ok();
    let listener = attack.arg("abstract").and_then(named);
    let at_path = attack.arg("socket").and_then(|path| UnixListener::bind(path).ok());
    let tcp = attack.arg("tcp").and_then(|_| TcpListener::bind("127.0.0.1:0").ok());
    let memory = attack.number::<i64>("memory").map(hold_memory);
    let port = tcp.as_ref().and_then(|tcp| tcp.local_addr().ok()).map_or(0, |address| address.port());
    println!("ready pid={} tcp={port}", std::process::id());
    let _ = std::io::stdout().flush();
    [listener.as_ref(), at_path.as_ref()].into_iter().flatten().for_each(|socket| drop(socket.set_nonblocking(true)));
    if let Some(tcp) = &tcp {
        let _ = tcp.set_nonblocking(true);
    }
    let over = AtomicBool::new(false);
    let mut touched: Vec<&str> = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) {
            let mut touch = |what, was: bool| {
                if was && !touched.contains(&what) {
                    touched.push(what)
                }
            };
            touch("an abstract socket", listener.as_ref().is_some_and(|socket| socket.accept().is_ok()));
            touch("a socket at a path", at_path.as_ref().is_some_and(|socket| socket.accept().is_ok()));
            touch("a port", tcp.as_ref().is_some_and(|socket| socket.accept().is_ok()));
            if let Some(name) = attack.arg("inward") {
                let reached =
                    SocketAddr::from_abstract_name(name).and_then(|address| UnixStream::connect_addr(&address));
                touch("the inside", reached.is_ok());
            }
            std::thread::sleep(PAUSE);
        }
    });
    if let Some(held) = memory {
        release_memory(held);
    }
    touched.iter().for_each(|what| println!("touched {what}"));
    println!("over");
    ExitCode::SUCCESS
}

/// A segment, a set of semaphores and a queue, all for this user alone.
fn hold_memory(key: i64) -> [i64; 3] {
    let make = i64::from(libc::IPC_CREAT | 0o600);
    let name = c("anneal-attack");
    let flags = i64::from(libc::O_CREAT | libc::O_RDWR);
    // A named queue needs a limit that some hosts set to nothing.
    let _ = raw(libc::SYS_mq_open, &[name.as_ptr() as i64, flags, 0o600, 0]);
    [
        raw(libc::SYS_shmget, &[key, 4096, make]).unwrap_or(-1),
        raw(libc::SYS_semget, &[key, 1, make]).unwrap_or(-1),
        raw(libc::SYS_msgget, &[key, make]).unwrap_or(-1),
    ]
}

fn release_memory([segment, semaphores, queue]: [i64; 3]) {
    let remove = i64::from(libc::IPC_RMID);
    let name = c("anneal-attack");
    let _ = raw(libc::SYS_shmctl, &[segment, remove, 0]);
    let _ = raw(libc::SYS_semctl, &[semaphores, 0, remove, 0]);
    let _ = raw(libc::SYS_msgctl, &[queue, remove, 0]);
    let _ = raw(libc::SYS_mq_unlink, &[name.as_ptr() as i64]);
}

/// Runs a command in a session of the kernel's keyrings that holds a key, as a login's would.
pub(crate) fn under_key(command: &[String]) -> ExitCode {
    let Some((program, args)) = command.split_first() else { return ExitCode::from(2) };
    let (kind, name, value) = (c("user"), c("anneal-attack"), c("of the host"));
    let joined = raw(libc::SYS_keyctl, &[1, 0]);
    let added = raw(libc::SYS_add_key, &[kind.as_ptr() as i64, name.as_ptr() as i64, value.as_ptr() as i64, 11, -3]);
    let planted = joined.is_ok() && added.is_ok();
    // Returns only if it fails.
    let error =
        Command::new(program).args(args).env("ANNEAL_ATTACK_KEY", if planted { "planted" } else { "none" }).exec();
    println!("cannot run {program}: {error}");
    ExitCode::from(4)
}
