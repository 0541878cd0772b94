//! Where things are removed from and put back to: other file systems, mounts that are gone, marks, links, names that look like
//! patterns, names that somebody else has taken.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use lrsh::protocol::Status;

use super::file::{Mounted, rich};
use super::{done, dump, effects, look, refused, remediate};
use crate::kit::device::{Answer, Device};
use crate::kit::need::{need, skip};
use crate::kit::shell::Home;

fn undo(device: &Device) -> Answer {
    device.run("undo", &[("number", "1")], &[])
}

#[test]
fn nothing_is_written_below_a_mount_point_whose_mount_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mount) = Mounted::tmpfs(folder.path()) else { return };
    let mut device = Device::live();
    let sub = folder.path().join("sub");
    let path = sub.join("evil");
    std::fs::create_dir(&sub).unwrap();
    rich(&path);
    look(&mut device, &path);
    done(&remediate(&device, &path, &[]));
    drop(mount);
    std::fs::create_dir(&sub).unwrap();
    let why = refused(&undo(&device));
    assert!(why.code == "not_mounted" && why.message.contains("is not any more; mount it first"), "{why:?}");
    assert_eq!(std::fs::read_dir(&sub).unwrap().count(), 0);
    let Some(_mount) = Mounted::tmpfs(folder.path()) else { return };
    std::fs::create_dir(&sub).unwrap();
    done(&undo(&device));
    assert!(path.exists());
}

#[test]
fn nothing_is_written_into_what_was_mounted_over_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let sub = folder.path().join("sub");
    let path = sub.join("evil");
    std::fs::create_dir(&sub).unwrap();
    rich(&path);
    let before = dump(folder.path());
    look(&mut device, &path);
    done(&remediate(&device, &path, &[]));
    let Some(mount) = Mounted::tmpfs(&sub) else { return };
    let why = refused(&undo(&device));
    assert!(why.code == "not_mounted" && why.message.contains("unmount that first"), "{why:?}");
    drop(mount);
    done(&undo(&device));
    assert_eq!(dump(folder.path()), before);
}

#[test]
fn a_quarantine_folder_on_another_file_system_goes_when_it_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mounted::tmpfs(folder.path()) else { return };
    let mut device = Device::live();
    let path = folder.path().join("evil");
    rich(&path);
    let before = dump(&path);
    look(&mut device, &path);
    done(&remediate(&device, &path, &[]));
    done(&undo(&device));
    assert_eq!(dump(&path), before);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["evil"]);
}

#[test]
fn a_name_that_somebody_else_has_taken_does_not_hold_a_removal_up() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mounted::tmpfs(folder.path()) else { return };
    let mut device = Device::live();
    let path = folder.path().join("evil");
    rich(&path);
    look(&mut device, &path);
    let kept = done(&remediate(&device, &path, &[])).after["quarantine"].as_str().unwrap().to_owned();
    let name = Path::new(&kept).parent().unwrap().to_path_buf();
    done(&undo(&device));
    let taken: [&dyn Fn(); 4] = [
        &|| std::fs::write(&name, "a file").unwrap(),
        &|| symlink("/etc", &name).unwrap(),
        &|| {
            std::fs::create_dir(&name).unwrap();
            std::fs::set_permissions(&name, PermissionsExt::from_mode(0o777)).unwrap();
        },
        &|| {
            std::fs::create_dir(&name).unwrap();
            std::fs::set_permissions(&name, PermissionsExt::from_mode(0o700)).unwrap();
            chown(&name, Some(1234), Some(1234)).unwrap();
        },
    ];
    let before = dump(&path);
    for take in taken {
        take();
        look(&mut device, &path);
        let effect = done(&remediate(&device, &path, &[]));
        let kept = Path::new(effect.after["quarantine"].as_str().unwrap()).to_path_buf();
        assert!(kept.parent().unwrap() != name && kept.starts_with(folder.path()), "{}", kept.display());
        // What is kept there is known as such, whatever its folder is called.
        look(&mut device, &kept);
        assert_eq!(refused(&remediate(&device, &kept, &[])).code, "protected");
        let id = effect.effect_id.to_string();
        done(&device.run("undo", &[("number", &id)], &[]));
        assert_eq!(dump(&path), before);
        let _ = std::fs::remove_file(&name).or_else(|_| std::fs::remove_dir(&name));
    }
    // Who gives a folder of his own that name does not protect what is in it.
    std::fs::create_dir(&name).unwrap();
    let hidden = name.join("hidden");
    rich(&hidden);
    look(&mut device, &hidden);
    done(&remediate(&device, &hidden, &[]));
}

#[test]
fn marks_are_told_before_anything_is_done() {
    if !need(&["chattr"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let sub = folder.path().join("sub");
    let path = sub.join("evil");
    std::fs::create_dir(&sub).unwrap();
    std::fs::write(&path, "evil").unwrap();
    let chattr = |mark: &str, path: &Path| Command::new("chattr").arg(mark).arg(path).status().unwrap().success();
    if !chattr("+i", &path) {
        skip("this file system has no marks");
        return;
    }
    chattr("-i", &path);
    for (target, mark, says) in [
        (&path, "i", "it is marked as never"),
        (&path, "a", "it is marked as only"),
        (&sub, "i", "its folder is marked as never"),
        (&sub, "a", "its folder is marked as only"),
    ] {
        assert!(chattr(&format!("+{mark}"), target));
        look(&mut device, &path);
        let answer = remediate(&device, &path, &[]);
        assert!(chattr(&format!("-{mark}"), target));
        let why = refused(&answer);
        assert!(why.code == "immutable" && why.message.contains(says) && why.message.contains("chattr -"), "{why:?}");
        assert!(effects(&answer).is_empty() && path.exists());
    }
    look(&mut device, &path);
    done(&remediate(&device, &path, &[]));
    assert!(chattr("+i", &sub));
    let answer = undo(&device);
    assert!(chattr("-i", &sub));
    assert!(refused(&answer).message.contains("its folder is marked as never"), "{:?}", answer.completed);
    done(&undo(&device));
    assert!(path.exists());
}

#[test]
fn a_link_goes_and_what_it_leads_to_stays_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let path = folder.path().join("evil");
    symlink("/etc/passwd", &path).unwrap();
    look(&mut device, &path);
    let reason = done(&remediate(&device, &path, &[])).reason.unwrap();
    assert_eq!(reason, "it is a link; what it leads to stays: /etc/passwd");
    done(&undo(&device));
    assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("/etc/passwd"));
}

#[test]
fn a_folder_that_became_a_link_is_not_followed_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let (sub, trap) = (folder.path().join("sub"), folder.path().join("trap"));
    for folder in [&sub, &trap] {
        std::fs::create_dir(folder).unwrap();
    }
    let path = sub.join("evil");
    std::fs::write(&path, "evil").unwrap();
    look(&mut device, &path);
    done(&remediate(&device, &path, &[]));
    std::fs::remove_dir(&sub).unwrap();
    symlink("trap", &sub).unwrap();
    let why = refused(&undo(&device));
    assert!(why.code == "is_a_link" && why.message.contains("a link stands on the way"), "{why:?}");
    assert_eq!(std::fs::read_dir(&trap).unwrap().count(), 0);
}

#[test]
fn the_root_and_where_lrsh_lives_are_protected() {
    let device = Device::live();
    let home = device.folder.path();
    std::fs::create_dir(home.join("agent")).unwrap();
    for path in [Path::new("/"), home, &home.join("agent")] {
        let why = refused(&remediate(&device, path, &[]));
        assert_eq!(why.code, "protected", "{} {why:?}", path.display());
    }
}

#[test]
fn a_name_that_looks_like_a_pattern_is_looked_at_literally() {
    let home = Home::new();
    let folder = home.path().join("device");
    std::fs::create_dir(&folder).unwrap();
    let [path, other] = ["[x]*", "xyz"].map(|name| folder.join(name));
    std::fs::write(&other, "innocent").unwrap();
    let shown = path.display();
    // It is not there: what it would match as a pattern is not even looked at.
    let ran = home.line(&format!("remediate file \"{shown}\" -auto")).code(1);
    assert!(!ran.out().contains("xyz") && !ran.err().contains("xyz"), "{} {}", ran.out(), ran.err());
    assert!(ran.err().contains("no such file"), "{}", ran.err());
    std::fs::write(&path, "evil").unwrap();
    let blind = home.line(&format!("remediate file \"{shown}\"")).code(1);
    assert!(blind.err().contains("run `fileinfo file://") && blind.err().contains("%5Bx%5D%2A` first"), "{}", blind.err());
    home.batch(&format!("cd {}\nremediate file \"[x]*\" -auto\n", folder.display())).run().code(0);
    assert!(!path.exists() && other.exists());
    home.line("undo 1").code(0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "evil");
}

#[test]
fn another_file_system_below_an_overlay_or_a_bind_mount() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["lower", "upper", "work", "merged", "bound"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    rich(&at("lower/evil"));
    rich(&at("lower/twice"));
    std::fs::hard_link(at("lower/twice"), at("lower/again")).unwrap();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", at("lower").display(), at("upper").display(), at("work").display());
    let options = std::ffi::CString::new(options).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    if rustix::mount::mount("overlay", at("merged"), "overlay", flags, Some(options.as_c_str())).is_err() {
        skip("mounting an overlay is not allowed");
        return;
    }
    let _overlay = Mounted::here(&at("merged"));
    rustix::mount::mount_bind(at("lower"), at("bound")).unwrap();
    let _bound = Mounted::here(&at("bound"));
    let told = |path: &Path| {
        let told = dump(path).remove(path).unwrap();
        // An overlay copies the file up: another number, and a name alone.
        let mut words: Vec<String> = told.split(' ').map(ToOwned::to_owned).collect();
        words.drain(4..8);
        words.join(" ")
    };
    let mut device = Device::live();
    for name in ["merged/evil", "bound/evil", "merged/twice", "bound/twice"] {
        let path = at(name);
        let before = told(&path);
        look(&mut device, &path);
        let effect = done(&remediate(&device, &path, &[]));
        assert!(!path.exists(), "{name}");
        let id = effect.effect_id.to_string();
        let answer = device.run("undo", &[("number", &id)], &[]);
        assert_eq!(answer.completed.status, Status::Completed, "{name}: {:?}", answer.completed);
        assert_eq!(told(&path), before, "{name}: {:?}", effects(&answer));
        let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 3, "{left:?}");
    }
}

#[test]
fn an_access_list_of_a_folder_does_not_hang_on_what_comes_back() {
    if !need(&["setfacl"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil");
    rich(&path);
    let set = Command::new("setfacl").args(["-d", "-m", "u:1234:rwx"]).arg(folder.path()).status().unwrap();
    assert!(set.success());
    let before = dump(&path);
    let mut device = Device::live();
    look(&mut device, &path);
    done(&remediate(&device, &path, &[]));
    done(&undo(&device));
    assert_eq!(dump(&path), before);
}
