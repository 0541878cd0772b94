//! `connections` agrees with `ss -tunap`, entry by entry, in this network namespace and in another one.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};

use lrsh::protocol::Status;
use serde_json::Value;

use crate::kit::device::Device;
use crate::kit::need::{find, need, skip};
use crate::kit::systemd::inside_systemd;

/// Protocol, state, local end, remote end, processes.
type Entry = (String, String, String, String, BTreeSet<u64>);

fn ours() -> Vec<Value> {
    let answer = Device::live().run("connections", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    answer.rows()
}

fn entry(row: &Value) -> Entry {
    let end = |ip: &str, port: &str| {
        let (ip, port) = (row[ip].as_str().unwrap(), row[port].as_u64().unwrap());
        if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
    };
    let pids = row["pids"].as_array().unwrap().iter().map(|pid| pid.as_u64().unwrap()).collect();
    let text = |key: &str| row[key].as_str().unwrap().to_owned();
    (text("protocol"), text("status_display"), end("local_ip", "local_port"), end("remote_ip", "remote_port"), pids)
}

fn ss() -> BTreeSet<Entry> {
    let out = Command::new("ss").args(["-tunapH"]).output().unwrap();
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let state = match words[1] {
            "ESTAB" => "ESTABLISHED".to_owned(),
            "UNCONN" if words[0] == "udp" => "UNCONNECTED".to_owned(),
            "UNCONN" => "CLOSE".to_owned(),
            "FIN-WAIT-1" => "FIN_WAIT1".to_owned(),
            "FIN-WAIT-2" => "FIN_WAIT2".to_owned(),
            other => other.replace('-', "_"),
        };
        let local = words[4].split_once('%').map_or_else(
            || words[4].to_owned(),
            |(ip, rest)| {
                let port = rest.rsplit(':').next().unwrap();
                if ip.starts_with('[') { format!("{ip}]:{port}") } else { format!("{ip}:{port}") }
            },
        );
        let end = |text: String| text.replace("*:", "[::]:").replace(":*", ":0");
        let (local, remote) = (end(local), end(words[5].to_owned()));
        let remote = if local.starts_with('[') && remote == "0.0.0.0:0" { "[::]:0".to_owned() } else { remote };
        let pids = words.get(6).unwrap_or(&"").split("pid=").skip(1);
        let pids = pids.filter_map(|rest| rest.split(',').next()?.parse().ok()).collect();
        (words[0].to_owned(), state, local, remote, pids)
    };
    String::from_utf8(out.stdout).unwrap().lines().map(line).collect()
}

#[test]
fn every_socket_agrees_with_ss() {
    if !need(&["ss"]) {
        return;
    }
    let listeners = ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"].map(|address| TcpListener::bind(address).unwrap());
    let dual = listeners[3].local_addr().unwrap().port();
    let streams = [
        TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap(),
        TcpStream::connect(listeners[2].local_addr().unwrap()).unwrap(),
        TcpStream::connect(("127.0.0.1", dual)).unwrap(),
    ];
    let accepted = [&listeners[0], &listeners[2], &listeners[3]].map(|listener| listener.accept().unwrap().0);
    let half_closed = TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap();
    let waiting = listeners[0].accept().unwrap().0;
    half_closed.shutdown(std::net::Shutdown::Write).unwrap();
    let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
    let connected = UdpSocket::bind("[::1]:0").unwrap();
    connected.connect("[::1]:9").unwrap();
    let anywhere = UdpSocket::bind("[::]:0").unwrap();
    // What other programs of this machine do meanwhile is no difference: only what ss says before and after is compared.
    let (before, rows, after) = (ss(), ours(), ss());
    let told: BTreeSet<Entry> = rows.iter().map(entry).collect();
    let lasting: BTreeSet<_> = before.intersection(&after).cloned().collect();
    // A program that another test starts holds this process's sockets too until it is executed: more holders are no difference.
    let same = |one: &Entry, other: &Entry| (&one.0, &one.1, &one.2, &one.3) == (&other.0, &other.1, &other.2, &other.3);
    let is_told = |wanted: &&Entry| told.iter().any(|told| same(told, wanted) && told.4.is_superset(&wanted.4));
    let missing: Vec<_> = lasting.iter().filter(|wanted| !is_told(wanted)).collect();
    assert!(missing.is_empty(), "ss has, connections has not: {missing:#?}");
    let own = u64::from(std::process::id());
    let netns = std::fs::read_link("/proc/self/ns/net").unwrap().to_string_lossy().into_owned();
    let ours_alone = |row: &&Value| row["pid"] == own && netns == format!("net:[{}]", row["netns"]);
    let extra: Vec<_> =
        rows.iter().filter(ours_alone).map(entry).filter(|entry| !before.union(&after).any(|told| same(told, entry))).collect();
    // Other tests of this process come and go; those of this test do not.
    let ports: BTreeSet<String> = listeners.iter().map(|one| format!(":{}", one.local_addr().unwrap().port())).collect();
    assert!(!extra.iter().any(|entry| ports.iter().any(|port| entry.2.ends_with(port))), "ss has not: {extra:#?}");
    let port = u64::from(listeners[0].local_addr().unwrap().port());
    let row = rows.iter().find(|row| row["local_port"] == port && row["status_display"] == "LISTEN").unwrap();
    let user = Command::new("id").arg("-un").output().unwrap();
    assert_eq!(row["user_name"], String::from_utf8(user.stdout).unwrap().trim());
    assert_eq!(row["image_path"], std::env::current_exe().unwrap().to_str().unwrap());
    drop((streams, accepted, waiting, datagram, anywhere));
}

#[test]
fn sockets_of_other_network_namespaces_are_told() {
    if !need(&["unshare", "python3", "ss"]) {
        return;
    }
    let script = "import socket,subprocess,sys\n\
        subprocess.run(['ip','link','set','lo','up'])\n\
        l=[socket.socket(f) for f in (socket.AF_INET,socket.AF_INET6)]\n\
        [s.bind(('',4711)) if s.family==socket.AF_INET else (s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_V6ONLY,1),s.bind(('::',4711))) for s in l]\n\
        [s.listen() for s in l]\n\
        u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);u.bind(('',4712))\n\
        print(subprocess.run(['readlink','/proc/self/ns/net'],capture_output=True,text=True).stdout.strip(),flush=True)\n\
        sys.stdin.read()";
    let mut child = Command::new("unshare")
        .args(["-n", "python3", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let rows = ours();
    child.kill().unwrap();
    child.wait().unwrap();
    if line.is_empty() {
        skip("a network namespace cannot be made");
        return;
    }
    let found: BTreeSet<_> = rows.iter().filter(|row| line.trim() == format!("net:[{}]", row["netns"])).map(entry).collect();
    let pids = BTreeSet::from([u64::from(child.id())]);
    let of = |protocol: &str, state: &str, local: &str, remote: &str| {
        (protocol.to_owned(), state.to_owned(), local.to_owned(), remote.to_owned(), pids.clone())
    };
    assert_eq!(
        found,
        BTreeSet::from([
            of("tcp", "LISTEN", "0.0.0.0:4711", "0.0.0.0:0"),
            of("tcp", "LISTEN", "[::]:4711", "[::]:0"),
            of("udp", "UNCONNECTED", "0.0.0.0:4712", "0.0.0.0:0"),
        ])
    );
}

/// A program whose sockets are in namespaces that no process is in: one that it has left, one that only a thread of it is in, and
/// one of a program whose first thread has ended. It says the two ports.
const ASTRAY: &str = r"
import ctypes, os, socket, subprocess, sys, threading
libc = ctypes.CDLL(None)
here = os.open('/proc/self/ns/net', 0)
def listener():
    if libc.unshare(0x40000000) != 0:
        sys.exit(3)
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'])
    one = socket.socket()
    one.bind(('127.0.0.1', 0))
    one.listen()
    return one
left = listener()
if libc.setns(here, 0) != 0:
    sys.exit(3)
unused = socket.socket()
def stay():
    other = listener()
    print(left.getsockname()[1], other.getsockname()[1], flush=True)
    sys.stdin.read()
threading.Thread(target=stay).start()
";

#[test]
fn sockets_of_namespaces_without_a_process_are_told() {
    if !need(&["python3", "ip"]) {
        return;
    }
    for ends in [false, true] {
        let end = if ends { "libc.syscall(60, 0)\n" } else { "" };
        let mut child = Command::new("python3")
            .args(["-c", &format!("{ASTRAY}{end}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let rows = ours();
        drop(child.stdin.take());
        child.wait().unwrap();
        if line.is_empty() {
            skip("a network namespace cannot be made");
            return;
        }
        let own = std::fs::read_link("/proc/self/ns/net").unwrap().to_string_lossy().into_owned();
        for port in line.split_whitespace() {
            let listens = |row: &&Value| {
                row["local_port"] == port.parse::<u64>().unwrap() && row["pids"] == serde_json::json!([child.id()])
            };
            let row = rows.iter().find(listens).unwrap_or_else(|| panic!("{port} is missing (the first thread ends: {ends})"));
            assert_eq!(row["status_display"], "LISTEN", "{row}");
            assert_ne!(format!("net:[{}]", row["netns"]), own, "{row}");
        }
    }
}

/// Starts postfix on copies of its folders.
const POSTFIX: &str = r"
for folder in /etc/postfix /var/spool/postfix /var/lib/postfix; do
  mkdir -p $(dirname /run/lrsh$folder)
  cp -a $folder /run/lrsh$folder
  mount --bind /run/lrsh$folder $folder
done
printf 'compatibility_level = 3.6\ninet_interfaces = all\n' > /etc/postfix/main.cf
cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf
systemctl start postfix@-
";

#[test]
fn the_servers_of_a_booted_debian_agree_with_ss() {
    if !inside_systemd("agent::connections::the_servers_of_a_booted_debian_agree_with_ss") {
        return;
    }
    // Inside nobody hears a test that is skipped: a root without it is one that `.ci/roots` has to make anew.
    assert!(find("ss").is_some(), "the root has no ss: `.ci/roots` makes it with iproute2");
    // Its package leaves postfix without a configuration, and the root outlives this test: it gets one of the test's own.
    let mail = Command::new("sh").args(["-ec", POSTFIX]).output().unwrap();
    assert!(mail.status.success(), "{}", String::from_utf8_lossy(&mail.stderr));
    let (before, rows, after) = (ss(), ours(), ss());
    let told: BTreeSet<Entry> = rows.iter().map(entry).collect();
    let lasting: BTreeSet<Entry> = before.intersection(&after).cloned().collect();
    let missing: Vec<_> = lasting.difference(&told).collect();
    assert!(missing.is_empty(), "ss has, connections has not: {missing:#?}; it has {told:#?}");
    let extra: Vec<_> = told.iter().filter(|entry| !before.contains(entry) && !after.contains(entry)).collect();
    assert!(extra.is_empty(), "connections has, ss has not: {extra:#?}");
    for (port, name, user) in [(22, "sshd", "root"), (25, "master", "root"), (80, "nginx", "root")] {
        let listens = |row: &&Value| row["local_port"] == port && row["status_display"] == "LISTEN";
        let row = rows.iter().find(listens).unwrap_or_else(|| panic!("nobody listens at {port}: {told:#?}"));
        assert_eq!((&row["name"], &row["user_name"]), (&name.into(), &user.into()), "{row}");
    }
}

#[test]
fn an_image_has_no_connections() {
    let folder = tempfile::tempdir().unwrap();
    let answer = Device::at(folder.path()).run("connections", &[], &[]);
    assert_eq!(answer.completed.errors[0].code, "not_on_platform");
}
