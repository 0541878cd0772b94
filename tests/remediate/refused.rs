//! What is not what was seen, may not go, or cannot be kept is refused, and everything is as before.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use lrsh::protocol::Status;

use super::file::Mounted;
use super::{dump, effects, look, refused, remediate};
use crate::kit::device::Device;
use crate::kit::need::need;

/// Looks at a file, changes something, and holds the refusal to a code and words.
fn changed(device: &mut Device, change: impl Fn(&Path, &Path), code: &str, says: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub/evil");
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(&path, "evil").unwrap();
    look(device, &path);
    change(folder.path(), &path);
    let before = dump(folder.path());
    let answer = remediate(device, &path, &[]);
    let why = refused(&answer);
    assert!(why.code == code && why.message.contains(says), "{why:?}");
    assert!(effects(&answer).is_empty());
    assert_eq!(dump(folder.path()), before);
}

#[test]
fn what_changed_since_it_was_seen_is_refused_with_the_difference() {
    let mut device = Device::live();
    changed(&mut device, |_, path| std::fs::write(path, "longer").unwrap(), "changed", "its size was 4 and is 6");
    changed(&mut device, |_, path| std::fs::write(path, "EVIL").unwrap(), "changed", "its content was changed at");
    changed(
        &mut device,
        |_, path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap(),
        "changed",
        "mode, owner, links",
    );
    changed(
        &mut device,
        |folder, path| std::fs::hard_link(path, folder.join("other")).unwrap(),
        "changed",
        "mode, owner, links",
    );
    let replaced = |folder: &Path, path: &Path| {
        std::fs::write(folder.join("new"), "evil").unwrap();
        std::fs::rename(folder.join("new"), path).unwrap();
    };
    changed(&mut device, replaced, "changed", "another file has its name now");
    let linked = |_: &Path, path: &Path| {
        std::fs::remove_file(path).unwrap();
        symlink("/etc/passwd", path).unwrap();
    };
    changed(&mut device, linked, "changed", "it is not what was seen");
    changed(&mut device, |_, path| std::fs::remove_file(path).unwrap(), "not_found", "there is no such file");
    changed(
        &mut device,
        |folder, _| std::fs::rename(folder.join("sub"), folder.join("else")).unwrap(),
        "not_found",
        "there is no such file",
    );
    let folder_linked = |folder: &Path, _: &Path| {
        std::fs::rename(folder.join("sub"), folder.join("else")).unwrap();
        std::fs::create_dir(folder.join("trap")).unwrap();
        std::fs::write(folder.join("trap/evil"), "evil").unwrap();
        symlink("trap", folder.join("sub")).unwrap();
    };
    changed(&mut device, folder_linked, "changed", "another file has its name now");
    let folder_put = |_: &Path, path: &Path| {
        std::fs::remove_file(path).unwrap();
        std::fs::create_dir(path).unwrap();
    };
    changed(&mut device, folder_put, "is_a_folder", "its files are removed one by one");
}

#[test]
fn what_was_not_seen_is_refused_with_the_command_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("with blank");
    std::fs::write(&path, "x").unwrap();
    let why = refused(&remediate(&Device::live(), &path, &[]));
    assert_eq!(why.code, "prerequisite");
    assert!(why.message.contains(&format!("run `fileinfo \"{}\"` first, or give -auto", path.display())), "{why}");
}

#[test]
fn a_full_quarantine_refuses_before_the_act() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let agent = device.folder.path().join("agent");
    std::fs::create_dir(&agent).unwrap();
    std::fs::set_permissions(&agent, PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(agent.join("agent.toml"), "quarantine_bytes = 10\n").unwrap();
    device.restart();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    for path in [&first, &second] {
        std::fs::write(path, "123456").unwrap();
    }
    look(&mut device, &first);
    super::done(&remediate(&device, &first, &[]));
    look(&mut device, &second);
    let why = refused(&remediate(&device, &second, &[]));
    assert!(why.code == "quarantine_full" && why.message.contains("holds 6 bytes"), "{why:?}");
    assert!(second.exists());
    // What was put back counts no longer.
    super::done(&device.run("undo", &[("number", "1")], &[]));
    look(&mut device, &second);
    super::done(&remediate(&device, &second, &[]));
}

#[test]
fn a_read_only_file_system_refuses_before_the_act() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mount) = Mounted::tmpfs(folder.path()) else { return };
    let mut device = Device::live();
    let path = folder.path().join("evil");
    std::fs::write(&path, "x").unwrap();
    mount.read_only();
    look(&mut device, &path);
    let answer = remediate(&device, &path, &[]);
    assert_eq!(refused(&answer).code, "read_only");
    assert!(effects(&answer).is_empty() && path.exists());
}

#[test]
fn a_plan_makes_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mounted::tmpfs(folder.path()) else { return };
    let mut device = Device::live();
    let path = folder.path().join("evil");
    std::fs::write(&path, "x").unwrap();
    look(&mut device, &path);
    let kept = remediate(&device, &path, &["plan"]);
    assert_eq!(kept.completed.status, Status::Completed);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_the_machine_needs_is_protected() {
    let device = Device::live();
    let libc = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = libc.lines().filter_map(|line| line.split_whitespace().nth(5)).map(PathBuf::from);
    let mut needed: Vec<PathBuf> = mapped
        .filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with("libc.") || name.starts_with("libc-") || name.starts_with("ld-")
        })
        .collect();
    needed.dedup();
    assert!(needed.len() >= 2, "{libc}");
    needed.push(std::env::current_exe().unwrap());
    for path in &needed {
        let why = refused(&remediate(&device, path, &["auto"]));
        assert_eq!(why.code, "protected", "{why:?}");
    }
    let why = refused(&device.run("remediate", &[("type", "file"), ("id", "/")], &[]));
    assert_eq!(why.code, "protected", "{why:?}");
    for path in ["/proc", "/proc/version"] {
        let why = refused(&device.run("remediate", &[("type", "file"), ("id", path)], &[]));
        assert!(["protected", "not_a_file"].contains(&why.code.as_str()), "{why:?}");
    }
    // By another name it is the same file.
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("harmless");
    if std::fs::hard_link(&needed[0], &other).is_ok() {
        assert_eq!(refused(&remediate(&device, &other, &[])).code, "protected");
    }
}

#[test]
fn the_agents_own_files_are_protected() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let path = folder.path().join("evil");
    std::fs::write(&path, "x").unwrap();
    look(&mut device, &path);
    let kept = super::done(&remediate(&device, &path, &[]));
    let kept = Path::new(kept.after["quarantine"].as_str().unwrap()).to_path_buf();
    for path in [device.folder.path().join("agent/journal"), kept] {
        look(&mut device, &path);
        let why = refused(&remediate(&device, &path, &[]));
        assert_eq!(why.code, "protected", "{why:?}");
    }
}

#[test]
fn an_agent_without_the_right_takes_nothing_and_says_so() {
    if !rustix::process::geteuid().is_root() || !need(&["setpriv"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mode = |path: &Path, mode: u32| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let program = at("lrsh");
    std::fs::hard_link(env!("CARGO_BIN_EXE_lrsh"), &program)
        .or_else(|_| std::fs::copy(env!("CARGO_BIN_EXE_lrsh"), &program).map(drop))
        .unwrap();
    for (name, owner, bits) in [("home", 65534, 0o700), ("closed", 0, 0o755), ("open", 65534, 0o755), ("sticky", 0, 0o1777)] {
        std::fs::create_dir(at(name)).unwrap();
        chown(at(name), Some(owner), Some(owner)).unwrap();
        mode(&at(name), bits);
    }
    mode(folder.path(), 0o755);
    let no_permission = "the agent has no permission for it";
    for (name, bits, says) in [
        ("closed/file", 0o644, no_permission),
        ("sticky/file", 0o666, no_permission),
        ("open/setuid", 0o4755, "the agent may not take away its right to be run"),
    ] {
        let path = at(name);
        std::fs::write(&path, "evil").unwrap();
        mode(&path, bits);
        let before = dump(&path);
        let out = std::process::Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&program)
            .args(["-c", &format!("remediate file {} -auto", path.display())])
            .env("LRSH_HOME", at("home").join("lrsh"))
            .env_remove("XDG_RUNTIME_DIR")
            .current_dir("/")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(1) && said.contains(says), "{name}: {:?} {said}", out.status);
        assert_eq!(dump(&path), before, "{name}");
    }
}
