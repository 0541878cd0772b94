//! What a device tells of its network connections.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::Process;

/// The connections of a device, as they were at one moment.
#[derive(Debug, Default)]
pub struct Connections {
    /// Every socket.
    pub sockets: Vec<Socket>,
    /// The processes that hold them.
    pub processes: HashMap<u32, Process>,
    /// How many processes would not tell what they hold.
    pub closed: usize,
    /// How many network namespaces could not be read.
    pub unread: usize,
    /// How many sockets of TCP or UDP are in no namespace that was read, and would not tell theirs.
    pub untold: usize,
    /// The network namespace that the agent is in.
    pub namespace: u64,
}

/// A TCP or UDP socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// How it talks.
    pub protocol: Protocol,
    /// This end.
    pub local: SocketAddr,
    /// The other end; all zeros where there is none.
    pub remote: SocketAddr,
    /// What it does.
    pub state: SocketState,
    /// The number of the user that made it.
    pub uid: u32,
    /// Its number; 0 when it is no longer a file of anybody.
    pub inode: u64,
    /// The network namespace it belongs to.
    pub namespace: u64,
    /// The interface it is bound to, by name.
    pub interface: Option<String>,
    /// The processes that hold it, the lowest number first.
    pub holders: Vec<u32>,
}

/// How a socket talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What a socket does, named as netstat names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SocketState {
    /// Waits for others to connect.
    Listen,
    /// Connected.
    Established,
    /// Connecting.
    SynSent,
    /// Being connected to.
    SynRecv,
    /// Closed here, not yet there.
    FinWait1,
    /// Closed here, confirmed, not yet there.
    FinWait2,
    /// Closed on both sides, kept for stray packets.
    TimeWait,
    /// Neither bound nor connected any more.
    Close,
    /// Closed there, not yet here.
    CloseWait,
    /// Closed there, and the end on its way.
    LastAck,
    /// Both closing at once.
    Closing,
    /// UDP that takes from anybody.
    Unconnected,
}
