//! What system it is, and what is mounted where.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::live;
use crate::agent::collect::{Gathered, Gatherer};
use crate::agent::platform::linux::mountinfo::unescaped;

/// Small files that say what system it is.
const FILES: [&str; 14] = [
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/debian_version",
    "/etc/hostname",
    "/etc/timezone",
    "/etc/adjtime",
    "/etc/fstab",
    "/proc/version",
    "/proc/cmdline",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/sys/kernel/tainted",
];
const MAX: u64 = 1024 * 1024;

fn line(to: &Gatherer, path: &str) -> Option<String> {
    let bytes = to.agent.root.read(Path::new(path), MAX).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end().to_owned()).filter(|text| !text.is_empty())
}

/// One row of facts, and the files that they stand in.
pub(super) fn system(to: &mut Gatherer) -> Gathered {
    let hello = &to.agent.hello;
    let release = line(to, "/etc/os-release").or_else(|| line(to, "/usr/lib/os-release")).unwrap_or_default();
    let release: Map<String, Value> = release
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_ascii_lowercase(), Value::from(value.trim_matches(['"', '\'']))))
        .collect();
    let is_live = to.agent.root.is_live();
    let of_kernel = |path: &str| is_live.then(|| line(to, path)).flatten();
    let uptime = of_kernel("/proc/uptime").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let uptime = uptime.map(std::time::Duration::from_secs_f64);
    let now = Timestamp::now();
    let memory = of_kernel("/proc/meminfo").and_then(|text| {
        let kilobytes =
            text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix(" kB")?.parse::<u64>();
        Some(kilobytes.ok()? * 1024)
    });
    let zone = to.agent.root.read_link(Path::new("/etc/localtime")).ok().map(|path| path.to_string_lossy().into_owned());
    let row = json!({
        "time": now, "name": hello.name, "device_id": hello.device_id, "platform": hello.platform, "server": hello.server,
        "root": hello.root, "boot_id": hello.boot_id, "kernel": of_kernel("/proc/sys/kernel/osrelease"),
        "kernel_version": of_kernel("/proc/version"), "kernel_command_line": of_kernel("/proc/cmdline"),
        "tainted": of_kernel("/proc/sys/kernel/tainted"), "uptime_seconds": uptime.map(|uptime| uptime.as_secs()),
        "booted": uptime.and_then(|uptime| now.checked_sub(uptime).ok()), "load": of_kernel("/proc/loadavg"),
        "memory_bytes": memory, "timezone": line(to, "/etc/timezone").or(zone), "os_release": release,
    });
    to.rows("system", |rows| Ok(rows.row(&row)?))?;
    for path in FILES.iter().filter(|path| is_live || !path.starts_with("/proc/")) {
        to.raw(Path::new(path))?;
    }
    Ok(())
}

/// `/proc/self/mountinfo` (proc(5)): number, parent, device, root, mount point, options, tags, `-`, type, source, options.
pub(super) fn mounts(to: &mut Gatherer) -> Gathered {
    to.raw(Path::new("/etc/fstab"))?;
    live(to, "mounts")?;
    let text = to.agent.root.read(Path::new("/proc/self/mountinfo"), 64 * MAX).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    to.rows("mounts", |rows| {
        for line in text.lines() {
            let Some((front, back)) = line.split_once(" - ") else { continue };
            let (front, back): (Vec<&str>, Vec<&str>) = (front.split(' ').collect(), back.split(' ').collect());
            let at = |words: &[&str], place: usize| {
                words.get(place).map(|word| String::from_utf8_lossy(&unescaped(word.as_bytes())).into_owned())
            };
            rows.row(&json!({
                "mount_point": at(&front, 4), "source": at(&back, 1), "type": at(&back, 0), "options": at(&front, 5),
                "super_options": at(&back, 2), "root": at(&front, 3), "device": at(&front, 2), "id": at(&front, 0),
                "parent_id": at(&front, 1),
            }))?;
        }
        Ok(())
    })?;
    to.raw(Path::new("/proc/self/mountinfo"))?;
    Ok(())
}
