//! How the device is connected: interfaces, routes, neighbours (rtnetlink(7)), filters, and who answers for names.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::live;
use crate::agent::collect::{Gathered, Gatherer};
use crate::agent::path::key;
use crate::agent::platform::linux::isolation;
use crate::agent::platform::linux::netlink::{dump, name_of, number, open, value};
use crate::protocol::Problem;

const GETLINK: u16 = 18;
const GETADDR: u16 = 22;
const GETROUTE: u16 = 26;
const GETNEIGH: u16 = 30;

/// Asks the kernel for a list; each item is what stands behind its header.
fn ask(kind: u16, length: usize, take: impl FnMut(&[u8])) -> Result<(), Problem> {
    let failed = |error: std::io::Error| Problem::new("io_error", format!("the kernel does not tell: {error}"));
    let socket = open(None).map_err(failed)?;
    dump(&socket, kind, &vec![0; length], take).map_err(failed)
}

fn address(bytes: Option<&[u8]>) -> Option<IpAddr> {
    match *bytes? {
        [a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d).into()),
        _ => Some(Ipv6Addr::from(number::<16>(bytes?, 0)?).into()),
    }
}

fn hardware(bytes: Option<&[u8]>) -> Option<String> {
    let bytes = bytes.filter(|bytes| !bytes.is_empty())?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
}

fn u32_of(bytes: Option<&[u8]>) -> Option<u32> {
    number(bytes?, 0).map(u32::from_ne_bytes)
}

/// Names of interfaces by number.
fn names() -> HashMap<u32, String> {
    let mut names = HashMap::new();
    // Without them numbers are told alone.
    let _ = ask(GETLINK, 16, |link| {
        let name = value(link.get(16..).unwrap_or_default(), 3).and_then(name_of);
        if let (Some(index), Some(name)) = (number(link, 4).map(u32::from_ne_bytes), name) {
            names.insert(index, name.to_owned());
        }
    });
    names
}

fn listed(to: &mut Gatherer, name: &str, found: &[Value]) -> Gathered {
    to.rows(name, |rows| {
        for row in found {
            rows.row(row)?;
        }
        Ok(())
    })
}

fn raw(to: &mut Gatherer, paths: &[&str]) -> Gathered {
    for path in paths {
        to.raw(Path::new(path))?;
    }
    Ok(())
}

pub(super) fn interfaces(to: &mut Gatherer) -> Gathered {
    live(to, "interfaces")?;
    let mut addresses: HashMap<u32, Vec<Value>> = HashMap::new();
    ask(GETADDR, 8, |item| {
        let attributes = item.get(8..).unwrap_or_default();
        let Some(ip) = address(value(attributes, 2).or_else(|| value(attributes, 1))) else { return };
        let index = number(item, 4).map_or(0, u32::from_ne_bytes);
        addresses.entry(index).or_default().push(json!({ "ip": ip, "prefix_length": item.get(1) }));
    })?;
    let mut found = Vec::new();
    ask(GETLINK, 16, |item| {
        let attributes = item.get(16..).unwrap_or_default();
        let index = number(item, 4).map_or(0, u32::from_ne_bytes);
        let flags = number(item, 8).map_or(0, u32::from_ne_bytes);
        // IFF_UP, IFF_LOOPBACK and IFF_PROMISC of netdevice(7).
        found.push(json!({
            "index": index, "name": value(attributes, 3).and_then(name_of), "mac": hardware(value(attributes, 1)),
            "up": flags & 1 != 0, "loopback": flags & 8 != 0, "promiscuous": flags & 0x100 != 0,
            "mtu": u32_of(value(attributes, 4)), "hardware_type": number(item, 2).map(u16::from_ne_bytes),
            "addresses": addresses.remove(&index).unwrap_or_default(),
        }));
    })?;
    listed(to, "interfaces", &found)?;
    raw(to, &["/proc/self/net/dev", "/etc/network/interfaces"])
}

pub(super) fn routes(to: &mut Gatherer) -> Gathered {
    live(to, "routes")?;
    let names = names();
    let mut found = Vec::new();
    ask(GETROUTE, 12, |item| {
        let attributes = item.get(12..).unwrap_or_default();
        let v4 = item.first() == Some(&2);
        let any: IpAddr = if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let length = item.get(1).copied().unwrap_or(0);
        let kind = match item.get(7) {
            Some(1) => "unicast",
            Some(2) => "local",
            Some(3) => "broadcast",
            Some(4) => "anycast",
            Some(5) => "multicast",
            Some(6) => "blackhole",
            Some(7) => "unreachable",
            Some(8) => "prohibit",
            _ => "other",
        };
        let interface = u32_of(value(attributes, 4));
        found.push(json!({
            "destination": format!("{}/{length}", address(value(attributes, 1)).unwrap_or(any)),
            "gateway": address(value(attributes, 5)), "interface": interface.and_then(|index| names.get(&index)),
            "interface_index": interface, "source": address(value(attributes, 7)), "metric": u32_of(value(attributes, 6)),
            "table": u32_of(value(attributes, 15)).or_else(|| item.get(4).copied().map(u32::from)), "type": kind,
        }));
    })?;
    listed(to, "routes", &found)?;
    raw(to, &["/proc/self/net/route", "/proc/self/net/ipv6_route"])
}

/// ARP, and IPv6's neighbours.
pub(super) fn neighbours(to: &mut Gatherer) -> Gathered {
    live(to, "ARP")?;
    let names = names();
    let mut found = Vec::new();
    ask(GETNEIGH, 12, |item| {
        let attributes = item.get(12..).unwrap_or_default();
        let index = number(item, 4).map_or(0, u32::from_ne_bytes);
        let state = match number(item, 8).map_or(0, u16::from_ne_bytes) {
            0x01 => "incomplete",
            0x02 => "reachable",
            0x04 => "stale",
            0x08 => "delay",
            0x10 => "probe",
            0x20 => "failed",
            0x40 => "no_arp",
            0x80 => "permanent",
            _ => "none",
        };
        found.push(json!({
            "ip": address(value(attributes, 1)), "mac": hardware(value(attributes, 2)), "interface": names.get(&index),
            "state": state,
        }));
    })?;
    listed(to, "arp", &found)?;
    raw(to, &["/proc/self/net/arp"])
}

/// What the kernel filters, as `nft` tells it; and the files that filters are set up by.
pub(super) fn firewall(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let mut files: Vec<PathBuf> =
        ["/etc/nftables.conf", "/etc/iptables/rules.v4", "/etc/iptables/rules.v6", "/etc/default/ufw", "/etc/ufw/ufw.conf"]
            .map(PathBuf::from)
            .to_vec();
    for folder in ["/etc/ufw", "/etc/nftables.d", "/etc/firewalld/zones"].map(Path::new) {
        let names = agent.root.names(folder, 1000).unwrap_or_default();
        files.extend(names.into_iter().map(|name| folder.join(name)).filter(|path| {
            path.extension().is_some_and(|extension| ["rules", "nft", "conf", "xml"].iter().any(|known| extension == *known))
        }));
    }
    files.sort();
    files.dedup();
    for path in files {
        to.raw(&path)?;
    }
    live(to, "filters")?;
    raw(to, &["/proc/self/net/ip_tables_names", "/proc/self/net/ip6_tables_names"])?;
    let told = isolation::filters(agent.platform.as_ref(), &to.stop)?;
    let parsed: Value = serde_json::from_slice(&told)
        .map_err(|error| Problem::new("damaged", format!("what nft says is not understood: {error}")))?;
    let rules = parsed.get("nftables").and_then(Value::as_array).cloned().unwrap_or_default();
    to.rows("firewall", |rows| {
        for rule in &rules {
            let Some((kind, what)) = rule.as_object().and_then(|rule| rule.iter().next()) else { continue };
            rows.row(&json!({
                "type": kind, "family": what.get("family"), "table": what.get("table"), "chain": what.get("chain"),
                "name": what.get("name"), "rule": what,
            }))?;
        }
        Ok(())
    })
}

/// Who answers for names, and what stands fixed.
pub(super) fn dns(to: &mut Gatherer) -> Gathered {
    let files = [
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/nsswitch.conf",
        "/etc/host.conf",
        "/etc/systemd/resolved.conf",
        "/run/systemd/resolve/resolv.conf",
    ];
    let agent = Arc::clone(&to.agent);
    to.rows("dns", |rows| {
        for file in files {
            let text = agent.root.read(Path::new(file), 16 * 1024 * 1024).unwrap_or_default();
            for (number, line) in String::from_utf8_lossy(&text).lines().enumerate() {
                let line = line.split('#').next().unwrap_or_default().trim();
                let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
                let Some(first) = words.next() else { continue };
                let rest: Vec<&str> = words.collect();
                let (kind, subject) = match file {
                    "/etc/hosts" => ("host", first),
                    "/etc/nsswitch.conf" => ("source", first.trim_end_matches(':')),
                    _ => ("setting", first),
                };
                rows.row(&json!({
                    "type": kind, "name": subject, "values": rest, "file": key(Path::new(file)), "line": number + 1,
                }))?;
            }
        }
        Ok(())
    })?;
    raw(to, &files)
}
