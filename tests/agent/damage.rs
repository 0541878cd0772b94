//! Windows disks that are damaged, or made to hide something behind a bound: what is not told is said.

use std::path::{Path, PathBuf};

use lrsh::protocol::{Completed, Problem, Status};
use serde_json::{Value, json};

use crate::kit::device::Device;
use crate::kit::hive::{Part, spoil, utf16};
use crate::kit::windows;

const CONFIG: &str = "Windows/System32/config";

/// A disk, and a part of it spoiled.
fn spoiled(hive: &str, key: &str, part: Part) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    let file = disk.join(CONFIG).join(hive);
    let mut bytes = std::fs::read(&file).unwrap();
    spoil(&mut bytes, key, part);
    std::fs::write(file, bytes).unwrap();
    (folder, disk)
}

fn ask(disk: &Path, command: &str) -> (Vec<Value>, Completed) {
    let answer = Device::at(disk).run(command, &[], &[]);
    (answer.rows(), answer.completed)
}

fn damage<'a>(errors: &'a [Problem], key: &str) -> &'a str {
    let told = errors.iter().find(|error| error.code == "damaged" && error.message.contains(key));
    &told.unwrap_or_else(|| panic!("{key}: {errors:?}")).message
}

/// A list of `persistence`, and what it says of itself.
fn list(disk: &Path, name: &str) -> (Vec<Value>, Completed) {
    let answer = Device::at(disk).run("persistence", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed);
    (answer.object()["autoruns"][name].as_array().unwrap().clone(), answer.completed)
}

fn has(entries: &[Value], location: &str, error: &str) -> bool {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    entries.iter().any(|entry| text(entry, "location").contains(location) && text(entry, "error").contains(error))
}

#[test]
fn a_damaged_list_of_services_is_an_error_and_no_empty_list() {
    let (_folder, disk) = spoiled("SYSTEM", "Services", Part::Keys);
    for command in ["services", "drivers"] {
        let (rows, completed) = ask(&disk, command);
        assert_eq!((rows.len(), completed.status), (0, Status::Failed), "{command}: {completed:?}");
        damage(&completed.errors, r"ControlSet001\Services");
    }
    let (entries, _) = list(&disk, "services");
    assert!(has(&entries, "", "damaged"), "{entries:?}");
}

#[test]
fn a_damaged_service_is_told_beside_the_others() {
    for (part, key) in [(Part::Itself, r"ControlSet001\Services"), (Part::Values, r"ControlSet001\Services\Spooler")] {
        let (_folder, disk) = spoiled("SYSTEM", "Spooler", part);
        let (rows, completed) = ask(&disk, "services");
        assert!(rows.iter().any(|row| row["service_name"] == "WinUpdate"), "{rows:?}");
        damage(&completed.errors, key);
        damage(&ask(&disk, "drivers").1.errors, key);
    }
}

#[test]
fn damaged_values_of_run_are_an_entry() {
    for part in [Part::Values, Part::Value] {
        let (_folder, disk) = spoiled("SOFTWARE", "Run", part);
        let (entries, completed) = list(&disk, "registry");
        for key in [r"SOFTWARE\Microsoft\Windows\CurrentVersion\Run", r"Wow6432Node\Microsoft\Windows\CurrentVersion\Run"] {
            assert!(has(&entries, key, "damaged"), "{key}: {entries:?}");
            damage(&completed.errors, key);
        }
        assert!(has(&entries, r"Winlogon\\Userinit", ""), "the others are there");
        assert_eq!(has(&entries, r"\Run\\Updater", ""), part == Part::Value, "what can be read of it is there too");
    }
}

#[test]
fn a_hive_or_a_key_on_the_way_that_is_damaged_is_an_entry() {
    let (_folder, disk) = spoiled("SOFTWARE", "CurrentVersion", Part::Keys);
    let (entries, completed) = list(&disk, "registry");
    assert!(has(&entries, r"SOFTWARE\Microsoft\Windows\CurrentVersion", "damaged"), "{entries:?}");
    damage(&completed.errors, r"Microsoft\Windows NT\CurrentVersion");
    for hive in ["SOFTWARE", "SYSTEM"] {
        let (_folder, disk) = spoiled("SAM", "SAM", Part::Keys);
        std::fs::write(disk.join(CONFIG).join(hive), "regf and nothing").unwrap();
        let (entries, completed) = list(&disk, "registry");
        assert!(has(&entries, hive, "no file of the registry"), "{hive}: {entries:?}");
        assert!(completed.errors.iter().any(|error| error.code == "not_a_hive"), "{completed:?}");
        std::fs::remove_file(disk.join(CONFIG).join(hive)).unwrap();
        let (entries, _) = list(&disk, "registry");
        assert!(has(&entries, hive, "there is no such file"), "{hive}: {entries:?}");
    }
}

#[test]
fn a_damaged_list_of_profiles_is_told() {
    let (_folder, disk) = spoiled("SOFTWARE", "ProfileList", Part::Keys);
    damage(&ask(&disk, "startupfolders").1.errors, "ProfileList");
    let answer = Device::at(&disk).run("registry", &[("path", "HKU")], &[]);
    damage(&answer.completed.errors, "ProfileList");
    let unknown = Device::at(&disk).run("registry", &[("path", r"HKU\eve\Console")], &[]);
    assert!(unknown.completed.errors[0].message.contains("damaged"), "{:?}", unknown.completed);
}

#[test]
fn damage_among_tasks_and_start_up_items_is_told() {
    let (_folder, disk) = spoiled("SOFTWARE", "Tree", Part::Keys);
    damage(&ask(&disk, "scheduledtasks").1.errors, r"TaskCache\Tree");
    // Two hives that were not written to their ends are two sentences.
    for hive in ["SOFTWARE", "SYSTEM"] {
        let file = disk.join(CONFIG).join(hive);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[4] += 1;
        crate::kit::hive::seal(&mut bytes);
        std::fs::write(&file, bytes).unwrap();
    }
    let errors = ask(&disk, "scheduledtasks").1.errors;
    assert_eq!(errors.iter().filter(|error| error.code == "hive_dirty").count(), 1, "it reads one of them: {errors:?}");
    damage(&errors, r"TaskCache\Tree");
}

#[test]
fn a_place_with_very_many_values_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    let mut software = windows::software();
    let run = software.at(r"Microsoft\Windows\CurrentVersion\Run");
    for number in 0..20_001 {
        run.text(&format!("filler {number}"), "x");
    }
    software.write(&disk.join(CONFIG).join("SOFTWARE"));
    let answer = Device::at(&disk).run("persistence", &[], &[]);
    let object = answer.object();
    let entries = object["autoruns"]["registry"].as_array().unwrap();
    assert!(has(entries, r"SOFTWARE\Microsoft\Windows\CurrentVersion\Run", "left out"));
    assert!(has(entries, r"Winlogon\\Userinit", "") && has(entries, "UserInitMprLogonScript", ""));
    assert!(has(entries, r"Run\\Updater", "") && has(entries, r"Run\\filler 19000", ""));
    assert!(!object["autoruns"]["services"].as_array().unwrap().is_empty());
}

#[test]
fn what_is_cut_of_folders_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    let startup = disk.join("ProgramData/Microsoft/Windows/Start Menu/Programs/Startup");
    for number in 0..5001 {
        std::fs::write(startup.join(format!("{number}.txt")), "").unwrap();
    }
    let limit = |errors: &[Problem]| errors.iter().any(|error| error.code == "limit" && error.message.contains("Startup"));
    assert!(limit(&ask(&disk, "startupfolders").1.errors));
    assert!(has(&list(&disk, "startup_folders").0, "Startup", "only the first 5000"));
    let mut deep = disk.join("Windows/System32/Tasks");
    for _ in 0..40 {
        deep = deep.join("d");
    }
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("hidden"), "<Task/>").unwrap();
    let errors = ask(&disk, "scheduledtasks").1.errors;
    assert!(errors.iter().any(|error| error.code == "limit" && error.message.contains(r"\d\d\d")), "{errors:?}");
}

#[test]
fn texts_are_told_whole() {
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    let mut software = windows::software();
    let pairs = [r"\??\C:\a.exe", "", r"\??\C:\b.exe", r"!\??\C:\c.exe", r"\??\C:\d.exe", ""];
    let behind = [utf16("shown.exe"), utf16("hidden.exe")].concat();
    software.at("Texts").texts("pairs", &pairs).value("hiding", 1, &behind).value("bytes", 2, &[b'a', 0, 0, 0, 1, 2, 3]);
    software.at("Texts").value("padded", 1, &[b'a', 0, 0, 0, 0, 0, 0, 0]);
    software.at(r"Microsoft\Windows\CurrentVersion\Run").value("Hiding", 1, &behind);
    software.write(&disk.join(CONFIG).join("SOFTWARE"));
    let rows = Device::at(&disk).run("registry", &[("path", r"HKLM\SOFTWARE\Texts")], &[]).rows();
    let row = |name: &str| rows.iter().find(|row| row["value_name"] == name).unwrap();
    assert_eq!(row("pairs")["value"], json!([r"\??\C:\a.exe", "", r"\??\C:\b.exe", r"!\??\C:\c.exe", r"\??\C:\d.exe"]));
    assert_eq!(row("hiding")["value"], "shown.exe");
    assert!(row("hiding")["error"].as_str().unwrap().contains("\"hidden.exe\""), "{}", row("hiding"));
    assert!(row("bytes")["error"].as_str().unwrap().contains("010203"), "{}", row("bytes"));
    assert_eq!(row("padded").get("error"), None);
    assert!(has(&list(&disk, "registry").0, r"Run\\Hiding", "hidden.exe"));
}
