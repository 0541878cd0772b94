//! A file that has other names, or that somebody has open for writing: what is kept cannot be changed through either, and nothing
//! in quarantine can be run.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::faults::{LINKED, Scene, files, has_points};
use super::file::{Mounted, rich};
use super::process::Sleeper;
use super::{done, dump, look, refused, remediate, typed};
use crate::kit::device::Device;

/// What somebody does to the other name.
type Change = &'static dyn Fn(&Path);

/// A folder with a file that has two names.
fn twice() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let [path, other] = ["evil", "other"].map(|name| folder.path().join(name));
    rich(&path);
    std::fs::hard_link(&path, &other).unwrap();
    (folder, path, other)
}

fn undo(device: &Device, flags: &[&str]) -> crate::kit::device::Answer {
    device.run("undo", &[("number", "1")], flags)
}

/// Everything in an agent's quarantine that could be run, or written to by others.
fn unsafe_files(device: &Device) -> Vec<PathBuf> {
    let quarantine = device.folder.path().join("agent/quarantine");
    let all = std::fs::read_dir(quarantine).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.metadata().unwrap().mode() & 0o7333 != 0 || path.metadata().unwrap().nlink() > 1).collect()
}

#[test]
fn the_link_comes_back_where_the_file_is_unchanged() {
    let (folder, path, other) = twice();
    let mut device = Device::live();
    let before = dump(folder.path());
    look(&mut device, &path);
    let effect = done(&remediate(&device, &path, &[]));
    assert_eq!(unsafe_files(&device), [] as [PathBuf; 0], "nothing in quarantine can be run or changed from outside");
    assert_eq!(effect.after["other_names"], 1);
    assert_eq!(other.metadata().unwrap().mode() & 0o7777, 0o6755, "what has another name is not made unusable by it");
    let kept = effect.after["quarantine"].as_str().unwrap();
    assert_eq!(std::fs::read(kept).unwrap(), std::fs::read(&other).unwrap());
    let undone = done(&undo(&device, &[]));
    assert!(undone.reason.unwrap().contains("again the file that its other names mean"), "says which");
    assert_eq!(dump(folder.path()), before);
    assert_eq!(std::fs::read_dir(device.folder.path().join("agent/quarantine")).unwrap().count(), 0);
}

#[test]
fn what_was_changed_through_another_name_comes_back_from_the_sealed_copy() {
    let changes: [(&str, Change); 4] = [
        ("its size was", &|other| std::fs::write(other, "other bytes").unwrap()),
        ("its content is another", &|other| {
            // The same size, and its time set back.
            let meta = other.metadata().unwrap();
            let mut file = std::fs::OpenOptions::new().write(true).open(other).unwrap();
            file.write_all(b"EVIL").unwrap();
            file.set_times(std::fs::FileTimes::new().set_modified(meta.modified().unwrap())).unwrap();
            std::fs::set_permissions(other, meta.permissions()).unwrap();
        }),
        ("mode or owner", &|other| std::fs::set_permissions(other, PermissionsExt::from_mode(0o600)).unwrap()),
        ("its other names are gone", &|other| std::fs::remove_file(other).unwrap()),
    ];
    for (why, change) in changes {
        let (folder, path, other) = twice();
        let mut device = Device::live();
        let before = dump(folder.path());
        look(&mut device, &path);
        done(&remediate(&device, &path, &[]));
        change(&other);
        let changed = other.exists().then(|| std::fs::read(&other).unwrap());
        let undone = done(&undo(&device, &[]));
        let reason = undone.reason.unwrap();
        assert!(reason.contains("a file of its own, made from the sealed copy") && reason.contains(why), "{reason}");
        let but_inode = |told: &str| {
            let mut words: Vec<&str> = told.split(' ').collect();
            words.drain(4..8);
            words.join(" ")
        };
        assert_eq!(but_inode(&dump(folder.path())[&path]), but_inode(&before[&path]), "{why}");
        assert_eq!(other.exists().then(|| std::fs::read(&other).unwrap()), changed, "{why}: the other name is left alone");
    }
}

#[test]
fn who_has_it_open_cannot_change_what_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil");
    rich(&path);
    let before = files(folder.path());
    let mut device = Device::live();
    // Another process: what the agent's own has open is protected.
    let mut command = Command::new("sh");
    command.args(["-c", "exec 3>>\"$0\"; echo ready; read line; echo more >&3; echo written; read line"]).arg(&path);
    let mut writer = Sleeper::start(&mut command);
    look(&mut device, &path);
    let effect = done(&remediate(&device, &path, &[]));
    assert!(effect.after["copy"].is_string(), "{effect:?}");
    writer.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let mut line = [0; 8];
    writer.0.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"written\n");
    let undone = done(&undo(&device, &[]));
    assert!(undone.reason.as_ref().unwrap().contains("made from the sealed copy"), "{undone:?}");
    let but_inode = |told: &str| {
        let mut words: Vec<&str> = told.split(' ').collect();
        words.drain(6..8);
        words.join(" ")
    };
    let now = files(folder.path());
    assert_eq!(but_inode(&now[0].1), but_inode(&before[0].1));
}

#[test]
fn what_was_changed_in_quarantine_comes_back_only_if_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil");
    std::fs::write(&path, "evil").unwrap();
    let mut device = Device::live();
    look(&mut device, &path);
    let effect = done(&remediate(&device, &path, &[]));
    let kept = Path::new(effect.after["quarantine"].as_str().unwrap()).to_path_buf();
    let meta = kept.metadata().unwrap();
    std::fs::write(&kept, "EVIL").unwrap();
    let file = std::fs::File::open(&kept).unwrap();
    file.set_times(std::fs::FileTimes::new().set_modified(meta.modified().unwrap())).unwrap();
    let why = refused(&undo(&device, &[]));
    assert!(why.code == "changed" && why.message.contains("-overwrite puts it back as it is now"), "{why:?}");
    done(&undo(&device, &["overwrite"]));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "EVIL");
}

#[test]
fn a_crontab_with_another_name_comes_back_whole() {
    let tree = tempfile::tempdir().unwrap();
    let crontab = tree.path().join("etc/crontab");
    std::fs::create_dir(tree.path().join("etc")).unwrap();
    std::fs::write(&crontab, "1 2 * * * root /tmp/evil\n3 4 * * * root /bin/true\n").unwrap();
    std::fs::hard_link(&crontab, tree.path().join("other")).unwrap();
    let mut device = Device::at(tree.path());
    let answer = device.run("scheduledtasks", &[], &[]);
    device.seen = answer.seen();
    let id = answer.rows()[0]["id"].as_str().unwrap().to_owned();
    done(&device.run("remediate", &[("type", "scheduledtask"), ("id", &id)], &[]));
    std::fs::write(tree.path().join("other"), "changed through the other name\n").unwrap();
    let why = refused(&undo(&device, &[]));
    assert!(why.message.contains("-overwrite"), "{why:?}");
    let answer = undo(&device, &["overwrite"]);
    assert_eq!(answer.completed.status, lrsh::protocol::Status::Completed, "{:?}", answer.completed);
    assert_eq!(std::fs::read_to_string(&crontab).unwrap(), "1 2 * * * root /tmp/evil\n3 4 * * * root /bin/true\n");
}

#[test]
fn an_agent_whose_home_is_forgotten_too_makes_no_copy() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mounted::tmpfs(folder.path()) else { return };
    let mut device = Device::live();
    device.move_to(&folder.path().join("agent"));
    let path = folder.path().join("evil");
    rich(&path);
    let before = dump(&path);
    look(&mut device, &path);
    let effect = done(&remediate(&device, &path, &[]));
    assert!(effect.after["copy"].is_null(), "{effect:?}");
    done(&undo(&device, &[]));
    assert_eq!(dump(&path), before);
}

#[test]
fn ended_while_one_of_several_names_is_removed_or_put_back() {
    if !has_points() {
        return;
    }
    for point in LINKED {
        let scene = Scene::new();
        rich(&scene.path);
        std::fs::hard_link(&scene.path, scene.folder.join("other")).unwrap();
        let before = files(&scene.folder);
        let line = format!("remediate file {} -auto", typed(&scene.path));
        if point.starts_with("quarantine") {
            scene.die(&line, point);
        } else {
            scene.home.line(&line).code(0);
            scene.die("undo 1", point);
        }
        if scene.states()[0] != "undone" {
            assert!(!scene.path.exists(), "{point}");
            scene.home.line("undo 1").code(0);
        }
        assert_eq!(files(&scene.folder), before, "{point}");
    }
}
