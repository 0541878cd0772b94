//! What was removed is kept for its time, and goes when that is over: its bytes, not its story.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use lrsh::agent::journal::Record;
use serde_json::Value;

use super::faults::{EXPIRY, Scene, has_points};
use super::file::{Mounted, rich};
use super::process::Sleeper;
use super::{done, look, refused, remediate};
use crate::kit::device::Device;

/// Has everything in a journal be that much older.
fn age(agent: &Path, hours: i64) {
    let journal = agent.join("journal");
    let text = std::fs::read(&journal).unwrap();
    let mut aged = Vec::new();
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let mut record = Record::read(line).unwrap();
        if let Record::Close(close) = &mut record {
            close.time = close.time.checked_sub(SignedDuration::from_hours(hours)).unwrap();
        }
        aged.extend(record.line().unwrap());
    }
    std::fs::write(journal, aged).unwrap();
}

fn listed(device: &Device) -> Vec<Value> {
    device.run("remediate", &[("type", "list")], &[]).rows()
}

fn in_quarantine(agent: &Path) -> usize {
    std::fs::read_dir(agent.join("quarantine")).unwrap().count()
}

#[test]
fn what_has_been_kept_long_enough_goes_and_what_has_not_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let agent = device.folder.path().join("agent");
    let path = folder.path().join("evil");
    rich(&path);
    look(&mut device, &path);
    done(&remediate(&device, &path, &[]));
    let until: Timestamp = listed(&device)[0]["kept_until"].as_str().unwrap().parse().unwrap();
    let left = until.duration_since(Timestamp::now()).as_hours();
    assert!((90 * 24 - 1..=90 * 24).contains(&left), "{until}");
    age(&agent, 90 * 24 - 1);
    device.restart();
    assert_eq!((in_quarantine(&agent), listed(&device)[0]["undoable"].as_str().unwrap()), (1, "yes"));
    age(&agent, 2);
    device.restart();
    let row = listed(&device).remove(0);
    assert_eq!(
        (in_quarantine(&agent), row["state"].as_str().unwrap(), row["undoable"].as_str().unwrap()),
        (0, "expired", "no")
    );
    assert!(row["kept_until"].is_null() && row["reason"].as_str().unwrap().contains("after 90 days"), "{row}");
    assert_eq!(row["before"]["size"], 12000, "its story stays");
    let why = refused(&device.run("undo", &[("number", "1")], &[]));
    assert!(why.code == "not_undoable" && why.message.contains("removed at"), "{why:?}");
}

#[test]
fn evidence_copies_and_folders_elsewhere_go_too_after_the_days_that_are_set() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mounted::tmpfs(folder.path()) else { return };
    let mut device = Device::live();
    let agent = device.folder.path().join("agent");
    std::fs::create_dir(&agent).unwrap();
    std::fs::set_permissions(&agent, PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(agent.join("agent.toml"), "quarantine_days = 2\n").unwrap();
    device.restart();
    let path = folder.path().join("evil");
    let mut sleeper = Sleeper::of_copy(&path);
    let pid = sleeper.0.id().to_string();
    device.seen = device.run("processes", &[("pid", &pid)], &[]).seen();
    let effect = done(&device.run("remediate", &[("type", "process"), ("id", &pid)], &[]));
    assert_eq!(effect.action, "ended, image quarantined");
    sleeper.0.wait().unwrap();
    assert_eq!((in_quarantine(&agent), std::fs::read_dir(folder.path()).unwrap().count()), (2, 1));
    age(&agent, 49);
    device.restart();
    assert_eq!((in_quarantine(&agent), std::fs::read_dir(folder.path()).unwrap().count()), (0, 0));
    assert_eq!(listed(&device)[0]["state"], "expired");
}

#[test]
fn settings_that_are_not_understood_let_nothing_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let agent = device.folder.path().join("agent");
    let path = folder.path().join("evil");
    std::fs::write(&path, "evil").unwrap();
    look(&mut device, &path);
    done(&remediate(&device, &path, &[]));
    age(&agent, 24 * 400);
    std::fs::write(agent.join("agent.toml"), "quarantine_dayz = 3650\n").unwrap();
    device.restart();
    assert_eq!(in_quarantine(&agent), 1);
    assert_eq!(listed(&device)[0]["state"], "done");
    // Once it is put right, what is old goes.
    std::fs::write(agent.join("agent.toml"), "quarantine_days = 365\n").unwrap();
    device.restart();
    assert_eq!(in_quarantine(&agent), 0);
}

#[test]
fn ended_while_what_was_kept_is_removed() {
    if !has_points() {
        return;
    }
    for point in EXPIRY {
        let scene = Scene::new();
        rich(&scene.path);
        scene.home.line(&format!("remediate file {} -auto", scene.path.display())).code(0);
        scene.wait();
        let agent = scene.home.path().join("agent");
        age(&agent, 91 * 24);
        // The service dies as it starts, and the next one that is started does not have the point.
        let _ = scene.home.batch("").args(&["-c", "remediate list"]).env("LRSH_FAULT", &format!("{point}:1:abort")).run();
        scene.wait();
        assert_eq!(scene.states(), ["expired"], "{point}");
        assert_eq!(in_quarantine(&agent), 0, "{point}");
    }
}
