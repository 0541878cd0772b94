//! Processes that do not want to end: without a main thread, with children that flee, stopped halfway, or asked to stay after all.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use lrsh::protocol::link::{AgentLink, StopReason};
use lrsh::protocol::{Body, Status};

use super::faults::{HALT, Scene, has_points};
use super::process::{Sleeper, copy_of_shell, evidence, look, memfd, remediate};
use super::{done, effects, refused};
use crate::kit::device::{Device, body};
use crate::kit::need::need;

/// A program whose main thread ends while another one goes on: `ready` is said by that one, once the main thread is gone.
const NO_MAIN_THREAD: &str = "
import ctypes, os, platform, sys, threading
def state(): return open('/proc/%d/stat' % os.getpid()).read().rsplit(') ', 1)[1][0]
def work():
    while state() != 'Z': pass
    print('ready', flush=True)
    sys.stdin.readline()
    os._exit(0)
threading.Thread(target=work).start()
ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[platform.machine()], 0)
";

/// What a process does, by its letter in /proc/PID/stat; of a thread where one is given.
fn letter(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// A process and all below it.
fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(&pid) = all.get(at) {
        all.extend(children(pid));
        at += 1;
    }
    all
}

#[test]
fn a_process_whose_main_thread_is_gone_is_alive_and_is_ended() {
    if !need(&["python3"]) {
        return;
    }
    let mut device = Device::live();
    let mut sleeper = Sleeper::start(Command::new("python3").args(["-c", NO_MAIN_THREAD]));
    let pid = sleeper.pid();
    assert_eq!(letter(sleeper.0.id()), Some('Z'));
    look(&mut device, &pid);
    let effect = done(&remediate(&device, &pid, &[]));
    assert_eq!(sleeper.signal(), Some(9));
    assert!(effect.before["command_line"].as_str().unwrap().contains("ctypes"), "{}", effect.before);
    assert!(String::from_utf8_lossy(&evidence(&effect, "command_line")).contains("ctypes"));
    assert!(String::from_utf8_lossy(&evidence(&effect, "maps")).contains("python"));
    assert!(String::from_utf8_lossy(&evidence(&effect, "open_files")).contains("pipe:"));
    assert!(evidence(&effect, "image").starts_with(b"\x7fELF"));
}

#[test]
fn a_child_whose_main_thread_is_gone_ends_with_its_tree() {
    if !need(&["python3"]) {
        return;
    }
    let mut device = Device::live();
    let script = "python3 -c \"$1\"; true";
    let mut sleeper = Sleeper::start(Command::new("/bin/sh").args(["-c", script, "sh", NO_MAIN_THREAD]));
    look(&mut device, &sleeper.pid());
    let all = tree(sleeper.0.id());
    let answer = remediate(&device, &sleeper.pid(), &["tree"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    assert_eq!(effects(&answer).len(), all.len());
    assert_eq!(sleeper.signal(), Some(9));
    let left = all.iter().filter(|pid| letter(**pid).is_some_and(|letter| letter != 'Z')).count();
    assert_eq!(left, 0, "{all:?}");
}

#[test]
fn an_image_that_only_a_process_without_a_main_thread_runs_stays() {
    if !need(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let path = folder.path().join("evil");
    let real =
        Command::new("python3").args(["-c", "import os; print(os.readlink('/proc/self/exe'), end='')"]).output().unwrap();
    let real = String::from_utf8(real.stdout).unwrap();
    let prefix = Path::new(&real).parent().and_then(Path::parent).unwrap();
    assert!(Command::new("cp").arg(&real).arg(&path).status().unwrap().success());
    let start = |text: &str| Sleeper::start(Command::new(&path).args(["-c", text]).env("PYTHONHOME", prefix));
    let mut headless = start(NO_MAIN_THREAD);
    let mut other = start("import sys; print('ready', flush=True); sys.stdin.readline()");
    look(&mut device, &other.pid());
    let effect = done(&remediate(&device, &other.pid(), &[]));
    assert_eq!(other.signal(), Some(9));
    assert!(path.exists() && headless.runs());
    let reason = effect.reason.unwrap();
    assert!(reason.contains(&format!("process {} uses it too", headless.pid())), "{reason}");
}

/// The kernel sends SIGHUP and SIGCONT to a stopped group when the last one ends that had a parent outside of it: a child that
/// hears that runs again, and leaves another behind.
#[test]
fn no_child_runs_again_while_its_tree_is_ended() {
    if !need(&["python3"]) {
        return;
    }
    let program = "
import os, signal, sys
os.setsid()
def flee(*_):
    if os.fork() == 0:
        os.setsid()
        print('escaped', flush=True)
        sys.stdin.readline()
        os._exit(0)
if os.fork() == 0:
    os.setpgid(0, 0)
    if os.fork() == 0:
        signal.signal(signal.SIGHUP, flee)
        print('ready', flush=True)
        while True: signal.pause()
    os.wait()
else:
    sys.stdin.readline()
";
    let mut device = Device::live();
    let mut leader = Sleeper::start(Command::new("python3").args(["-c", program]));
    let parent = children(leader.0.id())[0];
    look(&mut device, &parent.to_string());
    let answer = remediate(&device, &parent.to_string(), &["tree"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    assert_eq!(effects(&answer).len(), 2);
    // Whoever is left says what it is, and ends with its input.
    drop(leader.0.stdin.take());
    let mut said = String::new();
    leader.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

/// Of a tree all that has evidence is kept before the first one ends.
#[test]
fn a_tree_whose_evidence_does_not_fit_is_left_alone() {
    let mut device = Device::live();
    capped(&mut device, 4 * 1024 * 1024);
    let large = memfd("large", &vec![7; 5 * 1024 * 1024]);
    // Only the child has it open.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec 3<&0; sh -c 'echo ready; read line <&3; true' & exec 2> /dev/null; read line; true"]);
    let mut sleeper = Sleeper::start(command.stderr(Stdio::from(large)));
    let all = tree(sleeper.0.id());
    look(&mut device, &sleeper.pid());
    for flags in [&["tree", "plan"][..], &["tree"]] {
        let why = refused(&remediate(&device, &sleeper.pid(), flags));
        assert!(why.code == "no_evidence" && why.message.contains("-force"), "{why:?}");
    }
    assert!(sleeper.runs() && all.iter().all(|pid| letter(*pid).is_some_and(|letter| letter != 'T' && letter != 'Z')));
}

fn capped(device: &mut Device, bytes: u64) {
    let agent = device.folder.path().join("agent");
    std::fs::create_dir(&agent).unwrap();
    std::fs::set_permissions(&agent, PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(agent.join("agent.toml"), format!("quarantine_bytes = {bytes}\n")).unwrap();
    device.restart();
}

/// The newest text that says what is gone is worth more than a program of megabytes.
#[test]
fn with_force_what_fits_of_the_evidence_is_kept() {
    let mut device = Device::live();
    capped(&mut device, 64 * 1024);
    let small = memfd("small", b"a few words");
    let mut sleeper =
        Sleeper::start(Command::new("/bin/sh").args(["-c", "echo ready; read line; true"]).stderr(Stdio::from(small)));
    look(&mut device, &sleeper.pid());
    let planned = remediate(&device, &sleeper.pid(), &["plan", "force"]);
    assert!(planned.rows()[0]["reason"].as_str().unwrap().contains("image"), "{:?}", planned.rows());
    let effect = done(&remediate(&device, &sleeper.pid(), &["force"]));
    assert_eq!(sleeper.signal(), Some(9));
    assert_eq!(evidence(&effect, "memfd-2"), b"a few words");
    assert!(String::from_utf8_lossy(&evidence(&effect, "command_line")).contains("read line"));
    let reason = effect.reason.unwrap();
    assert!(reason.contains("image (") && reason.contains("(-force)"), "{reason}");
    let listed = effect.after["evidence_files"].as_array().unwrap();
    assert!(listed.iter().any(|file| file["name"] == "maps") && listed.iter().all(|file| file["name"] != "image"));
}

#[test]
fn a_plan_and_the_act_refuse_evidence_that_does_not_fit_alike() {
    let mut device = Device::live();
    capped(&mut device, 100);
    let mut sleeper = Sleeper::start(Command::new("/bin/sh").args(["-c", "echo ready; read line; true"]));
    look(&mut device, &sleeper.pid());
    let [planned, acted] = [&["plan"][..], &[]].map(|flags| remediate(&device, &sleeper.pid(), flags));
    let (planned, acted) = (refused(&planned), refused(&acted));
    assert_eq!((planned.code.as_str(), acted.code.as_str()), ("no_evidence", "no_evidence"));
    assert!(acted.message.contains("the 100 that"), "{acted:?}");
    assert!(sleeper.runs());
    assert_eq!(device.run("remediate", &[("type", "list")], &[]).rows().len(), 0);
}

#[test]
fn the_word_to_stop_is_heard_while_evidence_is_kept() {
    let mut device = Device::live();
    let large: OwnedFd = rustix::fs::memfd_create("large", rustix::fs::MemfdFlags::empty()).unwrap();
    rustix::fs::ftruncate(&large, 256 * 1024 * 1024).unwrap();
    let mut sleeper =
        Sleeper::start(Command::new("/bin/sh").args(["-c", "echo ready; read line; true"]).stderr(Stdio::from(large)));
    let pid = sleeper.pid();
    look(&mut device, &pid);
    let kept = device.folder.path().join("agent/quarantine");
    for flags in [&[][..], &["tree"], &["force"]] {
        let command = device.command("remediate", &[("type", "process"), ("id", &pid)], flags);
        let id = command.command_id;
        let mut running = device.agent.start(command, None);
        // Small files come first: the large one is being read once its name is there.
        let is_kept = |name: &str| {
            let folders = std::fs::read_dir(&kept).into_iter().flatten().flatten();
            folders.map(|folder| folder.path().join(name)).any(|file| file.exists())
        };
        while !is_kept("memfd-2") {
            std::thread::yield_now();
        }
        device.agent.stop(id, StopReason::Cancel { by: "tester".into() });
        let (mut told, mut receipt, mut status) = (Vec::new(), None, None);
        device.runtime.block_on(async {
            while let Some(event) = running.events.recv().await {
                match body(event) {
                    Body::Effect(effect) => told.push(*effect),
                    Body::Receipt(was) => receipt = Some(was),
                    Body::Completed(completed) => status = Some(completed.status),
                    _ => {}
                }
            }
        });
        assert_eq!(status, Some(Status::Cancelled), "{flags:?}");
        let receipt = receipt.unwrap();
        assert!(receipt.done.is_empty() && receipt.not_done == [format!("process {pid}")], "{receipt:?}");
        assert_eq!(told[0].state, "not_done");
        assert!(told[0].reason.as_deref().unwrap().contains("asked to stop"), "{told:?}");
        assert!(sleeper.runs() && letter(sleeper.0.id()) != Some('T'));
        assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 0, "no half of evidence stays: {flags:?}");
    }
}

/// The agent dies while a tree stands still: what it stopped goes on, what others had stopped does not.
#[test]
fn a_tree_that_was_made_to_stand_still_goes_on_when_the_agent_has_died() {
    if !has_points() {
        return;
    }
    std::thread::scope(|scope| {
        for point in HALT.into_iter().chain(["evidence.after_file", "evidence.after_all"]) {
            scope.spawn(move || {
                let scene = Scene::new();
                let evil = scene.path.display().to_string();
                copy_of_shell(&scene.path);
                let wait = "read line <&3; true";
                let script = format!("exec 3<&0; {evil} -c '{wait}' & {evil} -c '{wait}' & echo ready; {wait}; true");
                let mut sleeper = Sleeper::start(Command::new(&scene.path).args(["-c", &script]));
                let all = tree(sleeper.0.id());
                let still = rustix::process::Pid::from_raw(i32::try_from(all[1]).unwrap()).unwrap();
                rustix::process::kill_process(still, rustix::process::Signal::STOP).unwrap();
                while letter(all[1]) != Some('T') {
                    std::thread::yield_now();
                }
                let line = format!("remediate process {} -tree -auto", sleeper.pid());
                scene.die(&line, point);
                let states = scene.states();
                if point.starts_with("journal.go_on") {
                    assert_eq!(states, ["done", "done", "done"], "{point}");
                } else {
                    assert!(states.iter().all(|state| state == "not_done"), "{point}: {states:?}");
                    let letters: Vec<_> = all.iter().map(|pid| letter(*pid)).collect();
                    assert_eq!(letters[1], Some('T'), "{point}: it was stopped by others");
                    assert!([letters[0], letters[2]].iter().all(|letter| *letter != Some('T')), "{point}: {letters:?}");
                    assert!(sleeper.runs() && all.len() == 3, "{point}");
                    scene.home.line(&line).code(0);
                }
                assert_eq!(sleeper.signal(), Some(9), "{point}");
            });
        }
    });
}

/// A process that makes another as fast as it can, up to a bound.
#[test]
fn many_that_come_at_once_all_end() {
    if !need(&["python3"]) {
        return;
    }
    let program = "
import os, sys
print('ready', flush=True)
depth = 0
while depth < 40:
    if os.fork() == 0: depth += 1
    else: break
sys.stdin.readline()
";
    let mut device = Device::live();
    let mut sleeper = Sleeper::start(Command::new("python3").args(["-c", program]));
    look(&mut device, &sleeper.pid());
    let answer = remediate(&device, &sleeper.pid(), &["tree"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    assert_eq!(sleeper.signal(), Some(9));
    // Each has the pipe: its end comes when the last one has gone.
    let mut said = String::new();
    let mut stdout = sleeper.0.stdout.take().unwrap();
    stdout.read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

/// The image that several run lies with the one that ends last: the one that was typed. Of the others it is said where it is.
#[test]
fn the_undo_of_what_was_typed_brings_a_shared_image_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::live();
    let path = folder.path().join("evil");
    copy_of_shell(&path);
    let script = format!("exec 3<&0; {} -c 'echo ready; read line <&3; true' & read line; true", path.display());
    let mut sleeper = Sleeper::start(Command::new(&path).args(["-c", &script]));
    let pid = sleeper.pid();
    look(&mut device, &pid);
    let answer = remediate(&device, &pid, &["tree"]);
    let effects = effects(&answer);
    assert_eq!(effects.len(), 2, "{:?}", answer.completed);
    assert_eq!((effects[1].target.as_str(), effects[1].action.as_str()), (pid.as_str(), "ended, image quarantined"));
    let reason = effects[0].reason.as_deref().unwrap();
    assert!(reason.contains(&format!("`undo process {pid}` brings it back")), "{reason}");
    assert_eq!(sleeper.signal(), Some(9));
    done(&device.run("undo", &[("type", "process"), ("id", &pid)], &[]));
    assert!(path.exists());
}

/// Of others' processes a user can end none, with or without evidence.
#[test]
fn what_the_agent_may_not_end_is_refused_before_anything() {
    if !rustix::process::geteuid().is_root() || !need(&["setpriv"]) {
        return;
    }
    // Where every user can reach it.
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = place.path().join("lrsh");
    std::fs::copy(env!("CARGO_BIN_EXE_lrsh"), &program).unwrap();
    let home = place.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
    let sleeper = Sleeper::start(Command::new("/bin/sh").args(["-c", "echo ready; read line; true"]));
    for flags in ["-plan", "", "-force", "-tree"] {
        let line = format!("remediate process {} -auto {flags}", sleeper.pid());
        let out = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&program)
            .args(["-c", &line])
            .env("LRSH_HOME", &home)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(said.contains("may not end it") && !said.contains("all the same"), "{flags}: {said}");
    }
}
