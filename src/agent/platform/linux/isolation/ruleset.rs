//! The rules of an isolation, as `nft -j` reads them.
//!
//! They are stateless on purpose: a rule that asked for a connection's state would switch the tracking of connections on,
//! for everybody. Two tables, both of them ours: `inet` sees what this machine's own sockets, raw ones too, send and get and
//! what it forwards; `netdev`, behind everything else on the way out, sees packet sockets, and bridges that lead past the
//! first. In both all that is not kept meets a rule which drops it as long as the set holds its protocol.

use serde_json::{Value, json};

use super::expressions::{accept, bytes, equals, is, jump, meta, payload, within};
use super::leaving::{MAX_NEIGHBOR, Packet};
use super::{SET, TABLE, seconds};
use crate::agent::platform::isolation::{Connection, Isolating, Network, outermost};

/// How long a message of a router may be: as long as every link takes it whole.
const MAX_ROUTER: u32 = 1280;
/// What stands in a message of BOOTP before what is DHCP's (RFC 2131, 3), behind the header of UDP.
const DHCP_COOKIE: u32 = 0x6382_5363;
const BOOTREPLY: u32 = 2;

/// Everything in one transaction: what was there of ours goes, and the new comes. `on_link` are networks without routers; the
/// chains behind packet sockets are made `with_frames`, and nothing is hooked to them yet.
pub(super) fn ruleset(isolating: &Isolating, on_link: &[Network], with_frames: bool) -> Value {
    let mut all = Rules { commands: Vec::new(), family: "inet", isolating, on_link };
    all.table(&["ip", "ip6"]);
    all.inet();
    all.family = "netdev";
    if with_frames {
        all.table(&["0"]);
        all.frames();
    } else {
        all.gone();
    }
    json!({ "nftables": all.commands })
}

pub(super) struct Rules<'a> {
    commands: Vec<Value>,
    pub(super) family: &'static str,
    pub(super) isolating: &'a Isolating,
    pub(super) on_link: &'a [Network],
}

impl Rules<'_> {
    fn gone(&mut self) {
        let table = json!({ "family": self.family, "name": TABLE });
        // What is added first can be deleted, whether it was there or not.
        self.commands.push(json!({ "add": { "table": table } }));
        self.commands.push(json!({ "delete": { "table": table } }));
    }

    /// Its sets: what is cut, until when, and in the table for sockets who stays reachable.
    fn table(&mut self, cut: &[&str]) {
        self.gone();
        self.commands.push(json!({ "add": { "table": { "family": self.family, "name": TABLE } } }));
        let timeout = seconds(self.isolating.time);
        let element = |protocol: &&str| json!({ "elem": { "val": protocol, "timeout": timeout } });
        self.set(&self.cut(), "ether_type", "timeout", &cut.iter().map(element).collect::<Vec<_>>());
    }

    fn cut(&self) -> String {
        format!("{SET}{}", self.isolating.token)
    }

    fn set(&mut self, name: &str, kind: &str, flag: &str, elements: &[Value]) {
        let mut set = json!({ "family": self.family, "table": TABLE, "name": name, "type": kind, "flags": [flag] });
        if let Some(set) = set.as_object_mut() {
            if flag == "interval" {
                set.insert("auto-merge".to_owned(), json!(true));
            }
            if !elements.is_empty() {
                set.insert("elem".to_owned(), json!(elements));
            }
        }
        self.commands.push(json!({ "add": { "set": set } }));
    }

    pub(super) fn chain(&mut self, name: &str) {
        self.commands.push(json!({ "add": { "chain": { "family": self.family, "table": TABLE, "name": name } } }));
    }

    fn hook(&mut self, hook: &str, priority: i32) {
        let chain = json!({
            "family": self.family, "table": TABLE, "name": hook, "type": "filter", "hook": hook, "prio": priority, "policy": "accept",
        });
        self.commands.push(json!({ "add": { "chain": chain } }));
    }

    pub(super) fn rule(&mut self, chain: &str, expressions: &[Value]) {
        let rule = json!({ "family": self.family, "table": TABLE, "chain": chain, "expr": expressions });
        self.commands.push(json!({ "add": { "rule": rule } }));
    }

    /// What others send to this machine, what it sends, and what it forwards.
    fn inet(&mut self) {
        for (name, kind, v4) in [("allow4", "ipv4_addr", true), ("allow6", "ipv6_addr", false)] {
            let some = self.isolating.allow.iter().filter(|network| network.address.is_ipv4() == v4);
            let elements: Vec<Value> = some.map(element_of).collect();
            self.set(name, kind, "interval", &elements);
        }
        self.chain("kept_in");
        self.coming();
        self.chain("kept_out");
        let [ip, ip6] = self.leaving(Packet { base: "nh", at: 0 });
        self.rule("kept_out", &[is("==", meta("nfproto"), json!("ipv4")), jump(&ip)]);
        self.rule("kept_out", &[is("==", meta("nfproto"), json!("ipv6")), jump(&ip6)]);

        self.hook("input", -10);
        self.rule("input", &[is("==", meta("iifname"), json!("lo")), accept()]);
        self.rule("input", &[jump("kept_in")]);
        self.end("input");

        // Behind everything that may give a packet another destination, so that it is the last one that counts.
        self.hook("output", 300);
        self.rule("output", &[is("==", meta("oifname"), json!("lo")), accept()]);
        self.rule("output", &[jump("kept_out")]);
        self.end("output");

        // What is forwarded belongs to others: containers, virtual machines, whoever routes through this machine.
        self.hook("forward", -10);
        self.end("forward");

        // Addresses may be translated on the way out of `output` too. Before the source is translated, which `kept_out` asks for.
        self.hook("postrouting", 50);
        self.rule("postrouting", &[is("==", meta("oifname"), json!("lo")), accept()]);
        self.rule("postrouting", &[jump("kept_out")]);
        self.rule("postrouting", &[self.is_cut(), json!({ "drop": null })]);
    }

    /// The end of a chain: while the isolation lasts, connections are reset and everything else is dropped.
    fn end(&mut self, chain: &str) {
        // A connection that is only being asked for gets no answer: only those that were there end with a reset.
        let opens = json!({ "&": [payload("tcp", "flags"), { "|": ["syn", "ack"] }] });
        self.rule(chain, &[self.is_cut(), is("!=", opens, json!("syn")), json!({ "reject": { "type": "tcp reset" } })]);
        self.rule(chain, &[self.is_cut(), json!({ "drop": null })]);
    }

    /// Whether the set still holds what is cut: a protocol, or behind packet sockets, where all are, the zero that is left
    /// of each.
    pub(super) fn is_cut(&self) -> Value {
        let protocol = meta("protocol");
        let asked = if self.family == "inet" { protocol } else { json!({ "&": [protocol, 0] }) };
        is("==", asked, json!(format!("@{}", self.cut())))
    }

    /// What may come in.
    fn coming(&mut self) {
        let chain = "kept_in";
        self.rule(chain, &[is("==", payload("ip", "saddr"), json!("@allow4")), accept()]);
        self.rule(chain, &[is("==", payload("ip6", "saddr"), json!("@allow6")), accept()]);
        for Connection { local, remote } in &self.isolating.keep {
            let family = if remote.is_ipv4() { "ip" } else { "ip6" };
            self.rule(
                chain,
                &[
                    is("==", payload(family, "saddr"), json!(remote.ip().to_string())),
                    is("==", payload("tcp", "sport"), json!(remote.port())),
                    is("==", payload(family, "daddr"), json!(local.ip().to_string())),
                    is("==", payload("tcp", "dport"), json!(local.port())),
                    accept(),
                ],
            );
        }
        self.coming_about_the_link(chain);
        let ports = |theirs: u16, mine: u16| {
            [is("==", payload("udp", "sport"), json!(theirs)), is("==", payload("udp", "dport"), json!(mine))]
        };
        let is_lease = [equals(bytes("th", 8, 1), BOOTREPLY), equals(bytes("th", 244, 4), DHCP_COOKIE), accept()];
        self.rule(chain, &[&ports(67, 68)[..], &is_lease].concat());
        self.rule(chain, &[&[of_the_link("saddr")][..], &ports(547, 546), &[accept()]].concat());
        // Without these a kept connection may get stuck on a path that takes only smaller packets. Each quotes the packet that
        // it is about: that has to have gone where packets may go.
        let quoted = |at: u32, count: u32, v4: bool| {
            let away = outermost(self.isolating.away(v4));
            (!away.is_empty()).then(|| within(bytes("th", at, count), &away))
        };
        let too_big = [is("==", payload("icmp", "type"), json!(3)), is("==", payload("icmp", "code"), json!(4))];
        let (v4, v6) = (quoted(24, 4, true), quoted(32, 16, false));
        if let Some(quoted) = v4 {
            self.rule(chain, &[&too_big[..], &[quoted, accept()]].concat());
        }
        if let Some(quoted) = v6 {
            self.rule(chain, &[is("==", payload("icmpv6", "type"), json!("packet-too-big")), quoted, accept()]);
        }
    }

    /// What IPv6 needs of the link itself. Hop limits tell that it comes from there (RFC 4861, 7.1; RFC 3810, 6.2).
    fn coming_about_the_link(&mut self, chain: &str) {
        let mut rule = |kinds: &[&str], hops: u32, most: u32, of_the_link: Option<Value>| {
            let mut rule: Vec<Value> = of_the_link.into_iter().collect();
            rule.push(is("==", payload("ip6", "hoplimit"), json!(hops)));
            rule.push(is("<=", payload("ip6", "length"), json!(most)));
            rule.push(is("==", payload("icmpv6", "type"), json!({ "set": kinds })));
            rule.push(accept());
            self.rule(chain, &rule);
        };
        rule(&["nd-neighbor-solicit", "nd-neighbor-advert"], 255, MAX_NEIGHBOR, None);
        rule(&["nd-router-advert"], 255, MAX_ROUTER, Some(of_the_link("saddr")));
        rule(&["mld-listener-query"], 1, MAX_ROUTER, Some(of_the_link("saddr")));
    }
}

fn of_the_link(end: &str) -> Value {
    is("==", payload("ip6", end), json!({ "prefix": { "addr": "fe80::", "len": 10 } }))
}

fn element_of(network: &Network) -> Value {
    let address = network.address.to_string();
    if network.is_one() { json!(address) } else { json!({ "prefix": { "addr": address, "len": network.length } }) }
}
