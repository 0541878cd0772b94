//! What was done on the device: what was typed, what was run, what was plugged in, and the table of all its files.

use std::sync::Arc;

use serde_json::json;

use super::accounts::bytes_of;
use super::{doubts, none, on_disk};
use crate::agent::collect::{Gathered, Gatherer};
use crate::agent::digest::hex;
use crate::agent::path::lossy;
use crate::agent::platform::windows_root::hive::Data;
use crate::agent::platform::windows_root::registry::{Found, Registry};
use crate::agent::platform::windows_root::text::{decode, utf16};
use crate::agent::platform::{Facts, drive};

/// Where PowerShell keeps what was typed, below a profile: one file a host.
const POWERSHELL: &str = r"AppData\Roaming\Microsoft\Windows\PowerShell\PSReadLine";
/// What was typed into Explorer, below `Software` of a user.
const TYPED: [&str; 2] =
    [r"Microsoft\Windows\CurrentVersion\Explorer\RunMRU", r"Microsoft\Windows\CurrentVersion\Explorer\TypedPaths"];
const MAX_FILE: u64 = 16 * 1024 * 1024;
const MAX_NAMES: usize = 10_000;

/// What users typed: into PowerShell, and into Explorer's lines.
pub(super) fn history(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let registry = Registry::new(&agent.root);
    let profiles = registry.profiles();
    let mut files = Vec::new();
    for profile in &profiles {
        let folder = agent.root.spelled(&drive::below(profile.folder.clone(), POWERSHELL));
        let names = registry.names(&folder, MAX_NAMES);
        let histories = names.into_iter().filter(|name| name.to_string_lossy().to_lowercase().ends_with("_history.txt"));
        files.extend(histories.map(|name| (profile.name.clone(), folder.join(name))));
    }
    to.rows("shell_history", |rows| {
        for (user, file) in &files {
            let text = decode(&agent.root.read(file, MAX_FILE).unwrap_or_default());
            for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                rows.row(&json!({
                    "time": null, "user_name": user, "command": line, "file": lossy(file), "line": number + 1,
                }))?;
            }
        }
        for profile in &profiles {
            let user = profile.sid.as_ref().unwrap_or(&profile.name);
            for place in TYPED {
                let Ok(Some(found)) = registry.key(&format!(r"HKEY_USERS\{user}\Software\{place}")) else { continue };
                let values = found.values().into_iter();
                for value in values.filter(|value| value.name != "MRUList") {
                    let Ok(Data::Text(text)) = found.hive.data(&value) else { continue };
                    // `RunMRU` ends each with `\1`.
                    let command = text.strip_suffix(r"\1").unwrap_or(&text);
                    rows.row(&json!({
                        "time": null, "user_name": profile.name, "command": command,
                        "file": format!(r"{}\\{}", found.path, value.name), "line": null,
                    }))?;
                }
            }
        }
        Ok(())
    })?;
    for (_, file) in &files {
        to.raw(file)?;
    }
    doubts(to, &registry)
}

/// Programs that were run lately: Windows keeps a file of each, whose times are those of its first and its last run.
pub(super) fn prefetch(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let folder = on_disk(&agent.root, r"Windows\Prefetch");
    let names = agent.root.names(&folder, MAX_NAMES).unwrap_or_default();
    let files: Vec<_> = names
        .into_iter()
        .map(|name| folder.join(name))
        .filter(|file| file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("pf")))
        .filter_map(|file| Some((agent.root.link_facts(&file).ok().filter(Facts::is_file)?, file)))
        .collect();
    to.rows("prefetch", |rows| {
        for (facts, file) in &files {
            // `NAME.EXE-0123ABCD.pf`: the program, and a hash of where it was run from.
            let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let (program, hash) = stem.rsplit_once('-').unwrap_or((&stem, ""));
            rows.row(&json!({
                "name": program, "path_hash": hash, "first_run": facts.created, "last_run": facts.modified, "size": facts.size,
                "path": lossy(file),
            }))?;
        }
        Ok(())
    })?;
    for (_, file) in &files {
        to.raw(file)?;
    }
    none(!files.is_empty(), "files of Prefetch, which servers do not keep")
}

/// NTFS's own table of files, where the mount shows it.
pub(super) fn mft(to: &mut Gatherer) -> Gathered {
    let table = on_disk(&Arc::clone(&to.agent).root, "$MFT");
    let any = to.raw(&table)?;
    none(any, r"$MFT that the mount shows: ntfs-3g does with `show_sys_files`")
}

/// Which disk had which letter, and which sticks were ever plugged in.
pub(super) fn mounts(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let registry = Registry::new(&agent.root);
    let mounted = registry.machine(r"SYSTEM\MountedDevices");
    to.rows("mounts", |rows| {
        if let Some(found) = &mounted {
            for value in found.values() {
                let bytes = bytes_of(found, &value.name).unwrap_or_default();
                // A removable one stands as text, a disk as the number of its partition.
                let source =
                    if bytes.starts_with(&[b'_', 0]) || bytes.starts_with(&[b'\\', 0]) { utf16(&bytes) } else { hex(&bytes) };
                rows.row(&json!({ "mount_point": value.name, "source": source, "changed": found.key.written }))?;
            }
        }
        Ok(())
    })?;
    let sticks = registry.machine(r"SYSTEM\CurrentControlSet\Enum\USBSTOR");
    to.rows("usb_storage", |rows| {
        for kind in sticks.iter().flat_map(|sticks| registry.below(sticks)) {
            for found in registry.below(&kind) {
                rows.row(&stick(&kind, &found))?;
            }
        }
        Ok(())
    })?;
    doubts(to, &registry)?;
    none(mounted.is_some(), "list of drives in its registry")
}

fn stick(kind: &Found, found: &Found) -> serde_json::Value {
    json!({
        "device": kind.key.name, "serial": found.key.name, "name": found.text("FriendlyName"), "modified": found.key.written,
        "reg_path": found.path,
    })
}
