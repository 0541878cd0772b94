//! The registry: its files as they are, with their logs. Those that hold the hashes of passwords and other secrets are told of, and
//! not taken.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::{none, on_disk};
use crate::agent::collect::{Gathered, Gatherer};
use crate::agent::path::lossy;
use crate::agent::platform::drive;
use crate::agent::platform::windows_root::registry::{LOGS, Registry};

/// Of the machine, below `C:\Windows`.
const MACHINE: [&str; 8] = [
    r"System32\config\SYSTEM",
    r"System32\config\SOFTWARE",
    r"System32\config\DEFAULT",
    r"System32\config\COMPONENTS",
    r"System32\config\DRIVERS",
    r"System32\config\BBI",
    r"System32\config\ELAM",
    r"AppCompat\Programs\Amcache.hve",
];
/// What is never taken.
const SECRET: [&str; 2] = [r"System32\config\SAM", r"System32\config\SECURITY"];
/// Of each user, below the profile.
const OWN: [&str; 2] = ["NTUSER.DAT", r"AppData\Local\Microsoft\Windows\UsrClass.dat"];

pub(super) fn gather(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let registry = Registry::new(&agent.root);
    let windows = |path: &&str| on_disk(&agent.root, &format!(r"Windows\{path}"));
    let mut files: Vec<(PathBuf, bool)> = SECRET.iter().map(|path| (windows(path), false)).collect();
    files.extend(MACHINE.iter().map(|path| (windows(path), true)));
    for profile in registry.profiles() {
        let own = OWN.iter().map(|path| agent.root.spelled(&drive::below(profile.folder.clone(), path)));
        files.extend(own.map(|file| (file, true)));
    }
    files.retain(|(file, _)| agent.root.facts(file).is_ok_and(|facts| facts.is_file()));
    files.dedup();
    let stop = to.stop.clone();
    to.rows("hives", |rows| {
        for (file, taken) in &files {
            stop.check()?;
            let facts = agent.root.facts(file).ok();
            let hive = registry.hive(file);
            let state = match &hive {
                Ok(hive) if hive.is_dirty() => "dirty",
                Ok(hive) if hive.recovered() > 0 => "recovered",
                Ok(_) => "clean",
                Err(_) => "unreadable",
            };
            let why = "it holds the hashes of passwords, or other secrets; getfile fetches it";
            rows.row(&json!({
                "path": lossy(file), "size": facts.as_ref().map(|facts| facts.size),
                "modified": facts.as_ref().map(|facts| facts.modified), "state": state,
                "log_entries": hive.as_ref().ok().map(|hive| hive.recovered()),
                "error": hive.err().map(|error| error.message), "taken": taken, "why_not": (!taken).then_some(why),
            }))?;
        }
        Ok(())
    })?;
    for (file, _) in files.iter().filter(|(_, taken)| *taken) {
        to.raw(file)?;
        for log in LOGS {
            let mut name = file.as_os_str().to_owned();
            name.push(log);
            to.raw(&agent.root.spelled(&PathBuf::from(name)))?;
        }
    }
    none(!files.is_empty(), "hives of a registry")
}
