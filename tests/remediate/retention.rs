//! What was removed is kept for its time, and goes when that is over: its bytes, not its story.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use lrsh::agent::journal::{Close, Moment, Record, Uptime};
use serde_json::Value;

use super::faults::{EXPIRY, Scene, has_points};
use super::file::{Mounted, rich};
use super::power::Cutting;
use super::process::Sleeper;
use super::{done, look, refused, remediate};
use crate::kit::device::Device;

/// Rewrites a journal record by record.
fn rewrite(agent: &Path, mut with: impl FnMut(&mut Record)) -> Vec<Record> {
    let journal = agent.join("journal");
    let text = std::fs::read(&journal).unwrap();
    let mut records: Vec<Record> =
        text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(|line| Record::read(line).unwrap()).collect();
    records.iter_mut().for_each(&mut with);
    write(agent, &records);
    records
}

fn write(agent: &Path, records: &[Record]) {
    let lines: Vec<Vec<u8>> = records.iter().map(|record| record.line().unwrap()).collect();
    std::fs::write(agent.join("journal"), lines.concat()).unwrap();
}

/// Has everything in a journal be that much older, by both clocks.
fn age(agent: &Path, hours: i64) {
    let ago = SignedDuration::from_hours(hours);
    let mut last = None;
    let mut records = rewrite(agent, |record| match record {
        Record::Close(close) => {
            let uptime = close.uptime.clone().unwrap();
            last = Some(Moment { time: close.time, uptime });
            close.time = close.time.checked_sub(ago).unwrap();
        }
        Record::Clock(moment) => {
            last = Some(moment.clone());
            moment.time = moment.time.checked_sub(ago).unwrap();
        }
        _ => {}
    });
    let mut now = last.unwrap();
    now.uptime.seconds += u64::try_from(ago.as_secs()).unwrap();
    records.push(Record::Clock(now));
    write(agent, &records);
}

/// Has the device's clock say so much more than it did: what was written down is that much older, by that clock alone.
fn set_ahead(agent: &Path, hours: i64) {
    rewrite(agent, |record| match record {
        Record::Close(Close { time, .. }) | Record::Clock(Moment { time, .. }) => {
            *time = time.checked_sub(SignedDuration::from_hours(hours)).unwrap();
        }
        _ => {}
    });
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
fn a_clock_that_is_set_lets_nothing_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let agent = device.folder.path().join("agent");
    let path = folder.path().join("evil");
    rich(&path);
    look(&mut device, &path);
    done(&remediate(&device, &path, &[]));
    let left = |device: &Device| {
        let until: Timestamp = listed(device)[0]["kept_until"].as_str().unwrap().parse().unwrap();
        // To the nearest hour.
        (until.duration_since(Timestamp::now()).as_secs() + 1800) / 3600
    };
    // Years ahead within a boot: no time has passed.
    set_ahead(&agent, 24 * 1000);
    device.restart();
    assert_eq!((in_quarantine(&agent), left(&device)), (1, 90 * 24));
    // Back again.
    set_ahead(&agent, -24 * 2000);
    device.restart();
    assert_eq!((in_quarantine(&agent), left(&device)), (1, 90 * 24));
    // Ahead, and other boots that have counted little: a day at most, each time.
    let mut records = rewrite(&agent, |_| {});
    let Some(Record::Close(close)) = records.last() else { panic!("{records:?}") };
    let hours_later = |hours: i64, boot: &str| {
        let time = close.time.checked_add(SignedDuration::from_hours(hours)).unwrap();
        Record::Clock(Moment { time, uptime: Uptime { boot_id: Some(boot.to_owned()), seconds: 60 } })
    };
    let boots = [hours_later(24 * 2000, "the next boot"), hours_later(24 * 4000, "the one after it")];
    records.extend(boots);
    write(&agent, &records);
    device.restart();
    assert_eq!((in_quarantine(&agent), left(&device)), (1, 88 * 24));
    done(&device.run("undo", &[("number", "1")], &[]));
    assert!(path.exists());
}

#[test]
fn clocks_are_written_down_only_while_something_is_kept_and_hours_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let agent = device.folder.path().join("agent");
    let path = folder.path().join("evil");
    rich(&path);
    look(&mut device, &path);
    done(&remediate(&device, &path, &[]));
    let readings = || rewrite(&agent, |_| {}).iter().filter(|record| matches!(record, Record::Clock(_))).count();
    device.restart();
    device.restart();
    assert_eq!(readings(), 0, "an end is a reading too");
    // A journal of an older program has none: from now on it is counted.
    rewrite(&agent, |record| {
        if let Record::Close(close) = record {
            close.uptime = None;
            close.time = close.time.checked_sub(SignedDuration::from_hours(24 * 1000)).unwrap();
        }
    });
    device.restart();
    device.restart();
    assert_eq!((readings(), in_quarantine(&agent)), (1, 1));
    done(&device.run("undo", &[("number", "1")], &[]));
    rewrite(&agent, |record| {
        if let Record::Close(close) = record {
            close.uptime = None;
        }
    });
    device.restart();
    assert_eq!(readings(), 1, "nothing is kept any more");
}

#[test]
fn half_of_evidence_counts_and_goes_in_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let agent = device.folder.path().join("agent");
    let mut sleeper = Sleeper::of_copy(&folder.path().join("evil"));
    let pid = sleeper.0.id().to_string();
    device.seen = device.run("processes", &[("pid", &pid)], &[]).seen();
    let disk = Cutting::after(22);
    device.restart_with(disk.clone());
    device.run("remediate", &[("type", "process"), ("id", &pid)], &["image"]);
    disk.cut();
    device.restart();
    assert!(sleeper.0.try_wait().unwrap().is_none());
    let row = listed(&device).remove(0);
    assert_eq!((row["state"].as_str().unwrap(), in_quarantine(&agent)), ("not_done", 1), "{row}");
    assert!(row["after"]["evidence_bytes"].as_u64().unwrap() > 0 && row["kept_until"].is_string(), "{row}");
    age(&agent, 90 * 24);
    device.restart();
    assert_eq!(in_quarantine(&agent), 0);
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
