//! Verbs on files of a mounted Windows disk: paths, case, what cannot be known.

use std::os::unix::fs::symlink;
use std::path::Path;

use lrsh::agent::platform::Root;
use lrsh::protocol::link::AgentLink;
use lrsh::protocol::{Body, PlatformName, Status};
use serde_json::{Value, json};

use crate::kit::device::{Answer, Device};
use crate::kit::windows;

fn device() -> (tempfile::TempDir, Device) {
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    (folder, Device::at(&disk))
}

fn paths(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let mut paths: Vec<String> = answer.rows().iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect();
    paths.sort();
    paths
}

#[test]
fn a_disk_with_a_registry_is_a_windows_whatever_the_case_of_its_names() {
    let check = |files: &[&str], windows: bool| {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            crate::kit::windows::put(folder.path(), file, "regf");
        }
        assert_eq!(Root::at(folder.path()).unwrap().is_windows(), windows, "{files:?}");
    };
    check(&["Windows/System32/config/SYSTEM"], true);
    check(&["WINDOWS/system32/Config/software"], true);
    check(&["Windows/System32/config/other"], false);
    check(&["etc/passwd", "Windows/System32/config/SYSTEM"], false);
    check(&["Users/x"], false);
}

#[test]
fn it_says_what_it_is() {
    let (_folder, device) = device();
    let hello = device.agent.hello();
    assert_eq!((hello.platform, hello.name.as_str(), hello.server), (PlatformName::Windows, "FILES01", true));
    assert_eq!(hello.os.as_deref(), Some("Windows Server 2022 Standard, 21H2, build 20348"));
    assert_eq!(hello.device_id.len(), 40);
    let start = device.run("connect", &[], &[]);
    assert!(start.events.iter().any(|body| matches!(body, Body::Context { current_directory } if current_directory == r"C:\")));
}

#[test]
fn paths_are_windows_paths_in_any_case() {
    let (_folder, device) = device();
    let listed = |path: &str| paths(&device.run("dir", &[("path", path)], &["full_path"]));
    let wanted = [r"C:\Users\max\Documents\report.txt"];
    for path in [r"C:\Users\max\Documents", r"c:\USERS\Max\documents\", "/users/max/documents", r"\Users\.\x\..\max\Documents"]
    {
        assert_eq!(listed(path), wanted, "{path}");
    }
    assert_eq!(paths(&device.run("dir", &[("path", r"C:\users")], &[])), ["max"]);
    assert_eq!(listed(r"c:\users\*\docu*\REP*"), wanted, "patterns match any case too");
    assert_eq!(paths(&device.run("dir", &[("path", r"C:\Users\*\Documents")], &[])), [r"max\Documents"]);
    let text = device.run("cat", &[("path", r"C:\users\MAX\documents\REPORT.TXT")], &[]);
    assert_eq!(text.text(), b"first line\r\nsecond line\r\n");
    let mut command = device.command("cd", &[("id", "DOCUMENTS")], &[]);
    command.current_directory = r"C:\Users\max".into();
    let moved = device.send(command, None);
    assert!(
        moved
            .events
            .iter()
            .any(|body| matches!(body, Body::Context { current_directory } if current_directory == r"C:\Users\max\Documents")),
        "{moved:?}",
        moved = moved.events
    );
}

#[test]
fn odd_ways_of_writing_a_path_mean_what_windows_means() {
    let (folder, device) = device();
    let disk = folder.path().join("disk");
    windows::put(&disk, "Users/max/Größe/Ärger.txt", "1");
    windows::put(&disk, "Users/max/Downloads Ordner Eins/x", "1");
    windows::put(&disk, "Users/max/Downloads Ordner Zwei/x", "1");
    let listed = |path: &str| device.run("dir", &[("path", path)], &["full_path"]);
    let check = |path: &str, wanted: &str| assert_eq!(paths(&listed(path)), [wanted], "{path}");
    let report = r"C:\Users\max\Documents\report.txt";
    for path in [
        "c:/users\\MAX/documents",
        r"\\?\C:\Users\max\Documents",
        r"\\.\c:\users\max\documents",
        r"\??\C:\Users\max\Documents\.",
        r"C:users\max\documents",
        "file:///c:/Users/max/Documents",
        r"C:\..\..\Users\max\Documents",
    ] {
        check(path, report);
    }
    // `ß` has no capital that a name could hold; `Ä` and `Ö` have.
    check(r"C:\users\max\GRÖßE", r"C:\Users\max\Größe\Ärger.txt");
    check(r"C:\users\max\größe\ärger.TXT", r"C:\Users\max\Größe\Ärger.txt");
    // Names of the old kind, where there is one that they can mean.
    check(r"C:\PROGRA~1\SOMEAP~1", r"C:\Program Files\Some App\run.exe");
    check(
        r"c:\progra~2\micros~1\windows\startm~1\programs\startup\mon*",
        r"C:\ProgramData\Microsoft\Windows\Start Menu\Programs\Startup\Monitor.lnk",
    );
    for unknown in [r"C:\Users\max\DOWNLO~1", r"C:\PROGRA~9", r"C:\Users\max\NOSUCH~1", r"C:\Users\~1"] {
        assert_eq!(listed(unknown).completed.errors[0].code, "not_found", "{unknown}");
    }
}

#[test]
fn what_cannot_be_known_of_a_disk_is_null() {
    let (_folder, device) = device();
    let row = &device.run("dir", &[("path", r"C:\Users\max\Documents")], &[]).rows()[0];
    for field in ["mode", "owner", "group", "hidden"] {
        assert_eq!(row[field], Value::Null, "{field}");
    }
    assert_eq!(row["size"], 25);
    let path = r"c:\users\max\appdata\local\temp\up.exe";
    let object = device.run("fileinfo", &[("path", path)], &[]).object();
    let info = &object[r"C:\Users\max\AppData\Local\Temp\up.exe"];
    assert_eq!(info["path"], r"C:\Users\max\AppData\Local\Temp\up.exe", "{object}");
    assert_eq!(info["directory_types"], json!(["Temporary", "User"]));
    for field in ["mode", "owner", "group", "hidden", "package", "running_pids"] {
        assert_eq!(info[field], Value::Null, "{field}");
    }
    assert_eq!(info["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn files_are_found_in_any_case() {
    let (_folder, device) = device();
    let found = |name: &str| paths(&device.run("findfile", &[("name", name)], &[]));
    let wanted = [r"C:\Users\max\Documents\report.txt"];
    for name in ["REPORT.TXT", "rep*.TXT", r"documents\report.txt", r"c:\users\*\report.txt", "/Users/*.txt"] {
        assert_eq!(found(name), wanted, "{name}");
    }
    let below = device.run("findfile", &[("name", "*.exe"), ("path", r"c:\program files")], &[]);
    assert_eq!(paths(&below), [r"C:\Program Files\Some App\run.exe"]);
}

#[test]
fn other_drives_and_the_network_are_refused_clearly() {
    let (_folder, device) = device();
    for (path, said) in [(r"D:\x", "D: is not on this disk"), (r"\\server\share\x", r"\\server is not on this disk")] {
        for command in ["dir", "cat", "getfile"] {
            let answer = device.run(command, &[("path", path)], &[]);
            let error = &answer.completed.errors[0];
            assert_eq!((answer.completed.status, error.code.as_str()), (Status::Failed, "not_found"), "{command}: {error:?}");
            assert!(error.message.contains(said) && error.message.starts_with(path), "{error:?}");
        }
    }
    for command in ["processes", "connections"] {
        let error = device.run(command, &[], &[]).completed.errors.remove(0);
        assert!(error.message.contains("only a running system"), "{error:?}");
    }
    let changing = device.run("remediate", &[("type", "file"), ("id", r"C:\Users\max\Documents\report.txt")], &[]);
    assert_eq!(changing.completed.errors[0].code, "read_only");
}

#[test]
fn names_that_windows_could_not_have_are_still_exact() {
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    windows::put(&disk, "odd/plain", "1");
    std::fs::write(disk.join(r"odd/back\slash"), "2").unwrap();
    std::fs::write(disk.join("odd/PLAIN"), "3").unwrap();
    let device = Device::at(&disk);
    let rows = device.run("dir", &[("path", r"C:\odd")], &[]).rows();
    let odd = rows.iter().find(|row| row["path"] == r"back\slash").unwrap();
    let uri = odd["path_uri"].as_str().unwrap();
    assert_eq!(uri, "file:///C:/odd/back%5Cslash");
    let read = |path: &str| device.run("cat", &[("path", path)], &[]).text();
    assert_eq!((read(uri), read(r"C:\odd\plain"), read(r"C:\odd\PLAIN")), (b"2".to_vec(), b"1".to_vec(), b"3".to_vec()));
}

#[test]
fn links_are_resolved_inside_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    let outside = folder.path().join("outside");
    std::fs::write(&outside, "secret").unwrap();
    symlink(&outside, disk.join("absolute")).unwrap();
    symlink("../../../../../../../outside", disk.join("Users/up")).unwrap();
    symlink("/Users/max", disk.join("Users/link")).unwrap();
    let device = Device::at(&disk);
    let read = |path: &str| device.run("cat", &[("path", path)], &[]);
    for path in [r"C:\absolute", r"C:\Users\up"] {
        let answer = read(path);
        assert_eq!((answer.completed.status, answer.text()), (Status::Failed, Vec::new()), "{path}");
    }
    assert!(read(r"C:\users\LINK\documents\report.txt").text().starts_with(b"first"));
    // As mounts of NTFS show junctions: from the drive, and from where the disk was mounted. And one that leads to itself.
    symlink(r"\??\C:\Users", disk.join("Documents and Settings")).unwrap();
    symlink(disk.canonicalize().unwrap().join("Users"), disk.join("People")).unwrap();
    symlink(r"C:\loop", disk.join("loop")).unwrap();
    symlink(r"C:\a\x", disk.join("a")).unwrap();
    for path in [r"C:\documents and settings\max\documents\report.txt", r"C:\PEOPLE\max\Documents\report.txt"] {
        assert!(read(path).text().starts_with(b"first"), "{path}");
    }
    for path in [r"C:\loop\x", r"C:\a\b"] {
        assert_eq!(read(path).completed.status, Status::Failed, "{path}");
    }
    assert!(Path::new(&outside).exists());
}

#[test]
fn spellings_that_windows_takes_mean_the_same_file() {
    let (folder, device) = device();
    let read = |path: &str| device.run("cat", &[("path", path)], &[]);
    for path in [
        r"C:\Users\max.\Documents\report.txt",
        r"C:\Users\max\Documents \report.txt. .",
        r"C:\Users\max\Documents\report.txt::$DATA",
        r"C:\Users\max\Documents\report.txt::$data",
        r"\\localhost\C$\Users\max\Documents\report.txt",
        r"\\127.0.0.1\c$\Users\max\Documents\report.txt",
        r"\\?\UNC\localhost\C$\Users\max\Documents\report.txt",
        r"%SystemDrive%\Users\max\Documents\report.txt",
        r"%systemroot%\..\users\max\documents\report.txt",
    ] {
        let answer = read(path);
        assert!(answer.text().starts_with(b"first"), "{path}: {:?}", answer.completed);
    }
    // What is really called so goes first.
    let disk = folder.path().join("disk");
    windows::put(&disk, "odd/name.", "1");
    windows::put(&disk, "odd/name", "2");
    windows::put(&disk, "odd/%windir%", "3");
    for (path, text) in [(r"C:\odd\name.", b"1"), (r"C:\odd\name", b"2"), (r"C:\odd\NAME..", b"2"), (r"C:\odd\%windir%", b"3")]
    {
        assert_eq!(read(path).text(), text, "{path}");
    }
    for (path, said) in [
        (r"C:\Users\max\Documents\report.txt:hidden", "streams"),
        (r"%APPDATA%\x", "%APPDATA%"),
        (r"\Device\HarddiskVolume3\Windows", r"\Device\HarddiskVolume3 is not on this disk"),
        (r"\\?\Volume{4c1b02c1-d990-11dc-99ae-806e6f6e6963}\x", "is not on this disk"),
    ] {
        let error = read(path).completed.errors.remove(0);
        assert!(error.code == "not_found" && error.message.contains(said), "{path}: {error:?}");
    }
    let keys = device.run("registry", &[("path", "hklm/software/Microsoft/Windows")], &[]);
    assert_eq!(keys.rows().len(), 1, "{:?}", keys.completed);
}
