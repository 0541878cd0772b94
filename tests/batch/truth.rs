//! What is shown of this machine is what its own tools say.

use std::collections::HashMap;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use serde_json::Value;

use super::{signal, until};
use crate::kit::need::need;
use crate::kit::shell::Home;

/// A process as `ps` tells it.
#[derive(Debug)]
struct Told {
    parent: i64,
    user: String,
    state: char,
    memory_k: i64,
    started: Timestamp,
}

fn ps() -> HashMap<i64, Told> {
    let mut command = Command::new("ps");
    command.args(["-e", "-o", "pid=,ppid=,user:64=,s=,rss=,lstart="]).env("TZ", "UTC").env("LC_ALL", "C");
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let told = text.lines().map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let started = jiff::civil::DateTime::strptime("%a %b %d %H:%M:%S %Y", fields[5..10].join(" ")).unwrap();
        let told = Told {
            parent: fields[1].parse().unwrap(),
            user: fields[2].to_owned(),
            state: fields[3].chars().next().unwrap(),
            memory_k: fields[4].parse().unwrap(),
            started: jiff::tz::TimeZone::UTC.to_timestamp(started).unwrap(),
        };
        (fields[0].parse().unwrap(), told)
    });
    told.collect()
}

fn status(state: char) -> &'static str {
    match state {
        'R' => "running",
        'S' | 'I' => "sleeping",
        'D' => "waiting",
        'T' => "stopped",
        't' => "traced",
        'Z' => "zombie",
        _ => "dead",
    }
}

/// Children of the test, ended with it.
struct Child(std::process::Child);

impl Child {
    fn new(program: &str, argument: &str) -> Self {
        Self(Command::new(program).arg(argument).stdout(Stdio::null()).spawn().unwrap())
    }

    /// Waits until the kernel says that it is so.
    fn until(self, state: char) -> Self {
        let stat = format!("/proc/{}/stat", self.0.id());
        let is_so = || std::fs::read_to_string(&stat).unwrap().rsplit(')').next().unwrap().trim_start().starts_with(state);
        until("the state of a child", is_so);
        self
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn processes_are_those_of_ps() {
    if !need(&["ps"]) {
        return;
    }
    let home = Home::new();
    let asleep = Child::new("sleep", "1000").until('S');
    let stopped = Child::new("sleep", "1000").until('S');
    signal(stopped.0.id(), "STOP");
    let stopped = stopped.until('T');
    let ended = Child::new("true", "").until('Z');

    let begun = Timestamp::now();
    let before = ps();
    let script = "connect\nprocesses -output json > p.json\n";
    home.batch(script).run().code(0);
    let after = ps();
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(home.work().join("p.json")).unwrap()).unwrap();
    let shown: HashMap<i64, &Value> = rows.iter().map(|row| (row["pid"].as_i64().unwrap(), row)).collect();
    assert_eq!(shown.len(), rows.len(), "no process twice");

    for (pid, row) in &shown {
        let started: Timestamp = row["creation_time"].as_str().unwrap().parse().unwrap();
        assert!(before.contains_key(pid) || started >= begun - jiff::SignedDuration::from_secs(2), "ps does not know {row}");
    }
    let mut compared = 0;
    for (pid, one) in &before {
        let Some(other) = after.get(pid).filter(|other| other.started == one.started) else { continue };
        let row = shown.get(pid).unwrap_or_else(|| panic!("{pid} is not shown: {one:?}"));
        compared += 1;
        if one.parent == other.parent {
            assert_eq!(row["parent_id"], one.parent, "{row}");
        }
        assert_eq!(row["user_name"], one.user.as_str(), "{row}");
        let now = row["status"].as_str().unwrap();
        // What slept before and after may have run in between.
        let may_be = [status(one.state), status(other.state), "running", "waiting", "sleeping"];
        assert!(may_be.contains(&now), "{row}: {one:?} {other:?}");
        let memory = row["memory_k"].as_i64().unwrap();
        let (least, most) = (one.memory_k.min(other.memory_k), one.memory_k.max(other.memory_k));
        if least == most {
            let room = 1024 + most / 20;
            assert!((least - room..=most + room).contains(&memory), "{row}: {one:?}");
        }
        let started: Timestamp = row["creation_time"].as_str().unwrap().parse().unwrap();
        let apart = started.duration_since(one.started).as_secs().abs();
        assert!(apart <= 2, "{row}: {one:?}");
    }
    assert!(compared >= 4, "{compared}");
    for (child, state) in [(&asleep, "sleeping"), (&stopped, "stopped"), (&ended, "zombie")] {
        let row = shown[&i64::from(child.0.id())];
        assert_eq!(row["status"], state, "{row}");
        assert_eq!(row["parent_id"], std::process::id(), "{row}");
    }
}

#[test]
fn looking_at_a_file_leaves_when_it_was_last_read() {
    let home = Home::new();
    let path = home.work().join("file");
    std::fs::write(&path, "text\n").unwrap();
    let hash = "b9e68e1bea3e5b19ca6b2f98b73a54b73daafaa250484902e09982e07a12e733";
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(271_752);
    let shown = path.display();
    let folder = home.work();
    for line in [
        format!("fileinfo {shown}"),
        format!("cat {shown}"),
        format!("findfile fil* {} -sha256 {hash}", folder.display()),
        format!("analyze file {shown}"),
        format!("getfile {shown} -to {}", folder.join("copy").display()),
        format!("remediate file {shown} -auto"),
        format!("undo file {shown}"),
    ] {
        if let Ok(file) = std::fs::File::options().append(true).open(&path) {
            file.set_times(std::fs::FileTimes::new().set_accessed(old)).unwrap();
        }
        let ran = home.line(&line).code(0);
        let accessed = std::fs::metadata(&path).ok().map(|facts| facts.accessed().unwrap());
        assert!(accessed.is_none_or(|accessed| accessed == old), "{line}: {accessed:?}: {}", ran.out());
    }
}
