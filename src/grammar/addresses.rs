//! Addresses of the kind that `isolate -allow` takes: which of a list does not fit, and why.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;

/// The shortest prefixes: in what is shorter nothing is left that would be cut off.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 16;
/// What stands before an address of IPv4 in one of IPv6.
const MAPPED: u8 = 96;

/// Reads an address with a prefix length or without: `10.0.0.5`, `2001:db8::/32`. One of IPv4 within IPv6 is one of IPv4.
///
/// # Errors
/// What was expected instead.
pub fn address(text: &str) -> Result<(IpAddr, u8), Cow<'static, str>> {
    let (typed, length) = match text.split_once('/') {
        Some((typed, length)) => (typed, Some(length)),
        None => (text, None),
    };
    let Ok(read) = typed.parse::<IpAddr>() else { return Err(instead_of(typed)) };
    let most = if read.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => most,
        Some(length) => {
            let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
            let length = length.parse::<u8>().ok().filter(|length| is_number && *length <= most);
            length.ok_or_else(|| format!("a prefix length of 0 to {most} behind `{typed}/`"))?
        }
    };
    let (address, length) = match read.to_canonical() {
        v4 @ IpAddr::V4(_) if read.is_ipv6() && length >= MAPPED => (v4, length - MAPPED),
        _ => (read, length),
    };
    let shortest = if address.is_ipv4() { SHORTEST_V4 } else { SHORTEST_V6 };
    match length {
        0 => Err("some addresses: that is every address, and nothing would be cut off".into()),
        length if length < shortest => {
            Err(format!("/{shortest} at least: so large a network leaves too little that would be cut off").into())
        }
        length => Ok((address, length)),
    }
}

/// Of a list with commas the first that is none, where it stands, and what was expected.
pub(super) fn first_wrong(list: &str) -> Option<(Range<usize>, Cow<'static, str>)> {
    let mut at = 0;
    for piece in list.split(',') {
        let text = piece.trim();
        if let Err(expected) = address(text) {
            // Of nothing the whole list is told.
            let start = at + (piece.len() - piece.trim_start().len());
            let range = if text.is_empty() { 0..list.len() } else { start..start + text.len() };
            return Some((range, expected));
        }
        at += piece.len() + 1;
    }
    None
}

/// What is meant in the place of what is no address.
fn instead_of(typed: &str) -> Cow<'static, str> {
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    let within = typed.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let is_name = typed.chars().any(char::is_alphabetic) && typed.chars().all(|c| c.is_alphanumeric() || "-._".contains(c));
    match (within, typed.rsplit_once(':'), typed.split_once('%')) {
        (Some((within, _)), _, _) if is_address(within) => {
            format!("an address without brackets and without a port: `{within}`").into()
        }
        (_, Some((address, _)), _) if is_address(address) => format!("an address without a port: `{address}`").into(),
        (_, _, Some((address, _))) if is_address(address) => format!("an address without its interface: `{address}`").into(),
        _ if is_name => "an IP address: names are not resolved".into(),
        _ => EXPECTED.into(),
    }
}

/// What the kind admits.
pub(super) const EXPECTED: &str = "IP addresses separated by commas, such as 10.0.0.5,192.0.2.0/24";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_meant() {
        let check = |text: &str, read: &str| {
            let (address, length) = address(text).unwrap();
            assert_eq!(format!("{address}/{length}"), read);
        };
        check("10.0.0.5", "10.0.0.5/32");
        check("10.1.2.3/8", "10.1.2.3/8");
        check("2001:db8::1", "2001:db8::1/128");
        check("::ffff:10.77.0.2", "10.77.0.2/32");
        check("::ffff:10.77.0.0/112", "10.77.0.0/16");
        check("::ffff:0:0/90", "::ffff:0.0.0.0/90");
        check("2001::/16", "2001::/16");
    }

    #[test]
    fn what_is_none_is_told_with_what_is_meant() {
        let check = |list: &str, wrong: &str, word: &str| {
            let (range, expected) = first_wrong(list).unwrap();
            assert_eq!(list.get(range), Some(wrong));
            assert!(expected.contains(word), "{expected}");
        };
        check("10.0.0.5,web01", "web01", "names are not resolved");
        check("a.example,10.0.0.5", "a.example", "names are not resolved");
        check("10.0.0.5, 10.0.0,10.0.0.7", "10.0.0", "such as");
        check("[fd77::2]", "[fd77::2]", "without brackets and without a port: `fd77::2`");
        check("[fd77::2]:22", "[fd77::2]:22", "`fd77::2`");
        check("10.77.0.2:22", "10.77.0.2:22", "without a port: `10.77.0.2`");
        check("fe80::1%eth0", "fe80::1%eth0", "without its interface: `fe80::1`");
        check("10.77.0.2/+24", "10.77.0.2/+24", "prefix length of 0 to 32");
        check("10.77.0.2/", "10.77.0.2/", "prefix length");
        check("fd77::/129", "fd77::/129", "0 to 128");
        check("10.0.0.0/0", "10.0.0.0/0", "every address");
        check("0.0.0.0/1,128.0.0.0/1", "0.0.0.0/1", "/8 at least");
        check("10.0.0.5,2000::/3", "2000::/3", "/16 at least");
        check("::ffff:0.0.0.0/97", "::ffff:0.0.0.0/97", "/8 at least");
        check("10.0.0.5,", "10.0.0.5,", "such as");
        assert_eq!(first_wrong("10.0.0.0/8,::1"), None);
    }
}
