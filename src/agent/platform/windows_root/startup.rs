//! Start-up folders: that of all users and that of each, where they usually are and where the registry says that they are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::hive::Data;
use super::places::expand;
use super::registry::{Profile, Registry};
use super::shortcut;
use crate::agent::context::{Stop, VerbError};
use crate::agent::digest::hex;
use crate::agent::path::{lossy, problem, reason};
use crate::agent::platform::{StartupItem, StartupKind, Told, drive};

/// The largest file that is read, and the most names of one folder.
const MAX_FILE: u64 = 16 * 1024 * 1024;
const MAX_NAMES: usize = 5_000;

/// Where they are: of all users, and below a profile; since Vista, and before.
const COMMON: [&str; 2] = [
    r"C:\ProgramData\Microsoft\Windows\Start Menu\Programs\Startup",
    r"C:\Documents and Settings\All Users\Start Menu\Programs\Startup",
];
const OWN: [&str; 2] = [r"AppData\Roaming\Microsoft\Windows\Start Menu\Programs\Startup", r"Start Menu\Programs\Startup"];
/// Where the registry says that they are: the second is what is read by programs of old.
const SHELL_FOLDERS: [&str; 2] = [
    r"Microsoft\Windows\CurrentVersion\Explorer\User Shell Folders",
    r"Microsoft\Windows\CurrentVersion\Explorer\Shell Folders",
];
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
/// Only when told to stop: what cannot be read is said with the item it is about, or in the doubts.
pub fn startup_items(registry: &Registry<'_>, stop: &Stop) -> Result<Told<StartupItem>, VerbError> {
    let mut all = Vec::new();
    for folder in folders(registry, r"HKEY_LOCAL_MACHINE\SOFTWARE", "Common Startup", None) {
        all.extend(items(registry, &folder, None, stop)?);
    }
    for profile in registry.profiles() {
        let user = profile.sid.as_ref().unwrap_or(&profile.name);
        for folder in folders(registry, &format!(r"HKEY_USERS\{user}\Software"), "Startup", Some(&profile)) {
            all.extend(items(registry, &folder, Some(&profile), stop)?);
        }
    }
    Ok(Told { all, doubts: registry.doubts() })
}

/// The folders of all users or of one: where they usually are, and where a value of the registry says.
fn folders(registry: &Registry<'_>, software: &str, value: &str, profile: Option<&Profile>) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = match profile {
        Some(profile) => OWN.iter().map(|folder| drive::below(profile.folder.clone(), folder)).collect(),
        None => COMMON.iter().map(|folder| drive::resolve(r"C:\", folder)).collect(),
    };
    for folder in &mut folders {
        *folder = registry.root().spelled(folder);
    }
    let home = profile.map(|profile| lossy(&profile.folder));
    for place in SHELL_FOLDERS {
        let key = format!(r"{software}\{place}");
        let Some(named) = registry.key(&key).ok().flatten().and_then(|found| found.text(value)) else { continue };
        let folder = registry.root().spelled(&drive::resolve(r"C:\", &expand(&named, home.as_deref())));
        if folders.contains(&folder) {
            continue;
        }
        // It was moved there by somebody: that it is not to be seen matters.
        match registry.root().facts(&folder) {
            Ok(_) => folders.push(folder),
            Err(error) => {
                let mut why = problem(&folder, &error);
                why.message = format!(r"{key}\\{value}: the start-up folder is {named}, and {}", why.message);
                registry.note(&format!(r"{key}\\{value}"), why);
            }
        }
    }
    folders
}

fn items(
    registry: &Registry<'_>,
    folder: &Path,
    profile: Option<&Profile>,
    stop: &Stop,
) -> Result<Vec<StartupItem>, VerbError> {
    let off = switched_off(registry, APPROVED, profile);
    let mut all = Vec::new();
    for name in registry.names(folder, MAX_NAMES) {
        stop.check()?;
        let file = folder.join(&name);
        let name = name.to_string_lossy();
        // It says how the folder looks, and nothing runs it.
        let is_folder = registry.root().facts(&file).is_ok_and(|facts| facts.is_folder());
        if name.eq_ignore_ascii_case("desktop.ini") || is_folder {
            continue;
        }
        let mut item = item(registry, &file, profile);
        item.enabled = !off.contains(&name.to_lowercase());
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
                item.error = link.doubt(&expanded);
                item.command = link.command();
                item.program = link.program().map(expanded);
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

/// The names, in small letters, of the items that Task Manager switched off: the first byte of such an entry is odd.
pub fn switched_off(registry: &Registry<'_>, place: &str, profile: Option<&Profile>) -> HashSet<String> {
    let path = match profile {
        Some(profile) => format!(r"HKEY_USERS\{}\Software\{place}", profile.sid.as_ref().unwrap_or(&profile.name)),
        None => format!(r"HKEY_LOCAL_MACHINE\SOFTWARE\{place}"),
    };
    let Ok(Some(found)) = registry.key(&path) else { return HashSet::new() };
    let is_off = |data: &Data| matches!(data, Data::Bytes(bytes) if bytes.first().is_some_and(|byte| byte % 2 == 1));
    let off = found.values().into_iter().filter(|value| found.hive.data(value).is_ok_and(|data| is_off(&data)));
    off.map(|value| value.name.to_lowercase()).collect()
}
