//! A start-up item that was seen goes to quarantine, and comes back as it was.

use std::os::unix::fs::PermissionsExt;

use lrsh::protocol::Status;

use super::faults::files;
use super::{done, refused};
use crate::kit::device::Device;

#[test]
fn items_of_every_place_go_and_come_back() {
    let tree = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str, mode: u32| {
        let path = tree.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    };
    write("etc/passwd", "root:x:0:0::/root:/bin/sh\nmallory:x:1234:1234::/home/mallory:/bin/sh\n", 0o644);
    write("etc/xdg/autostart/evil.desktop", "[Desktop Entry]\nType=Application\nName=Evil\nExec=/tmp/evil\n", 0o644);
    write("home/mallory/.config/autostart/own.desktop", "[Desktop Entry]\nType=Application\nName=Own\nExec=/tmp/evil\n", 0o644);
    write("etc/profile.d/evil.sh", "/tmp/evil &\n", 0o644);
    write("etc/rc.local", "#!/bin/sh\n/tmp/evil\n", 0o755);
    let mut device = Device::at(tree.path());
    let before = files(tree.path());
    let answer = device.run("startupfolders", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let ids: Vec<String> = answer.rows().iter().map(|row| row["filePath"].as_str().unwrap().to_owned()).collect();
    assert!(ids.len() >= 4, "{ids:?}");
    let why = refused(&device.run("remediate", &[("type", "startupfolder"), ("id", &ids[0])], &[]));
    assert!(why.code == "prerequisite" && why.message.contains("run `startupfolders` first"), "{why:?}");
    device.seen = answer.seen();
    for id in &ids {
        let params = [("type", "startupfolder"), ("id", id.as_str())];
        let effect = done(&device.run("remediate", &params, &[]));
        assert_eq!((effect.entity.as_str(), effect.action.as_str()), ("startupfolder", "quarantined"));
        assert!(!tree.path().join(id.strip_prefix('/').unwrap()).exists(), "{id}");
        done(&device.run("undo", &params, &[]));
        assert_eq!(files(tree.path()), before, "{id}");
    }
    std::fs::write(tree.path().join("etc/profile.d/evil.sh"), "other\n").unwrap();
    let why = refused(&device.run("remediate", &[("type", "startupfolder"), ("id", "/etc/profile.d/evil.sh")], &[]));
    assert_eq!(why.code, "changed", "{why:?}");
}
