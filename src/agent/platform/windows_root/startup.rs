//! Start-up folders: that of all users and that of each.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::hive::Data;
use super::places::expand;
use super::registry::{Profile, Registry};
use super::shortcut;
use crate::agent::context::{Stop, VerbError};
use crate::agent::digest::hex;
use crate::agent::path::{lossy, reason};
use crate::agent::platform::{StartupItem, StartupKind, drive};

/// The largest file that is read, and the most names of one folder.
const MAX_FILE: u64 = 16 * 1024 * 1024;
const MAX_NAMES: usize = 5_000;

/// Where they are: of all users, and below a profile; since Vista, and before.
const COMMON: [&str; 2] = [
    r"C:\ProgramData\Microsoft\Windows\Start Menu\Programs\Startup",
    r"C:\Documents and Settings\All Users\Start Menu\Programs\Startup",
];
const OWN: [&str; 2] = [r"AppData\Roaming\Microsoft\Windows\Start Menu\Programs\Startup", r"Start Menu\Programs\Startup"];
/// Where Task Manager keeps what it switched off.
const APPROVED: &str = r"Microsoft\Windows\CurrentVersion\Explorer\StartupApproved\StartupFolder";
/// What kinds of files are called.
const KINDS: [(&str, &str); 16] = [
    ("lnk", ".lnk file"),
    ("url", ".url file"),
    ("exe", ".exe file"),
    ("com", ".com file"),
    ("scr", ".scr file"),
    ("bat", ".bat file"),
    ("cmd", ".cmd file"),
    ("ps1", ".ps1 file"),
    ("vbs", ".vbs file"),
    ("vbe", ".vbe file"),
    ("js", ".js file"),
    ("jse", ".jse file"),
    ("wsf", ".wsf file"),
    ("hta", ".hta file"),
    ("dll", ".dll file"),
    ("cpl", ".cpl file"),
];

/// Every file in a start-up folder.
///
/// # Errors
/// Only when told to stop: what cannot be read is said with the item it is about.
pub fn startup_items(registry: &Registry<'_>, stop: &Stop) -> Result<Vec<StartupItem>, VerbError> {
    let mut all = Vec::new();
    for folder in COMMON {
        let folder = registry.root().spelled(&drive::resolve(r"C:\", folder));
        all.extend(items(registry, &folder, None, stop)?);
    }
    for profile in registry.profiles() {
        for folder in OWN {
            let folder = registry.root().spelled(&drive::below(profile.folder.clone(), folder));
            all.extend(items(registry, &folder, Some(&profile), stop)?);
        }
    }
    Ok(all)
}

fn items(
    registry: &Registry<'_>,
    folder: &Path,
    profile: Option<&Profile>,
    stop: &Stop,
) -> Result<Vec<StartupItem>, VerbError> {
    let mut all = Vec::new();
    for name in registry.root().names(folder, MAX_NAMES).unwrap_or_default() {
        stop.check()?;
        let file = folder.join(&name);
        let name = name.to_string_lossy();
        // It says how the folder looks, and nothing runs it.
        let is_folder = registry.root().facts(&file).is_ok_and(|facts| facts.is_folder());
        if name.eq_ignore_ascii_case("desktop.ini") || is_folder {
            continue;
        }
        let mut item = item(registry, &file, profile);
        item.enabled = approved(registry, APPROVED, &name, profile);
        all.push(item);
    }
    Ok(all)
}

fn item(registry: &Registry<'_>, file: &Path, profile: Option<&Profile>) -> StartupItem {
    let ending = file.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    let kind = KINDS.iter().find(|(known, _)| *known == ending).map_or("file", |(_, kind)| kind);
    let mut item = StartupItem {
        file: file.to_owned(),
        category: StartupKind::File(kind),
        user: profile.map(|profile| profile.name.clone()),
        enabled: true,
        modified: registry.root().link_facts(file).ok().map(|facts| facts.modified),
        ..StartupItem::default()
    };
    let bytes = match registry.root().read(file, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) => {
            item.error = Some(reason(&error).1);
            return item;
        }
    };
    item.sha256 = Some(hex(&Sha256::digest(&bytes)));
    let folder = profile.map(|profile| lossy(&profile.folder));
    let expanded = |text: &str| expand(text, folder.as_deref());
    match ending.as_str() {
        "lnk" => match shortcut::parse(&bytes) {
            Some(link) => {
                item.command = link.command();
                item.program = link.target.or(link.relative).map(|target| expanded(&target));
            }
            None => item.error = Some("it is no shortcut, or a damaged one".to_owned()),
        },
        "url" => {
            let text = super::text::decode(&bytes);
            item.command =
                text.lines().find_map(|line| line.trim().strip_prefix("URL=")).map(|url| url.chars().take(4096).collect());
        }
        _ => item.program = Some(lossy(file)),
    }
    item
}

/// Whether Task Manager lets an item start: the first byte of its entry is odd where it does not.
pub fn approved(registry: &Registry<'_>, place: &str, name: &str, profile: Option<&Profile>) -> bool {
    let path = match profile {
        Some(profile) => format!(r"HKEY_USERS\{}\Software\{place}", profile.sid.as_ref().unwrap_or(&profile.name)),
        None => format!(r"HKEY_LOCAL_MACHINE\SOFTWARE\{place}"),
    };
    let entry = registry.key(&path).ok().flatten().and_then(|found| found.data(name));
    !matches!(entry, Some(Data::Bytes(bytes)) if bytes.first().is_some_and(|byte| byte % 2 == 1))
}
