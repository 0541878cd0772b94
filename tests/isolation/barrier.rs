//! What gets past the filters of sockets: frames of any kind from packet sockets, and messages from raw ones.

use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::lines;
use crate::kit::need::need;
use crate::kit::network::{ALLOWED, DEVICE, DEVICE6, Network, PEER, PEER_MAC, PEER6, words};
use crate::kit::shell::Home;
use crate::kit::talking::until;

/// Hears every frame that comes to the peer, and tells the word in each: `<<word>>`.
const HEAR: &str = "
import socket, re
heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
print('ready', flush=True)
while True:
    frame, whence = heard.recvfrom(65535)
    # What it sends itself may quote what it heard.
    if whence[2] == socket.PACKET_OUTGOING: continue
    for word in re.findall(rb'<<([a-z0-9-]+)>>', frame):
        print(word.decode(), flush=True)
        if word == b'end': raise SystemExit
";

/// What the scripts that send begin with.
fn beginning(interface: &str) -> String {
    format!(
        "
import ctypes, socket, struct
there = bytes.fromhex('{mac}'); here = bytes.fromhex('020000000001')
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
libc = ctypes.CDLL(None)
a = socket.inet_aton
a6 = lambda text: socket.inet_pton(socket.AF_INET6, text)
DEVICE, PEER, ALLOWED, DEVICE6, PEER6 = '{DEVICE}', '{PEER}', '{ALLOWED}', '{DEVICE6}', '{PEER6}'
def attempt(act, *with_what):
    try: act(*with_what)
    except OSError: pass
def total(data):
    data += b'\\0' * (len(data) % 2)
    found = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while found >> 16: found = (found & 0xffff) + (found >> 16)
    return found ^ 0xffff
def word(name): return b'<<' + name.encode() + b'>>'
def ip4(to, payload, kind=17, number=1, tail=b''):
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(payload), number, 0, 64, kind, 0, a(DEVICE), a(to))
    return head[:10] + struct.pack('!H', total(head)) + head[12:] + payload
def ip6(to, payload, kind=17, hops=64):
    return struct.pack('!IHBB', 6 << 28, len(payload), kind, hops) + a6(DEVICE6) + a6(to) + payload
def udp(payload, mine=9, theirs=9): return struct.pack('!HHHH', mine, theirs, 8 + len(payload), 0) + payload
def frame(kind, payload, protocol=0):
    # By number: Python takes no name that is not text.
    to = struct.pack('=HHiHBB8s', 17, socket.htons(protocol), socket.if_nametoindex(b'{interface}'), 0, 0, 6, there)
    whole = there + here + kind + payload
    libc.sendto(packets.fileno(), whole, len(whole), 0, to, len(to))
def icmp6(name, kind, to, more=0, hops=255):
    raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
    raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hops)
    attempt(raw.sendto, struct.pack('!BBHI', kind, 0, 0, 0) + a6(to.split('%')[0]) + word(name) + b'.' * more, (to, 0))
def end():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(word('end'), (ALLOWED, 9))
IP, IP6, TAG, OUTER, VLAN0, VLAN5 = b'\\x08\\x00', b'\\x86\\xdd', b'\\x81\\x00', b'\\x88\\xa8', b'\\0\\0', b'\\0\\5'
",
        mac = PEER_MAC.replace(':', "")
    )
}

/// Somebody on the peer who hears every frame.
struct Listener(Child);

impl Listener {
    fn new(network: &Network) -> Self {
        let mut command = network.on_peer(&words(&["python3", "-c", HEAR]));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        Self(child)
    }

    /// The words that came, up to the last of all.
    fn heard(mut self) -> Vec<String> {
        let told = BufReader::new(self.0.stdout.take().unwrap());
        let all = told.lines().map(Result::unwrap).filter(|word| word != "end").collect();
        self.0.wait().unwrap();
        all
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) {
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// What the peer hears of what a script sends.
fn hears(network: &Network, interface: &str, script: &str) -> Vec<String> {
    let listener = Listener::new(network);
    run(&mut network.on_device(&words(&["python3", "-c", &format!("{}{script}\nend()", beginning(interface))])));
    listener.heard()
}

/// All that comes through before, and these alone during an isolation that keeps one address of the peer.
#[track_caller]
fn check(network: &Network, interface: &str, script: &str, all: &[&str], kept: &[&str]) {
    let home = Home::new();
    let before = network.device("nft list tables");
    assert_eq!(hears(network, interface, script), all, "before the isolation");
    lines(network, &home, &[&format!("isolate -for 1h -allow {ALLOWED}")]).code(0);
    assert_eq!(hears(network, interface, script), kept, "during the isolation");
    lines(network, &home, &["release"]).code(0);
    assert_eq!(hears(network, interface, script), all, "behind the isolation");
    assert_eq!(network.device("nft list tables"), before);
}

#[test]
fn frames_of_every_kind_are_held_back_but_for_what_is_kept() {
    if !need(&["python3"]) {
        return;
    }
    let Some(network) = Network::new() else { return };
    let script = "
no = lambda name: udp(word(name))
frame(IP, ip4(PEER, no('plain')))
frame(IP6, ip6(PEER6, no('plain6')))
frame(TAG + VLAN0 + IP, ip4(PEER, no('tag')))
frame(OUTER + VLAN0 + IP, ip4(PEER, no('outer-tag')))
frame(TAG + VLAN0 + IP6, ip6(PEER6, no('tag6')))
frame(OUTER + VLAN5 + TAG + VLAN5 + IP, ip4(PEER, no('two-tags')))
frame(TAG + VLAN0 + TAG + VLAN0 + TAG + VLAN0 + IP, ip4(PEER, no('three-tags')))
frame(b'\\x88\\xb5', word('experiment'))
frame(b'\\x88\\x64', b'\\x11\\0\\0\\1\\0\\x70\\0\\x21' + ip4(PEER, no('pppoe')))
frame(b'\\x08\\x06', b'\\0\\1\\x08\\0\\6\\4\\0\\1' + bytes(20) + word('arp'))
frame(b'\\x08\\x06', b'\\0\\1\\x08\\0\\6\\4\\0\\1' + bytes(20) + word('long-arp') + bytes(1000))
# What the socket calls the frame is not what stands in it.
frame(IP, ip4(PEER, no('called-arp')), 0x0806)
frame(IP, ip4(PEER, no('called-ip6')), 0x86dd)
frame(IP, ip4(PEER, udp(word('called-tag') , *struct.unpack('!HH', a(ALLOWED))), number=0x4500), 0x8100)
frame(TAG + VLAN0 + IP, ip4(PEER, no('tag-called-ip')), 0x0800)
frame(IP, ip4(ALLOWED, no('kept')))
frame(TAG + VLAN5 + IP, ip4(ALLOWED, no('kept-tag')))
frame(OUTER + VLAN5 + IP, ip4(ALLOWED, no('kept-outer')))
frame(OUTER + VLAN5 + TAG + VLAN5 + IP, ip4(ALLOWED, no('kept-two')))
frame(b'\\x88\\x64', b'\\x11\\0\\0\\1\\0\\x70\\0\\x21' + ip4(ALLOWED, no('kept-pppoe')))
";
    let kept = ["kept", "kept-tag", "kept-outer", "kept-two", "kept-pppoe"];
    let mut all = vec![
        "plain",
        "plain6",
        "tag",
        "outer-tag",
        "tag6",
        "two-tags",
        "three-tags",
        "experiment",
        "pppoe",
        "arp",
        "long-arp",
        "called-arp",
        "called-ip6",
        "called-tag",
        "tag-called-ip",
    ];
    all.extend(kept);
    check(&network, "cable", script, &all, &[&["arp"], &kept[..]].concat());
}

#[test]
fn an_interface_with_any_name_has_the_barrier() {
    if !need(&["python3"]) {
        return;
    }
    let Some(network) = Network::new() else { return };
    // With this one alone.
    network.device(
        "ip link set cable down; ip link set cable name \"$(printf 'zz\\377\"a')\"; ip link set \"$(printf 'zz\\377\"a')\" up",
    );
    network.device("ip addr add fd00:9::1/64 dev \"$(printf 'zz\\377\"a')\" nodad 2>&1 || :");
    let script = "frame(IP, ip4(PEER, udp(word('plain')))); frame(IP, ip4(ALLOWED, udp(word('kept'))))";
    check(&network, "zz\\xff\"a", script, &["plain", "kept"], &["kept"]);
}

#[test]
fn messages_about_neighbours_and_groups_carry_nothing_elsewhere() {
    if !need(&["python3"]) {
        return;
    }
    let Some(network) = Network::new() else { return };
    let script = "
icmp6('report', 131, PEER6, 700)
icmp6('solicit', 135, PEER6, 700)
icmp6('small', 135, PEER6)
icmp6('far', 135, PEER6, hops=64)
icmp6('advert', 136, PEER6)
icmp6('router', 134, 'ff02::1%cable', 700)
icmp6('everybody', 143, 'ff02::1%cable', 700, hops=1)
icmp6('solicits-a-router', 133, 'ff02::2%cable', 700)
frame(IP6, ip6(PEER6, b'\\x87\\0\\0\\0\\0\\0\\0\\0' + a6(PEER6) + word('frame'), 58, 255))
def datagram(name, to, theirs=67):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('0.0.0.0', 68))
    attempt(s.sendto, word(name), (to, theirs))
datagram('lease', PEER)
s6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s6.bind(('::', 546))
attempt(s6.sendto, word('lease6'), (PEER6, 547))
frame(IP, ip4('255.255.255.255', udp(word('broadcast'), 68, 67)))
";
    let all = [
        "report",
        "solicit",
        "small",
        "far",
        "advert",
        "router",
        "everybody",
        "solicits-a-router",
        "frame",
        "lease",
        "lease6",
        "broadcast",
    ];
    check(&network, "cable", script, &all, &["broadcast"]);
}

#[test]
fn neighbours_are_still_found() {
    if !need(&["socat"]) {
        return;
    }
    let Some(network) = Network::new() else { return };
    let home = Home::new();
    let server = ["socat", "TCP6-LISTEN:7,fork,reuseaddr,ipv6only=0", "/dev/null"];
    let _listens = super::Beside::new(&mut network.on_peer(&words(&server)));
    until("the peer's own service", || super::device_reaches(&network, &format!("[{PEER6}]")));
    lines(&network, &home, &[&format!("isolate -for 1h -allow {PEER6},{ALLOWED}")]).code(0);
    network.device("ip neigh flush all");
    run(&mut network.on_peer(&words(&["ip", "neigh", "flush", "all"])));
    assert!(super::device_reaches(&network, &format!("[{PEER6}]")), "its neighbour over IPv6 is not found");
    assert!(super::device_reaches(&network, ALLOWED), "its neighbour over IPv4 is not found");
    lines(&network, &home, &["release"]).code(0);
}

#[test]
fn what_comes_as_a_lease_is_one() {
    if !need(&["python3"]) {
        return;
    }
    let Some(network) = Network::new() else { return };
    let home = Home::new();
    lines(&network, &home, &[&format!("isolate -for 1h -allow {ALLOWED}")]).code(0);
    let client = network.as_device(|| UdpSocket::bind("0.0.0.0:68")).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let send = |from: &str, what: &[u8]| {
        let server = network.as_peer(|| UdpSocket::bind((from, 67))).unwrap();
        rustix::net::sockopt::set_socket_reuseaddr(server.as_fd(), true).unwrap();
        server.send_to(what, (DEVICE, 68)).unwrap();
    };
    let mut reply = vec![0; 300];
    reply[0] = 2;
    reply[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    send(PEER, b"words");
    send(PEER, &[b'.'; 300]);
    send(PEER, &reply);
    send(ALLOWED, b"end");
    let mut buffer = [0; 1000];
    assert_eq!(client.recv(&mut buffer).unwrap(), 300);
    assert_eq!(buffer[0], 2, "something else came as a lease");
    assert_eq!(client.recv(&mut buffer).unwrap(), 3);
    lines(&network, &home, &["release"]).code(0);
}
