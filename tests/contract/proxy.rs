//! What stands between a store and a server, and makes trouble: it is gone, or cuts connections, or takes the condition
//! out of conditional writes.

use crate::server::Server;
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU8, Ordering},
    },
    thread,
};

/// More bytes than any test sends.
const PLENTY: i64 = i64::MAX / 2;
const HONEST: u8 = 0;
const GONE: u8 = 1;
const UNCONDITIONAL: u8 = 2;

/// A proxy for one server.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
}

struct State {
    server: u16,
    manner: AtomicU8,
    /// How many bytes still go through before the connections are cut: to the server, and from it.
    up: AtomicI64,
    down: AtomicI64,
}

impl Proxy {
    pub(crate) fn new(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            server: server.port(),
            manner: AtomicU8::new(HONEST),
            up: AtomicI64::new(PLENTY),
            down: AtomicI64::new(PLENTY),
        };
        let state = Arc::new(state);
        let shared = Arc::clone(&state);
        // ends with the process
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || state.serve(&client));
            }
        });
        Self { port, state }
    }

    /// Every connection is closed at once, until [`Proxy::heal`].
    pub(crate) fn vanish(&self) {
        self.state.manner.store(GONE, Ordering::SeqCst);
    }

    /// After so many bytes towards the server it is gone.
    pub(crate) fn vanish_after_sent(&self, bytes: i64) {
        self.state.up.store(bytes, Ordering::SeqCst);
    }

    /// After so many bytes from the server the connection is cut, once.
    pub(crate) fn cut_after_received(&self, bytes: i64) {
        self.state.down.store(bytes, Ordering::SeqCst);
    }

    /// Conditional writes arrive without their condition.
    pub(crate) fn drop_conditions(&self) {
        self.state.manner.store(UNCONDITIONAL, Ordering::SeqCst);
    }

    pub(crate) fn heal(&self) {
        self.state.up.store(PLENTY, Ordering::SeqCst);
        self.state.down.store(PLENTY, Ordering::SeqCst);
        self.state.manner.store(HONEST, Ordering::SeqCst);
    }

    /// Whether the cut that was asked for has happened.
    pub(crate) fn has_cut(&self) -> bool {
        self.state.down.load(Ordering::SeqCst) >= PLENTY / 2
    }
}

impl State {
    fn is_gone(&self) -> bool {
        self.manner.load(Ordering::SeqCst) == GONE
    }

    fn serve(self: &Arc<Self>, client: &TcpStream) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.server)) else { return };
        if self.is_gone() {
            return;
        }
        let (from, to, state) = (client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(self));
        let up = thread::spawn(move || {
            state.carry(&from, &to, true);
            end(&from, &to);
        });
        self.carry(&server, client, false);
        end(&server, client);
        let _ = up.join();
    }

    fn carry(&self, mut from: &TcpStream, mut to: &TcpStream, is_up: bool) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
            let left = if is_up { &self.up } else { &self.down };
            if self.is_gone() {
                return;
            }
            if left.fetch_sub(count as i64, Ordering::SeqCst) < count as i64 {
                if is_up {
                    self.manner.store(GONE, Ordering::SeqCst);
                } else {
                    left.store(PLENTY, Ordering::SeqCst);
                }
                return;
            }
            if is_up && self.manner.load(Ordering::SeqCst) == UNCONDITIONAL {
                forget_condition(&mut buffer[..count]);
            }
            if to.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    }
}

fn end(one: &TcpStream, other: &TcpStream) {
    let _ = one.shutdown(Shutdown::Both);
    let _ = other.shutdown(Shutdown::Both);
}

/// A header of another name, which no server knows.
fn forget_condition(bytes: &mut [u8]) {
    const NAME: &[u8] = b"if-none-match:";
    while let Some(at) = bytes.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME)) {
        bytes[at..at + 4].copy_from_slice(b"x-no");
    }
}
