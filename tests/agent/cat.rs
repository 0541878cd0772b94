//! `cat` shows what `head`, `tail` and `hexdump -C` show, in bounded memory.

use std::path::Path;
use std::process::Command;

use lrsh::protocol::{Body, Status, StreamName};

use crate::kit::device::{Answer, Device};
use crate::kit::need::need;

fn cat(path: &Path, params: &[(&str, &str)], flags: &[&str]) -> Answer {
    let mut all = vec![("path", path.to_str().unwrap())];
    all.extend_from_slice(params);
    let answer = Device::live().run("cat", &all, flags);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    answer
}

fn text(answer: &Answer, wanted: StreamName) -> Vec<u8> {
    let pieces = answer.events.iter().filter_map(|body| match body {
        Body::Text(text) if text.stream == wanted => text.data.bytes(),
        _ => None,
    });
    pieces.flatten().collect()
}

#[test]
fn what_is_called_as_a_folder_is_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "text").unwrap();
    std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
    let folder = folder.path().to_str().unwrap();
    for (name, code, says) in [
        ("file/", "not_a_folder", "it is not a folder"),
        ("link/", "not_a_folder", "it is not a folder"),
        ("f*e/", "not_found", "nothing matches"),
    ] {
        let path = format!("{folder}/{name}");
        for command in ["cat", "dir", "getfile"] {
            let end = Device::live().run(command, &[("path", &path)], &[]).completed;
            let codes: Vec<&str> = end.errors.iter().map(|error| error.code.as_str()).collect();
            assert_eq!((end.status, codes), (Status::Failed, vec![code]), "{command} {path}");
        }
        let info = Device::live().run("fileinfo", &[("path", &path)], &[]).object();
        assert!(info.to_string().contains(says), "{info}");
    }
    let end = Device::live().run("dir", &[("path", &format!("{folder}/"))], &[]).completed;
    assert_eq!(end.status, Status::Completed, "{end:?}");
    let end = Device::live().run("cat", &[("path", &format!("{folder}/none/"))], &[]).completed;
    assert_eq!(end.errors[0].code, "not_found", "{end:?}");
}

#[test]
fn parts_are_those_that_head_and_tail_show() {
    let folder = tempfile::tempdir().unwrap();
    let long = (0..50_000).map(|n| format!("line {n} \u{e9}")).collect::<Vec<_>>().join("\n") + "\n";
    let unended = long.trim_end().to_owned();
    for content in ["", "\n", "one", "one\n", "\n\n\nx", &long, &unended] {
        let path = folder.path().join("file");
        std::fs::write(&path, content).unwrap();
        for lines in ["0", "1", "3", "20000", "99999"] {
            for part in ["head", "tail"] {
                let told = Command::new(part).args(["-n", lines]).arg(&path).output().unwrap();
                let ours = text(&cat(&path, &[(part, lines)], &[]), StreamName::Stdout);
                assert!(ours == told.stdout, "{part} {lines} of {} bytes", content.len());
            }
        }
    }
}

#[test]
fn the_start_is_shown_and_the_rest_is_mentioned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    // No character is cut in two on the way, whatever stands where an event ends.
    let content = "\u{20ac}".repeat(60_000);
    std::fs::write(&path, &content).unwrap();
    let answer = cat(&path, &[], &[]);
    assert_eq!(text(&answer, StreamName::Stdout), content.as_bytes()[..65_536]);
    assert!(String::from_utf8(text(&answer, StreamName::Stderr)).unwrap().contains("65536 of 180000 bytes"));
    let whole = cat(&path, &[("head", "1")], &[]);
    assert_eq!(text(&whole, StreamName::Stdout), content.as_bytes());
    assert!(
        whole
            .events
            .iter()
            .all(|body| !matches!(body, Body::Text(text) if matches!(text.data, lrsh::protocol::TextData::Base64(_))))
    );
}

#[test]
fn dumps_are_those_of_hexdump() {
    if !need(&["hexdump"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let contents: [Vec<u8>; 5] =
        [vec![], b"0123456789abcdef0".to_vec(), vec![0; 1000], (0..=255).collect(), [vec![7; 64], vec![8; 33]].concat()];
    for content in contents {
        std::fs::write(&path, &content).unwrap();
        let told = Command::new("hexdump").arg("-C").arg(&path).output().unwrap();
        assert_eq!(String::from_utf8(text(&cat(&path, &[], &["hex"]), StreamName::Stdout)), String::from_utf8(told.stdout));
    }
    std::fs::write(&path, (0..=255).collect::<Vec<u8>>()).unwrap();
    let tail = text(&cat(&path, &[("tail", "2")], &["hex"]), StreamName::Stdout);
    let told = Command::new("hexdump").args(["-C", "-s", "224"]).arg(&path).output().unwrap();
    assert_eq!(String::from_utf8(tail), String::from_utf8(told.stdout));
}

#[test]
fn what_has_no_size_is_read_to_its_end() {
    let version = std::fs::read("/proc/version").unwrap();
    assert_eq!(text(&cat(Path::new("/proc/version"), &[], &[]), StreamName::Stdout), version);
    let status = std::fs::read_to_string("/proc/1/limits").unwrap();
    let lines: Vec<&str> = status.lines().collect();
    let last = lines[lines.len() - 2..].join("\n") + "\n";
    assert_eq!(text(&cat(Path::new("/proc/1/limits"), &[("tail", "2")], &[]), StreamName::Stdout), last.as_bytes());
}

#[test]
fn several_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "A\n").unwrap();
    std::fs::create_dir(folder.path().join("b")).unwrap();
    std::fs::write(folder.path().join("c"), "C\n").unwrap();
    let answer = cat(&folder.path().join("*"), &[], &[]);
    let base = folder.path().to_str().unwrap();
    let wanted = format!("==> {base}/a <==\nA\n\n==> {base}/b <==\n\n==> {base}/c <==\nC\n");
    assert_eq!(String::from_utf8(text(&answer, StreamName::Stdout)).unwrap(), wanted);
    assert_eq!(answer.completed.errors[0].path.as_deref(), Some(&*format!("{base}/b")));
}

#[test]
fn what_has_no_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let socket = folder.path().join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [&fifo, &socket, Path::new("/dev/zero"), folder.path()] {
        let answer = Device::live().run("cat", &[("path", path.to_str().unwrap())], &[]);
        assert_eq!(
            (answer.completed.status, answer.completed.errors[0].code.as_str()),
            (Status::Failed, "not_a_file"),
            "{path:?}"
        );
    }
    let both = Device::live().run("cat", &[("path", "/etc/passwd"), ("head", "1"), ("tail", "1")], &[]);
    assert_eq!(both.completed.errors[0].code, "bad_value");
}
