//! Questions to the kernel over netlink(7): a message out, messages back, each with attributes.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

pub(super) const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
pub(super) const REQUEST: u16 = 1;
pub(super) const ACK: u16 = 4;
const DUMP: u16 = 0x300;
/// The kind of an attribute, without the flags in its two highest bits.
const KIND: u16 = 0x3fff;
/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket to a part of the kernel; without one to what routes (NETLINK_ROUTE is 0).
pub(super) fn open(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    rustix::net::sockopt::set_socket_timeout(&fd, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE))?;
    Ok(fd)
}

/// Asks for a list and takes its items in: each what stands behind its header.
pub(super) fn dump(socket: &OwnedFd, kind: u16, asked: &[u8], mut take: impl FnMut(&[u8])) -> io::Result<()> {
    rustix::net::send(socket, &message(kind, REQUEST | DUMP, asked), SendFlags::empty())?;
    listen(socket, |answer, body| match answer {
        NLMSG_DONE | NLMSG_ERROR => error_of(body).map(|()| true),
        _ => {
            take(body);
            Ok(false)
        }
    })
}

/// Reads messages until one is the last; each with its kind and what stands behind its header.
pub(super) fn listen(socket: &OwnedFd, mut is_last: impl FnMut(u16, &[u8]) -> io::Result<bool>) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (_, read) = rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = buffer.get(..read).unwrap_or_default();
        if rest.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while let Some(length) = number::<4>(rest, 0).map(|bytes| u32::from_ne_bytes(bytes) as usize) {
            let Some(body) = rest.get(16..length) else { return Err(io::ErrorKind::InvalidData.into()) };
            let kind = number::<2>(rest, 4).map_or(0, u16::from_ne_bytes);
            if is_last(kind, body)? {
                return Ok(());
            }
            // Messages begin at multiples of four.
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

pub(super) fn error_of(body: &[u8]) -> io::Result<()> {
    match number::<4>(body, 0).map_or(0, i32::from_ne_bytes) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
    }
}

/// A message: its header and what stands behind it.
pub(super) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A string as attributes carry it.
pub(super) fn text(value: &str) -> Vec<u8> {
    [value.as_bytes(), b"\0"].concat()
}

pub(super) fn name_of(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.split(|&byte| byte == 0).next()?).ok()
}

/// Kind and value of each attribute.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(number(bytes, 0)?));
        let kind = u16::from_ne_bytes(number(bytes, 2)?) & KIND;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(super) fn value(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|attribute| attribute.0 == kind).map(|attribute| attribute.1)
}

/// A number or another few bytes at a place.
pub(super) fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_were_written_and_damaged_ones_end_the_list() {
        let mut bytes = attribute(1, &text("t"));
        bytes.extend(attribute(2 | 0x8000, &text("cut_abc")));
        assert_eq!(value(&bytes, 1).and_then(name_of), Some("t"));
        assert_eq!(value(&bytes, 2).and_then(name_of), Some("cut_abc"));
        for cut in 0..bytes.len() {
            assert!(attributes(&bytes[..cut]).count() <= 2);
        }
        for damaged in 0..=u8::MAX {
            bytes[0] = damaged;
            assert!(attributes(&bytes).count() < 10);
        }
    }
}
