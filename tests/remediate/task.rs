//! A scheduled task that was seen goes: one line out of many, a whole file; and comes back as it was.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use lrsh::protocol::Status;

use super::faults::{LINE_BACK, REWRITE, files};
use super::power::Cutting;
use super::{done, effects, refused};
use crate::kit::device::{Answer, Device};
use crate::kit::need::{need, skip};

/// Says to a test that it is the one that is to die, and where its tree is.
const CHILD: &str = "LRSH_TEST_DIES_IN_TREE";
const CRONTAB: &str = "# system\nSHELL=/bin/sh\n\n1 2 * * * root /usr/bin/good --one\n  */5 * * * *\troot\t/tmp/evil \n\
                       3 4 * * * root /usr/bin/good --two\n# the end\n";

/// A tree with tasks of every kind that is files.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str, mode: u32| {
        let path = tree.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    };
    write("etc/passwd", "root:x:0:0::/root:/bin/sh\nmallory:x:1234:1234::/home/mallory:/bin/sh\n", 0o644);
    write("etc/crontab", "5 5 * * * root /bin/true\n", 0o644);
    write("etc/cron.d/mixed", CRONTAB, 0o644);
    write("etc/cron.daily/evil", "#!/bin/sh\n/tmp/evil\n", 0o755);
    let own = write("var/spool/cron/crontabs/mallory", "@reboot /tmp/evil\n7 7 * * * /bin/true\n", 0o600);
    if rustix::process::geteuid().is_root() {
        chown(own, Some(1234), Some(1234)).unwrap();
    }
    tree
}

fn look(device: &mut Device) -> Vec<String> {
    let answer = device.run("scheduledtasks", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    device.seen = answer.seen();
    let mut ids: Vec<String> = answer.rows().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

fn id_of(device: &mut Device, command: &str) -> String {
    let answer = device.run("scheduledtasks", &[], &[]);
    let row = answer.rows().into_iter().find(|row| row["command"].as_str() == Some(command));
    row.unwrap_or_else(|| panic!("{command}: {:?}", answer.rows()))["id"].as_str().unwrap().to_owned()
}

fn remediate(device: &Device, id: &str, flags: &[&str]) -> Answer {
    device.run("remediate", &[("type", "scheduledtask"), ("id", id)], flags)
}

fn undo(device: &Device, id: &str, flags: &[&str]) -> Answer {
    device.run("undo", &[("type", "scheduledtask"), ("id", id)], flags)
}

#[test]
fn one_line_goes_and_the_others_stay() {
    let tree = tree();
    let mut device = Device::at(tree.path());
    let crontab = tree.path().join("etc/cron.d/mixed");
    let id = id_of(&mut device, "/tmp/evil");
    let why = refused(&remediate(&device, &id, &[]));
    assert!(why.code == "prerequisite" && why.message.contains("run `scheduledtasks "), "{why:?}");
    let ids = look(&mut device);
    let before = files(tree.path());
    let planned = remediate(&device, &id, &["plan"]);
    assert_eq!(planned.rows()[0]["action"], "line removed", "{:?}", planned.completed);
    assert_eq!(files(tree.path()), before);
    let effect = done(&remediate(&device, &id, &[]));
    assert_eq!((effect.action.as_str(), effect.undoable.as_str()), ("line removed", Some("yes")));
    assert_eq!(effect.after["text"], "*/5 * * * *\troot\t/tmp/evil");
    let left = CRONTAB.replace("  */5 * * * *\troot\t/tmp/evil \n", "");
    assert_eq!(std::fs::read_to_string(&crontab).unwrap(), left);
    let gone: Vec<String> = look(&mut device);
    assert_eq!(ids.iter().filter(|known| !gone.contains(known)).collect::<Vec<_>>(), [&id]);
    let undone = done(&undo(&device, &id, &[]));
    assert_eq!(undone.action, "line restored");
    assert_eq!(files(tree.path()), before);
    assert_eq!(look(&mut device), ids);
}

#[test]
fn a_crontab_keeps_its_owner_and_a_file_that_is_a_task_goes_whole() {
    let tree = tree();
    let mut device = Device::at(tree.path());
    look(&mut device);
    let before = files(tree.path());
    let own = tree.path().join("var/spool/cron/crontabs/mallory");
    let meta = |path: &Path| {
        let meta = path.metadata().unwrap();
        (meta.mode(), meta.uid(), meta.gid())
    };
    let was = meta(&own);
    let answer = device.run("scheduledtasks", &[], &[]);
    let row = answer.rows().into_iter().find(|row| row["source"].as_str().unwrap().ends_with("crontabs/mallory:1")).unwrap();
    let line = row["id"].as_str().unwrap();
    done(&remediate(&device, line, &[]));
    assert_eq!((meta(&own), std::fs::read_to_string(&own).unwrap()), (was, "7 7 * * * /bin/true\n".into()));
    let script = "/etc/cron.daily/evil";
    let effect = done(&remediate(&device, script, &[]));
    assert_eq!(effect.action, "quarantined");
    assert!(!tree.path().join("etc/cron.daily/evil").exists());
    done(&undo(&device, line, &[]));
    done(&undo(&device, script, &[]));
    assert_eq!(files(tree.path()), before);
}

#[test]
fn what_changed_is_refused_on_both_ways() {
    let tree = tree();
    let mut device = Device::at(tree.path());
    let crontab = tree.path().join("etc/cron.d/mixed");
    let id = id_of(&mut device, "/tmp/evil");
    look(&mut device);
    std::fs::write(&crontab, format!("# another line\n{CRONTAB}")).unwrap();
    let why = refused(&remediate(&device, &id, &[]));
    assert!(why.code == "changed" && why.message.contains("it stands in another line"), "{why:?}");
    std::fs::write(&crontab, CRONTAB).unwrap();
    look(&mut device);
    done(&remediate(&device, &id, &[]));
    // Somebody adds a line: it must not be lost when the whole file comes back.
    let left = std::fs::read_to_string(&crontab).unwrap();
    std::fs::write(&crontab, format!("{left}9 9 * * * root /bin/new\n")).unwrap();
    let answer = undo(&device, &id, &["overwrite"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let actions: Vec<String> = effects(&answer).into_iter().map(|effect| effect.action).collect();
    assert_eq!(actions, ["quarantined", "restored"]);
    assert_eq!(std::fs::read_to_string(&crontab).unwrap(), CRONTAB);
}

#[test]
fn a_line_comes_back_alone_among_those_that_are_there_now() {
    let tree = tree();
    let mut device = Device::at(tree.path());
    let crontab = tree.path().join("etc/cron.d/mixed");
    let id = id_of(&mut device, "/tmp/evil");
    let evil = "  */5 * * * *\troot\t/tmp/evil \n";
    let without = CRONTAB.replace(evil, "");
    let agent = device.folder.path().join("agent/quarantine");
    let mut check = |now: &str, wanted: &str, place: &str| {
        std::fs::write(&crontab, CRONTAB).unwrap();
        look(&mut device);
        done(&remediate(&device, &id, &[]));
        std::fs::write(&crontab, now).unwrap();
        if rustix::process::geteuid().is_root() {
            chown(&crontab, Some(1234), None).unwrap();
        }
        std::fs::set_permissions(&crontab, PermissionsExt::from_mode(0o600)).unwrap();
        let was = crontab.metadata().unwrap();
        let effect = done(&undo(&device, &id, &[]));
        assert_eq!(effect.action, "line restored", "{now}");
        assert!(effect.reason.as_ref().unwrap().contains(place), "{effect:?}");
        assert_eq!(std::fs::read_to_string(&crontab).unwrap(), wanted);
        let meta = crontab.metadata().unwrap();
        assert_eq!((meta.mode(), meta.uid()), (was.mode(), was.uid()), "as the file that is there now");
        assert_eq!(std::fs::read_dir(&agent).unwrap().count(), 0, "what is back is kept no more");
        assert_eq!(std::fs::read_dir(crontab.parent().unwrap()).unwrap().count(), 1);
    };
    let added = "9 9 * * * root /bin/new\n";
    check(&format!("{without}{added}"), &format!("{CRONTAB}{added}"), "as line 5, between its old neighbours");
    check(&format!("{added}{without}"), &format!("{added}{CRONTAB}"), "as line 6, between its old neighbours");
    check("SHELL=/bin/sh\n", &format!("SHELL=/bin/sh\n{evil}"), "as line 2, behind the nearest of its old neighbours");
    check("# the end\n", &format!("{evil}# the end\n"), "as line 1, in front of the nearest of its old neighbours");
    check("9 9 * * * root /bin/new", &format!("{added}{evil}"), "as line 2, at the end");
    check("", evil, "as line 1, at the end");
}

#[test]
fn a_line_that_is_there_again_is_not_put_back_twice() {
    let tree = tree();
    let mut device = Device::at(tree.path());
    let crontab = tree.path().join("etc/cron.d/mixed");
    let id = id_of(&mut device, "/tmp/evil");
    look(&mut device);
    done(&remediate(&device, &id, &[]));
    std::fs::write(&crontab, "*/5 * * * *\troot\t/tmp/evil\n").unwrap();
    let why = refused(&undo(&device, &id, &[]));
    assert!(why.code == "conflict" && why.message.contains("the line is there again already"), "{why:?}");
    // What somebody has put in its place is no crontab.
    std::fs::remove_file(&crontab).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &crontab).unwrap();
    assert!(["conflict", "link_loop", "changed"].contains(&refused(&undo(&device, &id, &[])).code.as_str()));
    std::fs::remove_file(&crontab).unwrap();
    // Of two that are the same one comes back.
    let twice = "1 1 * * * root /tmp/evil\n1 1 * * * root /tmp/evil\n";
    std::fs::write(&crontab, twice).unwrap();
    look(&mut device);
    let id = id_of(&mut device, "/tmp/evil");
    done(&remediate(&device, &id, &[]));
    let mut left = std::fs::read_to_string(&crontab).unwrap();
    left.push_str("# more\n");
    std::fs::write(&crontab, &left).unwrap();
    done(&undo(&device, &id, &[]));
    assert_eq!(std::fs::read_to_string(&crontab).unwrap(), format!("{twice}# more\n"));
}

#[test]
fn several_lines_of_a_file_come_back_in_any_order() {
    for order in [[1, 2], [2, 1]] {
        let tree = tree();
        let mut device = Device::at(tree.path());
        let crontab = tree.path().join("etc/cron.d/mixed");
        for command in ["/usr/bin/good --one", "/tmp/evil"] {
            let id = id_of(&mut device, command);
            look(&mut device);
            done(&remediate(&device, &id, &[]));
        }
        for number in order {
            done(&device.run("undo", &[("number", &number.to_string())], &[]));
        }
        assert_eq!(std::fs::read_to_string(&crontab).unwrap(), CRONTAB, "{order:?}");
    }
}

#[test]
fn a_line_is_not_put_into_what_may_not_be_changed() {
    if !need(&["chattr"]) {
        return;
    }
    let tree = tree();
    let mut device = Device::at(tree.path());
    let crontab = tree.path().join("etc/cron.d/mixed");
    let id = id_of(&mut device, "/tmp/evil");
    look(&mut device);
    done(&remediate(&device, &id, &[]));
    std::fs::write(&crontab, "# new\n").unwrap();
    let chattr = |mark: &str| Command::new("chattr").arg(mark).arg(&crontab).status().unwrap().success();
    if !chattr("+i") {
        skip("this file system has no marks");
        return;
    }
    let why = refused(&undo(&device, &id, &[]));
    assert!(chattr("-i"));
    assert!(why.code == "immutable" && why.message.contains("chattr -i"), "{why:?}");
    done(&undo(&device, &id, &[]));
}

#[test]
fn other_names_of_a_crontab_are_told_of() {
    let tree = tree();
    let mut device = Device::at(tree.path());
    let crontab = tree.path().join("etc/cron.d/mixed");
    let other = tree.path().join("etc/other");
    std::fs::hard_link(&crontab, &other).unwrap();
    let before = files(tree.path());
    let id = id_of(&mut device, "/tmp/evil");
    look(&mut device);
    let effect = done(&remediate(&device, &id, &[]));
    assert!(effect.reason.unwrap().contains("other names of its file keep the line"));
    assert_eq!(std::fs::read_to_string(&other).unwrap(), CRONTAB);
    done(&undo(&device, &id, &[]));
    assert_eq!(files(tree.path()), before, "they are one file again");
    look(&mut device);
    done(&remediate(&device, &id, &[]));
    add_line(tree.path());
    std::fs::remove_file(&other).unwrap();
    std::fs::hard_link(&crontab, &other).unwrap();
    let effect = done(&undo(&device, &id, &[]));
    assert!(effect.reason.unwrap().contains("other names of that file stay without it"));
    assert!(!std::fs::read_to_string(&other).unwrap().contains("/tmp/evil"));
}

#[test]
fn a_list_of_the_folder_does_not_hang_on_a_file_that_is_written_anew() {
    if !need(&["setfacl"]) {
        return;
    }
    let tree = tree();
    let mut device = Device::at(tree.path());
    let crontab = tree.path().join("etc/cron.d/mixed");
    let set = Command::new("setfacl").args(["-d", "-m", "u:1234:rwx"]).arg(crontab.parent().unwrap()).status().unwrap();
    assert!(set.success());
    let has_list = || xattr::get(&crontab, "system.posix_acl_access").unwrap().is_some();
    let id = id_of(&mut device, "/tmp/evil");
    look(&mut device);
    done(&remediate(&device, &id, &[]));
    assert!(!has_list(), "who may not write to a crontab must not be let in by its removal");
    std::fs::write(&crontab, "# new\n").unwrap();
    done(&undo(&device, &id, &[]));
    assert!(!has_list());
}

fn states(device: &Device) -> Vec<String> {
    let rows = device.run("remediate", &[("type", "list")], &[]).rows();
    rows.iter().map(|row| row["state"].as_str().unwrap().to_owned()).collect()
}

/// Holds what the next start finds to the truth, and undoes it.
fn settled(device: &Device, tree: &Path, before: &[(PathBuf, String)], what: &str) {
    let crontab = tree.join("etc/cron.d/mixed");
    let evil = std::fs::read_to_string(&crontab).unwrap().contains("/tmp/evil");
    let states = states(device);
    match states.first().map(String::as_str) {
        None | Some("not_done" | "undone") => assert!(evil, "{what}: {states:?}"),
        Some("done") => {
            assert!(!evil, "{what}: {states:?}");
            done(&device.run("undo", &[("number", "1")], &[]));
        }
        other => panic!("{what}: {other:?}"),
    }
    assert_eq!(files(tree), before, "{what}: {states:?}");
}

#[test]
fn ended_while_a_line_is_removed_or_put_back() {
    if let Some(folder) = std::env::var_os(CHILD).map(PathBuf::from) {
        // This is the process that is to die.
        let mut device = Device::at(&folder.join("tree"));
        device.move_to(&folder.join("agent"));
        look(&mut device);
        let id = id_of(&mut device, "/tmp/evil");
        let done = remediate(&device, &id, &[]);
        if std::env::var("LRSH_FAULT").unwrap().starts_with("line_back") {
            add_line(&folder.join("tree"));
        }
        let undone = device.run("undo", &[("number", "1")], &[]);
        panic!("it did not die: {:?} {:?}", done.completed, undone.completed);
    }
    for point in REWRITE.into_iter().chain(LINE_BACK) {
        let tree = tree();
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(tree.path(), folder.path().join("tree")).unwrap();
        let before = files(tree.path());
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "remediate::task::ended_while_a_line_is_removed_or_put_back", "--nocapture"])
            .env(CHILD, folder.path())
            .env("LRSH_FAULT", format!("{point}:1:abort"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!said.contains("it did not die") && !out.status.success(), "{point}: {said}");
        let mut device = Device::at(tree.path());
        device.move_to(&folder.path().join("agent"));
        if LINE_BACK.contains(&point) {
            settled_with_added(&device, tree.path(), point);
        } else {
            settled(&device, tree.path(), &before, point);
        }
    }
}

const ADDED: &str = "9 9 * * * root /bin/new\n";

/// Somebody adds a line to the crontab that one was removed from.
fn add_line(tree: &Path) {
    let crontab = tree.join("etc/cron.d/mixed");
    let left = std::fs::read_to_string(&crontab).unwrap();
    std::fs::write(&crontab, format!("{ADDED}{left}")).unwrap();
}

/// The same where somebody added a line meanwhile: that stays, whatever became of the other.
fn settled_with_added(device: &Device, tree: &Path, what: &str) {
    let crontab = tree.join("etc/cron.d/mixed");
    let states = states(device);
    let text = std::fs::read_to_string(&crontab).unwrap();
    match states[0].as_str() {
        "undone" => {}
        "done" => {
            assert_eq!(
                text,
                format!("{ADDED}{CRONTAB}").replace("  */5 * * * *\troot\t/tmp/evil \n", ""),
                "{what}: {states:?}"
            );
            done(&device.run("undo", &[("number", "1")], &[]));
        }
        other => panic!("{what}: {other:?}"),
    }
    assert_eq!(std::fs::read_to_string(&crontab).unwrap(), format!("{ADDED}{CRONTAB}"), "{what}: {states:?}");
    assert_eq!(std::fs::read_dir(crontab.parent().unwrap()).unwrap().count(), 1, "{what}: {states:?}");
    assert_eq!(std::fs::read_dir(device_quarantine(device)).unwrap().count(), 0, "{what}: {states:?}");
}

/// The quarantine of the agent that tells where it keeps things.
fn device_quarantine(device: &Device) -> PathBuf {
    let rows = device.run("remediate", &[("type", "list")], &[]).rows();
    Path::new(rows[0]["after"]["quarantine"].as_str().unwrap()).parent().unwrap().to_path_buf()
}

#[test]
fn every_cut_while_a_line_comes_back_alone() {
    for calls in 0.. {
        let tree = tree();
        let mut device = Device::at(tree.path());
        look(&mut device);
        let id = id_of(&mut device, "/tmp/evil");
        done(&remediate(&device, &id, &[]));
        add_line(tree.path());
        let disk = Cutting::after(calls);
        device.restart_with(disk.clone());
        undo(&device, &id, &[]);
        let over = !disk.was_cut();
        disk.cut();
        device.restart();
        settled_with_added(&device, tree.path(), &format!("cut after {calls} calls"));
        if over {
            assert!(calls > 8, "{calls}");
            break;
        }
    }
}

#[test]
fn every_cut_leaves_the_whole_file_or_the_file_without_the_line() {
    for undoing in [false, true] {
        for calls in 0.. {
            let tree = tree();
            let before = files(tree.path());
            let mut device = Device::at(tree.path());
            look(&mut device);
            let id = id_of(&mut device, "/tmp/evil");
            if undoing {
                done(&remediate(&device, &id, &[]));
            }
            let disk = Cutting::after(calls);
            device.restart_with(disk.clone());
            if undoing {
                undo(&device, &id, &[]);
            } else {
                remediate(&device, &id, &[]);
            }
            let over = !disk.was_cut();
            disk.cut();
            device.restart();
            settled(&device, tree.path(), &before, &format!("undoing {undoing}, cut after {calls} calls"));
            if over {
                assert!(calls > 8, "{calls}");
                break;
            }
        }
    }
}
