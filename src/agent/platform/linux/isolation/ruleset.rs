//! The rules of an isolation, as `nft -j` reads them.
//!
//! They are stateless on purpose: a rule that asked for a connection's state would switch the tracking of connections on,
//! for everybody. Two tables, both of them ours: `inet` sees what this machine's own sockets, raw ones too, send and get and
//! what it forwards; `netdev`, behind everything else on the way out, sees packet sockets, and bridges that lead past the
//! first. In both all that is not kept meets a rule which drops it as long as the set holds its protocol.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{SET, TABLE, seconds};
use crate::agent::platform::isolation::{Connection, Isolating, Network};

/// Where servers of DHCP are: on the same link, or in networks that are not routed in the Internet. A renewal that is sent
/// elsewhere gets no answer, and becomes a broadcast when most of the lease is over (RFC 2131, 4.4.5).
const DHCP_SERVERS: [&str; 6] =
    ["255.255.255.255", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"];
/// What IPv6 needs on the link itself: neighbours, routers, and who listens to which group.
const ON_LINK: [&str; 8] = [
    "nd-neighbor-solicit",
    "nd-neighbor-advert",
    "nd-router-solicit",
    "nd-router-advert",
    "mld-listener-query",
    "mld-listener-report",
    "mld-listener-done",
    "mld2-listener-report",
];

/// Everything in one transaction: what was there of ours goes, and the new comes. Without interfaces there is no table
/// behind packet sockets.
pub(super) fn ruleset(isolating: &Isolating, interfaces: &[String]) -> Value {
    let mut all = Rules { commands: Vec::new(), family: "inet", isolating };
    all.table();
    all.inet();
    all.family = "netdev";
    if interfaces.is_empty() {
        all.gone();
    } else {
        all.table();
        all.netdev(interfaces);
    }
    json!({ "nftables": all.commands })
}

struct Rules<'a> {
    commands: Vec<Value>,
    family: &'static str,
    isolating: &'a Isolating,
}

/// The way a packet goes, as seen from here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

impl Rules<'_> {
    fn gone(&mut self) {
        let table = json!({ "family": self.family, "name": TABLE });
        // What is added first can be deleted, whether it was there or not.
        self.commands.push(json!({ "add": { "table": table } }));
        self.commands.push(json!({ "delete": { "table": table } }));
    }

    fn table(&mut self) {
        self.gone();
        self.commands.push(json!({ "add": { "table": { "family": self.family, "name": TABLE } } }));
        let timeout = seconds(self.isolating.time);
        let element = |protocol| json!({ "elem": { "val": protocol, "timeout": timeout } });
        self.set(&self.cut(), "ether_type", "timeout", &[element("ip"), element("ip6")]);
        let allow = |v4: bool| -> Vec<Value> {
            let some = self.isolating.allow.iter().filter(|network| network.address.is_ipv4() == v4);
            some.map(element_of).collect()
        };
        let (v4, v6) = (allow(true), allow(false));
        self.set("allow4", "ipv4_addr", "interval", &v4);
        self.set("allow6", "ipv6_addr", "interval", &v6);
        let dhcp: Vec<Value> =
            DHCP_SERVERS.iter().filter_map(|text| Network::parse(text)).map(|network| element_of(&network)).collect();
        self.set("dhcp4", "ipv4_addr", "interval", &dhcp);
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

    fn chain(&mut self, name: &str) {
        self.commands.push(json!({ "add": { "chain": { "family": self.family, "table": TABLE, "name": name } } }));
    }

    fn hook(&mut self, name: &str, hook: &str, priority: i32, interface: Option<&String>) {
        let mut chain = json!({
            "family": self.family, "table": TABLE, "name": name, "type": "filter", "hook": hook, "prio": priority, "policy": "accept",
        });
        if let (Some(interface), Some(chain)) = (interface, chain.as_object_mut()) {
            chain.insert("dev".to_owned(), json!(interface));
        }
        self.commands.push(json!({ "add": { "chain": chain } }));
    }

    fn rule(&mut self, chain: &str, expressions: &[Value]) {
        let rule = json!({ "family": self.family, "table": TABLE, "chain": chain, "expr": expressions });
        self.commands.push(json!({ "add": { "rule": rule } }));
    }

    /// What others send to this machine, what it sends, and what it forwards.
    fn inet(&mut self) {
        self.reset();
        self.chain("kept_in");
        self.kept("kept_in", Way::In);
        self.chain("kept_out");
        self.kept("kept_out", Way::Out);

        self.hook("input", "input", -10, None);
        self.rule("input", &[is("==", meta("iifname"), json!("lo")), accept()]);
        self.rule("input", &[jump("kept_in")]);
        self.end("input");

        // Behind everything that may give a packet another destination, so that it is the last one that counts.
        self.hook("output", "output", 300, None);
        self.rule("output", &[is("==", meta("oifname"), json!("lo")), accept()]);
        self.rule("output", &[jump("kept_out")]);
        self.end("output");

        // What is forwarded belongs to others: containers, virtual machines, whoever routes through this machine.
        self.hook("forward", "forward", -10, None);
        self.end("forward");

        // Addresses may be translated on the way out of `output` too. Before the source is translated, which `kept_out` asks for.
        self.hook("postrouting", "postrouting", 50, None);
        self.rule("postrouting", &[is("==", meta("oifname"), json!("lo")), accept()]);
        self.rule("postrouting", &[jump("kept_out")]);
        self.rule("postrouting", &[self.is_cut(), json!({ "drop": null })]);
    }

    /// What leaves through an interface, whoever sends it.
    fn netdev(&mut self, interfaces: &[String]) {
        self.reset();
        self.chain("kept_out");
        self.kept("kept_out", Way::Out);
        // Several interfaces for one chain are newer than the JSON of many an `nft`.
        for (number, interface) in interfaces.iter().enumerate() {
            let name = format!("egress{number}");
            self.hook(&name, "egress", 0, Some(interface));
            self.rule(&name, &[jump("kept_out")]);
            self.rule(&name, &[self.is_cut(), json!({ "drop": null })]);
        }
    }

    /// The end of a chain: while the isolation lasts, connections are reset and everything else is dropped.
    fn end(&mut self, chain: &str) {
        // A connection that is only being asked for gets no answer: only those that were there end with a reset.
        let opens = json!({ "&": [payload("tcp", "flags"), { "|": ["syn", "ack"] }] });
        self.rule(chain, &[self.is_cut(), is("!=", opens, json!("syn")), json!({ "reject": { "type": "tcp reset" } })]);
        self.rule(chain, &[self.is_cut(), json!({ "drop": null })]);
    }

    fn is_cut(&self) -> Value {
        is("==", meta("protocol"), json!(format!("@{}", self.cut())))
    }

    /// The resets that the kernel itself sends: they have no content and no socket, which raw ones have.
    fn reset(&mut self) {
        self.chain("reset");
        self.rule("reset", &[is(">=", meta("skuid"), json!(0)), json!({ "return": null })]);
        self.rule("reset", &[is("==", payload("ip", "length"), json!(40)), accept()]);
        self.rule("reset", &[is("==", payload("ip6", "length"), json!(20)), accept()]);
    }

    /// What goes on as before.
    fn kept(&mut self, chain: &str, way: Way) {
        let (there, here) = match way {
            Way::In => ("saddr", "daddr"),
            Way::Out => ("daddr", "saddr"),
        };
        self.rule(chain, &[is("==", payload("ip", there), json!("@allow4")), accept()]);
        self.rule(chain, &[is("==", payload("ip6", there), json!("@allow6")), accept()]);
        let (their_port, my_port) = match way {
            Way::In => ("sport", "dport"),
            Way::Out => ("dport", "sport"),
        };
        for Connection { local, remote } in &self.isolating.keep {
            let family = family(remote.ip());
            let mut rule = vec![
                is("==", payload(family, there), json!(remote.ip().to_string())),
                is("==", payload("tcp", their_port), json!(remote.port())),
            ];
            // On the wire this end may have another address and port than its socket.
            if self.family == "inet" {
                rule.push(is("==", payload(family, here), json!(local.ip().to_string())));
                rule.push(is("==", payload("tcp", my_port), json!(local.port())));
            }
            rule.push(accept());
            self.rule(chain, &rule);
        }
        let on_link = json!({ "set": ON_LINK });
        self.rule(chain, &[is("==", payload("icmpv6", "type"), on_link), accept()]);
        let dhcp = |mine: u16, theirs: u16| {
            [is("==", payload("udp", my_port), json!(mine)), is("==", payload("udp", their_port), json!(theirs))]
        };
        let link_local = json!({ "prefix": { "addr": "fe80::", "len": 10 } });
        match way {
            Way::In => {
                let mut rule = dhcp(68, 67).to_vec();
                rule.push(accept());
                self.rule(chain, &rule);
                let mut rule = vec![is("==", payload("ip6", "saddr"), link_local)];
                rule.extend(dhcp(546, 547));
                rule.push(accept());
                self.rule(chain, &rule);
                // Without these a kept connection may get stuck on a path that takes only smaller packets.
                let small = is("==", payload("icmp", "code"), json!("frag-needed"));
                self.rule(chain, &[is("==", payload("icmp", "type"), json!("destination-unreachable")), small, accept()]);
                self.rule(chain, &[is("==", payload("icmpv6", "type"), json!("packet-too-big")), accept()]);
            }
            Way::Out => {
                let mut rule = vec![is("==", payload("ip", "daddr"), json!("@dhcp4"))];
                rule.extend(dhcp(68, 67));
                rule.push(accept());
                self.rule(chain, &rule);
                let servers = json!({ "set": [link_local, "ff02::1:2"] });
                let mut rule = vec![is("==", payload("ip6", "daddr"), servers)];
                rule.extend(dhcp(546, 547));
                rule.push(accept());
                self.rule(chain, &rule);
                let resets = json!({ "&": [payload("tcp", "flags"), "rst"] });
                self.rule(chain, &[is("==", resets, json!("rst")), jump("reset")]);
            }
        }
    }
}

fn element_of(network: &Network) -> Value {
    let address = network.address.to_string();
    if network.is_one() { json!(address) } else { json!({ "prefix": { "addr": address, "len": network.length } }) }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

fn meta(key: &str) -> Value {
    json!({ "meta": { "key": key } })
}

fn payload(protocol: &str, field: &str) -> Value {
    json!({ "payload": { "protocol": protocol, "field": field } })
}

#[expect(clippy::needless_pass_by_value, reason = "expressions are put together from their parts")]
fn is(op: &str, left: Value, right: Value) -> Value {
    json!({ "match": { "op": op, "left": left, "right": right } })
}

fn accept() -> Value {
    json!({ "accept": null })
}

fn jump(chain: &str) -> Value {
    json!({ "jump": { "target": chain } })
}
