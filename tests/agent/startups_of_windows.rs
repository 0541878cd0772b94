//! What starts by itself on a Windows disk where it is not usually looked for: shortcuts without a path, folders that were moved,
//! tasks of old.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::kit::device::Device;
use crate::kit::windows::{self, put, shortcut, shortcut_of_ids, variables};

const OWN: &str = "Users/max/AppData/Roaming/Microsoft/Windows/Start Menu/Programs/Startup";

fn disk() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    (folder, disk)
}

fn row(disk: &Path, name: &str) -> Value {
    let rows = Device::at(disk).run("startupfolders", &[], &[]).rows();
    let found = rows.iter().find(|row| row["filePath"].as_str().unwrap().ends_with(name));
    found.unwrap_or_else(|| panic!("{name}: {rows:?}")).clone()
}

#[test]
fn a_shortcut_that_has_only_ids_tells_its_program() {
    let (_folder, disk) = disk();
    let names = ["Windows", "System32", "cmd.exe"];
    put(&disk, &format!("{OWN}/ids.lnk"), shortcut_of_ids(&names, "/c evil", &[]));
    let ids = row(&disk, "ids.lnk");
    assert_eq!((&ids["command"], &ids["error"]), (&r"C:\Windows\System32\cmd.exe /c evil".into(), &Value::Null));
    assert_eq!(ids["executablePath"], r"C:\Windows\System32\cmd.exe");
    put(&disk, &format!("{OWN}/none.lnk"), shortcut_of_ids(&[], "/c evil", &[]));
    let none = row(&disk, "none.lnk");
    assert_eq!(none["command"], r"C:\ /c evil");
    // Two targets: which of them is started depends on what is there, so that both are told.
    put(&disk, &format!("{OWN}/two.lnk"), shortcut_of_ids(&names, "/c evil", &variables(r"%windir%\notepad.exe")));
    let two = row(&disk, "two.lnk");
    assert_eq!(two["command"], r"%windir%\notepad.exe /c evil");
    assert!(two["error"].as_str().unwrap().contains(r"C:\Windows\System32\cmd.exe"), "{two}");
    put(&disk, &format!("{OWN}/one.lnk"), shortcut_of_ids(&names, "x", &variables(r"%windir%\system32\cmd.exe")));
    assert_eq!(row(&disk, "one.lnk")["error"], Value::Null, "the same twice");
}

#[test]
fn a_shortcut_without_a_program_tells_its_arguments() {
    let (_folder, disk) = disk();
    let mut link = shortcut_of_ids(&[], "/c evil", &[]);
    // No list of ids that is understood: one of a kind that nobody knows.
    link.splice(0x4c.., [8_u8, 0, 6, 0, 0xee, 0, 0, 0, 0, 0]);
    link.extend([7, 0]);
    link.extend("/c evil".encode_utf16().flat_map(u16::to_le_bytes));
    link.extend([0; 4]);
    put(&disk, &format!("{OWN}/odd.lnk"), link);
    let odd = row(&disk, "odd.lnk");
    assert_eq!(odd["command"], "/c evil");
    assert!(odd["error"].as_str().unwrap().contains("names no program"), "{odd}");
}

#[test]
fn start_up_folders_that_were_moved_are_looked_into() {
    let (_folder, disk) = disk();
    let key = r"Microsoft\Windows\CurrentVersion\Explorer\User Shell Folders";
    let mut software = windows::software();
    software.at(key).expanded("Common Startup", r"%ProgramData%\quiet");
    software.write(&disk.join("Windows/System32/config/SOFTWARE"));
    let mut user = windows::user();
    user.at(&format!(r"Software\{key}")).expanded("Startup", r"%USERPROFILE%\hidden");
    user.write(&disk.join("Users/max/NTUSER.DAT"));
    put(&disk, "ProgramData/quiet/all.lnk", shortcut(r"C:\evil.exe", ""));
    put(&disk, "Users/max/hidden/own.bat", "evil");
    assert_eq!(row(&disk, "all.lnk")["filePath"], r"C:\ProgramData\quiet\all.lnk");
    let own = row(&disk, "own.bat");
    assert_eq!((&own["filePath"], &own["user"]), (&r"C:\Users\max\hidden\own.bat".into(), &"max".into()));
    let told = Device::at(&disk).run("persistence", &[], &[]).object();
    let startup = told["autoruns"]["startup_folders"].as_array().unwrap();
    assert!(startup.iter().any(|entry| entry["location"] == r"C:\Users\max\hidden\own.bat"), "{startup:?}");
    let registry = told["autoruns"]["registry"].as_array().unwrap();
    let moved = registry.iter().find(|entry| entry["location"].as_str().unwrap().ends_with(r"\\Startup")).unwrap();
    assert_eq!(moved["runs"], r"%USERPROFILE%\hidden");
    // One that leads elsewhere is said.
    let mut user = windows::user();
    user.at(&format!(r"Software\{key}")).expanded("Startup", r"\\198.51.100.7\share");
    user.write(&disk.join("Users/max/NTUSER.DAT"));
    let errors = Device::at(&disk).run("startupfolders", &[], &[]).completed.errors;
    assert!(errors.iter().any(|error| error.message.contains(r"\\198.51.100.7\share")), "{errors:?}");
}

#[test]
fn tasks_of_old_are_told() {
    let (_folder, disk) = disk();
    put(&disk, "Windows/Tasks/Update.job", windows::job(r"C:\evil.exe", "-q x", "eve", false));
    put(&disk, "Windows/Tasks/SA.DAT", "x");
    put(&disk, "Windows/Tasks/bad.job", "x");
    let rows = Device::at(&disk).run("scheduledtasks", &[], &[]).rows();
    let of = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("{id}: {rows:?}"));
    let job = of(r"\Update.job");
    assert_eq!((&job["command"], &job["kind"], &job["is_enabled"]), (&r"C:\evil.exe -q x".into(), &"job".into(), &true.into()));
    assert_eq!(job["source"], r"C:\Windows\Tasks\Update.job");
    assert_eq!(job["task"]["registrationInfo"]["author"], "eve");
    assert_eq!(job["schedule"], "Daily StartBoundary=2026-01-02T03:30:00 DaysInterval=1");
    assert!(of(r"\bad.job")["error"].as_str().unwrap().contains("no task"), "{rows:?}");
    let told = Device::at(&disk).run("persistence", &[], &[]).object();
    let tasks = told["autoruns"]["schedule_tasks"].as_array().unwrap();
    assert!(tasks.iter().any(|entry| entry["runs"] == r"C:\evil.exe -q x"), "{tasks:?}");
}
