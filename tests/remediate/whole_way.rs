//! The whole way of each entity type on the real program: refused without a look, planned, removed, gone, listed, undone, as before;
//! and in the log, also when the events of the command are kept no more.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::faults::files;
use super::service::{UNITS, set_up, state};
use super::{dump, typed};
use crate::kit::shell::{Home, Ran};
use crate::kit::systemd::inside_systemd;

/// What is done to what, and how it is told whether it is there.
struct Way<'a, T> {
    run: &'a dyn Fn(&str) -> Ran,
    entity: &'a str,
    id: &'a str,
    action: &'a str,
    looks: &'a dyn Fn() -> T,
    is_gone: &'a dyn Fn() -> bool,
}

impl<T: PartialEq + Debug> Way<'_, T> {
    fn go(&self) {
        let Self { run, entity, id, action, looks, is_gone } = self;
        let before = looks();
        let blind = run(&format!("remediate {entity} \"{id}\"")).code(1);
        assert!(blind.err().contains("first, or give -auto"), "{entity}: {}", blind.err());
        let planned = run(&format!("remediate {entity} \"{id}\" -plan -auto -output jsonl")).code(0).jsonl();
        let planned = planned.iter().find(|row| row["state"] == "planned").unwrap();
        assert_eq!(planned["action"], *action, "{entity}");
        assert_eq!(looks(), before, "{entity}: a plan changes nothing");
        let blind = run("remediate list jsonl").code(0).jsonl();
        run(&format!("remediate {entity} \"{id}\" -auto")).code(0);
        assert!(is_gone(), "{entity}: it is still there");
        let rows = run("remediate list jsonl").code(0).jsonl();
        let row = rows.last().unwrap();
        assert_eq!(rows.len(), blind.len() + 1, "{entity}: only what was done is listed");
        assert_eq!(
            (&row["type"], &row["state"], &row["undoable"]),
            (&(*entity).into(), &"done".into(), &"yes".into()),
            "{row}"
        );
        assert!(row["before"].is_object() && row["after"].is_object() && row["analyst"].is_string(), "{row}");
        run(&format!("undo {}", row["id"])).code(0);
        assert_eq!(looks(), before, "{entity}: it is as before");
        let logged = run("log -output jsonl -match \"-auto\"").code(0).jsonl();
        let done = logged.iter().rev().find(|command| command["effects"].as_array().is_some_and(|all| !all.is_empty()));
        let effect = &done.unwrap()["effects"][0];
        for field in ["target", "before", "after", "action"] {
            assert_eq!(effect[field], row[field], "{entity}: the log tells the same");
        }
    }
}

/// A tree with a task and start-up items.
fn tree(home: &Home) -> PathBuf {
    let tree = home.work().join("tree");
    for (path, text, mode) in [
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\n", 0o644),
        ("etc/crontab", "# kept\n5 5 * * * root /bin/true\n6 6 * * * root /tmp/evil\n", 0o644),
        ("etc/cron.daily/evil", "#!/bin/sh\n/tmp/evil\n", 0o755),
        ("var/spool/cron/atjobs/a0000101c6a5ef", "#!/bin/sh\n# atrun uid=0 gid=0\n# mail root 0\numask 22\n/tmp/evil\n", 0o700),
        ("etc/profile.d/evil.sh", "/tmp/evil &\n", 0o644),
        ("etc/xdg/autostart/evil.desktop", "[Desktop Entry]\nType=Application\nName=Evil\nExec=/tmp/evil\n", 0o644),
        ("etc/systemd/system/evil.service", "[Service]\nExecStart=/opt/evil\n[Install]\nWantedBy=multi-user.target\n", 0o644),
        ("opt/evil", "\u{7f}ELF evil", 0o755),
    ] {
        let path = tree.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }
    let wants = tree.join("etc/systemd/system/multi-user.target.wants");
    std::fs::create_dir(&wants).unwrap();
    symlink("../evil.service", wants.join("evil.service")).unwrap();
    tree
}

#[test]
fn of_tasks_and_start_up_items_and_services_of_a_tree() {
    let home = Home::new();
    let tree = tree(&home);
    let root = tree.to_str().unwrap().to_owned();
    let run = |line: &str| home.batch("").args(&["--root", &root, "--root-writable", "-c", line]).run();
    let tasks = run("scheduledtasks -output jsonl").code(0).jsonl();
    let ids: Vec<&str> = tasks.iter().map(|task| task["id"].as_str().unwrap()).collect();
    let id_of = |part: &str| (*ids.iter().find(|id| id.contains(part)).unwrap_or_else(|| panic!("{part}: {ids:?}"))).to_owned();
    let crontab = tasks.iter().find(|task| task["command"] == "/tmp/evil").unwrap()["id"].as_str().unwrap().to_owned();
    let looks = || files(&tree);
    let wants = "etc/systemd/system/multi-user.target.wants/evil.service";
    for (entity, id, action, gone) in [
        ("scheduledtask", crontab, "line removed", ""),
        ("scheduledtask", id_of("cron.daily/evil"), "quarantined", "etc/cron.daily/evil"),
        ("scheduledtask", id_of("at:1"), "quarantined", "var/spool/cron/atjobs/a0000101c6a5ef"),
        ("startupfolder", "/etc/profile.d/evil.sh".into(), "quarantined", "etc/profile.d/evil.sh"),
        ("startupfolder", "/etc/xdg/autostart/evil.desktop".into(), "quarantined", "etc/xdg/autostart/evil.desktop"),
        ("service", "evil".into(), "disabled, image quarantined", wants),
        ("file", "/opt/evil".into(), "quarantined", "opt/evil"),
    ] {
        let is_gone = || match gone {
            "" => !std::fs::read_to_string(tree.join("etc/crontab")).unwrap().contains("evil"),
            gone => tree.join(gone).symlink_metadata().is_err(),
        };
        Way { run: &run, entity, id: &id, action, looks: &looks, is_gone: &is_gone }.go();
    }
}

#[test]
fn of_a_service_a_timer_and_a_start_up_item_of_a_booted_system() {
    if !inside_systemd("remediate::whole_way::of_a_service_a_timer_and_a_start_up_item_of_a_booted_system") {
        return;
    }
    let program = set_up();
    std::fs::write("/etc/profile.d/lrsh-evil.sh", "/tmp/evil &\n").unwrap();
    std::fs::write("/etc/cron.d/lrsh-evil", "1 2 * * * root /tmp/lrsh-evil\n3 4 * * * root /bin/true\n").unwrap();
    let home = Home::new();
    let run = |line: &str| home.line(line);
    let looks = || -> (BTreeMap<PathBuf, String>, Vec<(PathBuf, String)>, Vec<_>) {
        let states = ["lrsh-evil", "lrsh-tick.timer", "lrsh-talk.socket"].map(state).to_vec();
        let mut etc = files(Path::new("/etc/profile.d"));
        etc.extend(files(Path::new("/etc/cron.d")));
        etc.extend(files(program.parent().unwrap()));
        (dump(Path::new(UNITS)), etc, states)
    };
    let tasks = run("scheduledtasks -output jsonl").code(0).jsonl();
    let cron = tasks.iter().find(|task| task["command"] == "/tmp/lrsh-evil").unwrap()["id"].as_str().unwrap().to_owned();
    let idle = |name: &'static str| move || state(name) == ("inactive".to_owned(), "disabled".to_owned());
    let all = "stopped, disabled, image quarantined";
    Way { run: &run, entity: "service", id: "lrsh-evil", action: all, looks: &looks, is_gone: &idle("lrsh-evil") }.go();
    let (timer, socket) = ("lrsh-tick.timer", "lrsh-talk.socket");
    Way { run: &run, entity: "service", id: socket, action: "stopped, disabled", looks: &looks, is_gone: &idle(socket) }.go();
    Way { run: &run, entity: "scheduledtask", id: timer, action: "stopped, disabled", looks: &looks, is_gone: &idle(timer) }
        .go();
    let is_gone = || !std::fs::read_to_string("/etc/cron.d/lrsh-evil").unwrap().contains("evil");
    Way { run: &run, entity: "scheduledtask", id: &cron, action: "line removed", looks: &looks, is_gone: &is_gone }.go();
    let item = "/etc/profile.d/lrsh-evil.sh";
    let is_gone = || !Path::new(item).exists();
    Way { run: &run, entity: "startupfolder", id: item, action: "quarantined", looks: &looks, is_gone: &is_gone }.go();
}

#[test]
fn the_log_tells_changes_when_their_events_are_kept_no_more() {
    let home = Home::new();
    let path = home.work().join("evil");
    std::fs::write(&path, "evil").unwrap();
    home.line(&format!("remediate file {} -auto", typed(&path))).code(0);
    let logged = home.line("log -output jsonl -match remediate").code(0).jsonl();
    let id = logged.iter().find(|row| row["effects"][0]["action"] == "quarantined").unwrap()["command_id"].clone();
    while !home.processes().is_empty() {
        std::thread::yield_now();
    }
    std::fs::remove_dir_all(home.path().join("service/spool")).unwrap();
    let told = home.line(&format!("log {} -output json", id.as_str().unwrap())).code(0).json();
    let effect = &told["effects"][0];
    assert_eq!((&effect["target"], &effect["state"]), (&typed(&path).into(), &"done".into()), "{told}");
    assert_eq!((&effect["before"]["size"], &told["analyst"].is_string()), (&4.into(), &true), "{told}");
    assert!(home.line(&format!("log {}", id.as_str().unwrap())).code(0).out().contains("quarantined"));
}
