//! What leaves through an interface, whoever sends it, packet sockets too: all but what is kept is dropped, of every protocol.

use serde_json::{Value, json};

use super::expressions::{accept, bytes, equals, is, jump, meta, one_of};
use super::leaving::Packet;
use super::links::Kind;
use super::ruleset::Rules;

const IP: u32 = 0x0800;
const IP6: u32 = 0x86dd;
const ARP: u32 = 0x0806;
/// Tags of VLANs, the inner and the outer.
const TAGS: [u32; 2] = [0x8100, 0x88a8];
const PPPOE: u32 = 0x8864;
const EAPOL: u32 = 0x888e;
const SLOW: u32 = 0x8809;
/// Protocols of PPP: the two of IP, and those that open a link and keep it open.
const PPP_IP: u32 = 0x0021;
const PPP_IP6: u32 = 0x0057;
const PPP_LINK: [u32; 5] = [0xc021, 0xc023, 0xc223, 0x8021, 0x8057];
/// The shortest frame of Ethernet, which ARP fits in, without tags; and the longest of what keeps links together.
const SHORTEST: u32 = 64;
const LONGEST_OF_LINKS: u32 = 128;
/// The longest question of ARP where it is not Ethernet's.
const LONGEST_ARP: u32 = 128;
/// What stands where the type stands in frames that have a length there (IEEE 802.3).
const LONGEST_LENGTH: u32 = 1500;

/// What may stand before a packet in a frame of Ethernet, behind its two addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Tag,
    Session,
}

/// The frames that are looked into: plain ones, those of VLANs, of VLANs in VLANs, and of PPP over Ethernet.
const FRAMES: [&[Header]; 5] =
    [&[], &[Header::Tag], &[Header::Tag, Header::Tag], &[Header::Session], &[Header::Tag, Header::Session]];

impl Kind {
    /// The chain for what leaves through interfaces of this kind.
    pub(super) fn chain(self) -> &'static str {
        match self {
            Self::Ethernet => "ethernet",
            Self::Wireless => "wireless",
            Self::Bare => "bare",
        }
    }
}

impl Rules<'_> {
    /// The chains that interfaces are hooked to.
    pub(super) fn frames(&mut self) {
        self.chain("kept");
        self.ethernet("kept");
        self.chain(Kind::Ethernet.chain());
        self.ends(Kind::Ethernet, "kept");

        // An access point asks for a new key now and then, and lets go who does not answer.
        self.chain(Kind::Wireless.chain());
        self.rule(Kind::Wireless.chain(), &[equals(bytes("ll", 12, 2), EAPOL), accept()]);
        self.ends(Kind::Wireless, "kept");

        // Tunnels have no header before the packet.
        self.chain("kept_bare");
        let [ip, ip6] = self.leaving(Packet { base: "nh", at: 0 });
        self.rule("kept_bare", &[is("==", meta("protocol"), json!("ip")), jump(&ip)]);
        self.rule("kept_bare", &[is("==", meta("protocol"), json!("ip6")), jump(&ip6)]);
        let is_short = is("<=", meta("length"), json!(LONGEST_ARP));
        self.rule("kept_bare", &[is("==", meta("protocol"), json!("arp")), is_short, accept()]);
        self.chain(Kind::Bare.chain());
        self.ends(Kind::Bare, "kept_bare");
    }

    fn ends(&mut self, kind: Kind, kept: &str) {
        self.rule(kind.chain(), &[jump(kept)]);
        self.rule(kind.chain(), &[self.is_cut(), json!({ "drop": null })]);
    }

    fn ethernet(&mut self, chain: &str) {
        let mut known: Vec<(u32, [String; 2])> = Vec::new();
        for headers in FRAMES {
            let (conditions, at) = behind(headers);
            let with = |more: &[Value]| [&conditions[..], more].concat();
            let is_session = headers.contains(&Header::Session);
            let begins = at + 2;
            let [ip, ip6] = match known.iter().find(|(at, _)| *at == begins) {
                Some((_, chains)) => chains.clone(),
                None => {
                    let chains = self.leaving(Packet { base: "ll", at: begins });
                    known.push((begins, chains.clone()));
                    chains
                }
            };
            let kind = bytes("ll", at, 2);
            let (v4, v6) = if is_session { (PPP_IP, PPP_IP6) } else { (IP, IP6) };
            self.rule(chain, &with(&[equals(kind.clone(), v4), jump(&ip)]));
            self.rule(chain, &with(&[equals(kind.clone(), v6), jump(&ip6)]));
            let length = |most: u32| is("<=", meta("length"), json!(most));
            if is_session {
                self.rule(chain, &with(&[one_of(kind, &PPP_LINK), length(LONGEST_OF_LINKS), accept()]));
            } else {
                self.rule(chain, &with(&[equals(kind, ARP), length(SHORTEST + at - 12), accept()]));
            }
        }
        // What no bridge passes on (IEEE 802.1D, 7.12.6): without these two cables are no longer one, a port is closed, and bridges
        // make a ring.
        let group = |last: u32| [is("==", bytes("ll", 0, 4), json!(0x0180_c200_u32)), equals(bytes("ll", 4, 2), last)];
        let kind = || bytes("ll", 12, 2);
        let is_short = || is("<=", meta("length"), json!(LONGEST_OF_LINKS));
        self.rule(chain, &[&group(0)[..], &[is("<=", kind(), json!(LONGEST_LENGTH)), is_short(), accept()]].concat());
        self.rule(chain, &[&group(2)[..], &[equals(kind(), SLOW), is_short(), accept()]].concat());
        self.rule(chain, &[&group(3)[..], &[equals(kind(), EAPOL), accept()]].concat());
    }
}

/// What has to stand in a frame that has these headers, and where the next protocol's number stands then.
fn behind(headers: &[Header]) -> (Vec<Value>, u32) {
    let mut conditions = Vec::new();
    let mut at = 12;
    for header in headers {
        let kind = bytes("ll", at, 2);
        match header {
            Header::Tag => {
                conditions.push(one_of(kind, &TAGS));
                at += 4;
            }
            Header::Session => {
                conditions.push(equals(kind, PPPOE));
                // Version, code, session and length.
                at += 8;
            }
        }
    }
    (conditions, at)
}
