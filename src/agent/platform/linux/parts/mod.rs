//! What a package of evidence holds of a Linux device: what passes first comes first.
//!
//! Lists are JSON, a row a line, times in RFC 3339; those that a command shows are that command's own rows. Beside them, below
//! `raw`, stand the files that they were read from.

mod accounts;
mod altered;
mod logins;
mod logs;
mod network;
mod open_files;
mod packages;
mod system;

use std::time::Duration;

pub use logins::login_record;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::agent::collect::{Gathered, Gatherer, Part, live, none, recent_files};

const fn part(name: &'static str, seconds: u64, gather: fn(&mut Gatherer) -> Gathered) -> Part {
    Part { name, limit: Duration::from_secs(seconds), gather }
}

/// Every part, in order.
pub(super) const PARTS: &[Part] = &[
    part("processes", 60, |to| to.verb("processes", "processes", &[], |_| true)),
    part("connections", 60, |to| to.verb("connections", "connections", &[], |row| !listens(row))),
    part("listening", 60, |to| to.verb("listening", "connections", &[], listens)),
    part("arp", 10, network::neighbours),
    part("routes", 10, network::routes),
    part("interfaces", 10, network::interfaces),
    part("firewall", 60, network::firewall),
    part("dns", 30, network::dns),
    part("open_files", 120, open_files::gather),
    part("kernel_modules", 60, |to| to.verb("kernel_modules", "drivers", &[], |_| true)),
    part("mounts", 30, system::mounts),
    part("system", 30, system::system),
    part("users", 30, accounts::users),
    part("sudoers", 30, accounts::sudoers),
    part("services", 60, |to| to.verb("services", "services", &[], |_| true)),
    part("tasks", 60, |to| to.verb("tasks", "scheduledtasks", &[], |_| true)),
    part("startup", 60, |to| to.verb("startup", "startupfolders", &[], |_| true)),
    part("persistence", 120, |to| to.verb("persistence", "persistence", &[], |_| true)),
    part("shell_history", 60, accounts::history),
    part("logs", 180, logs::gather),
    part("packages", 240, packages::gather),
    part("recent_files", 90, recent_files),
];

/// Whether a row of `connections` waits for others.
fn listens(row: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Socket<'a> {
        status_display: &'a str,
    }
    serde_json::from_str::<Socket<'_>>(row.get()).is_ok_and(|socket| matches!(socket.status_display, "LISTEN" | "UNCONNECTED"))
}
