//! What the kernel says of an isolation, asked over netlink, and how it is ended.
//!
//! The few messages of `linux/netfilter/nf_tables.h` and `nfnetlink.h` that this takes, spoken here directly: an isolation must be
//! seen and ended though the device's `nft` is gone, or lies.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::net::netlink::NETFILTER;

use super::{SET, TABLE};
use crate::agent::platform::isolation::Isolation;
use crate::agent::platform::linux::netlink::{
    ACK, NLMSG_ERROR, REQUEST, attribute, attributes, dump, error_of, listen, message, name_of, number, open, text, value,
};

pub(super) const SUBSYSTEM: u16 = 10;
const GETTABLE: u16 = SUBSYSTEM * 256 + 1;
const DELTABLE: u16 = SUBSYSTEM * 256 + 2;
const GETSET: u16 = SUBSYSTEM * 256 + 10;
const GETSETELEM: u16 = SUBSYSTEM * 256 + 13;
pub(super) const BATCH_BEGIN: u16 = 0x10;
pub(super) const BATCH_END: u16 = 0x11;

/// `NFPROTO_INET` and `NFPROTO_NETDEV`: the families that the table may be in.
const INET: u8 = 1;
pub(super) const NETDEV: u8 = 5;

const TABLE_NAME: u16 = 1;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const ELEMENT_TIMEOUT: u16 = 4;
const ELEMENT_EXPIRATION: u16 = 5;

/// The isolation that is there, or its remains.
pub(super) fn isolation() -> io::Result<Option<Isolation>> {
    let socket = open(Some(NETFILTER))?;
    let mut found = None;
    for family in [INET, NETDEV] {
        let asked = attribute(SET_TABLE, &text(TABLE));
        let mut token = None;
        let there = dump(&socket, GETSET, &body(family, 0, &asked), |set| {
            let set = set.get(4..).unwrap_or_default();
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
        let there = dump(&socket, GETSETELEM, &body(family, 0, &asked), |list| {
            let list = list.get(4..).unwrap_or_default();
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
    let mut any = false;
    for family in [INET, NETDEV] {
        any |= remove(family)?;
    }
    Ok(any)
}

/// Takes the table of a family away; whether it was there.
fn remove(family: u8) -> io::Result<bool> {
    let socket = open(Some(NETFILTER))?;
    let name = attribute(TABLE_NAME, &text(TABLE));
    rustix::net::send(&socket, &message(GETTABLE, REQUEST | ACK, &body(family, 0, &name)), SendFlags::empty())?;
    match until_acknowledged(&socket) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => return Ok(false),
        other => other?,
    }
    let batch = [
        message(BATCH_BEGIN, REQUEST, &body(0, SUBSYSTEM, &[])),
        message(DELTABLE, REQUEST | ACK, &body(family, 0, &name)),
        message(BATCH_END, REQUEST, &body(0, SUBSYSTEM, &[])),
    ];
    rustix::net::send(&socket, &batch.concat(), SendFlags::empty())?;
    match until_acknowledged(&socket) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => Ok(true),
        other => other.map(|()| true),
    }
}

/// `struct nfgenmsg` and attributes.
pub(super) fn body(family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = vec![family, 0];
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

/// Waits for the word that something was done, or why not.
pub(super) fn until_acknowledged(socket: &OwnedFd) -> io::Result<()> {
    listen(socket, |answer, body| if answer == NLMSG_ERROR { error_of(body).map(|()| true) } else { Ok(false) })
}

/// How long an element stays; `None` when its time is over.
fn remaining(element: &[u8]) -> Option<Duration> {
    let millis = |kind| value(element, kind).and_then(|value| number(value, 0)).map(u64::from_be_bytes);
    let left = millis(ELEMENT_EXPIRATION).or_else(|| millis(ELEMENT_TIMEOUT))?;
    (left > 0).then(|| Duration::from_millis(left))
}

#[cfg(test)]
mod tests {
    use super::*;

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
