//! Files of every kind: huge and hollow, sockets and devices, ones that run; and what else is there when one is to come back.

use std::fs::File;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use lrsh::protocol::{SeenItem, Status};

use super::file::{Mounted, rich};
use super::process::Sleeper;
use super::{done, dump, effects, look, refused, remediate};
use crate::kit::device::Device;
use crate::kit::need::skip;

const GIGABYTE: u64 = 1024 * 1024 * 1024;

fn undo(device: &Device) -> crate::kit::device::Answer {
    device.run("undo", &[("number", "1")], &[])
}

fn limit(device: &mut Device, bytes: u64) {
    let agent = device.folder.path().join("agent");
    std::fs::create_dir_all(&agent).unwrap();
    std::fs::set_permissions(&agent, PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(agent.join("agent.toml"), format!("quarantine_bytes = {bytes}\n")).unwrap();
    device.restart();
}

#[test]
fn a_hollow_file_takes_no_more_room_than_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil");
    let file = File::create(&path).unwrap();
    // Beyond the cap, were it not hollow.
    file.set_len(20 * GIGABYTE).unwrap();
    file.write_all_at(b"evil", 15 * GIGABYTE).unwrap();
    drop(file);
    let mut device = Device::live();
    let meta = path.metadata().unwrap();
    if meta.blocks() * 512 > GIGABYTE {
        skip("this file system has no holes");
        return;
    }
    // Seen without its hash: to read twenty gigabytes takes longer than a test may.
    let ns = |seconds: i64, ns: i64| seconds * 1_000_000_000 + ns;
    let identity = serde_json::json!({
        "dev": meta.dev(), "inode": meta.ino(), "size": meta.size(), "mtime_ns": ns(meta.mtime(), meta.mtime_nsec()),
        "ctime_ns": ns(meta.ctime(), meta.ctime_nsec()), "sha256": null,
    });
    device.seen = vec![SeenItem { key: path.to_str().unwrap().into(), identity }];
    let effect = done(&remediate(&device, &path, &[]));
    let kept = Path::new(effect.after["quarantine"].as_str().unwrap()).metadata().unwrap();
    assert_eq!((kept.size(), kept.ino(), kept.blocks()), (meta.size(), meta.ino(), meta.blocks()));
    // It counts for what it takes.
    limit(&mut device, 50 * 1024 * 1024);
    let other = folder.path().join("other");
    std::fs::write(&other, "other").unwrap();
    look(&mut device, &other);
    done(&remediate(&device, &other, &[]));
    done(&undo(&device));
    let back = path.metadata().unwrap();
    assert_eq!((back.size(), back.blocks(), back.mtime()), (meta.size(), meta.blocks(), meta.mtime()));
}

#[test]
fn the_copy_of_a_hollow_file_is_hollow_too() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mount) = Mounted::tmpfs(folder.path()) else { return };
    let path = folder.path().join("evil");
    let make = || {
        let file = File::create(&path).unwrap();
        for (text, at) in [("head", 0), ("middle", 20 * 1024 * 1024 + 7)] {
            file.write_all_at(text.as_bytes(), at).unwrap();
        }
        file.set_len(48 * 1024 * 1024).unwrap();
    };
    make();
    let content = crc32fast::hash(&std::fs::read(&path).unwrap());
    let mut device = Device::live();
    limit(&mut device, 2 * 1024 * 1024);
    look(&mut device, &path);
    let effect = done(&remediate(&device, &path, &[]));
    let copy = Path::new(effect.after["copy"].as_str().unwrap()).metadata().unwrap();
    assert_eq!(copy.size(), 48 * 1024 * 1024);
    assert!(copy.blocks() * 512 < 2 * 1024 * 1024, "{}", copy.blocks());
    drop(mount);
    let Some(_mount) = Mounted::tmpfs(folder.path()) else { return };
    done(&undo(&device));
    let back = path.metadata().unwrap();
    assert_eq!((back.size(), crc32fast::hash(&std::fs::read(&path).unwrap())), (copy.size(), content));
    assert!(back.blocks() * 512 < 2 * 1024 * 1024, "{}", back.blocks());
}

#[test]
fn sockets_and_devices_go_and_come_back_and_a_folder_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let _listener = UnixListener::bind(at("socket")).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    std::fs::write(at("folder/inside"), "x").unwrap();
    let mut names = vec!["socket"];
    let device_number = rustix::fs::makedev(1, 3);
    for (name, kind) in [("characters", rustix::fs::FileType::CharacterDevice), ("blocks", rustix::fs::FileType::BlockDevice)] {
        if rustix::fs::mknodat(rustix::fs::CWD, at(name), kind, 0o666.into(), device_number).is_ok() {
            names.push(name);
        }
    }
    let before = dump(folder.path());
    let mut device = Device::live();
    for name in names {
        look(&mut device, &at(name));
        let effect = done(&remediate(&device, &at(name), &[]));
        assert!(at(name).symlink_metadata().is_err(), "{name}");
        let kept = Path::new(effect.after["quarantine"].as_str().unwrap()).symlink_metadata().unwrap();
        assert!(!kept.file_type().is_file() && !kept.file_type().is_symlink());
        let number = effect.effect_id.to_string();
        done(&device.run("undo", &[("number", &number)], &[]));
        assert_eq!(dump(folder.path()), before, "{name}");
    }
    assert!(at("socket").metadata().unwrap().file_type().is_socket());
    let answer = remediate(&device, &at("folder"), &[]);
    assert!(effects(&answer).is_empty());
    look(&mut device, &at("folder"));
    let why = refused(&remediate(&device, &at("folder"), &[]));
    assert!(why.code == "is_a_folder" && why.message.contains("its files are removed one by one"), "{why:?}");
    assert_eq!(dump(folder.path()), before);
}

#[test]
fn what_runs_goes_too_and_goes_on_running() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("evil.sh");
    std::fs::write(&script, "#!/bin/sh\necho ready\nread line\necho \"$line\"\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o4755)).unwrap();
    let mut runs = Sleeper::start(Command::new("/bin/sh").arg(&script));
    let program = folder.path().join("evil");
    let mut image = Sleeper::of_copy(&program);
    let before = dump(folder.path());
    let mut device = Device::live();
    for path in [&script, &program] {
        look(&mut device, path);
        let effect = done(&remediate(&device, path, &[]));
        let kept = Path::new(effect.after["quarantine"].as_str().unwrap()).metadata().unwrap();
        assert_eq!(kept.mode() & 0o7777, 0o400, "nobody runs it, setuid or not");
    }
    assert!(runs.0.try_wait().unwrap().is_none() && image.0.try_wait().unwrap().is_none());
    for number in ["2", "1"] {
        done(&device.run("undo", &[("number", number)], &[]));
    }
    assert_eq!(dump(folder.path()), before);
}

#[test]
fn nothing_makes_room_for_what_cannot_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let path = folder.path().join("evil");
    rich(&path);
    look(&mut device, &path);
    let effect = done(&remediate(&device, &path, &[]));
    // Somebody has emptied the quarantine.
    std::fs::remove_file(effect.after["quarantine"].as_str().unwrap()).unwrap();
    std::fs::write(&path, "good").unwrap();
    let before = dump(folder.path());
    let answer = device.run("undo", &[("number", "1")], &["overwrite"]);
    assert_eq!(refused(&answer).code, "not_found");
    assert!(effects(&answer).is_empty());
    assert_eq!(dump(folder.path()), before);
}

#[test]
fn what_is_mounted_read_only_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mount) = Mounted::tmpfs(folder.path()) else { return };
    let mut device = Device::live();
    let path = folder.path().join("evil");
    rich(&path);
    look(&mut device, &path);
    let kept = done(&remediate(&device, &path, &[])).after["quarantine"].as_str().unwrap().to_owned();
    mount.read_only();
    let answer = undo(&device);
    assert_eq!(refused(&answer).code, "read_only");
    assert!(effects(&answer).is_empty());
    assert_eq!(Path::new(&kept).metadata().unwrap().mode() & 0o7777, 0o400);
}

#[test]
fn a_damaged_journal_says_so_and_loses_only_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let agent = device.folder.path().join("agent");
    for name in ["one", "two", "three"] {
        let path = folder.path().join(name);
        std::fs::write(&path, name).unwrap();
        look(&mut device, &path);
        done(&remediate(&device, &path, &[]));
    }
    let journal = std::fs::read(agent.join("journal")).unwrap();
    let lines: Vec<&[u8]> = journal.split_inclusive(|&byte| byte == b'\n').collect();
    // The second intent turned over, a foreign line, and a last one that was cut off.
    let mut damaged: Vec<u8> = lines[..2].concat();
    damaged.extend(lines[2].iter().map(|&byte| if byte == b'2' { b'9' } else { byte }));
    damaged.extend(lines[3..].concat());
    damaged.extend(b"\0\xff not a record\n");
    damaged.extend(&lines[0][..lines[0].len() / 2]);
    std::fs::write(agent.join("journal"), damaged).unwrap();
    device.restart();
    let answer = device.run("remediate", &[("type", "list")], &[]);
    let told: Vec<u64> = answer.rows().iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert_eq!((answer.completed.status, told), (Status::Completed, vec![1, 3]));
    let problem = &answer.completed.errors[0];
    assert_eq!(problem.code, "journal_damaged");
    let says = format!(
        "2 records of the journal of changes are damaged, and are left out: what they told of may still lie in {}",
        agent.join("quarantine").display()
    );
    assert_eq!(problem.message, says);
    assert_eq!(std::fs::read_dir(agent.join("quarantine")).unwrap().count(), 3, "bytes are never lost with it");
    for number in ["1", "3"] {
        done(&device.run("undo", &[("number", number)], &[]));
    }
    assert_eq!(refused(&device.run("undo", &[("number", "2")], &[])).code, "not_found");
    // It goes on behind the damage.
    let path = folder.path().join("one");
    look(&mut device, &path);
    assert_eq!(done(&remediate(&device, &path, &[])).effect_id, 6);
    device.restart();
    done(&device.run("undo", &[("number", "6")], &[]));
}

#[test]
fn a_session_without_a_change_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let path = folder.path().join("evil");
    std::fs::write(&path, "evil").unwrap();
    let mut command = device.command("undo", &[], &["session"]);
    let session = command.session_id.clone();
    let answer = device.send(command.clone(), None);
    assert_eq!(answer.completed.status, Status::Completed);
    assert_eq!(answer.text(), b"Nothing to undo: this session has remediated nothing.\n");
    look(&mut device, &path);
    let mut removal = device.command("remediate", &[("type", "file"), ("id", path.to_str().unwrap())], &[]);
    removal.session_id = session;
    done(&device.send(removal, None));
    for (told, text) in
        [(1, ""), (0, "Nothing to undo: of what this session has remediated all is back that can be (`remediate list`).\n")]
    {
        command.command_id = lrsh::protocol::CommandId::new();
        let answer = device.send(command.clone(), None);
        assert_eq!((answer.completed.status, effects(&answer).len()), (Status::Completed, told));
        assert_eq!(String::from_utf8(answer.text()).unwrap(), text);
    }
}
