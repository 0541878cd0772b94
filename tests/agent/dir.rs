//! `dir` agrees with `stat`, shows hostile names exactly, and takes files, links and patterns.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use lrsh::protocol::{Body, Status, text};
use serde_json::Value;

use crate::kit::device::{Answer, Device};

/// Names that would do harm on a terminal, or are no UTF-8.
pub const HOSTILE: &[&[u8]] = &[
    b"line\nend",
    b"return\rhere",
    b"\x1b[2Jclear",
    b"\x1b]0;title\x07",
    b"\x1b]52;c;aGk=\x07",
    b"c1\xc2\x9b31m",
    "bidi\u{202e}txt.exe".as_bytes(),
    b"bad\xff\xfe",
    b"-rf",
    b"percent%20",
    b"star*[x]?",
    b" blank ",
];

fn dir(path: &Path, flags: &[&str]) -> Answer {
    Device::live().run("dir", &[("path", path.to_str().unwrap())], flags)
}

fn by_path(answer: &Answer) -> BTreeMap<String, Value> {
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    answer.rows().into_iter().map(|row| (row["path"].as_str().unwrap().to_owned(), row)).collect()
}

fn stat(path: &Path) -> Vec<String> {
    let out = Command::new("stat").args(["-c", "%s|%i|%A|%U|%G|%Y|%W"]).arg(path).output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().split('|').map(ToOwned::to_owned).collect()
}

fn seconds(time: &Value) -> i64 {
    time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
}

#[test]
fn every_field_agrees_with_stat() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join(".hidden"), "12345").unwrap();
    std::fs::write(folder.path().join("set"), "x").unwrap();
    std::fs::set_permissions(folder.path().join("set"), PermissionsExt::from_mode(0o4511)).unwrap();
    symlink("nowhere/at all", folder.path().join("link")).unwrap();
    let answer = dir(folder.path(), &[]);
    let Some(Body::Table { keys }) = answer.events.iter().find(|body| body.kind() == "table") else { panic!("no table") };
    let rows = by_path(&answer);
    assert_eq!(rows.keys().collect::<Vec<_>>(), [".hidden", "link", "set", "sub"]);
    for (name, row) in &rows {
        let told = stat(&folder.path().join(name));
        assert_eq!(row["size"].to_string(), told[0], "{row}");
        assert_eq!(row["inode"].to_string(), told[1], "{row}");
        assert_eq!(row["mode"], told[2], "{row}");
        assert_eq!(row["owner"], told[3], "{row}");
        assert_eq!(row["group"], told[4], "{row}");
        assert_eq!(seconds(&row["modified"]).to_string(), told[5], "{row}");
        if told[6] != "0" {
            assert_eq!(seconds(&row["created"]).to_string(), told[6], "{row}");
        }
        assert_eq!(row["isDirectory"], told[2].starts_with('d'));
        assert_eq!(row["hidden"], name.starts_with('.'));
        assert_eq!(row["readOnly"], name == "set");
        let optional = ["path_uri", "error"];
        let carried: Vec<&String> = row.as_object().unwrap().keys().collect();
        let always: Vec<&String> = keys.iter().filter(|key| !optional.contains(&key.as_str())).collect();
        assert_eq!(carried, always);
    }
    assert_eq!(rows["link"]["link_target"], "nowhere/at all");
    assert_eq!(rows["set"]["link_target"], Value::Null);
}

#[test]
fn hostile_names_are_exact_in_their_uri() {
    let folder = tempfile::tempdir().unwrap();
    for name in HOSTILE {
        std::fs::write(folder.path().join(OsStr::from_bytes(name)), name).unwrap();
    }
    let device = Device::live();
    let rows = by_path(&dir(folder.path(), &[]));
    assert_eq!(rows.len(), HOSTILE.len());
    for name in HOSTILE {
        let row = &rows[&*String::from_utf8_lossy(name)];
        let exact = folder.path().join(OsStr::from_bytes(name));
        match row["path_uri"].as_str() {
            Some(uri) => {
                assert_eq!(text::from_file_uri(uri).unwrap(), exact.as_os_str().as_bytes());
                let again = device.run("dir", &[("path", uri)], &["full_path"]).rows();
                assert_eq!((again.len(), &again[0]["inode"]), (1, &row["inode"]), "{uri}");
            }
            None => assert!(text::is_plain(name)),
        }
    }
}

#[test]
fn a_plain_name_in_a_hostile_folder_has_its_exact_form_too() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join(OsStr::from_bytes(b"odd\xff"));
    std::fs::create_dir(&odd).unwrap();
    std::fs::write(odd.join("plain"), "").unwrap();
    let answer = Device::live().run("dir", &[("path", &text::file_uri(odd.as_os_str().as_bytes()))], &[]);
    assert_eq!(by_path(&answer)["plain"]["path_uri"], text::file_uri(odd.join("plain").as_os_str().as_bytes()));
}

#[test]
fn paths_are_relative_unless_asked_for_in_full() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "").unwrap();
    let full = folder.path().join("a").to_str().unwrap().to_owned();
    assert_eq!(by_path(&dir(folder.path(), &["relative_path"])).keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(by_path(&dir(folder.path(), &["full_path"])).keys().collect::<Vec<_>>(), [&full]);
    assert_eq!(by_path(&dir(&folder.path().join("a"), &[])).keys().collect::<Vec<_>>(), ["a"]);
    let both = dir(folder.path(), &["full_path", "relative_path"]);
    assert_eq!((both.completed.status, both.completed.errors[0].code.as_str()), (Status::Failed, "bad_value"));
}

#[test]
fn patterns_match_hidden_names_and_yield_to_literal_ones() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.x", ".b.x", "c.y", "[ac].y", "sub"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("sub/d.x"), "").unwrap();
    let names = |pattern: &str| by_path(&dir(&folder.path().join(pattern), &[])).into_keys().collect::<Vec<_>>();
    assert_eq!(names("*.x"), [".b.x", "a.x"]);
    assert_eq!(names("s*/*.x"), ["sub/d.x"]);
    assert_eq!(names("?.y"), ["c.y"]);
    assert!(names("[ac].y").is_empty(), "the folder of that very name is listed, and is empty");
    let none = dir(&folder.path().join("*.z"), &[]);
    assert_eq!((none.completed.status, none.completed.errors[0].code.as_str()), (Status::Failed, "not_found"));
}

#[test]
fn what_cannot_be_listed_says_why() {
    let check = |path: &str, code: &str| {
        let answer = dir(Path::new(path), &[]);
        assert_eq!(answer.completed.status, Status::Failed);
        assert_eq!(answer.completed.errors[0].code, code);
        assert_eq!(answer.completed.errors[0].path.as_deref(), Some(path));
    };
    check("/nothing/here", "not_found");
    check("/etc/passwd/x", "not_a_folder");
}

#[test]
fn links_of_an_image_stay_inside_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("etc/inside")).unwrap();
    symlink("/etc", folder.path().join("out")).unwrap();
    symlink("../../../../etc", folder.path().join("up")).unwrap();
    std::fs::write(folder.path().join("etc/passwd"), format!("someone:x:{}:0::/:\n", rustix::process::getuid().as_raw()))
        .unwrap();
    let device = Device::at(folder.path());
    for path in ["/out", "/up", "/../etc"] {
        let rows = by_path(&device.run("dir", &[("path", path)], &[]));
        assert_eq!(rows.keys().collect::<Vec<_>>(), ["inside", "passwd"], "{path}");
        assert_eq!(rows["inside"]["owner"], "someone");
    }
}

#[test]
fn an_end_of_rows_completes_and_a_cancel_ends_with_a_receipt() {
    use lrsh::protocol::link::{AgentLink, StopReason};
    let folder = tempfile::tempdir().unwrap();
    for number in 0..60_000 {
        std::fs::File::create(folder.path().join(format!("{number}"))).unwrap();
    }
    let device = Device::live();
    let reasons =
        [(StopReason::Enough, Status::Completed, false), (StopReason::Cancel { by: "eve".into() }, Status::Cancelled, true)];
    for (reason, status, receipt) in reasons {
        let command = device.command("dir", &[("path", folder.path().to_str().unwrap())], &[]);
        let id = command.command_id;
        let mut running = device.agent.start(command, None);
        let mut bodies = Vec::new();
        device.runtime.block_on(async {
            while let Some(event) = running.events.recv().await {
                let body = crate::kit::device::body(event);
                // The channel holds 64 events, so that 60,000 rows cannot all be on their way yet.
                if matches!(body, Body::Rows { .. }) {
                    device.agent.stop(id, reason.clone());
                }
                bodies.push(body);
            }
        });
        let Some(Body::Completed(completed)) = bodies.last() else { panic!("no end") };
        assert_eq!(completed.status, status);
        assert_eq!(bodies.iter().any(|body| matches!(body, Body::Receipt(_))), receipt);
    }
}
