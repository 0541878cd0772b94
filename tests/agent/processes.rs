//! `processes` agrees with `ps`, whatever processes call themselves.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lrsh::protocol::Status;
use serde_json::Value;

use crate::kit::device::Device;
use crate::kit::need::need;

/// A process of this test's own that waits until it is dropped.
struct Waiting(Child);

impl Waiting {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// A copy of `cat`, which waits for its input; returned when it is surely past its exec.
    fn cat(image: &Path, called: &OsStr) -> Self {
        std::fs::copy("/bin/cat", image).unwrap();
        Self::ready(image, called)
    }

    /// A `cat` that is already there.
    fn ready(image: &Path, called: &OsStr) -> Self {
        use std::io::Write;
        let mut child = Self::start(Command::new(image).arg0(called));
        child.0.stdin.as_mut().unwrap().write_all(b"ready\n").unwrap();
        let mut line = String::new();
        BufReader::new(child.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        // It has answered, and is about to wait for more.
        let state = || std::fs::read(format!("/proc/{}/stat", child.0.id())).unwrap();
        while !state().rsplit(|&byte| byte == b')').next().unwrap().starts_with(b" S") {
            std::thread::yield_now();
        }
        child
    }

    fn row(&self) -> Value {
        let rows = Device::live().run("processes", &[("pid", &self.0.id().to_string())], &[]).rows();
        assert_eq!(rows.len(), 1);
        rows[0].clone()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn all() -> BTreeMap<u64, Value> {
    let answer = Device::live().run("processes", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    answer.rows().into_iter().map(|row| (row["pid"].as_u64().unwrap(), row)).collect()
}

#[test]
fn owner_parent_state_and_start_agree_with_ps() {
    if !need(&["ps"]) {
        return;
    }
    let ps = || {
        let out = Command::new("ps").args(["-e", "--no-headers", "-o", "pid=,ppid=,euid=,sid=,lstart="]).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let line = |line: &str| {
            let fields: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
            (fields[0].parse::<u64>().unwrap(), fields[1..].to_vec())
        };
        text.lines().map(line).collect::<BTreeMap<u64, Vec<String>>>()
    };
    let (before, rows, after) = (ps(), all(), ps());
    let lasting: Vec<u64> = before.keys().filter(|pid| before.get(pid) == after.get(pid)).copied().collect();
    assert!(lasting.len() > 1);
    for pid in lasting {
        let (row, told) = (&rows[&pid], &before[&pid]);
        assert_eq!(row["parent_id"].to_string(), told[0], "{row}");
        assert_eq!(row["session_id"].to_string(), told[2], "{row}");
        let user = Command::new("id").args(["-un", &told[1]]).output().unwrap();
        assert_eq!(row["user_name"], String::from_utf8_lossy(&user.stdout).trim(), "{row}");
        let local = format!("{} {} {} {}", told[4], told[5], told[6], told[7]);
        let started = Command::new("date").args(["-d", &local, "+%s"]).output().unwrap();
        let started: i64 = String::from_utf8(started.stdout).unwrap().trim().parse().unwrap();
        let ours: jiff::Timestamp = row["creation_time"].as_str().unwrap().parse().unwrap();
        assert!((ours.as_second() - started).abs() <= 1, "{row}: {started}");
    }
}

#[test]
fn memory_and_state_agree_with_ps() {
    if !need(&["ps"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let quiet = Waiting::cat(&folder.path().join("quiet"), OsStr::new("quiet"));
    // It was only just started: what it does once it waits for input is compared.
    let begun = std::time::Instant::now();
    let row = loop {
        let row = quiet.row();
        if row["status"] == "sleeping" {
            break row;
        }
        assert!(begun.elapsed().as_secs() < 60, "{row}");
        std::thread::yield_now();
    };
    let out = Command::new("ps").args(["-o", "rss=", "-p", &quiet.0.id().to_string()]).output().unwrap();
    assert_eq!(row["memory_k"].to_string(), String::from_utf8_lossy(&out.stdout).trim());
    assert_eq!(row["memory_usage"]["working_set"].as_u64().unwrap(), row["memory_k"].as_u64().unwrap() * 1024);
    rustix::process::kill_process(rustix::process::Pid::from_child(&quiet.0), rustix::process::Signal::STOP).unwrap();
    rustix::process::waitpid(Some(rustix::process::Pid::from_child(&quiet.0)), rustix::process::WaitOptions::UNTRACED).unwrap();
    assert_eq!(quiet.row()["status"], "stopped");
}

#[test]
fn names_are_whole_and_hostile_ones_are_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let name = "a-name-of-more-than-fifteen-bytes";
    let called = OsStr::from_bytes(b"/x/evil\xff\n\x1b]0;");
    let long = Waiting::cat(&folder.path().join(name), called);
    let row = long.row();
    assert_eq!(row["name"], name);
    assert_eq!(row["image_path"], folder.path().join(name).to_str().unwrap());
    assert_eq!(row["image_deleted"], false);
    assert_eq!(row["command_line"], "/x/evil\u{fffd}\n\u{1b}]0;");
    let odd = Waiting::cat(&folder.path().join(OsStr::from_bytes(b") R 1\n(\xff")), OsStr::new("odd"));
    let row = odd.row();
    assert_eq!(row["name"], ") R 1\n(\u{fffd}");
    assert_eq!(row["parent_id"], std::process::id());
    assert!(row["image_path_uri"].as_str().unwrap().ends_with("/)%20R%201%0A(%FF"));
}

#[test]
fn patterns_look_at_name_image_and_first_argument() {
    let folder = tempfile::tempdir().unwrap();
    // Another run of the tests may look at the same time.
    let run = std::process::id();
    let image = folder.path().join(format!("Lrsh-Image-{run}-Test"));
    let child = Waiting::cat(&image, OsStr::new(&format!("/bin/lrsh-called-{run}-test")));
    let pids = |name: &str| {
        let answer = Device::live().run("processes", &[("name", name)], &[]);
        assert_eq!(answer.completed.status, Status::Completed);
        answer.rows().iter().map(|row| row["pid"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let own = u64::from(child.0.id());
    assert_eq!(pids(&format!("LRSH-image-{run}-*")), [own]);
    assert_eq!(pids(&format!("lrsh-CALLED-{run}-tes?")), [own]);
    assert!(pids("lrsh-image").is_empty());
}

#[test]
fn a_disguise_does_not_keep_a_process_from_being_found() {
    let folder = tempfile::tempdir().unwrap();
    let run = std::process::id();
    let found = |child: &Waiting, names: &[&str]| {
        for name in names {
            let name = name.replace('%', &run.to_string());
            let rows = Device::live().run("processes", &[("name", &name)], &[]).rows();
            assert!(rows.iter().any(|row| row["pid"] == child.0.id()), "{name}: {}", child.row());
        }
    };
    let image = folder.path().join(format!("lrsh-implant-{run}-long-name"));
    let as_kernel = Waiting::cat(&image, OsStr::new(&format!("[kworker/{run}:1-ev]")));
    found(
        &as_kernel,
        &["*kworker/%:1*", "kworker/%:1-ev", "[[]kworker/%:1-ev]", "lrsh-implant-%-long-name", "lrsh-implant-%-l*"],
    );
    let cut: String = format!("lrsh-implant-{run}-long-name").chars().take(15).collect();
    found(&as_kernel, &[&cut]);
    let as_title = Waiting::ready(&image, OsStr::new(&format!("/opt/x/lrsh-t{run}: worker /a/b")));
    found(&as_title, &["lrsh-t%", "*lrsh-t%: worker*"]);
    let as_login = Waiting::ready(&image, OsStr::new(&format!("-lrsh-l{run}")));
    found(&as_login, &["lrsh-l%", "-lrsh-l%"]);
    // Only in memory: the image has no file.
    let memory = rustix::fs::memfd_create(format!("lrsh-m{run}"), rustix::fs::MemfdFlags::empty()).unwrap();
    let mut file = std::fs::File::from(memory);
    std::io::copy(&mut std::fs::File::open("/bin/cat").unwrap(), &mut file).unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    // A file that is open for writing is not run: it is opened anew for reading alone.
    let only_read = std::fs::File::open(&path).unwrap();
    drop(file);
    let number = std::os::fd::AsRawFd::as_raw_fd(&only_read);
    rustix::io::fcntl_setfd(&only_read, rustix::io::FdFlags::empty()).unwrap();
    let in_memory = Waiting::ready(Path::new(&format!("/proc/self/fd/{number}")), OsStr::new("sshd"));
    found(&in_memory, &["lrsh-m%", "memfd:lrsh-m%"]);
    assert_eq!(in_memory.row()["image_deleted"], true);
}

#[test]
fn a_deleted_image_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("gone (deleted)");
    let child = Waiting::cat(&image, OsStr::new("gone"));
    assert_eq!((&child.row()["image_path"], &child.row()["image_deleted"]), (&image.to_str().unwrap().into(), &false.into()));
    std::fs::remove_file(&image).unwrap();
    assert_eq!((&child.row()["image_path"], &child.row()["image_deleted"]), (&image.to_str().unwrap().into(), &true.into()));
}

#[test]
fn the_kernels_own_and_the_ended_have_no_image() {
    let mut child = Waiting::start(&mut Command::new("true"));
    rustix::process::waitid(
        rustix::process::WaitId::Pid(rustix::process::Pid::from_child(&child.0)),
        rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
    )
    .unwrap();
    let row = child.row();
    assert_eq!((&row["status"], &row["image_path"], &row["command_line"]), (&"zombie".into(), &Value::Null, &Value::Null));
    child.0.wait().unwrap();
}

#[test]
fn no_such_process_is_an_error_and_a_thread_is_none() {
    let check = |pid: &str, code: &str| {
        let answer = Device::live().run("processes", &[("pid", pid)], &[]);
        assert_eq!(answer.completed.status, Status::Failed, "{pid}");
        assert_eq!(answer.completed.errors[0].code, code);
    };
    check("4194304", "not_found");
    check("x", "bad_value");
    let (told, thread) = std::sync::mpsc::channel();
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let running = std::thread::spawn(move || {
        told.send(rustix::thread::gettid()).unwrap();
        let _ = wait.recv();
    });
    check(&thread.recv().unwrap().as_raw_nonzero().to_string(), "not_found");
    drop(end);
    running.join().unwrap();
}

#[test]
fn processes_that_come_and_go_harm_nothing() {
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let churn = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = Command::new("true").status();
            }
        })
    };
    for _ in 0..20 {
        assert!(all().contains_key(&u64::from(std::process::id())));
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    churn.join().unwrap();
}

#[test]
fn what_was_shown_is_told_as_seen() {
    let answer = Device::live().run("processes", &[("pid", &std::process::id().to_string())], &[]);
    let seen = answer.seen();
    assert_eq!((seen.len(), seen[0].key.as_str()), (1, &*std::process::id().to_string()));
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let start: u64 = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
    assert_eq!(seen[0].identity["start_ticks"], start);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(seen[0].identity["boot_id"], boot.trim());
}

#[test]
fn an_image_has_no_processes() {
    let folder = tempfile::tempdir().unwrap();
    let answer = Device::at(folder.path()).run("processes", &[], &[]);
    assert_eq!(answer.completed.errors[0].code, "not_on_platform");
}

#[test]
fn a_tree_has_children_behind_their_parents() {
    let child = Waiting::start(Command::new("sh").args(["-c", "cat; true"]));
    let answer = Device::live().run("processes", &[], &["tree"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let rows = answer.rows();
    let mut above: Vec<u64> = Vec::new();
    for row in &rows {
        let depth = usize::try_from(row["depth"].as_u64().unwrap()).unwrap();
        assert!(depth <= above.len(), "{row}");
        above.truncate(depth);
        if let Some(parent) = above.last() {
            assert_eq!(&row["parent_id"], parent, "{row}");
        }
        above.push(row["pid"].as_u64().unwrap());
    }
    let place = |pid: u32| rows.iter().position(|row| row["pid"] == pid).unwrap();
    assert!(place(std::process::id()) < place(child.0.id()));
    assert_eq!(
        rows.len(),
        rows.iter().map(|row| row["pid"].as_u64().unwrap()).collect::<std::collections::BTreeSet<_>>().len()
    );
}

#[test]
fn only_processes_of_deleted_images_are_told_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("soon-gone");
    let gone = Waiting::cat(&image, OsStr::new("soon-gone"));
    let here = Waiting::cat(&folder.path().join("stays"), OsStr::new("stays"));
    std::fs::remove_file(&image).unwrap();
    let rows = Device::live().run("processes", &[], &["deleted"]).rows();
    assert!(rows.iter().all(|row| row["image_deleted"] == true), "{rows:?}");
    assert!(rows.iter().any(|row| row["pid"] == gone.0.id()));
    assert!(!rows.iter().any(|row| row["pid"] == here.0.id()));
}
