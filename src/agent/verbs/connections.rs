//! `connections`: every TCP and UDP socket of every network namespace, and who holds it.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Serialize;

use crate::agent::context::{Context, VerbResult};
use crate::agent::path::{lossy, uri};
use crate::agent::platform::{Connections, Names, Protocol, Socket, SocketState};
use crate::protocol::Problem;

/// Every field of a row, in order. The last is there only where the image's path needs its exact form.
const KEYS: &[&str] = &[
    "name",
    "pid",
    "status_display",
    "local_ip",
    "local_port",
    "remote_ip",
    "remote_port",
    "protocol",
    "user_name",
    "image_path",
    "netns",
    "interface",
    "pids",
    "image_path_uri",
];

#[derive(Serialize)]
struct Row<'a> {
    /// Of the process that holds it: of several, the one with the lowest number.
    name: Option<&'a str>,
    pid: Option<u32>,
    status_display: SocketState,
    local_ip: IpAddr,
    local_port: u16,
    remote_ip: IpAddr,
    remote_port: u16,
    protocol: Protocol,
    user_name: Option<Cow<'a, str>>,
    image_path: Option<Cow<'a, str>>,
    netns: u64,
    interface: Option<&'a str>,
    /// Every process that holds it.
    pids: &'a [u32],
    #[serde(skip_serializing_if = "Option::is_none")]
    image_path_uri: Option<String>,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let mut found = ctx.agent.platform.connections(&ctx.stop)?;
    found.sockets.sort_by_cached_key(|socket| (socket.protocol, socket.state, socket.local, socket.remote, socket.namespace));
    let names = ctx.agent.accounts.names(&ctx.agent.root);
    ctx.table(KEYS)?;
    for socket in &found.sockets {
        ctx.row(&row(socket, &found, &names))?;
    }
    if found.closed > 0 {
        let message = format!("{} processes do not tell the agent's user which sockets they hold", found.closed);
        ctx.problem(Problem::new("permission_denied", message));
    }
    if found.unread > 0 {
        let message = format!("{} network namespaces could not be read: their sockets are not here", found.unread);
        ctx.problem(Problem::new("unreadable", message));
    }
    if found.untold > 0 {
        let message =
            format!("{} sockets do not tell the agent's user their network namespace: unused ones, or not here", found.untold);
        ctx.problem(Problem::new("permission_denied", message));
    }
    Ok(())
}

fn row<'a>(socket: &'a Socket, found: &'a Connections, names: &'a Names) -> Row<'a> {
    let pid = socket.holders.first().copied();
    let process = pid.and_then(|pid| found.processes.get(&pid));
    let image = process.and_then(|process| process.image.as_ref()).map(|image| image.path.as_path());
    // The socket's own user is told where nobody holds it any more; one that is only remembered has none.
    let uid = process.map(|process| process.uid).or((socket.inode != 0).then_some(socket.uid));
    Row {
        name: process.map(|process| process.name.as_str()),
        pid,
        status_display: socket.state,
        local_ip: socket.local.ip(),
        local_port: socket.local.port(),
        remote_ip: socket.remote.ip(),
        remote_port: socket.remote.port(),
        protocol: socket.protocol,
        user_name: uid.map(|uid| names.user(uid)),
        image_path: image.map(|path| path.to_str().map_or_else(|| lossy(path).into(), Cow::from)),
        netns: socket.namespace,
        interface: socket.interface.as_deref(),
        pids: &socket.holders,
        image_path_uri: image.and_then(uri),
    }
}
