//! The device's clock: what time it is, and the zones that its tasks are due in, from the device's own files.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::agent::platform::linux::root::Root;

const ZONES: &str = "/usr/share/zoneinfo";
/// The largest description of a zone that is read.
const MAX_ZONE: u64 = 1024 * 1024;

/// A device's clock.
#[derive(Debug)]
pub(super) struct Clock<'a> {
    root: &'a Root,
    pub(super) now: Timestamp,
    pub(super) zone: TimeZone,
}

impl<'a> Clock<'a> {
    pub(super) fn of(root: &'a Root) -> Self {
        Self { root, now: Timestamp::now(), zone: zone_of(root) }
    }

    /// The zone of that name, from the device's files, else from those of the machine that the agent runs on.
    pub(super) fn named(&self, name: &str) -> Option<TimeZone> {
        named(self.root, name)
    }
}

/// The zone of a device: what `/etc/localtime` holds, else what `/etc/timezone` names, else UTC, as libc does.
#[must_use]
pub fn zone_of(root: &Root) -> TimeZone {
    let local = Path::new("/etc/localtime");
    let target = root.read_link(local).ok();
    let name = target.as_deref().and_then(zone_name);
    if let Some(zone) = root.read(local, MAX_ZONE).ok().and_then(|data| TimeZone::tzif(name.unwrap_or("localtime"), &data).ok())
    {
        return zone;
    }
    // A tree may hold the link without the zones.
    let written = || {
        let text = root.read(Path::new("/etc/timezone"), 4096).ok()?;
        std::str::from_utf8(&text).ok()?.split_whitespace().next().map(ToOwned::to_owned)
    };
    let name = name.map(ToOwned::to_owned).or_else(written);
    name.and_then(|name| named(root, &name)).unwrap_or(TimeZone::UTC)
}

fn zone_name(target: &Path) -> Option<&str> {
    target.to_str()?.rsplit_once("zoneinfo/").map(|(_, name)| name)
}

fn named(root: &Root, name: &str) -> Option<TimeZone> {
    if name.eq_ignore_ascii_case("utc") {
        return Some(TimeZone::UTC);
    }
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '/' | '_' | '-' | '+');
    if name.is_empty() || name.starts_with('/') || !name.chars().all(plain) {
        return None;
    }
    let file = PathBuf::from(ZONES).join(name);
    let own = root.read(&file, MAX_ZONE).ok().and_then(|data| TimeZone::tzif(name, &data).ok());
    own.or_else(|| TimeZone::get(name).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_comes_from_the_devices_files() {
        let folder = tempfile::tempdir().unwrap();
        let etc = folder.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        let root = Root::at(folder.path()).unwrap();
        let name = |root: &Root| zone_of(root).iana_name().map(ToOwned::to_owned);
        assert_eq!(name(&root).as_deref(), Some("UTC"));
        std::fs::write(etc.join("timezone"), "Asia/Tokyo\n").unwrap();
        assert_eq!(name(&root).as_deref(), Some("Asia/Tokyo"));
        std::os::unix::fs::symlink("/usr/share/zoneinfo/America/New_York", etc.join("localtime")).unwrap();
        assert_eq!(name(&root).as_deref(), Some("America/New_York"));
        std::fs::write(etc.join("timezone"), "../../etc/passwd\n").unwrap();
        std::fs::remove_file(etc.join("localtime")).unwrap();
        assert_eq!(name(&root).as_deref(), Some("UTC"));
        std::fs::write(etc.join("localtime"), [0xff; 64]).unwrap();
        assert_eq!(name(&root).as_deref(), Some("UTC"));
    }
}
