//! `cd` is checked on the device.

use std::os::unix::fs::symlink;

use lrsh::protocol::{Body, Status, text};

use crate::kit::device::{Answer, Device};

fn cd(device: &Device, from: &str, id: &str) -> Answer {
    let mut command = device.command("cd", &[("id", id)], &[]);
    command.current_directory = from.into();
    device.send(command, None)
}

fn context(answer: &Answer) -> &str {
    let context = answer.events.iter().find_map(|body| match body {
        Body::Context { current_directory } => Some(current_directory.as_str()),
        _ => None,
    });
    context.unwrap_or_else(|| panic!("{:?}", answer.completed))
}

#[test]
fn every_way_to_name_a_folder_leads_there() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("a/b c")).unwrap();
    std::fs::create_dir_all(folder.path().join("root")).unwrap();
    symlink("a", folder.path().join("link")).unwrap();
    let device = Device::at(folder.path());
    let check = |from: &str, id: &str, to: &str| assert_eq!(context(&cd(&device, from, id)), to, "{from} {id}");
    check("/", "a", "/a");
    check("/a", "b c", "/a/b c");
    check("/a/b c", "..", "/a");
    check("/a", "../..", "/");
    check("/a", "/", "/");
    check("/a", ".", "/a");
    check("/a", "~", "/root");
    check("/", "link/b c/", "/link/b c");
    check("/", "file:///a/b%20c", "/a/b c");
}

#[test]
fn a_hostile_folder_keeps_its_exact_form() {
    let folder = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::new("new\nline");
    std::fs::create_dir_all(folder.path().join(name).join("sub")).unwrap();
    let device = Device::at(folder.path());
    let uri = text::file_uri(b"/new\nline");
    let answer = cd(&device, "/", &uri);
    assert_eq!(context(&answer), uri);
    assert_eq!(context(&cd(&device, &uri, "sub")), format!("{uri}/sub"));
}

#[test]
fn what_is_no_folder_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    symlink("loop", folder.path().join("loop")).unwrap();
    let device = Device::at(folder.path());
    let check = |id: &str, code: &str, message: &str| {
        let answer = cd(&device, "/", id);
        assert_eq!(answer.completed.status, Status::Failed);
        assert_eq!((answer.completed.errors[0].code.as_str(), answer.completed.errors[0].message.as_str()), (code, message));
    };
    check("none", "not_found", "/none: there is no such file or folder");
    check("file", "not_a_folder", "/file: it is not a folder");
    check("file/x", "not_a_folder", "/file/x: it is not a folder, or lies below something that is none");
    check("loop", "link_loop", "/loop: its links lead nowhere: too many of them, or a loop");
}
