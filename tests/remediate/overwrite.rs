//! `undo -overwrite`: all is looked at before anything is moved aside; what was moved aside is named, and comes back by its number.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use lrsh::protocol::Status;

use super::power::Cutting;
use super::{done, effects, look, refused, remediate, typed};
use crate::kit::device::{Answer, Device};

const WANTS: &str = "etc/systemd/system/multi-user.target.wants/evil.service";
const ALIAS: &str = "etc/systemd/system/other.service";
const IMAGE: &str = "opt/evil";

/// A tree with a service that has two links and an image.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    for file in [WANTS, IMAGE, "usr/lib/systemd/system/x"] {
        std::fs::create_dir_all(tree.path().join(file).parent().unwrap()).unwrap();
    }
    std::fs::write(tree.path().join(IMAGE), "evil").unwrap();
    std::fs::set_permissions(tree.path().join(IMAGE), PermissionsExt::from_mode(0o755)).unwrap();
    let text = "[Service]\nExecStart=/opt/evil\n[Install]\nWantedBy=multi-user.target\nAlias=other.service\n";
    std::fs::write(tree.path().join("etc/systemd/system/evil.service"), text).unwrap();
    for link in [WANTS, ALIAS] {
        symlink("/etc/systemd/system/evil.service", tree.path().join(link)).unwrap();
    }
    tree
}

fn remove(device: &mut Device) {
    device.seen = device.run("services", &[], &[]).seen();
    done(&device.run("remediate", &[("type", "service"), ("id", "evil.service")], &[]));
}

fn undo(device: &Device, number: u64, flags: &[&str]) -> Answer {
    device.run("undo", &[("number", &number.to_string())], flags)
}

fn files(tree: &Path) -> Vec<(PathBuf, String)> {
    super::faults::files(tree)
}

#[test]
fn nothing_is_moved_aside_for_what_cannot_come_back_whole() {
    let tree = tree();
    let at = |path: &str| tree.path().join(path);
    let before = files(tree.path());
    let mut device = Device::at(tree.path());
    remove(&mut device);
    // The image comes back first, the links behind it.
    std::fs::write(at(IMAGE), "somebody's").unwrap();
    for link in [WANTS, ALIAS] {
        std::fs::create_dir(at(link)).unwrap();
        let between = files(tree.path());
        let answer = undo(&device, 1, &["overwrite"]);
        assert!(refused(&answer).message.contains("a folder is there now"), "{:?}", answer.completed);
        assert!(effects(&answer).is_empty() && files(tree.path()) == between, "{link}: {:?}", effects(&answer));
        std::fs::remove_dir(at(link)).unwrap();
    }
    std::fs::write(at(WANTS), "somebody's too").unwrap();
    let answer = undo(&device, 1, &["overwrite"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let reason = effects(&answer)[2].reason.clone().unwrap();
    assert!(reason.contains("what stood in its way went to quarantine as effects 2 and 3"), "{reason}");
    assert_eq!(files(tree.path()), before);
}

#[test]
fn every_cut_while_something_is_put_back_over_something_else() {
    let mut partly = 0;
    for calls in 0.. {
        let tree = tree();
        let at = |path: &str| tree.path().join(path);
        let before = files(tree.path());
        let mut device = Device::at(tree.path());
        remove(&mut device);
        std::fs::write(at(IMAGE), "somebody's").unwrap();
        std::fs::write(at(WANTS), "somebody's too").unwrap();
        let disk = Cutting::after(calls);
        device.restart_with(disk.clone());
        let answer = undo(&device, 1, &["overwrite"]);
        let over = !disk.was_cut();
        disk.cut();
        device.restart();
        let list = || device.run("remediate", &[("type", "list")], &[]).rows();
        let rows = list();
        for row in rows.iter().filter(|row| row["state"] == "partly") {
            partly += 1;
            let why = row["reason"].as_str().unwrap();
            assert!(why.contains("went to quarantine as effects 2 and 3"), "cut after {calls} calls: {why}");
        }
        if rows[0]["state"] != "undone" {
            let answer = undo(&device, 1, &["overwrite"]);
            assert_eq!(answer.completed.status, Status::Completed, "cut after {calls} calls: {:?}", answer.completed);
        }
        assert_eq!(files(tree.path()), before, "cut after {calls} calls: {rows:?}");
        // What was moved aside is all there, and comes back.
        let mut found = BTreeSet::new();
        for row in list().iter().filter(|row| row["undoable"] == "yes") {
            let answer = undo(&device, row["id"].as_u64().unwrap(), &["overwrite"]);
            assert_eq!(answer.completed.status, Status::Completed, "cut after {calls} calls: {:?}", answer.completed);
            let path = row["target"].as_str().unwrap();
            found.insert(std::fs::read_to_string(tree.path().join(path.strip_prefix('/').unwrap())).unwrap());
        }
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["somebody's", "somebody's too"], "cut after {calls} calls");
        if over {
            assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
            assert!(calls > 30 && partly > 0, "{calls} {partly}");
            break;
        }
    }
}

#[test]
fn what_was_moved_aside_comes_back_by_its_number_and_by_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil");
    let mut device = Device::live();
    std::fs::write(&path, "original").unwrap();
    look(&mut device, &path);
    done(&remediate(&device, &path, &[]));
    std::fs::write(&path, "planted").unwrap();
    let by_name = |flags: &[&str]| device.run("undo", &[("type", "file"), ("id", &typed(&path))], flags);
    let answer = by_name(&["overwrite"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let aside = &effects(&answer)[0];
    assert!(aside.reason.as_ref().unwrap().contains("it stood in the way of the undo of effect 1"), "{aside:?}");
    for flags in [&[][..], &["overwrite"]] {
        let why = refused(&by_name(flags));
        assert!(why.message.contains("effect 1 was undone already, by effect 3"), "{why:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "original");
    }
    device.restart();
    assert_eq!(refused(&undo(&device, 2, &[])).code, "conflict");
    let answer = undo(&device, 2, &["overwrite"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "planted");
}

#[test]
fn of_several_who_undo_the_same_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    for round in 1..=8_u64 {
        let path = folder.path().join(round.to_string());
        std::fs::write(&path, "evil").unwrap();
        look(&mut device, &path);
        let number = done(&remediate(&device, &path, &[])).effect_id;
        let answers: Vec<Answer> = std::thread::scope(|threads| {
            let undo = || undo(&device, number, &[]);
            let all: Vec<_> = (0..4).map(|_| threads.spawn(undo)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let (did, others): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.completed.status == Status::Completed);
        assert_eq!(did.len(), 1, "{:?}", did.iter().map(|answer| effects(answer)).collect::<Vec<_>>());
        for other in others {
            assert!(refused(other).message.contains("was undone already"), "{:?}", other.completed);
        }
        assert!(path.exists());
    }
}

#[test]
fn a_file_is_undone_by_each_of_its_paths() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("real")).unwrap();
    symlink("real", folder.path().join("link")).unwrap();
    let [real, linked] = ["real/evil", "link/evil"].map(|path| folder.path().join(path));
    let mut device = Device::live();
    std::fs::write(&real, "evil").unwrap();
    for (removed, undone) in [(&linked, &real), (&real, &linked), (&linked, &linked)] {
        look(&mut device, removed);
        done(&remediate(&device, removed, &[]));
        done(&device.run("undo", &[("type", "file"), ("id", &typed(undone))], &[]));
        assert!(real.exists());
    }
}
