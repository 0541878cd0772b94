//! What of IP may leave, wherever in a frame it stands.
//!
//! Fields are read at their places and not as `ip daddr`: that is where the kernel believes that a packet begins, and whoever
//! sends through a packet socket makes it believe anything, by the protocol that he names or by a tag of a VLAN.

use serde_json::{Value, json};

use super::expressions::{accept, back, bytes, equals, is, masked, meta, number, one_of, within};
use super::ruleset::Rules;
use crate::agent::platform::isolation::{Connection, Network, outermost};

const TCP: u32 = 6;
const UDP: u32 = 17;
const ICMPV6: u32 = 58;
/// The header of IPv6 that names other ways.
const ROUTING: u32 = 43;
/// Ports 68 and 67, 546 and 547, one behind the other.
const DHCP: u32 = 0x0044_0043;
const DHCPV6: u32 = 0x0222_0223;
const ROUTER_SOLICIT: u32 = 133;
const NEIGHBOR_SOLICIT: u32 = 135;
const NEIGHBOR_ADVERT: u32 = 136;
/// Who listens to which group: query, report and done, and the newer report (RFC 3810).
const GROUPS: [u32; 4] = [130, 131, 132, 143];
/// The longest message about a neighbour: what it is about, and the longest hardware address with two options of others.
pub(super) const MAX_NEIGHBOR: u32 = 72;
/// The longest question for routers.
const MAX_ROUTER_SOLICIT: u32 = 32;
/// Where neighbours and groups of the link are, whatever the link.
const ON_LINK: [&str; 2] = ["fe80::/10", "ff02::/16"];

/// Where a packet begins in what a hook sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet {
    /// `nh` where the kernel knows it, `ll` for a place in the frame.
    pub(super) base: &'static str,
    /// How many bytes behind that.
    pub(super) at: u32,
}

impl Packet {
    fn field(self, at: u32, count: u32) -> Value {
        bytes(self.base, self.at + at, count)
    }

    fn name(self, family: &str) -> String {
        format!("{family}_{}{}", self.base, self.at)
    }
}

impl Rules<'_> {
    /// Makes the chains for packets that begin there: the one for IPv4 and the one for IPv6. They accept what may leave.
    pub(super) fn leaving(&mut self, packet: Packet) -> [String; 2] {
        let names = [packet.name("ip"), packet.name("ip6")];
        for name in &names {
            self.chain(name);
        }
        self.leaving_v4(&names[0], packet);
        self.leaving_v6(&names[1], packet);
        names
    }

    fn leaving_v4(&mut self, chain: &str, packet: Packet) {
        let (protocol, ports) = (packet.field(9, 1), packet.field(20, 4));
        // With options ports stand elsewhere, and some options name another way.
        self.rule(chain, &[is("!=", packet.field(0, 1), json!(0x45)), back()]);
        self.allowed(chain, packet.field(16, 4), true);
        for Connection { local, remote } in self.kept(true) {
            let mut rule = vec![
                is("==", packet.field(16, 4), json!(number(remote.ip()))),
                equals(protocol.clone(), TCP),
                equals(packet.field(22, 2), remote.port().into()),
            ];
            // On the wire this end may have another address and port than its socket.
            if self.family == "inet" {
                rule.push(is("==", packet.field(12, 4), json!(number(local.ip()))));
                rule.push(equals(packet.field(20, 2), local.port().into()));
            }
            rule.push(accept());
            self.rule(chain, &rule);
        }
        // A renewal that gets no answer becomes such a broadcast when most of the lease is over (RFC 2131, 4.4.5).
        self.rule(
            chain,
            &[equals(packet.field(16, 4), u32::MAX), equals(protocol.clone(), UDP), equals(ports, DHCP), accept()],
        );
        self.only_of_the_kernel(chain);
        let is_reset = equals(masked(packet.field(33, 1), 4), 4);
        self.rule(chain, &[equals(protocol, TCP), equals(packet.field(2, 2), 40), is_reset, accept()]);
    }

    fn leaving_v6(&mut self, chain: &str, packet: Packet) {
        let (length, next, hops, to) = (packet.field(4, 2), packet.field(6, 1), packet.field(7, 1), packet.field(24, 16));
        let kind = packet.field(40, 1);
        self.rule(chain, &[is("!=", masked(packet.field(0, 1), 0xf0), json!(0x60)), back()]);
        self.rule(chain, &[equals(next.clone(), ROUTING), back()]);
        self.allowed(chain, to.clone(), false);
        for Connection { local, remote } in self.kept(false) {
            let mut rule = vec![
                is("==", to.clone(), json!(number(remote.ip()))),
                equals(next.clone(), TCP),
                equals(packet.field(42, 2), remote.port().into()),
            ];
            if self.family == "inet" {
                rule.push(is("==", packet.field(8, 16), json!(number(local.ip()))));
                rule.push(equals(packet.field(40, 2), local.port().into()));
            }
            rule.push(accept());
            self.rule(chain, &rule);
        }
        let at = |address: &str| within(to.clone(), &Network::parse(address).into_iter().collect::<Vec<_>>());
        let dhcp = equals(packet.field(40, 4), DHCPV6);
        self.rule(chain, &[at("ff02::1:2"), equals(next.clone(), UDP), dhcp, accept()]);
        // The kernel sends these, but programs that manage the network do too.
        self.rule(
            chain,
            &[
                at("ff02::2"),
                equals(next.clone(), ICMPV6),
                equals(hops.clone(), 255),
                is("<=", length.clone(), json!(MAX_ROUTER_SOLICIT)),
                equals(kind.clone(), ROUTER_SOLICIT),
                accept(),
            ],
        );
        self.only_of_the_kernel(chain);
        let fixed = ON_LINK.iter().filter_map(|text| Network::parse(text));
        let on_link = outermost(fixed.chain(self.on_link.iter().copied()).chain(self.isolating.away(false)));
        self.rule(
            chain,
            &[
                equals(next.clone(), ICMPV6),
                equals(hops.clone(), 255),
                is("<=", length.clone(), json!(MAX_NEIGHBOR)),
                one_of(kind, &[NEIGHBOR_SOLICIT, NEIGHBOR_ADVERT]),
                within(to.clone(), &on_link),
                accept(),
            ],
        );
        // Behind the option that has routers look at them (RFC 3810, 5).
        self.rule(
            chain,
            &[
                at("ff00::/8"),
                equals(next.clone(), 0),
                equals(hops, 1),
                equals(packet.field(40, 1), ICMPV6),
                one_of(packet.field(48, 1), &GROUPS),
                accept(),
            ],
        );
        let is_reset = equals(masked(packet.field(53, 1), 4), 4);
        self.rule(chain, &[equals(next, TCP), equals(length, 20), is_reset, accept()]);
    }

    fn allowed(&mut self, chain: &str, to: Value, v4: bool) {
        let allow: Vec<Network> =
            self.isolating.allow.iter().filter(|network| network.address.is_ipv4() == v4).copied().collect();
        if !allow.is_empty() {
            self.rule(chain, &[within(to, &outermost(allow)), accept()]);
        }
    }

    fn kept(&self, v4: bool) -> Vec<Connection> {
        self.isolating.keep.iter().filter(|kept| kept.remote.ip().is_ipv4() == v4).copied().collect()
    }

    /// What follows in a chain is for what the kernel itself sends: that has no socket that a process holds, which whatever is
    /// sent through raw ones and packet sockets has.
    fn only_of_the_kernel(&mut self, chain: &str) {
        self.rule(chain, &[is(">=", meta("skuid"), json!(0)), back()]);
    }
}
