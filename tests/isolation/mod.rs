//! `isolate` and `release`: who is cut off, who is not, and how it ends. Always in namespaces of the test's own.

mod barrier;
mod ends;
mod prompt;
mod ssh;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};

use crate::kit::need::need;
use crate::kit::network::{ALLOWED, DEVICE, DEVICE6, Network, PEER, PEER_MAC, PEER6, words};
use crate::kit::shell::{Home, Ran};
use crate::kit::talking::until;

/// A connection that does not come about within that time does not come about.
const PATIENCE: Duration = Duration::from_secs(1);

/// A process that ends with the test.
pub struct Beside(Child);

impl Beside {
    fn new(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).spawn().unwrap())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // With what it started.
        let group = rustix::process::Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Runs lines on the device, each an argument of its own.
pub fn lines(network: &Network, home: &Home, lines: &[&str]) -> Ran {
    let mut command = home.command();
    for line in lines {
        command.args(["-c", line]);
    }
    let ran = network.on_device(&command).stdin(Stdio::null()).output().unwrap();
    Ran { code: ran.status.code(), stdout: ran.stdout, stderr: ran.stderr }
}

/// Whether a connection comes about, from an address of the peer to the device.
pub fn reaches(network: &Network, from: Option<&str>, to: &str) -> bool {
    network.as_peer(|| connect(from, to).is_some_and(|mut stream| echoes(&mut stream)))
}

fn connect(from: Option<&str>, to: &str) -> Option<TcpStream> {
    let to: SocketAddr = to.parse().unwrap();
    let Some(from) = from else { return TcpStream::connect_timeout(&to, PATIENCE).ok() };
    // The standard library binds no socket before it connects it.
    let bound: SocketAddr = format!("{from}:0").parse().unwrap();
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &bound).unwrap();
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Send, Some(PATIENCE)).unwrap();
    rustix::net::connect(&socket, &to).ok()?;
    Some(TcpStream::from(socket))
}

fn echoes(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"?").is_ok() && stream.read_exact(&mut [0]).is_ok()
}

/// A service of the device that says what it hears, on port 7.
pub fn echo(network: &Network) -> Beside {
    let server = Beside::new(&mut network.on_device(&words(&["socat", "TCP6-LISTEN:7,fork,reuseaddr,ipv6only=0", "EXEC:cat"])));
    until("the echo", || reaches(network, None, &format!("{DEVICE}:7")));
    server
}

/// Whether the device reaches an address, by a process of its own.
fn device_reaches(network: &Network, to: &str) -> bool {
    let to = format!("TCP:{to}:7,connect-timeout=1");
    let mut command = network.on_device(&words(&["socat", "-u", "/dev/null", &to]));
    command.stderr(Stdio::null()).status().unwrap().success()
}

/// Sends a word in a datagram past everything that filters sockets: through a raw socket, and through a packet socket.
fn smuggle(network: &Network, word: &str) {
    let script = format!(
        "
import socket, struct
def try_to(send):
    try: send()
    except OSError: pass
payload = struct.pack('!HHHH', 9, 9, 8 + len(b'{word}'), 0) + b'{word}'
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
try_to(lambda: raw.sendto(payload, ('{PEER}', 0)))
head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(payload), 1, 0, 64, 17, 0,
    socket.inet_aton('{DEVICE}'), socket.inet_aton('{PEER}'))
total = sum(struct.unpack('!10H', head)); total = (total & 0xffff) + (total >> 16); total = (total & 0xffff) + (total >> 16)
head = head[:10] + struct.pack('!H', total ^ 0xffff) + head[12:]
packet = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
mac = bytes.fromhex('{mac}')
try_to(lambda: packet.sendto(head + payload, ('cable', 0x0800, 0, 0, mac)))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try_to(lambda: udp.sendto(b'{word}', ('{PEER}', 9)))
udp.sendto(b'that is all', ('{ALLOWED}', 9))
",
        mac = PEER_MAC.replace(':', "")
    );
    let ran = network.on_device(&words(&["python3", "-c", &script])).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// The datagrams that came before the last word of [`smuggle`].
fn came(socket: &UdpSocket) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let mut buffer = [0; 100];
        let read = socket.recv(&mut buffer).unwrap();
        let word = String::from_utf8_lossy(&buffer[..read]).into_owned();
        if word == "that is all" {
            return all;
        }
        all.push(word);
    }
}

#[test]
fn the_peer_is_cut_off_and_what_is_kept_is_not() {
    if !need(&["socat", "python3"]) {
        return;
    }
    let Some(network) = Network::new() else { return };
    let home = Home::new();
    network.device("nft add table inet other; nft add chain inet other in '{ type filter hook input priority 0; }'");
    network.device("nft add rule inet other in tcp dport 9 counter drop");
    let (device, device6) = (format!("{DEVICE}:7"), format!("[{DEVICE6}]:7"));
    let _echo = echo(&network);
    let _listens =
        Beside::new(&mut network.on_peer(&words(&["socat", "TCP6-LISTEN:7,fork,reuseaddr,ipv6only=0", "/dev/null"])));
    until("the peer's own service", || device_reaches(&network, PEER));
    assert!(reaches(&network, Some(ALLOWED), &device) && reaches(&network, None, &device6));
    let mut open = [network.as_peer(|| connect(None, &device)).unwrap(), network.as_peer(|| connect(None, &device6)).unwrap()];
    let mut allowed = network.as_peer(|| connect(Some(ALLOWED), &device)).unwrap();
    assert!(open.iter_mut().all(echoes) && echoes(&mut allowed));
    let datagrams = network.as_peer(|| UdpSocket::bind("0.0.0.0:9")).unwrap();
    datagrams.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    smuggle(&network, "before");
    assert_eq!(came(&datagrams), ["before", "before", "before"], "raw, packet and ordinary sockets");
    let before = network.filters();

    let ran = lines(&network, &home, &[&format!("isolate -for 1h -allow {ALLOWED}"), "session -output json"]).code(0);
    let said = ran.out();
    assert!(
        said.starts_with("The device is cut off the network until ") && said.contains(&format!("Reachable: {ALLOWED}\n")),
        "{said}"
    );
    let (_, session) = said.split_once('{').unwrap();
    let session: serde_json::Value = serde_json::from_str(&format!("{{{session}")).unwrap();
    let left = session["isolation_left_ms"].as_u64().unwrap();
    assert!((3_000_000..=3_600_000).contains(&left), "{left}");
    assert!(session["isolated_until"].is_string(), "{session}");

    for connection in &mut open {
        assert!(!echoes(connection), "an established connection goes on");
    }
    assert!(!reaches(&network, None, &device) && !reaches(&network, None, &device6), "a new one comes about");
    assert!(!device_reaches(&network, PEER) && !device_reaches(&network, &format!("[{PEER6}]")));
    smuggle(&network, "during");
    assert_eq!(came(&datagrams), Vec::<String>::new(), "something was sent past the filters");
    assert!(echoes(&mut allowed) && reaches(&network, Some(ALLOWED), &device) && device_reaches(&network, ALLOWED));
    assert!(device_reaches(&network, "127.0.0.1") && device_reaches(&network, DEVICE) && device_reaches(&network, "[::1]"));

    // Anew, with other words: in place of the first.
    let ran =
        lines(&network, &home, &["isolate -for 2h", "remediate list -output jsonl", "release", "session -output json"]).code(0);
    let out = ran.out();
    assert!(out.contains("\"type\":\"isolation\"") && out.contains("The device is back on the network.\n"), "{out}");
    assert!(out.contains("\"isolated_until\": null"), "{out}");
    assert_eq!(network.filters(), before);
    assert!(reaches(&network, None, &device) && device_reaches(&network, PEER));
    let list = lines(&network, &home, &["remediate list -output jsonl", "log -output jsonl"]).code(0).jsonl();
    let told = |at: usize, field: &str| list[at][field].as_str().unwrap().to_owned();
    assert_eq!([told(0, "action"), told(1, "action"), told(2, "action")], ["isolated", "isolated", "released"]);
    assert_eq!((told(1, "state"), told(2, "state")), ("undone".to_owned(), "done".to_owned()));
    assert_eq!(list[1]["before"]["isolated"], true);
    let again = lines(&network, &home, &["release"]).code(1);
    assert!(again.err().contains("the device is not isolated"), "{}", again.err());
    let undone =
        lines(&network, &home, &["isolate -for 1h", "undo -session", "session -columns isolated_until -output json"]).code(0);
    assert!(undone.out().contains("\"isolated_until\": null"), "{}", undone.out());
    assert_eq!(network.filters(), before);
}

#[test]
fn what_another_isolation_had_said_is_not_lost_in_silence() {
    let Some(network) = Network::new() else { return };
    let home = Home::new();
    lines(&network, &home, &[&format!("isolate -for 1h -allow ::ffff:{ALLOWED},10.8.0.0/16")]).code(0);
    let shorter = lines(&network, &home, &["isolate -for 30m -allow 10.8.1.0/24"]).code(0).out();
    assert!(shorter.contains("Note: it is cut short: the isolation that was there, whose place this one takes"), "{shorter}");
    assert!(shorter.contains(&format!("Note: no longer reachable: 10.8.0.0/16, {ALLOWED}\n")), "{shorter}");
    let longer = lines(&network, &home, &["isolate -for 2h -allow 10.8.0.0/16"]).code(0).out();
    assert!(longer.contains("Note: it takes the place of an isolation until "), "{longer}");
    assert!(!longer.contains("no longer reachable"), "{longer}");
    let list = lines(&network, &home, &["release", "remediate list -output jsonl"]).code(0);
    let list: Vec<serde_json::Value> =
        list.out().lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    let second = list.iter().find(|effect| effect["before"]["allow"][0] == "10.8.0.0/16").unwrap();
    assert_eq!(second["before"]["allow"][1], ALLOWED, "{second}");
}

#[test]
fn an_interface_that_appears_later_is_cut_off_too() {
    if !need(&["socat", "python3"]) {
        return;
    }
    let Some(network) = Network::new() else { return };
    let home = Home::new();
    let said = lines(&network, &home, &["isolate -for 1h"]).code(0).out();
    assert!(said.contains("Note: an interface that appears from now on is cut off too, but for packet sockets"), "{said}");
    network.second_cable("10.10.0.1", "10.10.0.2");
    let server = Beside::new(&mut network.on_peer(&words(&["socat", "TCP-LISTEN:7,fork,reuseaddr", "/dev/null"])));
    let datagrams = network.as_peer(|| UdpSocket::bind("0.0.0.0:9")).unwrap();
    datagrams.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let send = |word: &str| {
        let script = format!(
            "import socket, struct
payload = struct.pack('!HHHH', 9, 9, 8 + len(b'{word}'), 0) + b'{word}'
for kind, protocol, what, port in ((socket.SOCK_DGRAM, 0, b'{word}', 9), (socket.SOCK_RAW, socket.IPPROTO_UDP, payload, 0)):
    try: socket.socket(socket.AF_INET, kind, protocol).sendto(what, ('10.10.0.2', port))
    except OSError: pass
"
        );
        let ran = network.on_device(&words(&["python3", "-c", &script])).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    send("during");
    assert!(!device_reaches(&network, "10.10.0.2"), "it reaches the peer over the new interface");
    lines(&network, &home, &["release"]).code(0);
    send("that is all");
    assert_eq!(came(&datagrams), Vec::<String>::new(), "something was sent over the new interface");
    assert!(device_reaches(&network, "10.10.0.2"));
    drop(server);
}

#[test]
fn it_refuses_clearly_what_it_cannot_do() {
    let Some(network) = Network::new() else { return };
    let home = Home::new();
    let refused = |command: &Command, code: i32, words: &[&str]| {
        let ran = network.on_device(command).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(code), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert_eq!(network.filters(), "");
    };
    let lrsh = env!("CARGO_BIN_EXE_lrsh");
    let wrapped = |before: &[&str], line: &str| {
        let mut command = words(before);
        command.args([lrsh, "-c", line]).env("LRSH_HOME", home.path()).env("TERM", "dumb");
        command
    };
    if need(&["setpriv"]) {
        let without = ["setpriv", "--bounding-set=-net_admin"];
        refused(&wrapped(&without, "isolate"), 1, &["root alone (CAP_NET_ADMIN)"]);
        until("the end of that service", || home.processes().is_empty());
        let mut command = words(&without);
        command.args([lrsh, "agent", "release"]);
        refused(&command, 1, &["root"]);
    }
    let nowhere = "mount --bind /dev/null /usr/sbin/nft && exec \"$0\" -c isolate";
    let mut command = words(&["unshare", "-m", "sh", "-c", nowhere, lrsh]);
    command.env("LRSH_HOME", home.path()).env("TERM", "dumb");
    refused(&command, 1, &["nft", "install the package nftables"]);
    until("the end of that service", || home.processes().is_empty());
    for (line, code, words) in [
        ("isolate -for 0s", 2, &["no time at all"]),
        ("isolate -for 31d", 2, &["30 days"]),
        ("isolate -allow 10.0.0.0/0", 2, &["every address"]),
        ("isolate -allow 0.0.0.0/1,128.0.0.0/1", 2, &["`0.0.0.0/1` does not fit allow: expected /8 at least"]),
        ("release", 1, &["not isolated"]),
    ] {
        refused(&wrapped(&["env"], line), code, words);
    }
}
