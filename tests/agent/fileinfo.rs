//! `fileinfo` agrees with the hash tools and with `stat`, whatever kind of file it is asked about.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use lrsh::protocol::link::{AgentLink, StopReason};
use lrsh::protocol::{Body, Status, text};
use serde_json::Value;

use crate::agent::dir::HOSTILE;
use crate::kit::device::{Answer, Device, body};
use crate::kit::need::{need, skip};

fn ask(path: &Path) -> Answer {
    let answer = Device::live().run("fileinfo", &[("path", path.to_str().unwrap())], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    answer
}

fn info(path: &Path) -> Value {
    ask(path).object()[path.to_str().unwrap()].clone()
}

fn tool(program: &str, path: &Path) -> String {
    let out = Command::new(program).arg(path).output().unwrap();
    String::from_utf8_lossy(&out.stdout).trim_start_matches('\\').split(' ').next().unwrap().to_owned()
}

/// Bytes that are no file's twice, and look like noise.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

#[test]
fn hashes_agree_with_the_tools_at_every_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for size in [0, 1, 65_535, 65_536, 65_537, 327_680, 327_681, 3_000_000] {
        std::fs::write(&path, noise(size)).unwrap();
        let told = info(&path);
        assert_eq!(told["size"], size);
        for (field, program) in [("sha256", "sha256sum"), ("sha1", "sha1sum"), ("md5", "md5sum")] {
            assert_eq!(told[field], tool(program, &path), "{field} of {size} bytes");
        }
        assert_eq!((&told["error"], &told["last_access_error"]), (&Value::Null, &Value::Null));
    }
    assert!(info(&path)["entropy"].as_f64().unwrap() > 7.99);
    std::fs::write(&path, "a".repeat(1000)).unwrap();
    assert!(info(&path)["entropy"].as_f64().unwrap().abs() < f64::EPSILON);
    std::fs::write(&path, "abcd".repeat(1000)).unwrap();
    assert!((info(&path)["entropy"].as_f64().unwrap() - 2.0).abs() < f64::EPSILON);
}

#[test]
fn every_field_is_there_and_says_what_it_should() {
    let told = info(Path::new("/bin/sh"));
    let fields = [
        "error",
        "path",
        "size",
        "downloaded",
        "created",
        "modified",
        "accessed",
        "changed",
        "mime_type",
        "compressed",
        "executable_type",
        "vendor",
        "directory_types",
        "read_only",
        "hidden",
        "sha256",
        "sha1",
        "md5",
        "packed",
        "ms_verified",
        "last_access_error",
        "file_state_display",
        "digital_signature",
        "mode",
        "owner",
        "group",
        "inode",
        "links",
        "entropy",
    ];
    for field in fields {
        assert!(told.get(field).is_some(), "{field}");
    }
    assert_eq!(told["owner"], "root");
    assert_eq!(told["directory_types"][0], "System");
    assert!(told["executable_type"].as_str().unwrap().starts_with("ELF 64-bit "));
    assert_eq!(told["packed"], false);
    let stat = Command::new("stat").args(["-L", "-c", "%s %i %h %A"]).arg("/bin/sh").output().unwrap();
    let ours = format!("{} {} {} {}", told["size"], told["inode"], told["links"], told["mode"].as_str().unwrap());
    assert_eq!(ours, String::from_utf8_lossy(&stat.stdout).trim());
}

#[test]
fn what_is_no_file_is_told_without_hashing() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    symlink("nowhere", folder.path().join("dangling")).unwrap();
    let check = |path: &Path, mime: &str, failed: bool| {
        let told = info(path);
        assert_eq!((&told["mime_type"], &told["sha256"]), (&mime.into(), &Value::Null), "{told}");
        assert_eq!(told["error"].is_string(), failed, "{told}");
    };
    check(folder.path(), "inode/directory", false);
    check(&fifo, "inode/fifo", false);
    check(Path::new("/dev/null"), "inode/chardevice", false);
    check(&folder.path().join("dangling"), "inode/symlink", true);
    let none = info(&folder.path().join("none"));
    assert!(none["error"].as_str().unwrap().ends_with("there is no such file or folder"));
    assert_eq!(none["size"], Value::Null);
    assert!(info(&folder.path().join("*.none"))["error"].as_str().unwrap().starts_with("nothing matches"));
}

#[test]
fn hostile_names_are_asked_for_and_told_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::live();
    for name in HOSTILE {
        let path = folder.path().join(OsStr::from_bytes(name));
        std::fs::write(&path, name).unwrap();
        let uri = text::file_uri(path.as_os_str().as_bytes());
        let answer = device.run("fileinfo", &[("path", &uri)], &[]).object();
        let (called, told) = answer.as_object().unwrap().iter().next().unwrap();
        assert_eq!(called, path.to_str().unwrap_or(&uri));
        assert_eq!(told["sha256"], tool("sha256sum", &path));
        assert_eq!(told["path_uri"].as_str(), (!text::is_plain(name)).then_some(&*uri));
    }
    let all = device.run("fileinfo", &[("path", &format!("{}/*", folder.path().display()))], &[]).object();
    assert_eq!(all.as_object().unwrap().len(), HOSTILE.len());
}

#[test]
fn a_link_is_told_by_what_it_leads_to_and_both_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    std::fs::write(folder.join("target"), "content").unwrap();
    symlink("target", folder.join("link")).unwrap();
    let answer = ask(&folder.join("link"));
    let told = &answer.object()[folder.join("link").to_str().unwrap()];
    assert_eq!((&told["link_target"], &told["size"]), (&"target".into(), &7.into()));
    let seen = answer.seen();
    let keys: Vec<&str> = seen.iter().map(|item| item.key.as_str()).collect();
    assert_eq!(keys, [folder.join("link").to_str().unwrap(), folder.join("target").to_str().unwrap()]);
    assert_eq!(seen[0].identity["sha256"], Value::Null);
    assert_eq!(seen[1].identity["sha256"], tool("sha256sum", &folder.join("target")));
    let facts = std::fs::metadata(folder.join("target")).unwrap();
    let time = |seconds: i64, nanoseconds: i64| seconds * 1_000_000_000 + nanoseconds;
    let wanted = serde_json::json!({
        "dev": facts.dev(), "inode": facts.ino(), "size": 7, "mtime_ns": time(facts.mtime(), facts.mtime_nsec()),
        "ctime_ns": time(facts.ctime(), facts.ctime_nsec()), "sha256": tool("sha256sum", &folder.join("target")),
    });
    assert_eq!(seen[1].identity, wanted);
}

#[test]
fn files_of_the_kernel_and_sparse_ones_are_hashed() {
    let version = info(Path::new("/proc/version"));
    assert_eq!(version["sha256"], tool("sha256sum", Path::new("/proc/version")));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(b"start").unwrap();
    file.set_len(5_000_000).unwrap();
    drop(file);
    let told = info(&path);
    assert_eq!((&told["sha256"], &told["file_state_display"][0]), (&tool("sha256sum", &path).into(), &"Sparse".into()));
}

#[test]
fn a_file_over_the_limit_is_told_without_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    std::fs::write(&path, [0; 100]).unwrap();
    let device = Device::live();
    let mut command = device.command("fileinfo", &[("path", path.to_str().unwrap())], &[]);
    command.size_limit = Some(99);
    let told = device.send(command, None).object()[path.to_str().unwrap()].clone();
    assert_eq!((&told["size"], &told["sha256"]), (&100.into(), &Value::Null));
    assert!(told["error"].as_str().unwrap().contains("limit of 99 bytes"));
}

#[test]
fn a_cancel_stops_hashing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    // Sparse, so that it takes no room; far more than could be hashed before the test gives up.
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let device = Device::live();
    let command = device.command("fileinfo", &[("path", path.to_str().unwrap())], &[]);
    let id = command.command_id;
    let mut running = device.agent.start(command, None);
    let mut last = None;
    device.runtime.block_on(async {
        while let Some(event) = running.events.recv().await {
            let body = body(event);
            if let Body::Progress(progress) = &body {
                assert_eq!(progress.total, Some(1 << 40));
                device.agent.stop(id, StopReason::Cancel { by: "eve".into() });
            }
            last = Some(body);
        }
    });
    assert!(matches!(last, Some(Body::Completed(completed)) if completed.status == Status::Cancelled));
}

#[test]
fn a_file_that_grows_is_read_to_the_size_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::File::create(&path).unwrap().set_len(64 << 20).unwrap();
    let (begun, wait) = std::sync::mpsc::channel();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = {
        let (path, stop) = (path.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all(b"more").unwrap();
                let _ = begun.send(());
                std::thread::yield_now();
            }
        })
    };
    wait.recv().unwrap();
    let told = info(&path);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
    let said = told["last_access_error"].as_str().unwrap();
    assert_eq!(said, format!("it changed while it was read; the hashes are of {} bytes", told["size"]));
}

#[test]
fn packages_are_told_and_whether_their_files_are_intact() {
    if !need(&["dpkg"]) {
        return;
    }
    for path in ["/usr/bin/dpkg", "/bin/cat", "/etc/debian_version"] {
        let out = Command::new("dpkg").args(["-S", path]).output().unwrap();
        let out = if out.status.success() {
            out
        } else {
            Command::new("dpkg").args(["-S", path.trim_start_matches("/usr")]).output().unwrap()
        };
        let told = String::from_utf8(out.stdout).unwrap();
        let package = &info(Path::new(path))["package"];
        assert_eq!(package["name"], told.split(':').next().unwrap(), "{path}");
        assert_eq!(package["intact"], true, "{path}");
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        std::fs::create_dir_all(folder.path().join(path).parent().unwrap()).unwrap();
        std::fs::write(folder.path().join(path), text).unwrap();
    };
    write("var/lib/dpkg/status", "Package: tool\nStatus: install ok installed\n");
    write("var/lib/dpkg/info/tool.list", "/.\n/usr/bin/tool\n");
    write("var/lib/dpkg/info/tool.md5sums", "d41d8cd98f00b204e9800998ecf8427e  usr/bin/tool\n");
    write("usr/bin/tool", "implant");
    write("usr/bin/other", "");
    let device = Device::at(folder.path());
    let of = |path: &str| device.run("fileinfo", &[("path", path)], &[]).object()[path]["package"].clone();
    assert_eq!(of("/usr/bin/tool"), serde_json::json!({"name": "tool", "intact": false, "conffile": false}));
    assert_eq!(of("/usr/bin/other"), Value::Null);
    write("usr/bin/tool", "");
    assert_eq!(of("/usr/bin/tool")["intact"], true);
}

#[test]
fn attributes_and_capabilities_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "x").unwrap();
    if xattr::set(&path, "user.text", b"a text").is_err() {
        skip("the temporary folder's file system has no attributes");
        return;
    }
    xattr::set(&path, "user.bytes", &[0xff, 0]).unwrap();
    xattr::set(&path, "user.control", b"a\x1b[2J").unwrap();
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let may = xattr::set(&path, "security.capability", &capability).is_ok();
    let told = info(&path);
    assert_eq!((&told["xattrs"]["user.text"], &told["xattrs"]["user.bytes"]), (&"a text".into(), &"0xff00".into()));
    assert_eq!(told["xattrs"]["user.control"], "0x611b5b324a");
    if may {
        assert_eq!(told["capabilities"], "cap_net_raw=ep");
        assert_eq!(told["xattrs"]["security.capability"], "0x0100000200200000000000000000000000000000");
    } else {
        skip("capabilities need root");
    }
}

#[test]
fn the_processes_that_run_or_map_a_file_are_told() {
    let own = std::env::current_exe().unwrap();
    let pids = |told: &Value| told["running_pids"].as_array().cloned();
    assert!(pids(&info(&own)).unwrap().contains(&std::process::id().into()));
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.lines().find_map(|line| line.split_whitespace().nth(5).filter(|path| path.contains("/libc."))).unwrap();
    assert!(pids(&info(Path::new(libc))).unwrap().contains(&std::process::id().into()));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data"), "x").unwrap();
    assert_eq!(info(&folder.path().join("data"))["running_pids"], Value::Null);
}
