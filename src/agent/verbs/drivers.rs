//! `drivers`: what the kernel loads: on Linux its modules, and where its own lists of them disagree.

use serde::Serialize;

use crate::agent::context::{Context, VerbResult};
use crate::agent::path::{lossy, uri};
use crate::agent::platform::{Driver, StartType};

/// Every field of a row, in order. The last are there only where they are needed.
const KEYS: &[&str] = &[
    "driver_name",
    "service_name",
    "service_state",
    "service_type",
    "driver_loaded",
    "path",
    "description",
    "size",
    "used_by",
    "taint",
    "signer",
    "hidden",
    "dependencies",
    "author",
    "license",
    "version",
    "vermagic",
    "start_type",
    "reg_path",
    "path_uri",
    "error",
];

#[derive(Serialize)]
struct Row<'a> {
    driver_name: &'a str,
    /// On Linux a module has no other name.
    service_name: &'a str,
    service_state: Option<&'a str>,
    service_type: &'a str,
    driver_loaded: Option<bool>,
    path: Option<String>,
    description: Option<&'a str>,
    size: Option<u64>,
    used_by: &'a [String],
    taint: Option<&'a str>,
    signer: Option<&'a str>,
    hidden: Option<bool>,
    dependencies: &'a [String],
    author: Option<&'a str>,
    license: Option<&'a str>,
    version: Option<&'a str>,
    vermagic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_type: Option<StartType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reg_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let found = ctx.agent.platform.drivers(&ctx.stop)?;
    ctx.table(KEYS)?;
    for driver in &found.all {
        ctx.row(&row(driver))?;
    }
    for doubt in found.doubts.into_iter().chain(ctx.agent.platform.doubts()) {
        ctx.problem(doubt);
    }
    Ok(())
}

fn row(driver: &Driver) -> Row<'_> {
    let info = &driver.info;
    Row {
        driver_name: &driver.name,
        service_name: &driver.name,
        service_state: driver.state.as_deref(),
        service_type: driver.kind.as_deref().unwrap_or("kernel_module"),
        driver_loaded: driver.loaded,
        path: driver.path.as_deref().map(lossy),
        description: info.description.as_deref(),
        size: driver.size,
        used_by: &driver.used_by,
        taint: driver.taint.as_deref(),
        signer: info.signer.as_deref(),
        hidden: driver.hidden,
        dependencies: &driver.dependencies,
        author: info.author.as_deref(),
        license: info.license.as_deref(),
        version: info.version.as_deref(),
        vermagic: info.vermagic.as_deref(),
        start_type: driver.start,
        reg_path: driver.reg_path.as_deref(),
        path_uri: driver.path.as_deref().and_then(uri),
        error: driver.error.as_deref(),
    }
}
