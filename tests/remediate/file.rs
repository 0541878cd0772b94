//! Files go to quarantine and come back with all that hangs on them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use lrsh::protocol::Status;
use serde_json::Value;

use super::{done, dump, effects, look, refused, remediate, typed};
use crate::agent::dir::HOSTILE;
use crate::kit::device::Device;
use crate::kit::need::skip;
use crate::kit::shell::Home;

/// `cap_net_raw+ep` as the kernel keeps it: version 2, effective; permitted bit 13.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// An ACL as the kernel keeps it: user rw, user 1234 r, group r, mask r, others none.
const ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xd2, 4, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255,
    255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];

/// A file with everything that can hang on one.
pub fn rich(path: &Path) {
    std::fs::write(path, b"evil bytes\0\xff".repeat(1000)).unwrap();
    let root = rustix::process::geteuid().is_root();
    if root {
        chown(path, Some(1234), Some(4321)).unwrap();
    }
    let file = std::fs::File::open(path).unwrap();
    let set = |name: &str, value: &[u8]| xattr::FileExt::set_xattr(&file, name, value);
    set("user.comment", b"kept\0whole").unwrap();
    set("system.posix_acl_access", &ACL).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o6755)).unwrap();
    if root {
        set("security.capability", &CAPABILITY).unwrap();
    }
    let when = std::time::UNIX_EPOCH + std::time::Duration::new(1_234_567_890, 123_456_789);
    let times = std::fs::FileTimes::new().set_accessed(when).set_modified(when);
    file.set_times(times).unwrap();
}

#[test]
fn a_file_goes_and_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let path = folder.path().join("evil");
    rich(&path);
    symlink("evil", folder.path().join("link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, folder.path().join("fifo"), rustix::fs::FileType::Fifo, 0o640.into(), 0).unwrap();
    std::fs::write(folder.path().join("empty"), "").unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    let before = dump(folder.path());
    for name in ["evil", "link", "fifo", "empty"] {
        let path = folder.path().join(name);
        look(&mut device, &path);
        let accessed = path.symlink_metadata().unwrap();
        let planned = remediate(&device, &path, &["plan"]);
        assert_eq!(planned.rows()[0]["state"], "planned", "{:?}", planned.completed);
        assert_eq!(dump(folder.path()), before, "a plan changes nothing");
        let effect = done(&remediate(&device, &path, &[]));
        assert_eq!((effect.action.as_str(), effect.undoable.as_str()), ("quarantined", Some("yes")), "{name}");
        assert!(path.symlink_metadata().is_err(), "{name} is gone");
        let kept = Path::new(effect.after["quarantine"].as_str().unwrap()).to_path_buf();
        let meta = kept.symlink_metadata().unwrap();
        if meta.is_file() {
            assert_eq!((meta.mode() & 0o7777, meta.ino()), (0o400, before_inode(&before[&path])));
        }
        assert_eq!(kept.parent().unwrap().metadata().unwrap().mode() & 0o7777, 0o700);
        let undone = done(&device.run("undo", &[("type", "file"), ("id", &typed(&path))], &[]));
        assert_eq!((undone.action.as_str(), undone.undoable.as_str()), ("restored", Some("no")));
        let now = path.symlink_metadata().unwrap();
        assert_eq!((now.atime(), now.atime_nsec()), (accessed.atime(), accessed.atime_nsec()), "{name}");
        assert_eq!(dump(folder.path()), before, "{name}");
    }
}

fn before_inode(told: &str) -> u64 {
    told.split("inode ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn other_names_of_a_file_stay_and_work() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let [path, other] = ["evil", "other"].map(|name| folder.path().join(name));
    rich(&path);
    std::fs::hard_link(&path, &other).unwrap();
    let before = dump(folder.path());
    look(&mut device, &path);
    let effect = done(&remediate(&device, &path, &[]));
    assert!(effect.reason.unwrap().contains("it has another name, which stay"), "says so");
    assert_eq!(effect.after["other_names"], 1);
    assert_eq!(other.metadata().unwrap().mode() & 0o7777, 0o6755, "what has another name is not made unusable by it");
    done(&device.run("undo", &[("number", "1")], &[]));
    assert_eq!(dump(folder.path()), before);
}

#[test]
fn undo_refuses_what_it_must_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let path = folder.path().join("evil");
    std::fs::write(&path, "first").unwrap();
    look(&mut device, &path);
    done(&remediate(&device, &path, &[]));
    std::fs::write(&path, "second").unwrap();
    let conflict = refused(&device.run("undo", &[("number", "1")], &[]));
    assert_eq!(conflict.code, "conflict", "{conflict}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");

    let answer = device.run("undo", &[("number", "1")], &["overwrite"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let actions: Vec<_> = effects(&answer).into_iter().map(|effect| (effect.effect_id, effect.action)).collect();
    assert_eq!(actions, [(2, "quarantined".into()), (3, "restored".into())], "what was overwritten is kept too");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");

    let check = |params: &[(&str, &str)], code: &str, says: &str| {
        let why = refused(&device.run("undo", params, &[]));
        assert!(why.code == code && why.message.contains(says), "{why:?}");
    };
    check(&[("number", "1")], "not_undoable", "undone already, by effect 3");
    check(&[("number", "3")], "not_undoable", "itself an undo, of effect 1");
    check(&[("number", "9")], "not_found", "there is no effect 9");
    check(&[("type", "file"), ("id", "/nowhere")], "not_found", "nothing was done");
    std::fs::remove_file(&path).unwrap();
    done(&device.run("undo", &[("number", "2")], &[]));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
    let rows = device.run("remediate", &[("type", "list")], &[]).rows();
    let told: Vec<_> = rows.iter().map(|row| (row["id"].as_u64().unwrap(), row["state"].as_str().unwrap())).collect();
    assert_eq!(told, [(1, "undone"), (2, "undone"), (3, "done"), (4, "done")]);
    assert_eq!(rows[0]["analyst"], "tester");
}

#[test]
fn a_session_is_undone_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let paths: Vec<PathBuf> = ["a", "b", "c"].iter().map(|name| folder.path().join(name)).collect();
    let session = lrsh::protocol::SessionId::new();
    for path in &paths {
        std::fs::write(path, "x").unwrap();
    }
    let before = dump(folder.path());
    for path in &paths {
        look(&mut device, path);
        let mut command = device.command("remediate", &[("type", "file"), ("id", &typed(path))], &[]);
        command.session_id = session.clone();
        done(&device.send(command, None));
    }
    // The newest cannot go back at first; the others do.
    std::fs::write(&paths[2], "in the way").unwrap();
    let mut command = device.command("undo", &[], &["session"]);
    command.session_id = session;
    let answer = device.send(command.clone(), None);
    assert_eq!(refused(&answer).code, "conflict");
    assert_eq!(effects(&answer).len(), 2);
    std::fs::remove_file(&paths[2]).unwrap();
    command.command_id = lrsh::protocol::CommandId::new();
    done(&device.send(command, None));
    let modified = |dump: &std::collections::BTreeMap<PathBuf, String>| dump[&paths[0]].clone();
    assert_eq!(modified(&dump(folder.path())), modified(&before));
    assert_eq!(dump(folder.path()).len(), before.len());
}

#[test]
fn what_a_forgetful_file_system_holds_is_copied_and_can_be_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mount) = Mounted::tmpfs(folder.path()) else { return };
    let mut device = Device::live();
    let path = folder.path().join("deep/evil");
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    rich(&path);
    let link = folder.path().join("deep/link");
    symlink("/etc/passwd", &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(1234), Some(4321)).unwrap();
    let without_inode = |dump: std::collections::BTreeMap<PathBuf, String>| -> Vec<(PathBuf, String)> {
        let deep = dump
            .into_iter()
            .filter(|(path, _)| path.starts_with(folder.path().join("deep/")) && path.file_name().unwrap() != "deep");
        deep.map(|(path, told)| (path, told.replace(&format!("inode {}", before_inode(&told)), ""))).collect()
    };
    let before = dump(folder.path());
    for name in ["evil", "link"] {
        let path = folder.path().join("deep").join(name);
        look(&mut device, &path);
        let effect = done(&remediate(&device, &path, &[]));
        let kept = effect.after["quarantine"].as_str().unwrap();
        assert!(kept.starts_with(&format!("{}/.lrsh-quarantine-", folder.path().display())), "{kept}");
        assert_eq!(Path::new(kept).parent().unwrap().metadata().unwrap().mode() & 0o7777, 0o700);
        done(&device.run("undo", &[("type", "file"), ("id", path.to_str().unwrap())], &[]));
        assert_eq!(dump(folder.path())[&path], before[&path], "{name}");
        done(&remediate_again(&mut device, &path));
    }
    // The file system forgets.
    drop(mount);
    let Some(_mount) = Mounted::tmpfs(folder.path()) else { return };
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    for name in ["evil", "link"] {
        let path = folder.path().join("deep").join(name);
        let effect = done(&device.run("undo", &[("type", "file"), ("id", path.to_str().unwrap())], &[]));
        assert_eq!(effect.after["from"], "copy");
    }
    assert_eq!(without_inode(dump(folder.path())), without_inode(before));
    let copies = std::fs::read_dir(device.folder.path().join("agent/quarantine")).unwrap().count();
    assert_eq!(copies, 0, "copies of what is back are not kept");
}

fn remediate_again(device: &mut Device, path: &Path) -> crate::kit::device::Answer {
    look(device, path);
    remediate(device, path, &[])
}

/// What a table shows, as it is pasted: an exact form stands by itself, a name within quotes.
fn pasted(name: &str) -> String {
    if name.starts_with("file:///") { name.to_owned() } else { format!("\"{name}\"") }
}

#[test]
fn hostile_names_are_removed_and_put_back_by_pasting_what_the_table_shows() {
    let home = Home::new();
    let folder = home.path().join("names");
    std::fs::create_dir(&folder).unwrap();
    for name in HOSTILE {
        std::fs::write(folder.join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let before = dump(&folder);
    let rows = home.line(&format!("dir {} -full_path -output jsonl", folder.display())).code(0).jsonl();
    assert_eq!(rows.len(), HOSTILE.len());
    let shown: Vec<String> = rows
        .iter()
        .map(|row| row.get("path_uri").filter(|uri| !uri.is_null()).unwrap_or(&row["path"]).as_str().unwrap().to_owned())
        .collect();
    let table = home.line(&format!("dir {} -full_path", folder.display())).code(0).out();
    let mut lines = String::new();
    for name in &shown {
        assert!(table.contains(name.as_str()), "{name}\n{table}");
        let name = pasted(name);
        lines.push_str(&format!("fileinfo {name} > /dev/null\nremediate file {name} > /dev/null\n"));
    }
    home.batch(&lines).run().code(0);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    let listed = home.line("remediate list jsonl").code(0);
    assert!(listed.stdout.iter().all(|&byte| byte == b'\n' || !byte.is_ascii_control()));
    let targets: Vec<Value> = listed.jsonl().iter().map(|row| row["target"].clone()).collect();
    assert_eq!(targets, shown);
    let table = home.line("remediate list").code(0).out();
    let lines: String = shown
        .iter()
        .map(|name| {
            assert!(table.contains(name.as_str()), "{name}\n{table}");
            format!("undo file {} > /dev/null\n", pasted(name))
        })
        .collect();
    home.batch(&lines).run().code(0);
    let files = |dump: std::collections::BTreeMap<PathBuf, String>| {
        dump.into_iter().filter(|(path, _)| *path != folder).collect::<Vec<_>>()
    };
    assert_eq!(files(dump(&folder)), files(before));
}

#[test]
fn the_whole_way_of_a_file_on_the_real_program() {
    let home = Home::new();
    let folder = home.path().join("device");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("evil");
    rich(&path);
    let before = dump(&folder);
    let shown = path.display();
    let blind = home.line(&format!("remediate file {shown}")).code(1);
    assert!(blind.err().contains(&format!("run `fileinfo {shown}` first, or give -auto")), "{}", blind.err());
    let planned = home.line(&format!("remediate file {shown} -plan -auto -output json")).code(0);
    assert!(planned.out().contains("\"planned\""), "{}", planned.out());
    assert_eq!(dump(&folder), before);
    home.line(&format!("remediate file {shown} -auto -output json")).code(0);
    assert!(!path.exists());
    let rows = home.line("remediate list jsonl").code(0).jsonl();
    assert_eq!(
        (&rows[0]["target"], &rows[0]["state"], &rows[0]["undoable"]),
        (&shown.to_string().into(), &"done".into(), &"yes".into())
    );
    assert_eq!(rows[0]["before"]["mode"], "6755");
    home.line("undo 1").code(0);
    assert_eq!(dump(&folder), before);
    let again = home.line("undo 1").code(1);
    assert!(again.err().contains("effect 1 was undone already, by effect 2"), "{}", again.err());
}

/// A file system that a test mounted.
pub struct Mounted(PathBuf);

impl Mounted {
    /// A tmpfs over a folder.
    pub fn tmpfs(folder: &Path) -> Option<Self> {
        let mounted = rustix::mount::mount("lrsh-test", folder, "tmpfs", rustix::mount::MountFlags::empty(), None);
        if mounted.is_err() {
            skip("mounting a tmpfs is not allowed");
            return None;
        }
        Some(Self(folder.to_path_buf()))
    }

    /// What is mounted over a folder already.
    pub fn here(folder: &Path) -> Self {
        Self(folder.to_path_buf())
    }

    /// From now on nothing can be written to it.
    pub fn read_only(&self) {
        rustix::mount::mount_remount(&self.0, rustix::mount::MountFlags::RDONLY, "").unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}
