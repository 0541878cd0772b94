//! The interfaces that lead anywhere, and the networks that they lead to without a router.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::agent::platform::isolation::Network;
use crate::agent::platform::linux::netlink::{dump, name_of, number, open, value};

const GETLINK: u16 = 18;
const GETADDR: u16 = 22;
/// `IFLA_IFNAME`, `IFLA_LINKINFO` and in it `IFLA_INFO_KIND`.
const NAME: u16 = 3;
const INFO: u16 = 18;
const INFO_KIND: u16 = 1;
/// `IFA_ADDRESS` and `IFA_LOCAL`.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// Kinds of interfaces whose packets travel in others.
const TUNNELS: [&str; 20] = [
    "amt",
    "bareudp",
    "erspan",
    "geneve",
    "gre",
    "gretap",
    "gtp",
    "ip6erspan",
    "ip6gre",
    "ip6gretap",
    "ip6tnl",
    "ipip",
    "ovpn",
    "sit",
    "tun",
    "vti",
    "vti6",
    "vxlan",
    "wireguard",
    "xfrm",
];
/// Kinds of hardware (`linux/if_arp.h`).
const ETHERNET: u16 = 1;
const LOOPBACK: u16 = 772;
/// The bus of a machine's or a vehicle's own devices.
const CAN: u16 = 280;
/// Flags of a route (`linux/route.h`, `linux/ipv6_route.h`): what goes through a router, nowhere, or to this machine itself.
const ELSEWHERE: u32 = 0x2 | 0x200 | 0x8000_0000;
/// A shorter prefix is nobody's link.
const SHORTEST_LINK: u8 = 32;

/// How frames of an interface are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ethernet,
    Wireless,
    /// Without a header that is known here.
    Bare,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    /// Its name, in any bytes.
    pub(super) name: OsString,
    pub(super) kind: Kind,
}

/// All of them in this network namespace.
///
/// # Errors
/// When the kernel does not tell.
pub(super) fn interfaces() -> io::Result<Vec<Interface>> {
    let mut all = Vec::new();
    dump(&open(None)?, GETLINK, &[0; 16], |link| all.extend(read(link)))?;
    Ok(all)
}

/// `struct ifinfomsg` and attributes (rtnetlink(7)).
fn read(link: &[u8]) -> Option<Interface> {
    let hardware = number(link, 2).map(u16::from_ne_bytes)?;
    let name = name(link)?;
    let kind = match hardware {
        LOOPBACK | CAN => return None,
        ETHERNET if Path::new("/sys/class/net").join(&name).join("phy80211").exists() => Kind::Wireless,
        ETHERNET => Kind::Ethernet,
        _ => Kind::Bare,
    };
    Some(Interface { name, kind })
}

fn name(link: &[u8]) -> Option<OsString> {
    let name = value(link.get(16..)?, NAME)?.split(|&byte| byte == 0).next()?;
    Some(OsString::from_vec(name.to_owned()))
}

/// The tunnel that an address of this machine stands at, by name: what goes through it goes in packets to somebody else.
///
/// # Errors
/// When the kernel does not tell.
pub(super) fn tunnel_of(address: IpAddr) -> io::Result<Option<OsString>> {
    let socket = open(None)?;
    let wanted = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let mut at = None;
    dump(&socket, GETADDR, &[0; 8], |item| {
        let attributes = item.get(8..).unwrap_or_default();
        if value(attributes, LOCAL).or_else(|| value(attributes, ADDRESS)) == Some(&wanted) {
            at = at.or_else(|| number::<4>(item, 4));
        }
    })?;
    let mut tunnel = None;
    dump(&socket, GETLINK, &[0; 16], |link| {
        let attributes = link.get(16..).unwrap_or_default();
        let kind = value(attributes, INFO).and_then(|info| value(info, INFO_KIND)).and_then(name_of);
        if at.is_some() && number::<4>(link, 4) == at && kind.is_some_and(|kind| TUNNELS.contains(&kind)) {
            tunnel = name(link);
        }
    })?;
    Ok(tunnel)
}

/// The networks of IPv6 that are reached without a router: neighbours are asked for there by their own addresses.
pub(super) fn on_link() -> Vec<Network> {
    let table = std::fs::read_to_string("/proc/self/net/ipv6_route").unwrap_or_default();
    table.lines().filter_map(route).collect()
}

/// A line of ipv6_route: network, length, source, its length, router, metric, users, uses, flags, interface.
fn route(line: &str) -> Option<Network> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let hexadecimal = |at: usize| fields.get(at).and_then(|field| u32::from_str_radix(field, 16).ok());
    let address = |at: usize| fields.get(at).and_then(|field| u128::from_str_radix(field, 16).ok());
    let length = hexadecimal(1).and_then(|length| u8::try_from(length).ok())?;
    let leads_there = address(4)? == 0 && hexadecimal(8)? & ELSEWHERE == 0;
    let address = IpAddr::V6(Ipv6Addr::from_bits(address(0)?));
    (leads_there && length >= SHORTEST_LINK).then_some(Network { address, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_routes_to_the_link_itself_are_networks_of_it() {
        let check = |line: &str, network: Option<&str>| {
            assert_eq!(route(line).map(|network| network.to_string()).as_deref(), network, "{line}");
        };
        let nowhere = "00000000000000000000000000000000 00 00000000000000000000000000000000";
        let on_link = format!("fd000009000000000000000000000000 40 {nowhere} 00000100 00000001 00000000 00000001    cable");
        check(&on_link, Some("fd00:9::/64"));
        let own = format!("fd000009000000000000000000000001 80 {nowhere} 00000000 00000003 00000000 80200001    cable");
        check(&own, None);
        check(&format!("00000000000000000000000000000000 00 {nowhere} ffffffff 00000001 00000000 00200200       lo"), None);
        check("", None);
        check("zz 40", None);
    }

    #[test]
    fn names_of_interfaces_are_bytes() {
        use crate::agent::platform::linux::netlink::attribute;
        let check = |hardware: u16, name: &[u8], kind: Option<Kind>| {
            let mut link = vec![0, 0];
            link.extend(hardware.to_ne_bytes());
            link.resize(16, 0);
            link.extend(attribute(NAME, name));
            let found = read(&link);
            assert_eq!(found.as_ref().map(|found| found.kind), kind);
            assert!(found.is_none_or(|found| [found.name.into_vec(), vec![0]].concat() == name));
        };
        check(1, b"zz\xff\"a\0", Some(Kind::Ethernet));
        check(65534, b"tun0\0", Some(Kind::Bare));
        check(772, b"lo\0", None);
        check(280, b"can0\0", None);
    }
}
