//! A process that was seen is ended, what it alone knew is kept, and its image goes only where nothing else needs it.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lrsh::protocol::link::ShellPeer;
use lrsh::protocol::{Effect, Status};
use sha2::{Digest, Sha256};

use super::{done, dump, effects, refused};
use crate::kit::device::{Answer, Device};
use crate::kit::need::{need, skip};
use crate::kit::shell::Home;

/// A process that is ended with its test.
pub struct Sleeper(pub Child);

impl Sleeper {
    /// Runs a program that says a line when it is ready, and then waits.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    /// `sh` under another name and of its own: it is nobody's package's.
    pub fn of_copy(path: &Path) -> Self {
        copy_of_shell(path);
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        Self::start(&mut shell(path))
    }

    pub fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// The signal that ended it.
    pub fn signal(&mut self) -> Option<i32> {
        self.0.wait().unwrap().signal()
    }

    pub fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// By a program of its own: a test beside this one that starts something meanwhile would hold the copy open for writing.
pub fn copy_of_shell(path: &Path) {
    assert!(Command::new("cp").arg("/bin/sh").arg(path).status().unwrap().success());
}

fn shell(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.args(["-c", "echo ready; read line"]);
    command
}

pub fn look(device: &mut Device, pid: &str) {
    let answer = device.run("processes", &[("pid", pid)], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    device.seen = answer.seen();
}

pub fn remediate(device: &Device, pid: &str, flags: &[&str]) -> Answer {
    device.run("remediate", &[("type", "process"), ("id", pid)], flags)
}

/// The content of a piece of evidence.
pub fn evidence(effect: &Effect, name: &str) -> Vec<u8> {
    std::fs::read(Path::new(effect.after["evidence"].as_str().unwrap()).join(name)).unwrap()
}

pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_process_is_ended_its_image_goes_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let path = folder.path().join("evil");
    let mut sleeper = Sleeper::of_copy(&path);
    let before = dump(folder.path());
    let pid = sleeper.pid();
    let why = refused(&remediate(&device, &pid, &[]));
    assert!(why.code == "prerequisite" && why.message.contains(&format!("run `processes {pid}` first")), "{why:?}");
    look(&mut device, &pid);
    let planned = remediate(&device, &pid, &["plan"]);
    assert_eq!(planned.rows()[0]["action"], "ended, image quarantined", "{:?}", planned.completed);
    assert!(sleeper.runs());
    assert_eq!(dump(folder.path()), before);
    let effect = done(&remediate(&device, &pid, &[]));
    assert_eq!(sleeper.signal(), Some(9));
    assert_eq!((effect.action.as_str(), effect.undoable.as_str()), ("ended, image quarantined", Some("image only")));
    assert!(!path.exists());
    assert_eq!(evidence(&effect, "command_line"), format!("{}\0-c\0echo ready; read line\0", path.display()).into_bytes());
    assert!(String::from_utf8_lossy(&evidence(&effect, "maps")).contains("evil"));
    assert!(!evidence(&effect, "environment").is_empty());
    assert_eq!(evidence(&effect, "image"), std::fs::read("/bin/sh").unwrap());
    for file in std::fs::read_dir(effect.after["evidence"].as_str().unwrap()).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o7777, 0o400);
    }
    let undone = done(&device.run("undo", &[("type", "process"), ("id", &pid)], &[]));
    assert_eq!(undone.action, "restored");
    assert_eq!(dump(folder.path()), before);
}

#[test]
fn an_interpreter_stays_and_the_answer_says_so() {
    if !Path::new("/usr/bin/python3").exists() && !skip("python3 is not installed") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let script = folder.path().join("evil.py");
    std::fs::write(&script, "import sys\nprint('ready', flush=True)\nsys.stdin.readline()\n").unwrap();
    let mut sleeper = Sleeper::start(Command::new("/usr/bin/python3").arg(&script));
    let pid = sleeper.pid();
    let image = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    look(&mut device, &pid);
    // First only asked: the machine's own interpreter must not be lost to a test.
    let planned = remediate(&device, &pid, &["plan"]);
    assert_eq!(planned.rows()[0]["action"], "ended", "{:?}", planned.rows());
    let effect = done(&remediate(&device, &pid, &[]));
    assert_eq!(sleeper.signal(), Some(9));
    assert!(image.exists() && script.exists());
    assert_eq!((effect.action.as_str(), effect.undoable.as_str()), ("ended", Some("no")));
    let reason = effect.reason.unwrap();
    assert!(reason.contains(&format!("image {} stays", image.display())), "{reason}");
    assert!(reason.contains(&format!("`remediate file {}` removes it", script.display())), "{reason}");
    let why = refused(&device.run("undo", &[("number", "1")], &[]));
    assert!(why.message.contains("a process that was ended is not started again"), "{why}");
}

#[test]
fn an_interpreter_that_is_no_packages_stays_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let [image, script] = ["python3.99", "evil.py"].map(|name| folder.path().join(name));
    copy_of_shell(&image);
    std::fs::write(&script, "echo ready; read line; true").unwrap();
    let start = || Sleeper::start(Command::new(&image).arg(&script));
    let mut sleeper = start();
    look(&mut device, &sleeper.pid());
    let effect = done(&remediate(&device, &sleeper.pid(), &[]));
    assert_eq!((sleeper.signal(), effect.action.as_str()), (Some(9), "ended"));
    assert!(effect.reason.unwrap().contains("it is an interpreter"));
    let mut sleeper = start();
    look(&mut device, &sleeper.pid());
    let effect = done(&remediate(&device, &sleeper.pid(), &["image"]));
    assert_eq!((sleeper.signal(), effect.action.as_str()), (Some(9), "ended, image quarantined"));
    assert!(!image.exists() && script.exists());
}

#[test]
fn an_image_that_another_process_runs_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let path = folder.path().join("evil");
    let mut first = Sleeper::of_copy(&path);
    let mut second = Sleeper::start(&mut shell(&path));
    look(&mut device, &first.pid());
    let effect = done(&remediate(&device, &first.pid(), &[]));
    assert_eq!(first.signal(), Some(9));
    assert!(path.exists() && second.runs());
    assert!(effect.reason.unwrap().contains(&format!("process {} uses it too", second.pid())));
    let mut third = Sleeper::start(&mut shell(&path));
    look(&mut device, &third.pid());
    let effect = done(&remediate(&device, &third.pid(), &["image"]));
    assert_eq!(effect.action, "ended, image quarantined");
    assert!(!path.exists() && second.runs());
    assert_eq!(third.signal(), Some(9));
}

#[test]
fn a_deleted_image_and_memory_that_is_a_file_leave_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let path = folder.path().join("evil");
    let mut sleeper = Sleeper::of_copy(&path);
    std::fs::remove_file(&path).unwrap();
    look(&mut device, &sleeper.pid());
    let effect = done(&remediate(&device, &sleeper.pid(), &[]));
    assert_eq!(sleeper.signal(), Some(9));
    let image = std::fs::read("/bin/sh").unwrap();
    assert_eq!(evidence(&effect, "image"), image);
    let files = effect.after["evidence_files"].as_array().unwrap();
    let told = files.iter().find(|file| file["name"] == "image").unwrap();
    assert_eq!(told["sha256"], hex(&image));
    assert!(effect.reason.unwrap().contains("its bytes are in the evidence"));

    // An image that never was on a disk, with another such file open beside it.
    let program = memfd("evil-program", &image);
    let other = memfd("evil-data", b"stolen");
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    let mut command = shell(Path::new(&path));
    let keep = other.try_clone().unwrap();
    let mut sleeper = Sleeper::start(command.stderr(Stdio::from(keep)));
    look(&mut device, &sleeper.pid());
    let effect = done(&remediate(&device, &sleeper.pid(), &[]));
    assert_eq!(sleeper.signal(), Some(9));
    assert_eq!(evidence(&effect, "image"), image);
    assert_eq!(evidence(&effect, "memfd-2"), b"stolen");
    assert!(effect.after["evidence_files"].as_array().unwrap().iter().any(|file| file["sha256"] == hex(b"stolen")));
}

pub fn memfd(name: &str, bytes: &[u8]) -> OwnedFd {
    let fd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::empty()).unwrap();
    std::fs::File::from(fd.try_clone().unwrap()).write_all(bytes).unwrap();
    fd
}

#[test]
fn another_process_of_that_number_is_refused() {
    let mut device = Device::live();
    let mut sleeper = Sleeper::start(&mut shell(Path::new("/bin/sh")));
    let pid = sleeper.pid();
    look(&mut device, &pid);
    let right = device.seen.clone();
    let mut lie = |field: &str, value: serde_json::Value, says: &str| {
        device.seen = right.clone();
        device.seen[0].identity[field] = value;
        let why = refused(&remediate(&device, &pid, &[]));
        assert!(why.code == "changed" && why.message.contains(says), "{why:?}");
    };
    lie("start_ticks", 1.into(), "it started at tick");
    lie("boot_id", "another".into(), "was booted again");
    assert!(sleeper.runs());
    sleeper.0.kill().unwrap();
    // Ended, but not asked for by its parent.
    let told = loop {
        device.seen.clone_from(&right);
        let why = refused(&remediate(&device, &pid, &[]));
        if why.code != "changed" {
            break why;
        }
    };
    assert!(told.code == "ended" || told.code == "not_found", "{told:?}");
    sleeper.0.wait().unwrap();
    assert_eq!(refused(&remediate(&device, &pid, &[])).code, "not_found");
}

#[test]
fn what_must_live_is_protected() {
    let mut device = Device::live();
    let own = std::process::id().to_string();
    for pid in ["1", own.as_str()] {
        look(&mut device, pid);
        let why = refused(&remediate(&device, pid, &["image"]));
        assert_eq!(why.code, "protected", "{why:?}");
    }
    if Path::new("/proc/2/stat").exists() && std::fs::read_link("/proc/2/exe").is_err() {
        look(&mut device, "2");
        assert_eq!(refused(&remediate(&device, "2", &[])).code, "protected");
    }
    // The shell of an analyst, and what it hangs below.
    let mut parent = Sleeper::start(Command::new("/bin/sh").args(["-c", "sh -c 'echo ready; read line'; true"]));
    let pid = parent.0.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let shell = ShellPeer { pid: children.trim().parse().unwrap() };
    for (pid, says) in [(shell.pid, "it is the shell of an analyst"), (pid, "hangs below it")] {
        look(&mut device, &pid.to_string());
        let mut command = device.command("remediate", &[("type", "process"), ("id", &pid.to_string())], &[]);
        command.shells = vec![shell];
        let why = refused(&device.send(command, None));
        assert!(why.code == "protected" && why.message.contains(says), "{why:?}");
    }
    assert!(parent.runs());
}

#[test]
fn a_tree_is_ended_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let path = folder.path().join("evil");
    copy_of_shell(&path);
    let evil = path.display();
    // Each keeps the pipe that nobody writes to, and waits at it.
    let wait = "read line <&3; true";
    let script = format!(
        "exec 3<&0; {evil} -c '{evil} -c \"{wait}\"; true' & {evil} -c '{wait}' & {evil} -c 'echo ready; {wait}'; true"
    );
    let mut parent = Sleeper::start(Command::new(&path).args(["-c", &script]));
    let running = || -> Vec<PathBuf> {
        let images =
            std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| std::fs::read_link(entry.path().join("exe")).ok());
        images.filter(|image| image.starts_with(folder.path())).collect()
    };
    while running().len() < 5 {
        std::thread::yield_now();
    }
    look(&mut device, &parent.pid());
    let answer = remediate(&device, &parent.pid(), &["tree"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let effects = effects(&answer);
    assert_eq!(effects.len(), 5, "{effects:?}");
    assert_eq!(parent.signal(), Some(9));
    assert!(running().is_empty() && !path.exists(), "{:?}", running());
    let images: Vec<&str> =
        effects.iter().map(|effect| effect.action.as_str()).filter(|action| action.contains("image")).collect();
    assert_eq!(images, ["ended, image quarantined"], "the image goes with the last");
}

#[test]
fn children_that_end_by_themselves_save_no_tree() {
    let mut device = Device::live();
    for _ in 0..3 {
        let mut parent =
            Sleeper::start(Command::new("/bin/sh").args(["-c", "echo ready; while :; do sleep 0.02 & sleep 0.01; done"]));
        look(&mut device, &parent.pid());
        let answer = remediate(&device, &parent.pid(), &["tree"]);
        assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
        assert_eq!(parent.signal(), Some(9));
    }
}

#[test]
fn evidence_that_does_not_fit_refuses_the_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let agent = device.folder.path().join("agent");
    std::fs::create_dir(&agent).unwrap();
    std::fs::set_permissions(&agent, PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(agent.join("agent.toml"), "quarantine_bytes = 10\n").unwrap();
    device.restart();
    let mut sleeper = Sleeper::of_copy(&folder.path().join("evil"));
    look(&mut device, &sleeper.pid());
    let answer = remediate(&device, &sleeper.pid(), &[]);
    assert!(refused(&answer).message.contains("bytes of evidence do not fit into the 10 that"), "{:?}", answer.completed);
    assert_eq!(effects(&answer).len(), 0);
    assert!(sleeper.runs());
    let effect = done(&remediate(&device, &sleeper.pid(), &["force"]));
    assert_eq!(sleeper.signal(), Some(9));
    assert!(effect.reason.unwrap().contains("(-force)"));
}

#[test]
fn the_whole_way_of_a_process_on_the_real_program() {
    let home = Home::new();
    let path = home.path().join("evil");
    let mut sleeper = Sleeper::of_copy(&path);
    let pid = sleeper.pid();
    let blind = home.line(&format!("remediate process {pid}")).code(1);
    assert!(blind.err().contains(&format!("run `processes {pid}` first, or give -auto")), "{}", blind.err());
    home.line(&format!("remediate process {pid} -plan -auto")).code(0);
    assert!(sleeper.runs());
    home.line(&format!("remediate process {pid} -auto")).code(0);
    assert_eq!(sleeper.signal(), Some(9));
    let rows = home.line("remediate list jsonl").code(0).jsonl();
    assert_eq!(
        (&rows[0]["type"], &rows[0]["state"], &rows[0]["undoable"]),
        (&"process".into(), &"done".into(), &"image only".into())
    );
    home.line(&format!("undo process {pid}")).code(0);
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read("/bin/sh").unwrap());
    // The shell that asks is never ended.
    let shell = home.batch(&format!("remediate process {} -auto\n", std::process::id())).run().code(1);
    assert!(shell.err().contains("the shell of an analyst hangs below it"), "{}", shell.err());
}

#[test]
fn every_process_of_a_tree_says_what_it_ran_and_where_its_image_goes() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let [outer, inner] = ["outer.sh", "inner.sh"].map(|name| folder.path().join(name));
    std::fs::write(&inner, "echo ready; read line; :\n").unwrap();
    std::fs::write(&outer, format!("sh {}; :\n", inner.display())).unwrap();
    let mut sleeper = Sleeper::start(Command::new("sh").arg(&outer));
    let pid = sleeper.pid();
    look(&mut device, &pid);
    let answer = remediate(&device, &pid, &["tree"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let effects = effects(&answer);
    let reasons: Vec<&str> = effects.iter().map(|effect| effect.reason.as_deref().unwrap_or_default()).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons[0].contains(&format!("it ran {}", inner.display())), "{reasons:?}");
    assert!(reasons[0].contains(&format!("its image is that of process {} too", effects[1].target)), "{reasons:?}");
    assert!(reasons[1].contains(&format!("it ran {}", outer.display())) && reasons[1].contains("stays"), "{reasons:?}");
    assert_eq!(sleeper.signal(), Some(9));
}

#[test]
fn the_sockets_of_a_process_are_kept_with_their_ends() {
    if !need(&["python3"]) {
        return;
    }
    let mut device = Device::live();
    let program = "import socket,sys\ns=socket.socket()\ns.bind(('127.0.0.1',0))\ns.listen()\nc=socket.create_connection(s.getsockname())\n\
                   u=socket.socket(socket.AF_UNIX)\nu.bind('\\0lrsh-test-%d'%s.getsockname()[1])\n\
                   print('ready',flush=True)\nsys.stdin.readline()\nprint(s.getsockname()[1],c.getsockname()[1],flush=True)\nsys.stdin.readline()";
    let mut sleeper = Sleeper::start(Command::new("python3").args(["-u", "-c", program]));
    let mut line = String::new();
    sleeper.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    BufReader::new(sleeper.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let pid = sleeper.pid();
    look(&mut device, &pid);
    let effect = done(&remediate(&device, &pid, &[]));
    let kept = String::from_utf8(evidence(&effect, "sockets")).unwrap();
    let [listens, connects] = [0, 1].map(|at| line.split_whitespace().nth(at).unwrap().to_owned());
    assert!(kept.contains(&format!("tcp\t127.0.0.1:{listens}\t0.0.0.0:0\tLISTEN")), "{kept}");
    assert!(kept.contains(&format!("tcp\t127.0.0.1:{connects}\t127.0.0.1:{listens}\tESTABLISHED")), "{kept}");
    assert!(kept.contains(&format!("unix\t@lrsh-test-{listens}")), "{kept}");
    assert_eq!(sleeper.signal(), Some(9));
}
