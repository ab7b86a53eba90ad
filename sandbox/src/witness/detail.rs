//! What the arguments of a call say, in words that are safe to print.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::listener::{Call, Listener, Memory, gone};
use crate::filter::{Detail, NAMESPACE_FLAGS};

/// So much of a path is read for a description.
const PATH: usize = 256;
/// The longest description, in characters.
const LENGTH: usize = 200;
/// So much of a socket address is read.
const ADDRESS: usize = 128;
/// Where name servers listen. Nothing in a sandbox can listen there, and a resolver that has no list asks this machine.
const NAME_SERVICE: u16 = 53;
const UNREADABLE: &str = "unreadable";

const FAMILIES: &[(u64, &str)] = &[
    (libc::AF_INET as u64, "inet"),
    (libc::AF_INET6 as u64, "inet6"),
    (libc::AF_NETLINK as u64, "netlink"),
    (libc::AF_PACKET as u64, "packet"),
    (libc::AF_ALG as u64, "alg"),
    (libc::AF_VSOCK as u64, "vsock"),
    (libc::AF_BLUETOOTH as u64, "bluetooth"),
    (libc::AF_CAN as u64, "can"),
    (libc::AF_TIPC as u64, "tipc"),
    (libc::AF_KEY as u64, "key"),
    (libc::AF_XDP as u64, "xdp"),
];
const COMMANDS: &[(u64, &str)] =
    &[(0x5412, "TIOCSTI"), (0x541c, "TIOCLINUX"), (0x541d, "TIOCCONS"), (0x5423, "TIOCSETD")];

/// Says what a refused call wanted.
pub(super) fn describe(detail: Detail, listener: &Listener, call: &Call) -> String {
    let path = |argument: u8| {
        let address = whole(call, argument);
        let memory = listener.memory(call, false);
        match memory.and_then(|memory| memory.string(address, PATH)) {
            Ok(bytes) => printable(&bytes, LENGTH),
            Err(_) => UNREADABLE.to_owned(),
        }
    };
    let mode = |argument: u8| format!("mode {:o}", low(call, argument) & 0o177_777);
    match detail {
        Detail::None => String::new(),
        Detail::Path(argument) => path(argument),
        Detail::PathAndMode(argument, bits) => format!("{} {}", path(argument), mode(bits)),
        Detail::Mode(bits) => mode(bits),
        Detail::Namespaces(argument) => namespaces(low(call, argument)),
        Detail::Socket => {
            format!("{}, type {}, protocol {}", named("family", FAMILIES, low(call, 0)), low(call, 1), low(call, 2))
        }
        Detail::Command => named("command", COMMANDS, low(call, 1)),
        Detail::Number(name, argument) => format!("{name} {}", low(call, argument)),
    }
}

fn whole(call: &Call, argument: u8) -> u64 {
    call.arguments.get(usize::from(argument)).copied().unwrap_or(0)
}

fn low(call: &Call, argument: u8) -> u64 {
    whole(call, argument) & 0xffff_ffff
}

fn namespaces(flags: u64) -> String {
    let set = NAMESPACE_FLAGS.iter().filter(|(_, flag)| flags & *flag as u64 != 0).map(|(name, _)| *name);
    set.collect::<Vec<_>>().join(",")
}

fn named(sort: &str, names: &[(u64, &str)], number: u64) -> String {
    match names.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => format!("{sort} {name}"),
        None => format!("{sort} {number}"),
    }
}

/// Text of a payload without anything that a terminal or a log would act on, and not too long.
pub(super) fn printable(bytes: &[u8], at_most: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::new();
    let mut length = 0;
    for character in text.chars() {
        // Marks that turn the direction of text around are no control characters.
        let invisible = character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        let piece = if invisible { character.escape_unicode().to_string() } else { character.to_string() };
        length += piece.chars().count();
        if length >= at_most {
            shown.push('…');
            break;
        }
        shown.push_str(&piece);
    }
    shown
}

/// The address of a call, if it leads out of the machine, or to a name service that can't be there.
pub(super) fn outward(listener: &Listener, call: &Call, pointer: u8, length: u8) -> Option<String> {
    let (address, length) = (whole(call, pointer), low(call, length) as usize);
    let read = |memory: Memory| memory.read(address, length.min(ADDRESS));
    match listener.memory(call, false) {
        // The kernel will read as little of it as this does.
        Ok(memory) => read(memory).ok().and_then(|bytes| decode(&bytes)),
        Err(error) if gone(&error) => None,
        Err(_) => Some(UNREADABLE.to_owned()),
    }
}

/// An internet address that is not this machine's own. Other families stay on the machine or can't be had.
fn decode(bytes: &[u8]) -> Option<String> {
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    let address = match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(*rest.first_chunk::<4>()?)),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(*rest.get(4..)?.first_chunk::<16>()?)).to_canonical(),
        _ => return None,
    };
    // The address of no machine means this one.
    let here = address.is_loopback() || address.is_unspecified();
    let shown = std::net::SocketAddr::new(address, port).to_string();
    match (here, port) {
        (true, NAME_SERVICE) => Some(format!("{shown} (name service)")),
        (true, _) => None,
        (false, _) => Some(shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(address: [u8; 4], port: u16) -> Vec<u8> {
        let mut bytes = (libc::AF_INET as u16).to_ne_bytes().to_vec();
        bytes.extend(port.to_be_bytes());
        bytes.extend(address);
        bytes.extend([0; 8]);
        bytes
    }

    fn v6(address: &str, port: u16) -> Vec<u8> {
        let mut bytes = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
        bytes.extend(port.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(address.parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn only_an_address_beyond_this_machine_counts_and_the_name_service_that_is_not_there() {
        let said = |bytes: Vec<u8>| decode(&bytes);
        assert_eq!(said(v4([192, 0, 2, 1], 443)).as_deref(), Some("192.0.2.1:443"));
        assert_eq!(said(v6("2001:db8::1", 53)).as_deref(), Some("[2001:db8::1]:53"));
        assert_eq!(said(v6("::ffff:192.0.2.1", 80)).as_deref(), Some("192.0.2.1:80"));
        assert_eq!(said(v4([127, 0, 0, 1], 53)).as_deref(), Some("127.0.0.1:53 (name service)"));
        for here in [v4([127, 0, 0, 1], 80), v4([0; 4], 80), v6("::1", 80), v6("::", 80), v6("::ffff:127.0.0.1", 80)] {
            assert_eq!(said(here), None);
        }
        let unix = (libc::AF_UNIX as u16).to_ne_bytes();
        for strange in [vec![], vec![2], unix.to_vec(), [&unix[..], b"/run/socket\0"].concat()] {
            assert_eq!(said(strange), None);
        }
        for length in 0..8 {
            assert_eq!(said(v4([192, 0, 2, 1], 443)[..length].to_vec()), None, "{length} bytes");
        }
    }

    #[test]
    fn text_of_a_payload_is_shown_without_what_a_terminal_acts_on() {
        let shown = |bytes: &[u8]| printable(bytes, LENGTH);
        assert_eq!(shown(b"/tmp/\x1b[31mred\n"), "/tmp/\\u{1b}[31mred\\u{a}");
        assert_eq!(shown("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(shown(&[b'x', 0xff]), "x\u{fffd}");
        let long = shown(&[b'x'; 1000]);
        assert_eq!(long.chars().count(), LENGTH);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn flags_and_numbers_have_names_where_there_are_any() {
        assert_eq!(namespaces(0x1002_0011), "mount,user");
        assert_eq!(named("family", FAMILIES, 40), "family vsock");
        assert_eq!(named("family", FAMILIES, 99), "family 99");
    }
}
