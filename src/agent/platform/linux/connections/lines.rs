//! Lines of `/proc/PID/net/{tcp,tcp6,udp,udp6}`, after proc_pid_net(5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Protocol, Socket, socket, state};

/// Reads a line; `None` when it is none of a socket.
#[must_use]
pub fn parse_line(line: &[u8], protocol: Protocol) -> Option<Socket> {
    let text = std::str::from_utf8(line).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let number = fields.next()?.strip_suffix(':')?;
    number.parse::<u64>().ok()?;
    let (local, remote) = (address(fields.next()?)?, address(fields.next()?)?);
    let state = state(u8::from_str_radix(fields.next()?, 16).ok()?, protocol)?;
    // Queues, timer, retransmissions.
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Socket { uid, inode, ..socket(protocol, local, remote, state) })
}

/// `0100007F:1F90`, or 32 digits for IPv6: words of 32 bits, each in the machine's own byte order; the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (place, at) in bytes.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                place.copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::platform::connection::SocketState;

    #[test]
    fn lines_are_read_as_the_kernel_writes_them() {
        let line =
            b"  12: 0100007F:1F90 0200007F:0016 01 00000000:00000000 02:000A 00000000  1000        0 4711 2 0 20 4 30 10 -1";
        let socket = parse_line(line, Protocol::Tcp).unwrap();
        assert_eq!((socket.local.to_string().as_str(), socket.remote.to_string().as_str()), ("127.0.0.1:8080", "127.0.0.2:22"));
        assert_eq!((socket.state, socket.uid, socket.inode), (SocketState::Established, 1000, 4711));
        let line = b"   0: B80D01200000000000000000010000FE:0035 00000000000000000000000000000000:0000 07 0:0 00:0 0 0 0 9 2 x";
        let socket = parse_line(line, Protocol::Udp).unwrap();
        assert_eq!((socket.local.to_string().as_str(), socket.state), ("[2001:db8::fe00:1]:53", SocketState::Unconnected));
    }

    #[test]
    fn broken_lines_are_none() {
        for line in [
            &b""[..],
            b"  sl  local_address rem_address   st",
            b"0: 0100007F:1F90",
            b"0: 0100007F:1F90 0100007F:1F90 63 0:0 0:0 0 0 0 1",
            b"0: 0100007F:99999 0100007F:1F90 01 0:0 0:0 0 0 0 1",
            b"0: \xff0100007F:1 0100007F:1F90 01 0:0 0:0 0 0 0 1",
            b"0: 0100\xc3\xa97F:1 0100007F:1F90 01 0:0 0:0 0 0 0 1",
            b"0: 0100007F:1 0100007F:1F90 01 0:0 0:0 0 0 0 x",
        ] {
            assert!(parse_line(line, Protocol::Tcp).is_none(), "{line:?}");
        }
    }
}
