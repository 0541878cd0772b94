//! `scan` finds what is planted in a tree, tells only that, and with `-remediate` takes it away so that it can be put back.

use std::path::Path;

use lrsh::protocol::link::{AgentLink, StopReason};
use lrsh::protocol::{Body, Status};
use serde_json::Value;

use super::analyze::{analyze, eicar, evidence, large, with_rules};
use crate::kit::device::{Answer, Device, body};
use crate::kit::need::skip;

fn scan(device: &Device, params: &[(&str, &str)], flags: &[&str], rules: &[(&str, &[u8])]) -> Answer {
    let (command, delivery) = with_rules(device.command("scan", params, flags), rules);
    let answer = device.send(command, delivery);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    answer
}

fn told(answer: &Answer) -> Vec<String> {
    let one = |row: &Value| {
        format!(
            "{} {} {}",
            row["path"].as_str().unwrap(),
            row["verdict"].as_str().unwrap(),
            row["rule"].as_str().unwrap_or("-")
        )
    };
    let mut rows: Vec<String> = answer.rows().iter().map(one).collect();
    rows.sort();
    rows
}

/// A tree with something in every place that a quick scan looks at, and something where it does not.
fn planted() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nana:x:1000:1000::/home/ana:/bin/sh\n");
    write("etc/cron.d/job", "* * * * * root /opt/started\n");
    write("opt/started", &eicar());
    write("opt/other", &eicar());
    write("tmp/a/evil", &eicar());
    write("tmp/a/harmless", "text");
    write("tmp/needle", "needle");
    write("home/ana/evil", &eicar());
    root
}

#[test]
fn quick_and_full_find_what_is_planted_and_tell_only_that() {
    let root = planted();
    let device = Device::at(root.path());
    let rule: (&str, &[u8]) = ("own.yar", b"rule found { strings: $a = \"needle\" condition: $a }");
    let quick = [
        "/home/ana/evil malicious eicar_test_file",
        "/opt/started malicious eicar_test_file",
        "/tmp/a/evil malicious eicar_test_file",
        "/tmp/needle suspicious own.yar:found",
    ];
    let answer = scan(&device, &[], &[], &[rule]);
    assert_eq!(told(&answer), quick);
    assert!(
        answer.rows().iter().all(|row| row["sha256"].as_str().is_some_and(|sha256| sha256.len() == 64)),
        "{:?}",
        answer.rows()
    );
    assert!(String::from_utf8_lossy(&answer.text()).contains("3 malicious, 1 suspicious, 0 unknown"));
    assert_eq!(answer.seen().len(), 4);
    let answer = scan(&device, &[], &["full"], &[rule]);
    let mut full = [&quick[..], &["/opt/other malicious eicar_test_file"]].concat();
    full.sort_unstable();
    assert_eq!(told(&answer), full);
    assert_eq!(told(&scan(&device, &[("path", "/tmp/a")], &[], &[])), ["/tmp/a/evil malicious eicar_test_file"]);
    assert_eq!(told(&scan(&device, &[("path", "/tmp/a/evil")], &[], &[])), ["/tmp/a/evil malicious eicar_test_file"]);
    assert_eq!(told(&scan(&device, &[("path", "/etc")], &[], &[])), Vec::<String>::new());
    let answer = device.run("scan", &[("path", "/none")], &[]);
    assert_eq!((answer.completed.status, answer.completed.errors[0].code.as_str()), (Status::Failed, "not_found"));
}

fn tree(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn what_is_malicious_goes_to_quarantine_and_comes_back() {
    let root = planted();
    let device = Device::at(root.path());
    let before = tree(root.path());
    let rule: (&str, &[u8]) = ("own.yar", b"rule found { strings: $a = \"needle\" condition: $a }");
    let (command, delivery) = with_rules(device.command("scan", &[], &["remediate"]), &[rule]);
    let session = command.session_id.clone();
    let answer = device.send(command, delivery);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    for row in answer.rows() {
        let malicious = row["verdict"] == "malicious";
        assert_eq!((row["effect_id"].is_u64(), row["error"].is_null()), (malicious, true), "{row}");
        let path = root.path().join(row["path"].as_str().unwrap().strip_prefix('/').unwrap());
        assert_eq!(path.exists(), !malicious, "{row}");
    }
    // What is in quarantine is not found again.
    assert_eq!(told(&scan(&device, &[], &["full"], &[])), ["/opt/other malicious eicar_test_file"]);
    let mut undo = device.command("undo", &[], &["session"]);
    undo.session_id = session;
    let answer = device.send(undo, None);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let after: Vec<_> = tree(root.path()).into_iter().filter(|(path, _)| !path.contains(".lrsh-quarantine")).collect();
    assert_eq!(after, before);
}

#[test]
fn what_has_no_end_or_goes_away_holds_nothing_up() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("tmp");
    std::fs::create_dir_all(&folder).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, folder.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.join("link")).unwrap();
    std::os::unix::fs::symlink(".", folder.join("loop")).unwrap();
    let sparse = std::fs::File::create(folder.join("sparse")).unwrap();
    sparse.set_len(30 << 30).unwrap();
    std::fs::write(folder.join("evil"), eicar()).unwrap();
    let device = Device::at(root.path());
    let answer = scan(&device, &[], &["full"], &[]);
    assert_eq!(told(&answer), ["/tmp/evil malicious eicar_test_file"]);
    let said = String::from_utf8_lossy(&answer.text()).into_owned();
    assert!(said.contains("; 1 FIFO, socket or device passed over"), "{said}");
}

#[test]
fn large_content_is_judged_as_analyze_judges_it() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("large");
    std::fs::write(&path, large()).unwrap();
    // Most of it a hole: more than is read of one file, and less that holds data.
    let sparse = std::fs::File::create(root.path().join("sparse")).unwrap();
    sparse.set_len(520 << 20).unwrap();
    for (at, bytes) in [(0, &b"start"[..]), (514 << 20, eicar().as_bytes()), (1 << 28, b"needle")] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, bytes, at).unwrap();
    }
    let device = Device::at(root.path());
    let rule: (&str, &[u8]) = (
        "own.yar",
        b"rule whole { strings: $a = \"needle\" condition: $a and filesize > 39MB } rule window { strings: $a = \"needle\" condition: $a at 0 }",
    );
    let answer = scan(&device, &[], &["full", "remediate"], &[rule]);
    assert_eq!(told(&answer), ["/large suspicious own.yar:whole", "/sparse suspicious own.yar:whole"]);
    assert!(path.exists());
    for name in ["/large", "/sparse"] {
        let told = analyze(&device, Path::new(name), &[rule]).object();
        assert_eq!(evidence(&told), ["yara own.yar:whole 60"], "{told}");
    }
}

#[test]
fn what_is_unknown_is_told_last_with_its_reason() {
    let root = tempfile::tempdir().unwrap();
    for n in 0..20 {
        std::fs::write(root.path().join(format!("a{n}.bz2")), b"BZh91AY&SY and so on").unwrap();
    }
    std::fs::write(root.path().join("evil"), eicar()).unwrap();
    let rows = scan(&Device::at(root.path()), &[], &["full"], &[]).rows();
    assert_eq!((rows.len(), &rows[0]["verdict"]), (21, &"malicious".into()));
    for row in &rows[1..] {
        let why = row["error"].as_str().unwrap();
        assert!(row["verdict"] == "unknown" && why.ends_with("it is bzip2, which is not looked into"), "{row}");
    }
}

#[test]
fn a_windows_disk_is_looked_at_where_its_own_temporary_and_home_folders_are() {
    let root = tempfile::tempdir().unwrap();
    for folder in ["Windows/System32/config", "Windows/Temp", "Users/ana/Desktop"] {
        std::fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    // What tells that it is one.
    std::fs::write(root.path().join("Windows/System32/config/SYSTEM"), "").unwrap();
    std::fs::write(root.path().join("Windows/System32/ntoskrnl.exe"), "").unwrap();
    for path in ["Windows/Temp/a.com", "Users/ana/Desktop/b.com"] {
        std::fs::write(root.path().join(path), eicar()).unwrap();
    }
    let device = Device::at(root.path());
    let wanted = [r"C:\Users\ana\Desktop\b.com malicious eicar_test_file", r"C:\Windows\Temp\a.com malicious eicar_test_file"];
    assert_eq!(told(&scan(&device, &[], &[], &[])), wanted);
    let answer = device.run("scan", &[], &["remediate"]);
    assert_eq!((answer.completed.status, answer.completed.errors[0].code.as_str()), (Status::Failed, "read_only"));
}

#[test]
fn a_clean_system_is_told_clean() {
    let Some(root) = std::env::var_os("LRSH_SYSTEMD_ROOT").filter(|root| root != "none") else {
        skip("LRSH_SYSTEMD_ROOT is not set");
        return;
    };
    let answer = scan(&Device::at(Path::new(&root)), &[], &["full"], &[]);
    let rows = answer.rows();
    let count = |verdict: &str| rows.iter().filter(|row| row["verdict"] == verdict).count();
    assert!(count("malicious") == 0 && count("suspicious") <= 5, "{rows:#?}");
}

#[test]
fn what_runs_is_found_with_its_process() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = folder.path().join("daemon");
    std::fs::write(&image, [&std::fs::read("/bin/sleep").unwrap(), eicar().as_bytes()].concat()).unwrap();
    std::fs::set_permissions(&image, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut running = std::process::Command::new(&image).arg("1000").spawn().unwrap();
    let device = Device::live();
    let command = device.command("scan", &[], &[]);
    let id = command.command_id;
    let mut heard = device.agent.start(command, None);
    // What runs comes first: when it is told, the rest need not be looked at.
    let found = device.runtime.block_on(async {
        let mut found = None;
        while let Some(event) = heard.events.recv().await {
            match body(event) {
                Body::Rows { rows } => {
                    let rows = rows.iter().map(|row| serde_json::from_str::<Value>(row.get()).unwrap());
                    let is_it = |row: &Value| row["path"] == image.to_str().unwrap();
                    found = found.or_else(|| rows.into_iter().find(is_it));
                    if found.is_some() {
                        device.agent.stop(id, StopReason::Cancel { by: "the test".into() });
                    }
                }
                Body::Completed(completed) => {
                    assert_eq!(completed.status, Status::Cancelled, "{completed:?}");
                    break;
                }
                _ => {}
            }
        }
        found
    });
    running.kill().unwrap();
    running.wait().unwrap();
    let found = found.unwrap();
    assert_eq!((&found["verdict"], &found["pid"]), (&"malicious".into(), &running.id().into()), "{found}");
}
