//! What the kernel says of an isolation, asked over netlink, and how it is ended.
//!
//! The few messages of `linux/netfilter/nf_tables.h` and `nfnetlink.h` that this takes, spoken here directly: an isolation must be
//! seen and ended though the device's `nft` is gone, or lies.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use super::{SET, TABLE};
use crate::agent::platform::isolation::Isolation;

const SUBSYSTEM: u16 = 10;
const GETTABLE: u16 = SUBSYSTEM * 256 + 1;
const DELTABLE: u16 = SUBSYSTEM * 256 + 2;
const GETSET: u16 = SUBSYSTEM * 256 + 10;
const GETSETELEM: u16 = SUBSYSTEM * 256 + 13;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
/// `struct nlmsghdr` and `struct nfgenmsg`.
const HEADER: usize = 20;

/// `NFPROTO_INET` and `NFPROTO_NETDEV`: the families that the table may be in.
const INET: u8 = 1;
const NETDEV: u8 = 5;

const TABLE_NAME: u16 = 1;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const ELEMENT_TIMEOUT: u16 = 4;
const ELEMENT_EXPIRATION: u16 = 5;
/// The kind of an attribute, without the flags in its two highest bits.
const KIND: u16 = 0x3fff;

/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The isolation that is there, or its remains.
pub(super) fn isolation() -> io::Result<Option<Isolation>> {
    let socket = open()?;
    let mut found = None;
    for family in [INET, NETDEV] {
        let asked = attribute(SET_TABLE, &text(TABLE));
        let mut token = None;
        let there = dump(&socket, GETSET, family, &asked, |set| {
            let name = value(set, SET_NAME).and_then(name_of);
            token = token.take().or_else(|| name.and_then(|name| name.strip_prefix(SET).map(ToOwned::to_owned)));
        });
        match there {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => continue,
            other => other?,
        }
        let Some(token) = token else { continue };
        let mut asked = attribute(LIST_TABLE, &text(TABLE));
        asked.extend(attribute(LIST_SET, &text(&format!("{SET}{token}"))));
        let mut left = None;
        let there = dump(&socket, GETSETELEM, family, &asked, |list| {
            for element in attributes(value(list, LIST_ELEMENTS).unwrap_or_default()) {
                left = left.max(remaining(element.1));
            }
        });
        match there {
            // Its end came between the two questions.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => continue,
            other => other?,
        }
        let this = Isolation { token, left };
        if this.left.is_some() {
            return Ok(Some(this));
        }
        found = found.or(Some(this));
    }
    Ok(found)
}

/// Takes the table away wherever it is; whether it was anywhere.
pub(super) fn release() -> io::Result<bool> {
    let socket = open()?;
    let mut any = false;
    for family in [INET, NETDEV] {
        let name = attribute(TABLE_NAME, &text(TABLE));
        rustix::net::send(&socket, &message(GETTABLE, REQUEST | ACK, family, 0, &name), SendFlags::empty())?;
        match until_acknowledged(&socket) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => continue,
            other => other?,
        }
        let batch = [
            message(BATCH_BEGIN, REQUEST, 0, SUBSYSTEM, &[]),
            message(DELTABLE, REQUEST | ACK, family, 0, &name),
            message(BATCH_END, REQUEST, 0, SUBSYSTEM, &[]),
        ];
        rustix::net::send(&socket, &batch.concat(), SendFlags::empty())?;
        match until_acknowledged(&socket) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {}
            other => other?,
        }
        any = true;
    }
    Ok(any)
}

fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::NETFILTER))?;
    rustix::net::sockopt::set_socket_timeout(&fd, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE))?;
    Ok(fd)
}

/// Asks for a list and takes its items in.
fn dump(socket: &OwnedFd, kind: u16, family: u8, asked: &[u8], mut take: impl FnMut(&[u8])) -> io::Result<()> {
    rustix::net::send(socket, &message(kind, REQUEST | DUMP, family, 0, asked), SendFlags::empty())?;
    listen(socket, |answer, body| match answer {
        NLMSG_DONE => error_of(body).map(|()| true),
        NLMSG_ERROR => error_of(body).map(|()| true),
        _ => {
            take(body.get(4..).unwrap_or_default());
            Ok(false)
        }
    })
}

/// Waits for the word that something was done, or why not.
fn until_acknowledged(socket: &OwnedFd) -> io::Result<()> {
    listen(socket, |answer, body| if answer == NLMSG_ERROR { error_of(body).map(|()| true) } else { Ok(false) })
}

/// Reads messages until one is the last; each with its kind and what stands behind its header.
fn listen(socket: &OwnedFd, mut is_last: impl FnMut(u16, &[u8]) -> io::Result<bool>) -> io::Result<()> {
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

fn error_of(body: &[u8]) -> io::Result<()> {
    match number::<4>(body, 0).map_or(0, i32::from_ne_bytes) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
    }
}

/// A message: its header, `struct nfgenmsg`, attributes.
fn message(kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A string as attributes carry it.
fn text(value: &str) -> Vec<u8> {
    [value.as_bytes(), b"\0"].concat()
}

fn name_of(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.split(|&byte| byte == 0).next()?).ok()
}

/// Kind and value of each attribute.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(number(bytes, 0)?));
        let kind = u16::from_ne_bytes(number(bytes, 2)?) & KIND;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn value(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|attribute| attribute.0 == kind).map(|attribute| attribute.1)
}

/// How long an element stays; `None` when its time is over.
fn remaining(element: &[u8]) -> Option<Duration> {
    let millis = |kind| value(element, kind).and_then(|value| number(value, 0)).map(u64::from_be_bytes);
    let left = millis(ELEMENT_EXPIRATION).or_else(|| millis(ELEMENT_TIMEOUT))?;
    (left > 0).then(|| Duration::from_millis(left))
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_were_written_and_damaged_ones_end_the_list() {
        let mut bytes = attribute(SET_TABLE, &text("t"));
        bytes.extend(attribute(SET_NAME | 0x8000, &text("cut_abc")));
        assert_eq!(value(&bytes, SET_TABLE).and_then(name_of), Some("t"));
        assert_eq!(value(&bytes, SET_NAME).and_then(name_of), Some("cut_abc"));
        for cut in 0..bytes.len() {
            assert!(attributes(&bytes[..cut]).count() <= 2);
        }
        for damaged in 0..=u8::MAX {
            bytes[0] = damaged;
            assert!(attributes(&bytes).count() < 10);
        }
    }

    #[test]
    fn an_element_stays_as_long_as_the_kernel_says() {
        let element = |timeout: u64, left: Option<u64>| {
            let mut bytes = attribute(ELEMENT_TIMEOUT, &timeout.to_be_bytes());
            bytes.extend(left.map(|left| attribute(ELEMENT_EXPIRATION, &left.to_be_bytes())).unwrap_or_default());
            remaining(&bytes)
        };
        assert_eq!(element(5000, Some(1500)), Some(Duration::from_millis(1500)));
        assert_eq!(element(5000, None), Some(Duration::from_secs(5)));
        assert_eq!(element(5000, Some(0)), None);
        assert_eq!(remaining(&[]), None);
    }
}
