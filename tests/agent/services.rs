//! `services` agrees with `systemctl` and `service`, on this machine and on a booted systemd.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use lrsh::protocol::Status;
use serde_json::Value;

use crate::agent::units::systemctl;
use crate::kit::device::{Answer, Device};
use crate::kit::need::need;
use crate::kit::systemd::inside_systemd;

fn by_name(answer: &Answer) -> BTreeMap<String, Value> {
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    answer.rows().into_iter().map(|row| (row["service_name"].as_str().unwrap().to_owned(), row)).collect()
}

fn output(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).env("LC_ALL", "C").output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[test]
fn unit_files_and_scripts_of_this_machine_agree() {
    if need(&["systemctl", "service"]) {
        files_agree(&by_name(&Device::live().run("services", &[], &[])));
    }
}

/// Holds unit files and scripts against what `systemctl` and `service` tell of them.
fn files_agree(rows: &BTreeMap<String, Value>) {
    let told: BTreeMap<String, String> = rows
        .iter()
        .filter(|(_, row)| row["service_type"] != "sysv" && row["unit_file"].is_string())
        // Running instances are no unit files.
        .filter(|(name, row)| Path::new(row["unit_file"].as_str().unwrap()).file_name().unwrap() == name.as_str())
        .map(|(name, row)| (name.clone(), row["enabled"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(told, systemctl(Path::new("/")));
    let scripts: BTreeMap<String, bool> = output("service", &["--status-all"])
        .lines()
        .filter_map(|line| line.split_once(']'))
        .map(|(state, name)| (name.trim().to_owned(), state.contains('+')))
        .collect();
    let ours: BTreeSet<&String> = rows.iter().filter(|(_, row)| row["service_type"] == "sysv").map(|(name, _)| name).collect();
    assert_eq!(ours, scripts.keys().collect::<BTreeSet<_>>());
    for (name, running) in scripts {
        if running && rows[&name]["current_state"].is_string() {
            assert_eq!(rows[&name]["current_state"], "running", "{name}");
        }
    }
}

#[test]
fn units_of_a_tree_are_described_from_file_and_drop_ins() {
    let tree = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = tree.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let link = |path: &str, target: &str| {
        let path = tree.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    };
    write("usr/lib/systemd/system/default.target", "[Unit]\nDescription=Default\nRequires=basic.target\n");
    write("usr/lib/systemd/system/basic.target", "[Unit]\nWants=sockets.target\n");
    write("usr/lib/systemd/system/sockets.target", "[Unit]\n");
    write(
        "usr/lib/systemd/system/web.service",
        "[Unit]\nDescription=Web %p\nRequires=net.target\n[Service]\nType=notify\nUser=www\nExecStart=/usr/bin/web -a \"b c\"\n[Install]\nWantedBy=default.target\n",
    );
    write("etc/systemd/system/web.service.d/evil.conf", "[Service]\nExecStart=\nExecStart=-/tmp/evil --x\n");
    write("usr/lib/systemd/system/at.service", "[Service]\nExecStart=/bin/at\n");
    write("usr/lib/systemd/system/at.socket", "[Socket]\nListenStream=1\n");
    write("usr/lib/systemd/system/each@.service", "[Service]\nExecStart=/bin/each %i\n");
    write("usr/lib/systemd/system/by-hand.service", "[Service]\nExecStart=/bin/x\n");
    write("usr/lib/systemd/system/broken.service", "no section\0here");
    link("etc/systemd/system/default.target.wants/web.service", "/usr/lib/systemd/system/web.service");
    link("etc/systemd/system/default.target.wants/each@one.service", "/usr/lib/systemd/system/each@.service");
    link("etc/systemd/system/sockets.target.wants/at.socket", "/usr/lib/systemd/system/at.socket");
    link("etc/systemd/system/off.service", "/dev/null");
    link("etc/systemd/system/www.service", "/usr/lib/systemd/system/web.service");
    write(
        "etc/init.d/old",
        "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: old\n# Required-Start: $network\n# Short-Description: Old one\n### END INIT INFO\n",
    );
    std::fs::set_permissions(tree.path().join("etc/init.d/old"), PermissionsExt::from_mode(0o755)).unwrap();
    write("etc/passwd", "alice:x:1000:1000::/home/alice:/bin/sh\n");
    write("usr/lib/systemd/user/shared.service", "[Service]\nExecStart=/bin/shared\n");
    write("usr/lib/systemd/user/unused.service", "[Service]\nExecStart=/bin/unused\n");
    write("home/alice/.config/systemd/user/mine.service", "[Unit]\nDescription=Mine\n[Service]\nExecStart=%h/mine -x\n");
    link("home/alice/.config/systemd/user/default.target.wants/mine.service", "../mine.service");
    link("home/alice/.config/systemd/user/default.target.wants/shared.service", "/usr/lib/systemd/user/shared.service");
    write("home/alice/.config/systemd/user/by-hand.service", "[Service]\nExecStart=/bin/x\n");
    write("etc/init.d/README", "");
    link("etc/rc2.d/S01old", "../init.d/old");
    link("etc/rcS.d/S01old", "../init.d/old");
    link("etc/rc0.d/K01old", "../init.d/old");
    let answer = Device::at(tree.path()).run("services", &[], &[]);
    let rows = by_name(&answer);
    let check = |name: &str, fields: Value| {
        for (key, value) in fields.as_object().unwrap() {
            assert_eq!(&rows[name][key], value, "{name}: {key}");
        }
    };
    check(
        "web.service",
        serde_json::json!({
            "display_name": "Web web", "current_state": null, "start_type": "auto", "service_type": "notify",
            "service_start_name": "www", "binary_path": "-/tmp/evil --x", "path": "/tmp/evil", "args": "--x",
            "process_id": null, "dependencies": ["net.target"], "unit_file": "/usr/lib/systemd/system/web.service",
            "enabled": "enabled", "drop_ins": ["/etc/systemd/system/web.service.d/evil.conf"],
        }),
    );
    check("at.service", serde_json::json!({ "start_type": "triggered", "triggered_by": ["at.socket"], "enabled": "static" }));
    check("each@.service", serde_json::json!({ "start_type": "auto", "instances": ["each@one.service"] }));
    check("by-hand.service", serde_json::json!({ "start_type": "manual", "service_start_name": "root" }));
    check("off.service", serde_json::json!({ "start_type": "disabled", "enabled": "masked", "path": null }));
    check("www.service", serde_json::json!({ "alias_of": "web.service", "path": "/tmp/evil", "enabled": "alias" }));
    check("broken.service", serde_json::json!({ "error": "line 1: a zero byte: this is no text" }));
    check(
        "old",
        serde_json::json!({
            "service_type": "sysv", "display_name": "Old one", "start_type": "auto", "runlevels": ["2", "S"],
            "dependencies": ["$network"], "unit_file": "/etc/init.d/old", "current_state": null,
        }),
    );
    check(
        "user:alice:mine.service",
        serde_json::json!({
            "display_name": "Mine", "start_type": "auto", "service_start_name": "alice", "binary_path": "/home/alice/mine -x",
            "enabled": "enabled", "unit_file": "/home/alice/.config/systemd/user/mine.service", "current_state": null,
        }),
    );
    check("user:alice:shared.service", serde_json::json!({ "start_type": "auto", "path": "/bin/shared" }));
    check("user:alice:by-hand.service", serde_json::json!({ "start_type": "manual" }));
    assert!(!rows.contains_key("user:alice:unused.service"));
    assert!(!rows.contains_key("README"));
    let seen = answer.seen();
    assert_eq!(seen.len(), rows.len());
    let web = seen.iter().find(|item| item.key == "web.service").unwrap();
    assert_eq!(web.identity["unit_file"], "/usr/lib/systemd/system/web.service");
    assert_eq!(web.identity["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn damaged_trees_answer_with_rows() {
    let tree = tempfile::tempdir().unwrap();
    let units = tree.path().join("etc/systemd/system");
    std::fs::create_dir_all(&units).unwrap();
    std::fs::create_dir_all(units.join("folder.service")).unwrap();
    std::fs::write(units.join("binary.service"), [0xff, 0, b'[', b'\\', b'\n'].repeat(50_000)).unwrap();
    std::fs::write(units.join("huge.service"), vec![b'#'; 5 * 1024 * 1024]).unwrap();
    symlink("b.service", units.join("a.service")).unwrap();
    symlink("a.service", units.join("b.service")).unwrap();
    symlink(".", units.join("x.service.d")).unwrap();
    symlink("..", units.join("x.target.wants")).unwrap();
    std::fs::write(units.join("self.target"), "[Unit]\nWants=self.target default.target\nRequires=%%%").unwrap();
    symlink("self.target", units.join("default.target")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, units.join("pipe.service"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let rows = by_name(&Device::at(tree.path()).run("services", &[], &[]));
    assert_eq!(rows["binary.service"]["error"], "line 1: a zero byte: this is no text");
    assert_eq!(rows["huge.service"]["enabled"], "bad");
    assert_eq!(rows["a.service"]["enabled"], "bad");
    assert_eq!(rows["self.target"]["start_type"], "auto");
    for (name, what) in [("pipe.service", "a FIFO"), ("folder.service", "a folder")] {
        let wrong = format!("/etc/systemd/system/{name} is {what}: systemd passes it over");
        assert_eq!((&rows[name]["error"], &rows[name]["enabled"]), (&wrong.into(), &"bad".into()));
    }
}

#[test]
fn a_unit_of_a_users_own_manager_is_not_taken_for_the_systems() {
    let tree = tempfile::tempdir().unwrap();
    let units = tree.path().join("home/alice/.config/systemd/user");
    std::fs::create_dir_all(&units).unwrap();
    std::fs::create_dir_all(tree.path().join("etc")).unwrap();
    std::fs::write(tree.path().join("etc/passwd"), "alice:x:1000:1000::/home/alice:/bin/sh\n").unwrap();
    std::fs::write(units.join("mine.service"), "[Service]\nExecStart=/home/alice/mine\n").unwrap();
    std::fs::write(tree.path().join("home/alice/mine"), "evil").unwrap();
    let mut device = Device::at(tree.path());
    device.seen = device.run("services", &[], &[]).seen();
    let answer = device.run("remediate", &[("type", "service"), ("id", "user:alice:mine.service")], &[]);
    let why = &answer.completed.errors[0];
    assert_eq!((answer.completed.status, why.code.as_str()), (Status::Failed, "not_supported"), "{why:?}");
    assert!(why.message.contains("`remediate file /home/alice/.config/systemd/user/mine.service`"), "{why:?}");
    assert!(tree.path().join("home/alice/mine").exists() && units.join("mine.service").exists());
}

#[test]
fn a_pipe_does_not_hide_the_unit_that_systemd_finds_behind_it() {
    let tree = tempfile::tempdir().unwrap();
    let (etc, usr) = (tree.path().join("etc/systemd/system"), tree.path().join("usr/lib/systemd/system"));
    for folder in [&etc, &usr] {
        std::fs::create_dir_all(folder).unwrap();
    }
    rustix::fs::mkfifoat(rustix::fs::CWD, etc.join("x.service"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    std::fs::write(usr.join("x.service"), "[Service]\nExecStart=/bin/x\n").unwrap();
    let rows = by_name(&Device::at(tree.path()).run("services", &[], &[]));
    assert_eq!(rows["x.service"]["unit_file"], "/usr/lib/systemd/system/x.service");
    assert_eq!(rows["x.service"]["binary_path"], "/bin/x");
    assert!(rows["x.service"]["error"].as_str().unwrap().contains("is a FIFO"), "{}", rows["x.service"]);
}

#[test]
fn a_tree_without_a_default_target_is_judged_by_what_that_usually_is() {
    let tree = tempfile::tempdir().unwrap();
    let units = tree.path().join("etc/systemd/system");
    let wants = units.join("multi-user.target.wants");
    std::fs::create_dir_all(&wants).unwrap();
    std::fs::write(units.join("x.service"), "[Service]\nExecStart=/bin/x\n[Install]\nWantedBy=multi-user.target\n").unwrap();
    std::fs::write(units.join("y.service"), "[Service]\nExecStart=/bin/y\n").unwrap();
    symlink("../x.service", wants.join("x.service")).unwrap();
    let start = |name: &str| by_name(&Device::at(tree.path()).run("services", &[], &[]))[name]["start_type"].clone();
    assert_eq!((start("x.service"), start("y.service")), ("auto".into(), "manual".into()));
    // A link to a target that is not there is none.
    symlink("/usr/lib/systemd/system/graphical.target", units.join("default.target")).unwrap();
    assert_eq!(start("x.service"), "auto");
    // One that is there decides alone.
    std::fs::remove_file(units.join("default.target")).unwrap();
    std::fs::write(units.join("default.target"), "[Unit]\nDescription=Nothing\n").unwrap();
    assert_eq!(start("x.service"), "manual");
}

const LIST_UNITS: [&str; 6] = ["list-units", "--all", "--plain", "--no-legend", "--no-pager", "--full"];

/// Units and what is told of their state.
fn listed(text: &str) -> BTreeMap<String, Vec<String>> {
    let line = |line: &str| {
        let words: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
        (words[0].clone(), words[1..4].to_vec())
    };
    text.lines().map(line).collect()
}

#[test]
fn a_users_own_manager_agrees_with_systemctl() {
    if !inside_systemd("agent::services::a_users_own_manager_agrees_with_systemctl") {
        return;
    }
    // The root outlives this test: what it writes is on a file system of its own.
    output("mount", &["-t", "tmpfs", "tmpfs", "/var/www"]);
    let units = Path::new("/var/www/.config/systemd/user");
    std::fs::create_dir_all(units.join("default.target.wants")).unwrap();
    std::fs::write(units.join("own.service"), "[Unit]\nDescription=Own of %u\n[Service]\nExecStart=/bin/sleep 1h\n").unwrap();
    std::fs::write(units.join("idle.service"), "[Service]\nExecStart=/bin/sleep 1h\n").unwrap();
    std::fs::write(units.join("own.timer"), "[Timer]\nOnCalendar=*-*-* 04:05\n").unwrap();
    for name in ["own.service", "own.timer"] {
        symlink(format!("../{name}"), units.join("default.target.wants").join(name)).unwrap();
    }
    output("chown", &["-R", "www-data:", "/var/www"]);
    // As the session module of PAM would, which is not installed there.
    let own = Path::new("/run/systemd/system/user@.service.d");
    std::fs::create_dir_all(own).unwrap();
    std::fs::write(own.join("runtime.conf"), "[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n").unwrap();
    output("systemctl", &["daemon-reload"]);
    let started = output("systemctl", &["start", "user@33.service"]);
    assert_eq!(output("systemctl", &["is-active", "user@33.service"]).trim(), "active", "{started}");
    let as_user = |args: &[&str]| {
        let own = ["-u", "www-data", "--", "env", "XDG_RUNTIME_DIR=/run/user/33", "systemctl", "--user"];
        output("runuser", &[&own[..], args].concat())
    };
    let (before, answer, after) =
        (listed(&as_user(&LIST_UNITS)), Device::live().run("services", &[], &[]), as_user(&LIST_UNITS));
    let after = listed(&after);
    assert_eq!(answer.completed.errors, []);
    let rows = by_name(&answer);
    let mut compared = 0;
    for (name, row) in rows.iter().filter_map(|(name, row)| Some((name.strip_prefix("user:www-data:")?, row))) {
        let ours = ["load_state", "active_state", "current_state"].map(|key| row[key].as_str().unwrap_or("-").to_owned());
        let Some(state) = before.get(name).filter(|state| after.get(name) == Some(state)) else { continue };
        assert_eq!(ours.as_slice(), state.as_slice(), "{name}");
        compared += 1;
    }
    assert_eq!(compared, 2, "{before:?}");
    let own = &rows["user:www-data:own.service"];
    let pid = as_user(&["show", "-P", "MainPID", "own.service"]);
    assert_eq!((own["process_id"].to_string(), &own["start_type"]), (pid.trim().to_owned(), &"auto".into()));
    assert_eq!(own["service_start_name"], "www-data");
    let idle = &rows["user:www-data:idle.service"];
    assert_eq!((&idle["current_state"], &idle["start_type"]), (&"dead".into(), &"manual".into()));
    let told = Device::live().run("scheduledtasks", &[("task", "user:www-data:own.timer")], &[]).rows();
    assert!(told[0]["next_run"].as_str().unwrap().ends_with("T04:05:00Z") && told[0]["is_enabled"] == true, "{told:?}");
    // One that a user put in its place and that says nothing holds nobody up for long, and is told.
    output("systemctl", &["stop", "user@33.service", "user-runtime-dir@33.service"]);
    std::fs::create_dir_all("/run/user/33/systemd").unwrap();
    let silent = std::os::unix::net::UnixListener::bind("/run/user/33/systemd/private").unwrap();
    let answer = Device::live().run("services", &[], &[]);
    assert!(answer.completed.errors[0].message.contains("the managers of www-data do not tell"), "{:?}", answer.completed);
    assert_eq!(by_name(&answer)["user:www-data:own.service"]["current_state"], "dead");
    drop(silent);
}

#[test]
fn a_booted_systemd_agrees_with_systemctl() {
    if !inside_systemd("agent::services::a_booted_systemd_agrees_with_systemctl") {
        return;
    }
    // Without a console it is started again and again.
    output("systemctl", &["stop", "console-getty.service"]);
    let listed = || listed(&output("systemctl", &LIST_UNITS));
    let (before, answer, after) = (listed(), Device::live().run("services", &[], &[]), listed());
    assert_eq!(answer.completed.errors, []);
    let rows = by_name(&answer);
    let lasting = before.iter().filter(|(name, state)| after.get(*name) == Some(state));
    let mut compared = 0;
    for (name, state) in lasting {
        let row = rows.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        let ours = ["load_state", "active_state", "current_state"].map(|key| row[key].as_str().unwrap().to_owned());
        assert_eq!(ours.as_slice(), state.as_slice(), "{name}");
        if name.ends_with(".service") && state[2] == "running" {
            let pid = output("systemctl", &["show", "-P", "MainPID", name]);
            let pid = Some(pid.trim()).filter(|&pid| pid != "0").unwrap_or("null");
            assert_eq!(row["process_id"].to_string(), pid, "{name}");
        }
        compared += 1;
    }
    assert!(compared > 50, "{before:?}");
    let extra: Vec<_> = rows
        .iter()
        .filter(|(name, row)| row["load_state"].is_string() && !before.contains_key(*name) && !after.contains_key(*name))
        .collect();
    assert!(extra.is_empty(), "{extra:?}");
    assert_eq!(rows["cron.service"]["current_state"], "running");
    files_agree(&rows);
}
