//! The power is cut after every call that ending a process, stopping a service or removing a start-up item makes: the next start
//! tells the truth, evidence is whole or not told, and `undo` has everything as before.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::faults::files;
use super::power::Cutting;
use super::process::Sleeper;
use crate::kit::device::Device;

fn rows(device: &Device) -> Vec<serde_json::Value> {
    device.run("remediate", &[("type", "list")], &[]).rows()
}

/// Cuts the power after each call of a removal in a fresh tree, and then of its undo.
fn every_cut_in_a_tree(make: impl Fn(&Path), looks: &str, entity: &str, id: &str, least: usize) {
    for undoing in [false, true] {
        for calls in 0.. {
            let tree = tempfile::tempdir().unwrap();
            make(tree.path());
            let before = files(tree.path());
            let mut device = Device::at(tree.path());
            device.seen = device.run(looks, &[], &[]).seen();
            let params = [("type", entity), ("id", id)];
            let act = |device: &Device| device.run("remediate", &params, &[]);
            let undo = |device: &Device| device.run("undo", &[("number", "1")], &[]);
            if undoing {
                super::done(&act(&device));
            }
            let disk = Cutting::after(calls);
            device.restart_with(disk.clone());
            let answer = if undoing { undo(&device) } else { act(&device) };
            let over = !disk.was_cut();
            disk.cut();
            device.restart();
            let found = rows(&device);
            let what = format!("{entity}: undoing {undoing}, cut after {calls} calls: {found:?}");
            match found.first().map(|row| row["state"].as_str().unwrap()) {
                None | Some("not_done" | "undone") => {}
                Some("done" | "partly") => {
                    let answer = undo(&device);
                    assert_eq!(answer.completed.status, lrsh::protocol::Status::Completed, "{what}: {:?}", answer.completed);
                }
                other => panic!("{what}: {other:?}"),
            }
            assert_eq!(files(tree.path()), before, "{what}");
            if over {
                super::done(&answer);
                assert!(calls > least, "{calls}");
                break;
            }
        }
    }
}

fn write(tree: &Path, path: &str, text: &str, mode: u32) {
    let path = tree.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn every_cut_while_a_service_is_disabled_and_masked() {
    let make = |tree: &Path| {
        write(tree, "usr/lib/systemd/system/evil.service", "[Service]\nExecStart=/opt/evil\n", 0o644);
        write(tree, "opt/evil", "\u{7f}ELF evil", 0o755);
        for folder in ["usr/lib/systemd/system", "etc/systemd/system"] {
            let wants = tree.join(folder).join("multi-user.target.wants");
            std::fs::create_dir_all(&wants).unwrap();
            symlink("/usr/lib/systemd/system/evil.service", wants.join("evil.service")).unwrap();
        }
    };
    every_cut_in_a_tree(make, "services", "service", "evil", 12);
}

#[test]
fn every_cut_while_a_service_s_own_file_goes_too() {
    let make = |tree: &Path| {
        write(tree, "etc/systemd/system/evil.service", "[Service]\nExecStart=/opt/evil\n", 0o644);
        write(tree, "opt/evil", "\u{7f}ELF evil", 0o755);
        // A package's unit starts it, and where its mask would be stands its own file.
        write(tree, "usr/lib/systemd/system/multi-user.target", "[Unit]\nWants=evil.service\n", 0o644);
        symlink("multi-user.target", tree.join("usr/lib/systemd/system/default.target")).unwrap();
    };
    every_cut_in_a_tree(make, "services", "service", "evil", 12);
}

#[test]
fn every_cut_while_a_start_up_item_is_removed() {
    let make = |tree: &Path| write(tree, "etc/profile.d/evil.sh", "/tmp/evil &\n", 0o644);
    every_cut_in_a_tree(make, "startupfolders", "startupfolder", "/etc/profile.d/evil.sh", 8);
}

#[test]
fn every_cut_while_a_process_is_ended() {
    for calls in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evil");
        let mut sleeper = Sleeper::of_copy(&path);
        let before = files(folder.path());
        let pid = sleeper.0.id().to_string();
        let mut device = Device::live();
        device.seen = device.run("processes", &[("pid", &pid)], &[]).seen();
        let disk = Cutting::after(calls);
        device.restart_with(disk.clone());
        // Whoever owns the image: to find that out takes longer than everything else.
        device.run("remediate", &[("type", "process"), ("id", &pid)], &["image"]);
        let over = !disk.was_cut();
        disk.cut();
        device.restart();
        let found = rows(&device);
        let what = format!("cut after {calls} calls: {found:?}");
        let runs = sleeper.0.try_wait().unwrap().is_none();
        let state = found.first().map(|row| row["state"].as_str().unwrap());
        match state {
            None | Some("not_done") => assert!(runs && path.exists(), "{what}"),
            Some("partly") => assert!(!runs && path.exists(), "{what}"),
            Some("done") => assert!(!runs && !path.exists(), "{what}"),
            other => panic!("{what}: {other:?}"),
        }
        if !runs {
            // It was ended only when what it alone knew was whole on the disk.
            let evidence = Path::new(found[0]["after"]["evidence"].as_str().unwrap()).join("evidence.json");
            let listed: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(&evidence).unwrap()).unwrap();
            for file in listed {
                let kept = evidence.with_file_name(file["name"].as_str().unwrap()).metadata().unwrap();
                assert_eq!(kept.len(), file["size"].as_u64().unwrap(), "{what}: {file}");
            }
        }
        if state == Some("done") {
            super::done(&device.run("undo", &[("number", "1")], &[]));
        }
        assert_eq!(files(folder.path()), before, "{what}");
        if over {
            assert!(calls > 30 && state == Some("done"), "{what}");
            break;
        }
    }
}

#[test]
fn every_cut_while_a_process_s_image_comes_back() {
    for calls in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evil");
        let sleeper = Sleeper::of_copy(&path);
        let before = files(folder.path());
        let pid = sleeper.0.id().to_string();
        let mut device = Device::live();
        device.seen = device.run("processes", &[("pid", &pid)], &[]).seen();
        super::done(&device.run("remediate", &[("type", "process"), ("id", &pid)], &["image"]));
        assert!(!path.exists());
        let undo = |device: &Device| device.run("undo", &[("number", "1")], &[]);
        let disk = Cutting::after(calls);
        device.restart_with(disk.clone());
        undo(&device);
        let over = !disk.was_cut();
        disk.cut();
        device.restart();
        let found = rows(&device);
        let what = format!("cut after {calls} calls: {found:?}");
        match found[0]["state"].as_str() {
            Some("undone") => {}
            Some("done") => drop(super::done(&undo(&device))),
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(files(folder.path()), before, "{what}");
        if over {
            assert!(calls > 5, "{what}");
            break;
        }
    }
}
