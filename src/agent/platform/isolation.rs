//! What cutting a device off the network is told with, whatever its platform does it by.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A device that is to be cut off: for how long, and what stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolating {
    /// What tells this isolation from another: letters and digits.
    pub token: String,
    /// When it ends by itself.
    pub time: Duration,
    /// Addresses that stay reachable, whoever talks with them.
    pub allow: Vec<Network>,
    /// TCP connections that stay.
    pub keep: Vec<Connection>,
}

impl Isolating {
    /// Where packets may go: the addresses that stay reachable, and the other ends of the connections that stay.
    pub fn away(&self, v4: bool) -> impl Iterator<Item = Network> {
        let ends = self.keep.iter().map(|kept| Network::of(kept.remote.ip()));
        self.allow.iter().copied().chain(ends).filter(move |network| network.address.is_ipv4() == v4)
    }
}

/// An isolation as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// See [`Isolating`].
    pub token: String,
    /// How long it lasts yet; `None` when its time is over and only its remains are there.
    pub left: Option<Duration>,
}

/// An address, or all that begin like it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// The address, all bits behind the length zero.
    pub address: IpAddr,
    /// How many bits count.
    pub length: u8,
}

/// A TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

impl Network {
    /// Reads `10.0.0.5`, `192.0.2.0/24`, `2001:db8::/32`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = Self::of(address).length;
        let length = length.unwrap_or(most);
        (length <= most).then(|| Self::new(address, length))
    }

    /// All addresses that begin with so many bits of this one.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Self {
        let address = match address {
            IpAddr::V4(v4) => {
                let kept = u32::MAX.checked_shl(32_u32.saturating_sub(length.into())).unwrap_or(0);
                IpAddr::from((v4.to_bits() & kept).to_be_bytes())
            }
            IpAddr::V6(v6) => {
                let kept = u128::MAX.checked_shl(128_u32.saturating_sub(length.into())).unwrap_or(0);
                IpAddr::from((v6.to_bits() & kept).to_be_bytes())
            }
        };
        Self { address, length }
    }

    /// One address alone.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// The last address of it.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        let length = u32::from(self.length);
        match self.address {
            IpAddr::V4(v4) => IpAddr::from((v4.to_bits() | u32::MAX.checked_shr(length).unwrap_or(0)).to_be_bytes()),
            IpAddr::V6(v6) => IpAddr::from((v6.to_bits() | u128::MAX.checked_shr(length).unwrap_or(0)).to_be_bytes()),
        }
    }

    /// Whether all of another lies in it.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4() && self.address <= other.address && other.last() <= self.last()
    }

    /// Whether it is one address alone.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.length == if self.address.is_ipv4() { 32 } else { 128 }
    }
}

/// These networks without those that lie in another of them.
#[must_use]
pub fn outermost(networks: impl IntoIterator<Item = Network>) -> Vec<Network> {
    // One that holds others comes before them.
    let sorted: BTreeSet<Network> = networks.into_iter().collect();
    let mut outermost: Vec<Network> = Vec::new();
    for network in sorted {
        if outermost.last().is_none_or(|before| !before.holds(&network)) {
            outermost.push(network);
        }
    }
    outermost
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_one() { write!(f, "{}", self.address) } else { write!(f, "{}/{}", self.address, self.length) }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.remote, self.local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_written() {
        let check = |text: &str, written: Option<&str>| {
            assert_eq!(Network::parse(text).map(|network| network.to_string()).as_deref(), written, "{text}");
        };
        check("10.0.0.5", Some("10.0.0.5"));
        check("10.1.2.3/8", Some("10.0.0.0/8"));
        check("10.1.2.3/32", Some("10.1.2.3"));
        check("0.0.0.0/0", Some("0.0.0.0/0"));
        check("2001:db8::1/32", Some("2001:db8::/32"));
        check("::1/128", Some("::1"));
        check("::/0", Some("::/0"));
        check("10.0.0.5/33", None);
        check("host", None);
    }

    #[test]
    fn a_network_in_another_is_left_out() {
        let check = |texts: &[&str], left: &[&str]| {
            let networks = texts.iter().map(|text| Network::parse(text).unwrap());
            assert_eq!(outermost(networks).iter().map(ToString::to_string).collect::<Vec<_>>(), left);
        };
        check(&["10.1.2.3", "10.0.0.0/8", "10.0.0.0/9", "11.0.0.1", "10.255.255.255"], &["10.0.0.0/8", "11.0.0.1"]);
        check(&["fe80::1", "fe80::/10", "fe80::/64", "fd00::1"], &["fd00::1", "fe80::/10"]);
        check(&["0.0.0.0/0", "255.255.255.255"], &["0.0.0.0/0"]);
    }
}
