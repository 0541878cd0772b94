//! `startupfolders` and `persistence` on trees made for it, and on this machine.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use lrsh::protocol::Status;
use serde_json::{Value, json};

use crate::kit::device::Device;

fn write(tree: &Path, path: &str, text: &str) {
    let path = tree.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn items_of_the_system_and_of_homes_are_told_with_what_they_start() {
    let tree = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| write(tree.path(), path, text);
    write("etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1:1::/home/alice:/bin/sh\nbob:x:2:2::/home/alice:/bin/sh\n");
    write("etc/xdg/autostart/a.desktop", "[Desktop Entry]\nExec=/usr/bin/a --x\nOnlyShowIn=GNOME;\n");
    write("home/alice/.config/autostart/a.desktop", "[Desktop Entry]\nHidden=true\n");
    write("home/alice/.config/autostart/evil\u{1b}.desktop", "[Desktop Entry]\nExec=/tmp/evil\n");
    write("home/alice/.config/autostart/broken.desktop", "\u{0}\u{1}");
    write("etc/profile.d/x.sh", "");
    write("etc/profile.d/not-read", "");
    write("etc/rc.local", "#!/bin/sh\n");
    write("etc/profile", "");
    write("home/alice/.bashrc", "");
    write("etc/X11/Xsession.d/50x", "");
    write("etc/init.d/old", "#!/bin/sh\n");
    std::fs::set_permissions(tree.path().join("etc/init.d/old"), PermissionsExt::from_mode(0o755)).unwrap();
    symlink("loop", tree.path().join("home/alice/loop")).unwrap();
    symlink("loop", tree.path().join("home/alice/.profile")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, tree.path().join("home/alice/.zshrc"), rustix::fs::Mode::from_raw_mode(0o600))
        .unwrap();
    let answer = Device::at(tree.path()).run("startupfolders", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let rows = answer.rows();
    let check = |path: &str, fields: Value| {
        let row = rows.iter().find(|row| row["filePath"] == path).unwrap_or_else(|| panic!("{path}: {rows:#?}"));
        for (key, value) in fields.as_object().unwrap() {
            assert_eq!(&row[key], value, "{path}: {key}");
        }
    };
    check(
        "/etc/xdg/autostart/a.desktop",
        json!({
            "executablePath": "/usr/bin/a", "command": "/usr/bin/a --x", "category": ".desktop file", "user": null, "enabled": true,
            "only_show_in": ["GNOME"],
        }),
    );
    check("/home/alice/.config/autostart/a.desktop", json!({ "enabled": false, "user": "alice", "executablePath": null }));
    check(
        "/home/alice/.config/autostart/evil\u{1b}.desktop",
        json!({
            "enabled": true, "path_uri": "file:///home/alice/.config/autostart/evil%1B.desktop",
        }),
    );
    check(
        "/home/alice/.config/autostart/broken.desktop",
        json!({ "enabled": false, "error": "it has no group [Desktop Entry]" }),
    );
    check("/etc/profile.d/x.sh", json!({ "category": "profile.d script", "enabled": true }));
    check("/etc/profile.d/not-read", json!({ "enabled": false }));
    check("/etc/rc.local", json!({ "category": "rc.local", "enabled": false, "executablePath": "/etc/rc.local" }));
    check("/etc/profile", json!({ "category": "shell profile" }));
    check("/home/alice/.bashrc", json!({ "category": "shell start-up file", "user": "alice" }));
    check("/etc/X11/Xsession.d/50x", json!({ "category": "X session script" }));
    check("/etc/init.d/old", json!({ "category": "init.d script", "enabled": false }));
    check("/home/alice/.zshrc", json!({ "enabled": false, "error": "not a regular file" }));
    assert!(rows.iter().any(|row| row["filePath"] == "/home/alice/.profile" && row["error"].is_string()));
    let seen = answer.seen();
    assert_eq!(seen.len(), rows.len());
    assert!(seen.iter().any(|item| item.key == "file:///home/alice/.config/autostart/evil%1B.desktop"));
}

#[test]
fn damaged_places_of_persistence_answer_with_entries() {
    let tree = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| write(tree.path(), path, text);
    write("etc/passwd", "x:x:0:0::/home:/bin/sh\n");
    write("etc/ld.so.preload", &"\u{1b}/x ".repeat(10_000));
    write("etc/sudoers", &"#".repeat(5 * 1024 * 1024));
    write("var/lib/dpkg/status", "\u{0}");
    std::fs::create_dir_all(tree.path().join("etc/update-motd.d")).unwrap();
    std::fs::create_dir_all(tree.path().join("var/www")).unwrap();
    std::fs::create_dir_all(tree.path().join("var/lib/dpkg/info")).unwrap();
    symlink("x.list", tree.path().join("var/lib/dpkg/info/x.list")).unwrap();
    symlink("..", tree.path().join("var/www/up")).unwrap();
    symlink("loop", tree.path().join("etc/update-motd.d/loop")).unwrap();
    symlink("/etc/udev/rules.d", tree.path().join("etc/udev")).unwrap();
    let path = tree.path().join("etc/environment");
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let answer = Device::at(tree.path()).run("persistence", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let told = &answer.completed.errors[0];
    assert_eq!(told.code, "package_database");
    assert!(told.message.contains("/var/lib/dpkg/info/x.list: its links lead nowhere"), "{told:?}");
    let lists = &answer.object()["autoruns"];
    assert_eq!(lists["registry"], json!([]));
    assert_eq!(lists["preload"].as_array().unwrap().iter().filter(|entry| entry["error"].is_string()).count(), 1, "{lists}");
    assert_eq!(lists["motd"][0]["error"], "its links lead nowhere: too many of them, or a loop");
    let broken = |entry: &Value| entry["location"] == "/etc/sudoers" && entry["error"].is_string();
    assert!(lists["privileges"].as_array().unwrap().iter().any(broken), "{lists}");
}

#[test]
fn this_machine_tells_where_its_entries_come_from() {
    let answer = Device::live().run("persistence", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let lists = answer.object()["autoruns"].clone();
    let entries: Vec<&Value> = lists.as_object().unwrap().values().flat_map(|list| list.as_array().unwrap()).collect();
    for entry in &entries {
        assert!(entry["location"].as_str().is_some_and(|at| at.starts_with('/')), "{entry}");
        assert!(entry["technique"].as_str().is_some_and(|id| id.starts_with('T')), "{entry}");
        assert!(entry["shipped"] != true || entry["package"].is_string(), "{entry}");
    }
}
