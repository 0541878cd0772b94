//! What is installed, and what of it is not as it was shipped.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::none;
use crate::agent::collect::{Gathered, Gatherer, Over, Rows};
use crate::agent::dispatch::Shared;
use crate::agent::path::{lossy, uri};
use crate::agent::platform::dpkg;

const STATUS: &str = "/var/lib/dpkg/status";
const INFO: &str = "/var/lib/dpkg/info";
const MAX: u64 = 256 * 1024 * 1024;
const MAX_NAMES: usize = 1_000_000;
/// A packaged file that is larger is not read for this.
const MAX_FILE: u64 = 1024 * 1024 * 1024;
/// What small systems are told to leave out (`path-exclude` of dpkg(1)): that it is missing says nothing.
const LEFT_OUT: [&str; 5] =
    ["/usr/share/doc/", "/usr/share/man/", "/usr/share/info/", "/usr/share/locale/", "/usr/share/lintian/"];

pub(super) fn gather(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let status = agent.root.read(Path::new(STATUS), MAX).unwrap_or_default();
    none(!status.is_empty(), "packages of dpkg; other kinds are not read yet")?;
    let status = String::from_utf8_lossy(&status).into_owned();
    to.rows("packages", |rows| {
        for paragraph in status.split("\n\n") {
            let field = |name: &str| {
                paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(ToOwned::to_owned)
            };
            let Some(name) = field("Package") else { continue };
            rows.row(&json!({
                "name": name, "version": field("Version"), "architecture": field("Architecture"), "status": field("Status"),
                "source": field("Source"), "maintainer": field("Maintainer"), "section": field("Section"),
                "installed_kilobytes": field("Installed-Size").and_then(|size| size.parse::<u64>().ok()),
            }))?;
        }
        Ok(())
    })?;
    let stop = to.stop.clone();
    to.rows("altered", |rows| {
        for (path, package, shipped) in conffiles(&status) {
            stop.check()?;
            compare(rows, &agent, &Shipped { path, package, md5: shipped, configuration: true }, &stop)?;
        }
        let mut lists = agent.root.names(Path::new(INFO), MAX_NAMES).unwrap_or_default();
        lists.retain(|name| name.as_bytes().ends_with(b".md5sums"));
        lists.sort();
        for list in lists {
            // `NAME.md5sums`, or `NAME:ARCHITECTURE.md5sums`.
            let name = list.to_string_lossy();
            let name = name.strip_suffix(".md5sums").unwrap_or(&name);
            let package = name.split(':').next().unwrap_or_default().to_owned();
            let sums = agent.root.read(&Path::new(INFO).join(&list), MAX).unwrap_or_default();
            for line in sums.split(|&byte| byte == b'\n') {
                stop.check()?;
                // `sum  path`, the path without its first slash.
                let Some((sum, path)) = line.split_at_checked(32) else { continue };
                let path = [b"/", path.get(2..).unwrap_or_default()].concat();
                let path = PathBuf::from(std::ffi::OsStr::from_bytes(&path));
                let md5 = String::from_utf8_lossy(sum).into_owned();
                compare(rows, &agent, &Shipped { path, package: package.clone(), md5, configuration: false }, &stop)?;
            }
        }
        Ok(())
    })
}

struct Shipped {
    path: PathBuf,
    package: String,
    md5: String,
    configuration: bool,
}

/// Path, package and sum of each file of configuration.
fn conffiles(status: &str) -> Vec<(PathBuf, String, String)> {
    let mut all = Vec::new();
    for paragraph in status.split("\n\n") {
        let Some(package) = paragraph.lines().find_map(|line| line.strip_prefix("Package: ")) else { continue };
        let behind = paragraph.lines().skip_while(|line| *line != "Conffiles:").skip(1);
        for line in behind.take_while(|line| line.starts_with(' ')) {
            // What is obsolete belongs to nobody any more.
            let Some((path, md5)) = line.trim_start().rsplit_once(' ') else { continue };
            if md5.len() == 32 && path.starts_with('/') {
                all.push((PathBuf::from(path), package.to_owned(), md5.to_owned()));
            }
        }
    }
    all
}

/// Adds a row where a file is not what was shipped.
fn compare(rows: &mut Rows<'_>, agent: &Shared, shipped: &Shipped, stop: &crate::agent::context::Stop) -> Result<(), Over> {
    let Shipped { path, package, md5, configuration } = shipped;
    let facts = agent.root.link_facts(path);
    let (what, found) = match &facts {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if LEFT_OUT.iter().any(|folder| path.starts_with(folder)) {
                return Ok(());
            }
            ("missing", None)
        }
        Err(_) => ("unreadable", None),
        Ok(_) => match dpkg::md5_of(&agent.root, path, MAX_FILE, stop).map(|sum| dpkg::hex(&sum)) {
            Some(found) if found == *md5 => return Ok(()),
            Some(found) => ("altered", Some(found)),
            None => ("unreadable", None),
        },
    };
    // Another package may have put its own in that place (dpkg-divert).
    let owner = agent.platform.package(path);
    if !configuration && owner.is_some_and(|owner| owner.name != *package) {
        return Ok(());
    }
    let facts = facts.ok();
    rows.row(&json!({
        "path": lossy(path), "path_uri": uri(path), "package": package, "state": what, "configuration": configuration,
        "shipped_md5": md5, "found_md5": found, "size": facts.as_ref().map(|facts| facts.size),
        "modified": facts.as_ref().map(|facts| facts.modified), "changed": facts.as_ref().map(|facts| facts.changed),
    }))
}
