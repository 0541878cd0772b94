//! What is installed, and what of it is not as it was shipped.

use std::path::Path;

use serde_json::json;

use super::altered::altered;
use super::none;
use crate::agent::collect::{Gathered, Gatherer};

const STATUS: &str = "/var/lib/dpkg/status";
/// Where dpkg keeps its lists.
pub(super) const INFO: &str = "/var/lib/dpkg/info";
/// The largest of its files that is read.
pub(super) const MAX: u64 = 256 * 1024 * 1024;

pub(super) fn gather(to: &mut Gatherer) -> Gathered {
    let status = to.agent.root.read(Path::new(STATUS), MAX).unwrap_or_default();
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
    altered(to, &status)
}
