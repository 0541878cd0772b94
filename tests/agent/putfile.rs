//! `putfile`: whole or not at all, under the two lines that scripts know, until the device restarts.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use lrsh::agent::platform::Root;
use lrsh::agent::{Agent, AgentOptions};
use lrsh::protocol::Status;

use super::run::delivered;
use crate::kit::device::{Answer, Device};

fn put(device: &Device, name: &str, content: &[u8], flags: &[&str]) -> Answer {
    let (file, delivery) = delivered(name, content);
    let mut command = device.command("putfile", &[("file", name)], flags);
    command.library_file = Some(file);
    device.send(command, Some(delivery))
}

fn code(answer: &Answer) -> &str {
    assert_eq!(answer.completed.status, Status::Failed);
    &answer.completed.errors[0].code
}

fn agent_folder(device: &Device) -> PathBuf {
    device.folder.path().join("agent")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_file_is_there_and_the_lines_say_where() {
    let device = Device::live();
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let answer = put(&device, "tool", &content, &[]);
    let path = agent_folder(&device).join("working/tool");
    let wanted = format!("The file was uploaded to the device.\nPath: {}\n", path.display());
    assert_eq!(String::from_utf8(answer.text()).unwrap(), wanted, "{:?}", answer.completed);
    assert_eq!(
        (&answer.object()["message"], &answer.object()["path"]),
        (&"The file was uploaded to the device.".into(), &path.to_str().unwrap().into())
    );
    assert!(std::fs::read(&path).unwrap() == content);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(names(&agent_folder(&device).join("parts")).is_empty());
}

#[test]
fn what_is_there_stays_unless_it_is_said_otherwise() {
    let device = Device::live();
    put(&device, "a", b"one", &[]);
    let refused = put(&device, "a", b"two", &["keep"]);
    assert_eq!(code(&refused), "exists");
    assert!(refused.completed.errors[0].message.contains("-overwrite"));
    let path = agent_folder(&device).join("working/a");
    assert_eq!(std::fs::read(&path).unwrap(), b"one");
    assert_eq!(put(&device, "a", b"two", &["overwrite"]).completed.status, Status::Completed);
    assert_eq!(std::fs::read(&path).unwrap(), b"two");
    std::fs::create_dir(agent_folder(&device).join("working/folder")).unwrap();
    assert_eq!(code(&put(&device, "folder", b"x", &["overwrite"])), "is_a_folder");
}

#[test]
fn what_is_not_what_the_library_holds_is_not_kept() {
    let device = Device::live();
    let check = |change: &dyn Fn(&mut lrsh::protocol::link::DeliveredFile), limit: Option<u64>, wanted: &str| {
        let (mut file, delivery) = delivered("a", b"content");
        change(&mut file);
        let mut command = device.command("putfile", &[("file", "a")], &[]);
        command.library_file = Some(file);
        command.size_limit = limit;
        assert_eq!(code(&device.send(command, Some(delivery))), wanted);
        let left = [names(&agent_folder(&device).join("working")), names(&agent_folder(&device).join("parts"))];
        assert!(left.concat().is_empty(), "{left:?}");
    };
    check(&|file| file.sha256 = "0".repeat(64), None, "hash_differs");
    check(&|file| file.size -= 1, None, "hash_differs");
    check(&|file| file.size += 1, None, "hash_differs");
    check(&|_| (), Some(3), "limit");
    check(&|file| file.name = "../a".into(), None, "bad_name");
}

#[test]
fn a_restart_of_the_device_removes_what_was_not_to_be_kept() {
    let device = Device::live();
    let folder = agent_folder(&device);
    put(&device, "goes", b"1", &[]);
    put(&device, "stays", b"2", &["keep"]);
    put(&device, "kept-then-not", b"3", &["keep"]);
    put(&device, "kept-then-not", b"3", &["overwrite"]);
    std::fs::write(folder.join("working/by-hand"), "not ours").unwrap();
    std::fs::write(folder.join("parts/half.part"), "half").unwrap();
    let begin = || {
        let options = AgentOptions {
            root: Root::live(),
            writable: true,
            folder: folder.clone(),
            program: env!("CARGO_BIN_EXE_lrsh").into(),
        };
        drop(Agent::new(options, device.runtime.handle().clone()));
        names(&folder.join("working"))
    };
    assert_eq!(begin(), ["by-hand", "goes", "kept-then-not", "stays"], "the agent alone started anew");
    assert!(names(&folder.join("parts")).is_empty());
    // As if they had come before the device restarted.
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let records = std::fs::read_to_string(folder.join("working.json")).unwrap();
    assert!(records.contains(boot_id.trim()));
    std::fs::write(folder.join("working.json"), records.replace(boot_id.trim(), "00000000-0000-0000-0000-000000000000"))
        .unwrap();
    assert_eq!(begin(), ["by-hand", "stays"]);
    assert_eq!(begin(), ["by-hand", "stays"]);
    assert_eq!(put(&device, "goes", b"1", &[]).completed.status, Status::Completed);
}
