//! `findfile` agrees with `find`, in trees of any shape.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use lrsh::protocol::link::{AgentLink, StopReason};
use lrsh::protocol::{Body, Status, text};
use serde_json::Value;

use crate::agent::dir::HOSTILE;
use crate::kit::device::{Answer, Device, body};

fn search(device: &Device, params: &[(&str, &str)], flags: &[&str]) -> Answer {
    let answer = device.run("findfile", params, flags);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    answer
}

fn path(row: &Value) -> Vec<u8> {
    match row["path_uri"].as_str() {
        Some(uri) => text::from_file_uri(uri).unwrap(),
        None => row["path"].as_str().unwrap().as_bytes().to_vec(),
    }
}

fn paths(answer: &Answer) -> BTreeSet<Vec<u8>> {
    let rows = answer.rows();
    let paths: BTreeSet<_> = rows.iter().map(path).collect();
    assert_eq!(paths.len(), rows.len(), "nothing is found twice");
    paths
}

fn find(root: &Path, args: &[&str]) -> BTreeSet<Vec<u8>> {
    let out = Command::new("find").arg(root).args(args).arg("-print0").env("LC_ALL", "C.UTF-8").output().unwrap();
    out.stdout.split(|&byte| byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect()
}

/// A tree with hostile names on every level, links in circles and empty folders.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for outer in HOSTILE {
        let folder = root.path().join(OsStr::from_bytes(outer));
        for inner in HOSTILE {
            std::fs::create_dir_all(folder.join(OsStr::from_bytes(inner))).unwrap();
            std::fs::write(folder.join(OsStr::from_bytes(inner)).join(OsStr::from_bytes(outer)), inner).unwrap();
        }
        symlink("..", folder.join("circle")).unwrap();
        symlink("/", folder.join("out.conf")).unwrap();
        std::fs::write(folder.join("A.Conf"), vec![0; 3000]).unwrap();
    }
    root
}

#[test]
fn names_and_patterns_agree_with_find() {
    let root = tree();
    let device = Device::live();
    let check = |name: &str, params: &[(&str, &str)], flags: &[&str], args: &[&str]| {
        let mut all = vec![("name", name), ("path", root.path().to_str().unwrap())];
        all.extend_from_slice(params);
        assert_eq!(paths(&search(&device, &all, flags)), find(root.path(), args), "{name} {params:?}");
    };
    check("*", &[], &[], &[]);
    check("A.Conf", &[], &[], &["-name", "A.Conf"]);
    check("a.conf", &[], &[], &["-name", "a.conf"]);
    check("a.conf", &[], &["ignore_case"], &["-iname", "a.conf"]);
    check("*.[Cc]onf", &[], &[], &["-name", "*.[Cc]onf"]);
    check("?[!.]*", &[("type", "d")], &[], &["-name", "?[!.]*", "-type", "d"]);
    check("*", &[("type", "l")], &[], &["-type", "l"]);
    check("*", &[("type", "f"), ("size", "3000")], &[], &["-type", "f", "-size", "3000c"]);
    check("*", &[("type", "f"), ("size", "+1k")], &[], &["-type", "f", "-size", "+1023c"]);
    check("*", &[("type", "f"), ("size", "-1k")], &[], &["-type", "f", "-size", "-1025c"]);
    check("*/-rf/*", &[], &[], &["-path", "*/-rf/*"]);
    check("-rf/A.Conf", &[], &[], &["-path", "*/-rf/A.Conf"]);
    let own = root.path().file_name().unwrap().to_str().unwrap();
    check(own, &[], &[], &["-name", own]);
    check("nothing is called that", &[], &[], &["-name", "nothing is called that"]);
}

#[test]
fn age_and_content_are_compared() {
    let root = tempfile::tempdir().unwrap();
    let make = |name: &str, content: &str, hours: i64| {
        let file = std::fs::File::create(root.path().join(name)).unwrap();
        std::fs::write(root.path().join(name), content).unwrap();
        let when = std::time::SystemTime::now() - std::time::Duration::from_secs(u64::try_from(hours).unwrap() * 3600);
        file.set_modified(when).unwrap();
    };
    make("new", "one", 0);
    make("day", "two", 25);
    make("old", "two", 24 * 30);
    let device = Device::live();
    let check = |params: &[(&str, &str)], names: &[&str]| {
        let mut all = vec![("name", "*"), ("path", root.path().to_str().unwrap()), ("type", "f")];
        all.extend_from_slice(params);
        let found = paths(&search(&device, &all, &[]));
        let wanted = names.iter().map(|name| root.path().join(name).into_os_string().into_encoded_bytes()).collect();
        assert_eq!(found, wanted, "{params:?}");
    };
    check(&[("modified", "-2d")], &["new", "day"]);
    check(&[("modified", "+1d")], &["day", "old"]);
    check(&[("modified", "1h")], &["new"]);
    check(&[("modified", "2020-01-01T00:00:00Z")], &["new", "day", "old"]);
    // printf two | sha256sum
    let two = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";
    check(&[("sha256", &two.to_uppercase())], &["day", "old"]);
    check(&[("sha256", two), ("modified", "-2d")], &["day"]);
    for (name, value) in [("size", "x"), ("modified", "y"), ("sha256", "z"), ("type", "q"), ("limit", "-")] {
        let answer = device.run("findfile", &[("name", "*"), (name, value)], &[]);
        assert_eq!((answer.completed.status, answer.completed.errors[0].code.as_str()), (Status::Failed, "bad_value"));
    }
}

#[test]
fn rows_are_those_of_dir() {
    let root = tempfile::tempdir().unwrap();
    symlink("x", root.path().join("link")).unwrap();
    let device = Device::live();
    let folder = root.path().to_str().unwrap();
    let found = search(&device, &[("name", "link"), ("path", folder)], &[]).rows();
    assert_eq!(found, device.run("dir", &[("path", folder)], &["full_path"]).rows());
}

#[test]
fn the_limit_ends_the_search() {
    let root = tree();
    let answer = search(&Device::live(), &[("name", "*"), ("path", root.path().to_str().unwrap()), ("limit", "7")], &[]);
    assert_eq!(answer.rows().len(), 7);
    let none = search(&Device::live(), &[("name", "*"), ("path", root.path().to_str().unwrap()), ("limit", "0")], &[]);
    assert!(none.rows().is_empty());
}

#[test]
fn what_the_kernel_makes_up_is_searched_only_when_asked_for() {
    let device = Device::live();
    let found = search(&device, &[("name", "/proc/sys/kernel/ostype"), ("path", "/proc/sys/kernel")], &[]);
    assert_eq!(found.rows().len(), 1);
    // A tree with a /proc of its own on the same file system is searched: it is only called so.
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("proc/1")).unwrap();
    std::fs::write(root.path().join("proc/1/found"), "").unwrap();
    assert_eq!(search(&Device::at(root.path()), &[("name", "found")], &[]).rows()[0]["path"], "/proc/1/found");
}

#[test]
fn a_tree_deeper_than_any_path_is_searched_to_its_end() {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    let root = tempfile::tempdir().unwrap();
    let name = CString::new("d".repeat(20)).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = openat(CWD, root.path(), flags, Mode::empty()).unwrap();
    for _ in 0..1_000 {
        for folder in [c"side", &name] {
            mkdirat(&at, folder, Mode::from_raw_mode(0o700)).unwrap();
        }
        at = openat(&at, &name, flags, Mode::empty()).unwrap();
    }
    mkdirat(&at, c"bottom", Mode::from_raw_mode(0o700)).unwrap();
    let device = Device::live();
    let folder = root.path().to_str().unwrap();
    let found = search(&device, &[("name", "bottom"), ("path", folder)], &[]).rows();
    let bottom = found[0]["path"].as_str().unwrap();
    assert!(bottom.len() > 20_000);
    // What was found can be asked about, live and in an image.
    assert_eq!(device.run("dir", &[("path", bottom)], &[]).completed.status, Status::Completed);
    let info = device.run("fileinfo", &[("path", bottom)], &[]).object();
    assert_eq!((&info[bottom]["error"], &info[bottom]["inode"]), (&Value::Null, &found[0]["inode"]));
    let inside = bottom.strip_prefix(folder).unwrap();
    let info = Device::at(root.path()).run("fileinfo", &[("path", inside)], &[]).object();
    assert_eq!((&info[inside]["error"], &info[inside]["inode"]), (&Value::Null, &found[0]["inode"]));
    assert_eq!(search(&device, &[("name", "side"), ("path", folder), ("limit", "1000")], &[]).rows().len(), 1_000);
    // What tempfile would do takes the stack and longer than the test.
    assert!(Command::new("rm").arg("-rf").arg(root.keep()).status().unwrap().success());
}

#[test]
fn a_large_folder_and_unreadable_ones_are_no_obstacle() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..20_000 {
        std::fs::File::create(root.path().join(format!("file{number:05}"))).unwrap();
    }
    let device = Device::live();
    let folder = root.path().to_str().unwrap();
    assert_eq!(search(&device, &[("name", "*"), ("path", folder), ("type", "f")], &[]).rows().len(), 20_000);
    assert_eq!(search(&device, &[("name", "file12345"), ("path", folder)], &[]).rows().len(), 1);
    let file = format!("{folder}/file12345");
    assert_eq!(search(&device, &[("name", "*"), ("path", &file)], &[]).rows()[0]["path"], file);
}

#[test]
fn unreadable_folders_are_counted() {
    if rustix::process::geteuid().is_root() {
        // Root reads everything; what it cannot read is on the file systems of others.
        return;
    }
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("closed")).unwrap();
    std::fs::set_permissions(root.path().join("closed"), PermissionsExt::from_mode(0o0)).unwrap();
    let answer = search(&Device::live(), &[("name", "x"), ("path", root.path().to_str().unwrap())], &[]);
    assert_eq!(answer.completed.errors[0].code, "unreadable");
}

#[test]
fn several_searches_of_several_sessions_share_the_threads() {
    let root = tree();
    let device = Device::live();
    let wanted = find(root.path(), &["-name", "A.Conf"]);
    let started: Vec<_> = (0..12)
        .map(|number| {
            let mut command = device.command("findfile", &[("name", "A.Conf"), ("path", root.path().to_str().unwrap())], &[]);
            if number % 2 == 0 {
                command.session_id = lrsh::protocol::SessionId::new();
            }
            device.agent.start(command, None)
        })
        .collect();
    for mut running in started {
        let mut found = BTreeSet::new();
        device.runtime.block_on(async {
            while let Some(event) = running.events.recv().await {
                if let Body::Rows { rows } = body(event) {
                    found.extend(rows.iter().map(|row| path(&serde_json::from_str(row.get()).unwrap())));
                }
            }
        });
        assert_eq!(found, wanted);
    }
}

#[test]
fn a_cancel_leaves_no_thread_at_work_and_says_how_far_it_was() {
    let root = tempfile::tempdir().unwrap();
    let large: PathBuf = root.path().join("large");
    // Hashing this would take far longer than the test: only a stop within the file can end it.
    std::fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    let device = Device::live();
    let sum = "0".repeat(64);
    let command = device.command("findfile", &[("name", "*"), ("path", root.path().to_str().unwrap()), ("sha256", &sum)], &[]);
    let id = command.command_id;
    let mut running = device.agent.start(command, None);
    let mut bodies = Vec::new();
    device.runtime.block_on(async {
        while let Some(event) = running.events.recv().await {
            let body = body(event);
            if matches!(&body, Body::Progress(progress) if progress.done == 1) {
                device.agent.stop(id, StopReason::Cancel { by: "eve".into() });
            }
            bodies.push(body);
        }
    });
    assert!(matches!(bodies.last(), Some(Body::Completed(completed)) if completed.status == Status::Cancelled));
    let receipt = bodies.iter().find_map(|body| match body {
        Body::Receipt(receipt) => Some(receipt),
        _ => None,
    });
    assert_eq!(receipt.unwrap().done, ["1 folders searched, 0 files found"]);
}
