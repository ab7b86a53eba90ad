//! Ways out over sockets.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use crate::call::{address_mut, descriptor, raw};
use crate::report::Attack;

const PATIENCE: Duration = Duration::from_millis(300);

fn connect_abstract(name: &str) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&UnixAddr::from_abstract_name(name)?)
}

/// P01: the host listens, and so does a socket of the kind that pathnames do not guard.
pub(crate) fn host_abstract_socket(attack: &Attack) {
    attack.fails("connect to an abstract socket of the host", connect_abstract(attack.text("abstract")));
    let address = UnixAddr::from_abstract_name(attack.text("abstract"));
    let send = address.and_then(|to| std::os::unix::net::UnixDatagram::unbound()?.connect_addr(&to));
    // A stream socket is the wrong kind, which only one that is there can say.
    let error = send.err().and_then(|error| error.raw_os_error());
    attack.say(
        error == Some(libc::ECONNREFUSED) || error == Some(libc::EPERM),
        "send to it",
        format!("error {error:?}"),
    );
}

/// P02: host and sibling try to connect while this listens.
pub(crate) fn own_abstract_socket(attack: &Attack) {
    let name = attack.text("inward");
    if attack.arg("role") == Some("sibling") {
        let end = Instant::now() + PATIENCE;
        let mut reached = false;
        while Instant::now() < end && !reached {
            reached = connect_abstract(name).is_ok();
            std::thread::sleep(Duration::from_millis(5));
        }
        return attack.say(
            !reached,
            "connect to an abstract socket of a sibling",
            if reached { "done" } else { "refused" },
        );
    }
    let listener = UnixAddr::from_abstract_name(name).and_then(|address| UnixListener::bind_addr(&address));
    let Ok(listener) = listener else { return attack.say(false, "listen", "the name is taken by someone outside") };
    let own = connect_abstract(name).and_then(|_| listener.accept());
    attack.say(own.is_ok(), "connect to itself", format!("{:?}", own.map(drop)));
    let _ = listener.set_nonblocking(true);
    let (end, mut callers) = (Instant::now() + PATIENCE, 0);
    while Instant::now() < end {
        callers += u32::from(listener.accept().is_ok());
        std::thread::sleep(Duration::from_millis(2));
    }
    attack.say(callers == 0, "be called from outside", format!("{callers} callers"));
}

/// P03: a handle of an output would let another process write to it later.
pub(crate) fn pass_a_descriptor(attack: &Attack) {
    let path = format!("{}/passed", attack.text("out"));
    let Ok(file) = std::fs::File::create(&path) else { return attack.say(false, "make a file", path) };
    for (kind, stream) in [
        ("an abstract socket of the host", connect_abstract(attack.text("abstract"))),
        ("an abstract socket of a sibling", connect_abstract(attack.text("inward"))),
        ("a socket of the host by its path", UnixStream::connect(attack.text("socket"))),
    ] {
        let sent = stream.and_then(|stream| send_descriptor(&stream, file.as_raw_fd()));
        attack.fails(&format!("pass a descriptor of an output to {kind}"), sent);
    }
}

/// Sends one descriptor with one byte.
fn send_descriptor(stream: &UnixStream, fd: i32) -> io::Result<()> {
    let mut byte = [b'x'];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // The header of 16 bytes and one descriptor, padded to 8.
    let control: [u64; 3] = [20, (libc::SOL_SOCKET as u64) | (libc::SCM_RIGHTS as u64) << 32, fd as u64];
    // SAFETY: a message header is plain integers and addresses; zero is an empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_ptr() as *mut libc::c_void;
    message.msg_controllen = size_of_val(&control);
    // SAFETY: header, part and control block outlive the call.
    Attack::result(unsafe { libc::sendmsg(stream.as_raw_fd(), &message, 0) } as i64).map(drop)
}

/// P14: families that are not for builds. A socket is closed at once.
pub(crate) fn families(attack: &Attack) {
    for (name, family, kind, protocol) in [
        ("packet", 17, 3, 0),
        ("vsock", 40, 1, 0),
        ("alg", 38, 5, 0),
        ("bluetooth", 31, 3, 1),
        ("xdp", 44, 3, 0),
        ("key", 15, 3, 2),
        ("can", 29, 3, 1),
        ("tipc", 30, 1, 0),
        ("rds", 21, 5, 0),
        ("qipcrtr", 42, 2, 0),
        ("smc", 43, 1, 0),
        ("netlink audit", 16, 3, 9),
        ("netlink generic", 16, 3, 16),
        ("netlink netfilter", 16, 3, 12),
        ("netlink sock_diag", 16, 3, 4),
        ("netlink kobject_uevent", 16, 3, 15),
        ("raw icmp", 2, 3, 1),
        ("raw ip", 2, 3, 255),
        ("sctp", 2, 1, 132),
        ("mptcp", 2, 1, 262),
    ] {
        attack.refused(name, descriptor(libc::SYS_socket, &[family, kind | i64::from(libc::SOCK_CLOEXEC), protocol]));
        // The same with bits above those that the kernel reads.
        let high = family | 1 << 32;
        attack.refused(&format!("{name}, high bits"), descriptor(libc::SYS_socket, &[high, kind, protocol]));
    }
    // Of most families the kernel makes both sockets of a pair before it says that they come in none.
    for (name, family) in [("vsock", 40), ("tipc", 30), ("inet", 2)] {
        let mut pair = [0i32; 2];
        let made = raw(libc::SYS_socketpair, &[family, 1, 0, address_mut(&mut pair)]);
        let errno = made.err().and_then(|error| error.raw_os_error());
        attack.say(errno == Some(libc::EPERM), &format!("a pair of {name} is refused"), format!("{errno:?}"));
    }
}

/// P50: interfaces, routes, and whatever can be reached. Where there is more than a loopback nothing is sent to it.
pub(crate) fn reach(attack: &Attack) {
    let table = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let names: Vec<&str> = table.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect();
    attack.say(names == ["lo"], "interfaces", names.join(" "));
    let routes = std::fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    attack.say(routes.lines().count() <= 1, "routes", format!("{} lines", routes.lines().count()));
    for port in attack.list("tcp") {
        let to: io::Result<SocketAddr> =
            port.parse().map(|port: u16| (Ipv4Addr::LOCALHOST, port).into()).map_err(io::Error::other);
        attack.fails(
            "connect to a listener on the host's loopback",
            to.and_then(|to| TcpStream::connect_timeout(&to, PATIENCE)),
        );
    }
    let udp = |to: &str| UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"x", to));
    if names == ["lo"] {
        for to in ["169.254.169.254:80", "192.0.2.1:443", "192.0.2.1:53", "[::1]:9", "[2001:db8::1]:443"] {
            let result = to.parse().map_err(io::Error::other).and_then(|to| TcpStream::connect_timeout(&to, PATIENCE));
            attack.fails(&format!("connect to {to}"), result);
        }
        for to in ["192.0.2.1:53", "169.254.169.254:123", "224.0.0.251:5353", "255.255.255.255:67"] {
            attack.fails(&format!("send a datagram to {to}"), udp(to));
        }
    }
    // The loopback is there and works, since the tests of many builds need it.
    let own =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| TcpStream::connect(listener.local_addr()?));
    attack.say(own.is_ok(), "connect to the own loopback", format!("{:?}", own.map(drop)));
}

/// P51: programs of the host that answer at a path.
pub(crate) fn name_services(attack: &Attack) {
    for path in [
        "/run/nscd/socket",
        "/var/run/nscd/socket",
        "/run/systemd/resolve/io.systemd.Resolve",
        "/run/dbus/system_bus_socket",
        "/run/systemd/private",
        "/run/systemd/journal/socket",
        "/dev/log",
        "/var/lib/sss/pipes/nss",
        "/run/avahi-daemon/socket",
    ] {
        attack.absent(&format!("connect to {path}"), UnixStream::connect(path));
    }
    attack.absent("connect to a socket of the host by its path", UnixStream::connect(attack.text("socket")));
    let resolved = std::net::ToSocketAddrs::to_socket_addrs(&("anneal.invalid", 80)).map(drop);
    attack.fails("resolve a name", resolved);
}

/// P62: where the daemon and others who may command it listen.
pub(crate) fn control_sockets(attack: &Attack) {
    for path in
        ["/run/anneal/anneal.sock", "/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock"]
    {
        attack.absent(&format!("connect to {path}"), UnixStream::connect(path));
    }
    let path = attack.text("socket");
    attack.absent("connect to a socket in a directory of the daemon", UnixStream::connect(path));
    let handle: io::Result<OwnedFd> = crate::call::open_at(libc::AT_FDCWD, path, libc::O_PATH, 0);
    attack.absent("hold a handle of it", handle);
    let through = format!("/proc/1/root{path}");
    let result = UnixStream::connect(&through);
    let held = result.as_ref().is_err_and(|e| matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound));
    attack.say(held, "connect to it through process 1", format!("{:?}", result.map(drop)));
}
