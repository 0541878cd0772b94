//! The sockets of the network namespace that a thread is in, asked of the kernel over netlink, after sock_diag(7).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::netdevice::index_to_name;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use super::{MAX_SOCKETS, Protocol, Socket, check, socket, state};
use crate::agent::context::Stop;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Adds every socket of one protocol and family.
pub(super) fn sockets(protocol: Protocol, v6: bool, found: &mut Vec<Socket>, stop: &Stop) -> io::Result<()> {
    let fd =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    // The kernel answers a dump at once or not at all; a kernel that does not is not waited for.
    rustix::net::sockopt::set_socket_timeout(
        &fd,
        rustix::net::sockopt::Timeout::Recv,
        Some(std::time::Duration::from_secs(10)),
    )?;
    rustix::net::send(&fd, &request(protocol, v6), SendFlags::empty())?;
    let mut interfaces: HashMap<u32, Option<String>> = HashMap::new();
    let mut interface = |number: u32| {
        let name = interfaces.entry(number).or_insert_with(|| index_to_name(&fd, number).ok());
        name.clone()
    };
    let mut buffer = vec![0; 256 * 1024];
    loop {
        check(stop)?;
        let (_, read) = rustix::net::recv(&fd, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = buffer.get(..read).unwrap_or_default();
        if rest.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while let Some(length) = u32_at(rest, 0).map(|length| length as usize) {
            let Some(message) = rest.get(HEADER..length) else { return Err(io::ErrorKind::InvalidData.into()) };
            match u16_at(rest, 4) {
                Some(NLMSG_DONE) => return Ok(()),
                Some(NLMSG_ERROR) => {
                    let code = u32_at(message, 0).unwrap_or(0).cast_signed();
                    return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                }
                Some(SOCK_DIAG_BY_FAMILY) if found.len() < MAX_SOCKETS => {
                    found.extend(parse(message, protocol, &mut interface));
                }
                _ => {}
            }
            // Messages begin at multiples of four.
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: all states, any address.
fn request(protocol: Protocol, v6: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(72);
    bytes.extend_from_slice(&72_u32.to_ne_bytes());
    bytes.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    let number = match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    bytes.extend_from_slice(&[if v6 { AF_INET6 } else { AF_INET }, number, 0, 0]);
    bytes.extend_from_slice(&u32::MAX.to_ne_bytes());
    bytes.resize(72, 0);
    bytes
}

/// `struct inet_diag_msg`.
fn parse(message: &[u8], protocol: Protocol, interface: impl FnOnce(u32) -> Option<String>) -> Option<Socket> {
    let (&family, &number) = (message.first()?, message.get(1)?);
    let port = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    let ip = |at: usize| {
        let bytes: [u8; 16] = message.get(at..at + 16)?.try_into().ok()?;
        Some(match family {
            AF_INET6 => IpAddr::from(Ipv6Addr::from(bytes)),
            _ => IpAddr::from(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
        })
    };
    let (local, remote) = (SocketAddr::new(ip(8)?, port(4)?), SocketAddr::new(ip(24)?, port(6)?));
    let interface = Some(u32_at(message, 40)?).filter(|&number| number != 0).and_then(interface);
    let (uid, inode) = (u32_at(message, 64)?, u64::from(u32_at(message, 68)?));
    Some(Socket { uid, inode, interface, ..socket(protocol, local, remote, state(number, protocol)?) })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
