//! The ways that analysts have come in by: the ssh connections that their shells hang below. An isolation keeps them.
//!
//! What a shell's environment says of its connection (`SSH_CONNECTION`) is only used to choose among connections that a server of
//! ssh above the shell really holds: a variable can be set to anything.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::platform::isolation::Connection;
use super::platform::{Connections, Process, Protocol, Socket, SocketState};

/// No chain of parents is that long; numbers that were given anew may make a ring.
const MAX_CHAIN: usize = 1024;
/// Programs that hold terminals for others to attach to: their clients are where the analyst is.
const MULTIPLEXERS: [&str; 7] = ["tmux", "screen", "zellij", "dtach", "abduco", "mosh-server", "byobu"];
/// Servers of ssh.
const SERVERS: [&str; 3] = ["sshd", "sshd-session", "dropbear"];

/// A way that a shell has come in by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The shell's process.
    pub shell: u32,
    /// The connection.
    pub connection: Connection,
}

/// What is known of a device, to find the ways from.
pub struct Known<'a> {
    /// All processes.
    pub processes: &'a [Process],
    /// All sockets, with who holds them.
    pub connections: &'a Connections,
    /// The environment of a process, as far as it can be read.
    pub environment: &'a dyn Fn(u32) -> Vec<u8>,
}

/// The ways of these shells; a shell of this machine's own console has none. Beside them why the way of a shell cannot be
/// told, where it cannot.
#[must_use]
pub fn of_shells(shells: &[u32], known: &Known<'_>) -> (BTreeSet<Way>, Vec<String>) {
    let mut ways = BTreeSet::new();
    let mut unclear = Vec::new();
    for &shell in shells {
        match known.way(shell, &mut Vec::new()) {
            Ok(found) => ways.extend(found.into_iter().map(|connection| Way { shell, connection })),
            Err(why) => unclear.push(format!("the way to the shell with process {shell} cannot be told: {why}")),
        }
    }
    (ways, unclear)
}

impl Known<'_> {
    fn process(&self, pid: u32) -> Option<&Process> {
        self.processes.iter().find(|process| process.pid == pid)
    }

    /// The process and those above it, but for the first of all.
    fn chain(&self, pid: u32) -> Vec<&Process> {
        let mut chain: Vec<&Process> = Vec::new();
        let mut next = pid;
        while next > 1 && chain.len() < MAX_CHAIN {
            let Some(process) = self.process(next) else { break };
            chain.push(process);
            next = process.parent_id;
        }
        chain
    }

    /// The connections through which one talks with what hangs below a process.
    fn way(&self, pid: u32, through: &mut Vec<u32>) -> Result<BTreeSet<Connection>, String> {
        let chain = self.chain(pid);
        for (at, process) in chain.iter().enumerate() {
            let name = name_of(process);
            if SERVERS.contains(&name.as_str()) {
                return self.of_server(&chain, at);
            }
            if MULTIPLEXERS.iter().any(|multiplexer| name.starts_with(multiplexer)) {
                return self.of_clients(process, &name, through);
            }
            if let Some(socket) = self.held(process.pid).next() {
                return Err(format!("it hangs below {name} ({}), which talks with {}", process.pid, socket.remote));
            }
        }
        match self.told(&chain) {
            None => Ok(BTreeSet::new()),
            // Whatever it hung below has gone, and its connection may still be there.
            Some(told) => match self.sockets().find(|socket| connection(socket) == told && self.is_of_server(socket)) {
                Some(_) => Ok(BTreeSet::from([told])),
                None => Err(format!("the connection {told}, which it was started through, is no longer there")),
            },
        }
    }

    /// The connection of a server of ssh in a chain: its processes may hold others too, which they forward.
    fn of_server(&self, chain: &[&Process], at: usize) -> Result<BTreeSet<Connection>, String> {
        let servers = chain.iter().skip(at).filter(|process| SERVERS.contains(&name_of(process).as_str()));
        let held = servers.map(|server| self.held(server.pid).map(connection).collect::<BTreeSet<_>>());
        let held: Vec<BTreeSet<Connection>> = held.filter(|held| !held.is_empty()).collect();
        let Some((first, others)) = held.split_first() else {
            return if self.has_local(chain, at) {
                Ok(BTreeSet::new())
            } else {
                Err("its server of ssh holds no connection".to_owned())
            };
        };
        let of_all: BTreeSet<Connection> =
            first.iter().filter(|one| others.iter().all(|held| held.contains(*one))).copied().collect();
        if of_all.len() == 1 {
            return Ok(of_all);
        }
        let any: BTreeSet<Connection> = held.iter().flatten().copied().collect();
        match self.told(chain).filter(|told| any.contains(told)) {
            Some(told) => Ok(BTreeSet::from([told])),
            None => Err(format!("its server of ssh holds {} connections", any.len())),
        }
    }

    /// Whether servers in a chain are connected with this machine itself, which an isolation never cuts.
    fn has_local(&self, chain: &[&Process], at: usize) -> bool {
        chain.iter().skip(at).any(|process| {
            let held = self.connections.sockets.iter().filter(|socket| socket.holders.contains(&process.pid));
            held.filter(|socket| socket.state == SocketState::Established).any(|socket| is_loopback(socket.remote))
        })
    }

    /// The ways to everybody who is attached to a multiplexer of that user.
    fn of_clients(&self, server: &Process, name: &str, through: &mut Vec<u32>) -> Result<BTreeSet<Connection>, String> {
        through.push(server.pid);
        let image = server.image.as_ref().map(|image| image.path.as_path());
        let clients = self.processes.iter().filter(|client| {
            let is_same = client.uid == server.uid && client.image.as_ref().map(|image| image.path.as_path()) == image;
            is_same && image.is_some() && !through.contains(&client.pid) && client.parent_id != server.pid
        });
        let clients: Vec<u32> = clients.map(|client| client.pid).collect();
        if clients.is_empty() {
            return Err(format!("it runs below {name} ({}), to which nobody is attached", server.pid));
        }
        let mut ways = BTreeSet::new();
        for client in clients {
            let Some(parent) = self.process(client).map(|client| client.parent_id) else { continue };
            through.push(client);
            ways.extend(self.way(parent, through)?);
        }
        // Another server looks like a client: only a way that was found says that somebody is attached.
        if ways.is_empty() {
            return Err(format!("it runs below {name} ({}), and nobody is attached to it over ssh", server.pid));
        }
        Ok(ways)
    }

    /// What the environments of a chain say of the connection, the nearest first.
    fn told(&self, chain: &[&Process]) -> Option<Connection> {
        chain.iter().find_map(|process| of_environment(&(self.environment)(process.pid)))
    }

    /// The TCP connections to elsewhere in the agent's own network namespace.
    fn sockets(&self) -> impl Iterator<Item = &Socket> {
        let own = self.connections.namespace;
        self.connections.sockets.iter().filter(move |socket| {
            socket.protocol == Protocol::Tcp
                && socket.state == SocketState::Established
                && socket.namespace == own
                && !is_loopback(socket.remote)
        })
    }

    fn held(&self, pid: u32) -> impl Iterator<Item = &Socket> {
        self.sockets().filter(move |socket| socket.holders.contains(&pid))
    }

    fn is_of_server(&self, socket: &Socket) -> bool {
        let mut holders = socket.holders.iter().filter_map(|pid| self.process(*pid));
        holders.any(|process| SERVERS.contains(&name_of(process).as_str()))
    }
}

/// What a process is called by the file it runs, or calls itself: `tmux: server` is tmux.
fn name_of(process: &Process) -> String {
    let image = process.image.as_ref().and_then(|image| image.path.file_name()).map(|name| name.to_string_lossy().into_owned());
    let name = image.unwrap_or_else(|| process.name.clone());
    name.split(':').next().unwrap_or_default().to_owned()
}

fn connection(socket: &Socket) -> Connection {
    Connection { local: plain(socket.local), remote: plain(socket.remote) }
}

/// IPv4 as itself where a socket takes both.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn is_loopback(address: SocketAddr) -> bool {
    plain(address).ip().is_loopback()
}

/// `SSH_CONNECTION`: the client's address and port, and the server's (ssh(1)).
fn of_environment(environment: &[u8]) -> Option<Connection> {
    let variable = environment.split(|&byte| byte == 0).find_map(|entry| entry.strip_prefix(b"SSH_CONNECTION="))?;
    let text = std::str::from_utf8(variable).ok()?;
    let mut words = text.split(' ');
    let mut address = || -> Option<SocketAddr> {
        let ip: IpAddr = words.next()?.split('%').next()?.parse().ok()?;
        Some(plain(SocketAddr::new(ip, words.next()?.parse().ok()?)))
    };
    let (remote, local) = (address()?, address()?);
    Some(Connection { local, remote })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::agent::platform::{Image, ProcessStatus, Time};

    const OWN: u64 = 7;

    fn process(pid: u32, parent_id: u32, program: &str) -> Process {
        Process {
            pid,
            parent_id,
            name: program.to_owned(),
            kernel_name: Vec::new(),
            uid: 1000,
            status: ProcessStatus::Sleeping,
            creation_time: Time::new(0, 0),
            start_ticks: 0,
            working_set: 0,
            private_bytes: 0,
            session_id: 0,
            cpu_time_ms: 0,
            image: Some(Image { path: PathBuf::from("/usr/bin").join(program), deleted: false }),
            arguments: Vec::new(),
            threads: 1,
        }
    }

    fn socket(remote: &str, holders: &[u32]) -> Socket {
        Socket {
            protocol: Protocol::Tcp,
            local: "10.0.0.1:22".parse().unwrap(),
            remote: remote.parse().unwrap(),
            state: SocketState::Established,
            uid: 0,
            inode: 1,
            namespace: OWN,
            interface: None,
            holders: holders.to_vec(),
        }
    }

    /// The other ends of what is kept for shell 10, or why that cannot be told.
    fn ways(processes: &[Process], sockets: Vec<Socket>, environment: &str) -> Result<Vec<String>, String> {
        let connections = Connections { sockets, namespace: OWN, ..Connections::default() };
        let environment = |pid: u32| if pid == 10 { environment.as_bytes().to_vec() } else { Vec::new() };
        let known = Known { processes, connections: &connections, environment: &environment };
        let (ways, unclear) = of_shells(&[10], &known);
        match unclear.into_iter().next() {
            Some(why) => Err(why),
            None => Ok(ways.iter().map(|way| way.connection.remote.to_string()).collect()),
        }
    }

    fn chain(programs: &[&str]) -> Vec<Process> {
        let last = programs.len() - 1;
        programs
            .iter()
            .enumerate()
            .map(|(at, program)| {
                let pid = 10 + u32::try_from(at).unwrap();
                process(pid, if at == last { 1 } else { pid + 1 }, program)
            })
            .collect()
    }

    #[test]
    fn the_connection_of_the_server_above_is_kept() {
        // lrsh, bash, sshd of the user, sshd of root, the listening sshd
        let below = chain(&["lrsh", "bash", "sshd", "sshd", "sshd"]);
        let one = socket("192.0.2.7:51000", &[12, 13]);
        assert_eq!(ways(&below, vec![one.clone()], ""), Ok(vec!["192.0.2.7:51000".to_owned()]));
        let mapped = socket("[::ffff:192.0.2.7]:51000", &[12, 13]);
        assert_eq!(ways(&below, vec![mapped], ""), Ok(vec!["192.0.2.7:51000".to_owned()]));
        let forwarded = socket("203.0.113.9:443", &[12]);
        assert_eq!(ways(&below, vec![forwarded.clone(), one.clone()], ""), Ok(vec!["192.0.2.7:51000".to_owned()]));
        let elsewhere = Socket { namespace: 8, ..one };
        assert!(ways(&below, vec![elsewhere], "").unwrap_err().contains("holds no connection"));
        let here = socket("127.0.0.1:40000", &[12]);
        assert_eq!(ways(&below, vec![here], ""), Ok(vec![]));
    }

    #[test]
    fn the_environment_only_chooses_among_what_is_there() {
        let below = chain(&["lrsh", "bash", "sshd"]);
        let two = || vec![socket("192.0.2.7:51000", &[12]), socket("203.0.113.9:443", &[12])];
        assert!(ways(&below, two(), "").unwrap_err().contains("holds 2 connections"));
        let told = "A=b\0SSH_CONNECTION=192.0.2.7 51000 10.0.0.1 22\0";
        assert_eq!(ways(&below, two(), told), Ok(vec!["192.0.2.7:51000".to_owned()]));
        let lie = "SSH_CONNECTION=198.51.100.1 1 10.0.0.1 22\0";
        assert!(ways(&below, two(), lie).is_err());
        let left = chain(&["lrsh", "bash"]);
        assert!(ways(&left, vec![], told).unwrap_err().contains("no longer there"));
        assert!(ways(&left, vec![socket("192.0.2.7:51000", &[99])], told).is_err(), "no server of ssh holds it");
        let mut with_server = left.clone();
        with_server.push(process(99, 1, "sshd"));
        assert_eq!(ways(&with_server, vec![socket("192.0.2.7:51000", &[99])], told), Ok(vec!["192.0.2.7:51000".to_owned()]));
    }

    #[test]
    fn whoever_is_attached_to_a_multiplexer_is_kept() {
        let mut all = chain(&["lrsh", "bash", "tmux"]);
        assert!(ways(&all, vec![], "").unwrap_err().contains("nobody is attached"));
        all.extend([process(30, 31, "tmux"), process(31, 32, "bash"), process(32, 1, "sshd")]);
        let one = socket("192.0.2.7:51000", &[32]);
        assert_eq!(ways(&all, vec![one.clone()], ""), Ok(vec!["192.0.2.7:51000".to_owned()]));
        all.extend([process(40, 41, "tmux"), process(41, 1, "agetty")]);
        assert_eq!(ways(&all, vec![one], ""), Ok(vec!["192.0.2.7:51000".to_owned()]));
    }

    #[test]
    fn a_console_has_no_way_and_an_unknown_one_is_said() {
        assert_eq!(ways(&chain(&["lrsh", "bash", "login"]), vec![], ""), Ok(vec![]));
        let web = chain(&["lrsh", "bash", "ttyd"]);
        assert!(ways(&web, vec![socket("192.0.2.7:51000", &[12])], "").unwrap_err().contains("below ttyd (12)"));
        assert_eq!(ways(&[], vec![], ""), Ok(vec![]), "a shell that has ended needs none");
    }
}
