//! What a package of evidence holds of a Windows disk: what its files tell, in lists with the names that a live device's have, and
//! below `raw` the files themselves, for tools that read hives, event logs and the like. What only a running system has says so.

mod accounts;
mod hives;
mod logs;
mod network;
mod programs;
mod traces;

use std::path::PathBuf;
use std::time::Duration;

use crate::agent::collect::{Gathered, Gatherer, Part, live, none, recent_files};
use crate::agent::platform::windows_root::registry::Registry;
use crate::agent::platform::{Root, drive};

const fn part(name: &'static str, seconds: u64, gather: fn(&mut Gatherer) -> Gathered) -> Part {
    Part { name, limit: Duration::from_secs(seconds), gather }
}

/// Every part, in order.
pub(super) const PARTS: &[Part] = &[
    part("processes", 10, |to| live(to, "processes")),
    part("connections", 10, |to| live(to, "connections")),
    part("listening", 10, |to| live(to, "listening sockets")),
    part("arp", 10, |to| live(to, "ARP")),
    part("routes", 30, network::routes),
    part("interfaces", 30, network::interfaces),
    part("firewall", 30, network::firewall),
    part("dns", 30, network::dns),
    part("open_files", 10, |to| live(to, "open files")),
    part("kernel_modules", 60, |to| to.verb("kernel_modules", "drivers", &[], |_| true)),
    part("mounts", 30, traces::mounts),
    part("system", 30, accounts::system),
    part("users", 60, accounts::users),
    part("sudoers", 10, |_| none(false, "sudoers: a Windows has none; who is an administrator stands in users")),
    part("services", 60, |to| to.verb("services", "services", &[], |_| true)),
    part("tasks", 60, |to| to.verb("tasks", "scheduledtasks", &[], |_| true)),
    part("startup", 60, |to| to.verb("startup", "startupfolders", &[], |_| true)),
    part("persistence", 120, |to| to.verb("persistence", "persistence", &[], |_| true)),
    part("shell_history", 60, traces::history),
    part("registry", 180, hives::gather),
    part("logs", 180, logs::gather),
    part("prefetch", 60, traces::prefetch),
    part("mft", 120, traces::mft),
    part("packages", 60, programs::gather),
    part("recent_files", 90, recent_files),
];

/// Notes what of the registry must be known: what could not be read of it, or was left out.
fn doubts(to: &mut Gatherer, registry: &Registry<'_>) -> Gathered {
    Ok(registry.doubts().into_iter().try_for_each(|doubt| to.problem(doubt))?)
}

/// A path of the disk, as the disk spells it.
fn on_disk(root: &Root, path: &str) -> PathBuf {
    root.spelled(&drive::resolve(r"C:\", path))
}
