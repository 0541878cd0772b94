//! What is installed: what Windows lists to be uninstalled, for the machine and for each user.

use std::sync::Arc;

use jiff::civil::Date;
use serde_json::json;

use super::{doubts, none};
use crate::agent::collect::{Gathered, Gatherer};
use crate::agent::platform::windows_root::registry::{Found, Registry};
use crate::protocol::Problem;

const UNINSTALL: &str = r"Microsoft\Windows\CurrentVersion\Uninstall";
const MAX: usize = 100_000;

pub(super) fn gather(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let registry = Registry::new(&agent.root);
    let mut places: Vec<(String, Option<String>)> =
        ["SOFTWARE", r"SOFTWARE\Wow6432Node"].map(|part| (format!(r"HKEY_LOCAL_MACHINE\{part}\{UNINSTALL}"), None)).to_vec();
    for profile in registry.profiles() {
        let user = profile.sid.as_ref().unwrap_or(&profile.name);
        places.push((format!(r"HKEY_USERS\{user}\Software\{UNINSTALL}"), Some(profile.name.clone())));
    }
    let stop = to.stop.clone();
    let mut any = false;
    to.rows("packages", |rows| {
        for (place, user) in &places {
            let Ok(Some(all)) = registry.key(place) else { continue };
            for found in registry.below(&all).into_iter().take(MAX) {
                stop.check()?;
                any = true;
                rows.row(&json!({
                    "name": found.text("DisplayName").unwrap_or_else(|| found.key.name.clone()),
                    "version": found.text("DisplayVersion"), "publisher": found.text("Publisher"),
                    "installed": installed(&found), "folder": found.text("InstallLocation"),
                    "uninstall": found.text("UninstallString"), "source": found.text("InstallSource"),
                    "hidden": found.number("SystemComponent").is_some_and(|number| number != 0), "user_name": user,
                    "reg_path": found.path, "modified": found.key.written,
                }))?;
            }
        }
        Ok(())
    })?;
    doubts(to, &registry)?;
    none(any, "list of what is installed")?;
    let message = "altered files: a Windows keeps no checksums of what was installed, so that none can be compared";
    Ok(to.problem(Problem::new("not_on_platform", message))?)
}

/// `20260102` as a date.
fn installed(found: &Found) -> Option<Date> {
    let text = found.text("InstallDate")?;
    let number = |from: usize, to: usize| text.get(from..to)?.parse().ok();
    Date::new(number(0, 4)?, i8::try_from(number(4, 6)?).ok()?, i8::try_from(number(6, 8)?).ok()?).ok()
}
