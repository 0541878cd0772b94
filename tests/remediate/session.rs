//! `undo -session`: every place that the session changed is as it was before, whatever it put back and moved aside in between.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use lrsh::protocol::{CommandId, SessionId, Status};
use serde_json::Value;

use super::{done, dump, effects, look, refused, typed};
use crate::kit::device::{Answer, Device};

/// A device, a folder on it, and two sessions.
struct Two {
    device: Device,
    folder: tempfile::TempDir,
    own: SessionId,
    other: SessionId,
}

impl Two {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { device: Device::live(), folder, own: SessionId::new(), other: SessionId::new() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn send(&self, session: &SessionId, name: &str, params: &[(&str, &str)], flags: &[&str]) -> Answer {
        let mut command = self.device.command(name, params, flags);
        command.session_id = session.clone();
        command.command_id = CommandId::new();
        self.device.send(command, None)
    }

    /// A file that is looked at and removed; the number of the effect.
    #[track_caller]
    fn remove(&mut self, session: &SessionId, path: &Path) -> u64 {
        look(&mut self.device, path);
        let session = session.clone();
        done(&self.send(&session, "remediate", &[("type", "file"), ("id", &typed(path))], &[])).effect_id
    }

    fn undo(&self, session: &SessionId, number: u64, flags: &[&str]) -> Answer {
        self.send(session, "undo", &[("number", &number.to_string())], flags)
    }

    fn back(&self, flags: &[&str]) -> Answer {
        let flags: Vec<&str> = flags.iter().copied().chain(["session"]).collect();
        self.send(&self.own, "undo", &[], &flags)
    }

    /// `undo -session` once more finds nothing to do.
    #[track_caller]
    fn is_over(&self) {
        let before = dump(self.folder.path());
        let answer = self.back(&[]);
        assert_eq!((answer.completed.status, effects(&answer).len()), (Status::Completed, 0), "{:?}", answer.completed);
        assert_eq!(dump(self.folder.path()), before);
    }

    fn listed(&self) -> Vec<Value> {
        self.device.run("remediate", &[("type", "list")], &[]).rows()
    }
}

/// What is there: name and content.
fn found(folder: &Path) -> Vec<(String, String)> {
    let read = |entry: std::fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap_or_default())
    };
    let mut all: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect();
    all.sort();
    all
}

/// The effects of an answer: number, what it undoes by its words, and the action.
fn told(answer: &Answer) -> Vec<(u64, String)> {
    effects(answer).into_iter().map(|effect| (effect.effect_id, effect.action)).collect()
}

/// What an answer says that it left alone: the number, and why.
fn skipped(answer: &Answer) -> Vec<(u64, String)> {
    let rows = answer.rows().into_iter();
    rows.inspect(|row| assert_eq!(row["state"], "skipped", "{row}"))
        .map(|row| (row["id"].as_u64().unwrap(), row["reason"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn what_was_moved_aside_for_another_session_s_file_comes_back() {
    let mut two = Two::new();
    let path = two.at("evil");
    std::fs::write(&path, "first").unwrap();
    let other = two.other.clone();
    two.remove(&other, &path);
    std::fs::write(&path, "second").unwrap();
    let before = dump(&path);
    let moved = two.undo(&two.own, 1, &["overwrite"]);
    assert_eq!(told(&moved), [(2, "quarantined".to_owned()), (3, "restored".to_owned())]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
    let answer = two.back(&[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    assert_eq!(told(&answer), [(4, "quarantined".to_owned()), (5, "restored".to_owned())]);
    assert!(skipped(&answer).is_empty(), "{:?}", answer.rows());
    assert_eq!(dump(&path), before);
    two.is_over();
    // The first is in quarantine again, as effect 4, and comes back from there.
    let list = two.listed();
    let states: Vec<_> = list.iter().map(|row| (row["state"].as_str().unwrap(), row["undoable"].as_str().unwrap())).collect();
    let wanted = [("undone", "no"), ("undone", "no"), ("undone", "no"), ("done", "yes"), ("done", "no")];
    assert_eq!(states, wanted);
    let why = refused(&two.undo(&two.own, 1, &[]));
    assert!(why.message.contains("by effect 3, which effect 4 has reversed: `undo 4`"), "{why:?}");
    assert_eq!(refused(&two.undo(&two.own, 4, &[])).code, "conflict");
    let answer = two.undo(&two.other, 4, &["overwrite"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
}

#[test]
fn a_place_is_as_it_was_before_the_session_and_what_came_later_is_named() {
    // What the session does after it has removed the first file, and what it is told in the end to be left in quarantine.
    type Deeds = fn(&mut Two, &SessionId, &Path);
    let cases: [(&str, Deeds, &[u64], usize); 6] = [
        (
            "the second is moved aside for the first",
            |two, own, path| {
                std::fs::write(path, "second").unwrap();
                two.undo(own, 1, &["overwrite"]);
            },
            &[2],
            0,
        ),
        (
            "the second is removed too, and the first put back",
            |two, own, path| {
                std::fs::write(path, "second").unwrap();
                two.remove(own, path);
                done(&two.undo(own, 1, &[]));
            },
            &[2],
            0,
        ),
        (
            "and the second put back over that",
            |two, own, path| {
                std::fs::write(path, "second").unwrap();
                two.remove(own, path);
                done(&two.undo(own, 1, &[]));
                two.undo(own, 2, &["overwrite"]);
            },
            &[],
            2,
        ),
        (
            "the second is removed too",
            |two, own, path| {
                std::fs::write(path, "second").unwrap();
                two.remove(own, path);
            },
            &[2],
            1,
        ),
        (
            "it is put back and removed again",
            |two, own, path| {
                done(&two.undo(own, 1, &[]));
                two.remove(own, path);
            },
            &[],
            1,
        ),
        (
            "its folder is made anew",
            |_, _, path| {
                let folder = path.parent().unwrap();
                std::fs::remove_dir(folder).unwrap();
                std::fs::create_dir(folder).unwrap();
            },
            &[],
            1,
        ),
    ];
    for (case, deeds, left, changes) in cases {
        let mut two = Two::new();
        let own = two.own.clone();
        std::fs::create_dir(two.at("sub")).unwrap();
        let path = two.at("sub/evil");
        std::fs::write(&path, "first").unwrap();
        let before = dump(&path);
        two.remove(&own, &path);
        deeds(&mut two, &own, &path);
        let answer = two.back(&[]);
        assert_eq!(answer.completed.status, Status::Completed, "{case}: {:?}", answer.completed);
        assert_eq!(dump(&path), before, "{case}");
        let skipped = skipped(&answer);
        assert_eq!(skipped.iter().map(|(id, _)| *id).collect::<Vec<_>>(), left, "{case}: {skipped:?}");
        assert!(skipped.iter().all(|(id, why)| why.contains(&format!("`undo {id} -overwrite`"))), "{case}: {skipped:?}");
        assert_eq!(told(&answer).len(), changes, "{case}: {:?}", told(&answer));
        two.is_over();
        // Nothing is lost, whether it was in quarantine before or went there for this.
        let kept = two.listed().into_iter().filter(|row| row["undoable"] == "yes").map(|row| row["id"].as_u64().unwrap());
        for id in kept {
            let answer = two.undo(&own, id, &["overwrite"]);
            assert_eq!(answer.completed.status, Status::Completed, "{case}: {:?}", answer.completed);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "second", "{case}");
        }
    }
}

#[test]
fn what_others_did_in_between_is_not_touched() {
    // Another session has put it back meanwhile, and removed it again: that is its business.
    let mut two = Two::new();
    let (own, other) = (two.own.clone(), two.other.clone());
    let path = two.at("evil");
    std::fs::write(&path, "first").unwrap();
    two.remove(&own, &path);
    done(&two.undo(&other, 1, &[]));
    two.is_over();
    two.remove(&other, &path);
    two.is_over();
    assert!(!path.exists());
    // The session puts back what the other removed, and the other removes it again.
    done(&two.undo(&own, 3, &[]));
    two.remove(&other, &path);
    let why = refused(&two.back(&[]));
    assert!(why.message.starts_with("effect 4: ") && why.message.contains("effect 5 has removed it since"), "{why:?}");
    // Somebody has changed what the session put back.
    done(&two.undo(&own, 5, &[]));
    std::fs::write(&path, "somebody's work").unwrap();
    let before = dump(two.folder.path());
    let answer = two.back(&[]);
    assert!(refused(&answer).message.contains("it is not what effect 6 put there"), "{:?}", answer.completed);
    assert!(effects(&answer).is_empty() && dump(two.folder.path()) == before);
    // Something of somebody's stands where the session removed something: it stays, unless it is asked for.
    let free = two.at("free");
    for text in ["own", "somebody's"] {
        std::fs::write(&free, text).unwrap();
        if text == "own" {
            two.remove(&own, &free);
        }
    }
    let answer = two.back(&[]);
    assert_eq!(answer.completed.errors.len(), 2, "{:?}", answer.completed);
    assert_eq!(std::fs::read_to_string(&free).unwrap(), "somebody's");
    two.back(&["overwrite"]);
    assert_eq!(std::fs::read_to_string(&free).unwrap(), "own");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody's work");
}

#[test]
fn nothing_is_taken_away_for_what_cannot_come_back() {
    let mut two = Two::new();
    let (own, other) = (two.own.clone(), two.other.clone());
    let path = two.at("evil");
    std::fs::write(&path, "first").unwrap();
    two.remove(&other, &path);
    std::fs::write(&path, "second").unwrap();
    let moved = two.undo(&own, 1, &["overwrite"]);
    let kept = effects(&moved)[0].after["quarantine"].as_str().unwrap().to_owned();
    let bytes = std::fs::read(&kept).unwrap();
    std::fs::remove_file(&kept).unwrap();
    let answer = two.back(&[]);
    assert!(refused(&answer).message.starts_with("effect 2: "), "{:?}", answer.completed);
    assert!(effects(&answer).is_empty(), "{:?}", effects(&answer));
    assert_eq!(found(two.folder.path()), [("evil".to_owned(), "first".to_owned())]);
    assert_eq!(bytes, b"second");
}

#[test]
fn links_hard_links_and_files_made_anew_go_again_as_they_came() {
    let mut two = Two::new();
    let (own, other) = (two.own.clone(), two.other.clone());
    let paths: Vec<PathBuf> = ["link", "one", "ends-first"].iter().map(|name| two.at(name)).collect();
    symlink("/etc/passwd", &paths[0]).unwrap();
    std::fs::write(&paths[1], "two names").unwrap();
    std::fs::hard_link(&paths[1], two.at("other name")).unwrap();
    std::fs::write(&paths[2], "two names at first").unwrap();
    std::fs::hard_link(&paths[2], two.at("gone")).unwrap();
    let numbers: Vec<u64> = paths.iter().map(|path| two.remove(&other, path)).collect();
    std::fs::remove_file(two.at("gone")).unwrap();
    let before = dump(two.folder.path());
    for number in numbers {
        done(&two.undo(&own, number, &[]));
    }
    let between = found(two.folder.path());
    let answer = two.back(&[]);
    assert_eq!((answer.completed.status, effects(&answer).len()), (Status::Completed, 3), "{:?}", answer.completed);
    let names = |dump: &std::collections::BTreeMap<PathBuf, String>| dump.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&dump(two.folder.path())), names(&before));
    two.is_over();
    for effect in effects(&answer) {
        done(&two.undo(&other, effect.effect_id, &[]));
    }
    assert_eq!(found(two.folder.path()), between);
}

#[test]
fn several_names_of_one_file_come_back_together() {
    let mut two = Two::new();
    let own = two.own.clone();
    let (one, another) = (two.at("one"), two.at("another"));
    std::fs::write(&one, "two names").unwrap();
    std::fs::hard_link(&one, &another).unwrap();
    let before = dump(two.folder.path());
    two.remove(&own, &one);
    two.remove(&own, &another);
    let answer = two.back(&[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let told = |mut dump: std::collections::BTreeMap<PathBuf, String>| {
        dump.remove(two.folder.path());
        dump
    };
    assert_eq!(told(dump(two.folder.path())), told(before), "{:?}", effects(&answer));
}

#[test]
fn lines_of_one_crontab_come_back_and_go_again_each_by_itself() {
    const CRONTAB: &str = "1 1 * * * root /bin/one\n2 2 * * * root /bin/two\n3 3 * * * root /bin/three\n";
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(tree.path().join("etc/cron.d")).unwrap();
    let crontab = tree.path().join("etc/cron.d/mixed");
    std::fs::write(&crontab, CRONTAB).unwrap();
    let read = || std::fs::read_to_string(&crontab).unwrap();
    let mut two = Two { device: Device::at(tree.path()), ..Two::new() };
    let (own, other) = (two.own.clone(), two.other.clone());
    let remove = |two: &mut Two, session: &SessionId, command: &str| {
        let answer = two.device.run("scheduledtasks", &[], &[]);
        two.device.seen = answer.seen();
        let row = answer.rows().into_iter().find(|row| row["command"] == command).unwrap();
        let id = row["id"].as_str().unwrap().to_owned();
        done(&two.send(session, "remediate", &[("type", "scheduledtask"), ("id", &id)], &[])).effect_id
    };
    remove(&mut two, &own, "/bin/one");
    remove(&mut two, &own, "/bin/three");
    let answer = two.back(&[]);
    assert_eq!((answer.completed.status, read().as_str()), (Status::Completed, CRONTAB), "{:?}", answer.completed);
    two.is_over();
    // A line that another session removed, and this one put back, goes again.
    let number = remove(&mut two, &other, "/bin/two");
    let without = read();
    done(&two.undo(&own, number, &[]));
    assert_eq!(told(&two.back(&[])).last().unwrap().1, "line removed");
    assert_eq!(read(), without);
    two.is_over();
    // A whole file put back over what is there now, for the sake of a line.
    let removed = remove(&mut two, &own, "/bin/one");
    let now = format!("{}# somebody's\n", read());
    std::fs::write(&crontab, &now).unwrap();
    let answer = two.undo(&own, removed, &["overwrite"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let answer = two.back(&[]);
    assert_eq!((read(), skipped(&answer).len()), (without, 1), "{:?}", answer.rows());
}

#[test]
fn a_service_s_links_come_back_over_what_was_moved_aside_for_them() {
    let tree = tempfile::tempdir().unwrap();
    let at = |path: &str| tree.path().join(path);
    let unit = "etc/systemd/system/evil.service";
    let links = ["etc/systemd/system/multi-user.target.wants/evil.service", "etc/systemd/system/other.service"];
    std::fs::create_dir_all(at("etc/systemd/system/multi-user.target.wants")).unwrap();
    std::fs::create_dir_all(at("usr/lib/systemd/system")).unwrap();
    std::fs::create_dir_all(at("opt")).unwrap();
    std::fs::write(at("opt/evil"), "evil").unwrap();
    let text = "[Service]\nExecStart=/opt/evil\n[Install]\nWantedBy=multi-user.target\nAlias=other.service\n";
    std::fs::write(at(unit), text).unwrap();
    for link in links {
        symlink("/etc/systemd/system/evil.service", at(link)).unwrap();
    }
    let mut two = Two { device: Device::at(tree.path()), ..Two::new() };
    let (own, other) = (two.own.clone(), two.other.clone());
    let files = || {
        let mut all = super::faults::files(tree.path());
        all.retain(|(path, _)| !path.to_string_lossy().contains(".lrsh-quarantine"));
        all
    };
    let remove = |two: &mut Two, session: &SessionId| {
        two.device.seen = two.device.run("services", &[], &[]).seen();
        done(&two.send(session, "remediate", &[("type", "service"), ("id", "evil.service")], &[])).effect_id
    };
    let before = files();
    let number = remove(&mut two, &other);
    let without = files();
    std::fs::write(at("opt/evil"), "somebody's").unwrap();
    let between = files();
    let answer = two.undo(&own, number, &["overwrite"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    assert_eq!(files(), before);
    let answer = two.back(&[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    assert_eq!(files(), between, "{:?}", told(&answer));
    two.is_over();
    std::fs::remove_file(at("opt/evil")).unwrap();
    assert_eq!(files(), without);
    // The same of this session's own: the service is as it was, what was in its way stays.
    let answer = two.undo(&other, effects(&answer)[0].effect_id, &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    assert_eq!(files(), before);
    remove(&mut two, &own);
    std::fs::write(at("opt/evil"), "somebody's").unwrap();
    let between = files();
    let answer = two.back(&[]);
    assert_eq!(refused(&answer).code, "conflict");
    assert_eq!(files(), between);
    let answer = two.back(&["overwrite"]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    assert_eq!(files(), before);
    let answer = two.back(&[]);
    assert_eq!((skipped(&answer).len(), effects(&answer).len()), (1, 0), "{:?}", answer.rows());
    assert_eq!(files(), before);
}

#[test]
fn an_ended_process_is_named_since_it_cannot_be_started_again() {
    let mut two = Two::new();
    let own = two.own.clone();
    let mut child = std::process::Command::new("/bin/sleep").arg("1000000").spawn().unwrap();
    let pid = child.id().to_string();
    two.device.seen = two.device.run("processes", &[("pid", &pid)], &[]).seen();
    done(&two.send(&own, "remediate", &[("type", "process"), ("id", &pid)], &[]));
    child.wait().unwrap();
    let answer = two.back(&[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    assert!(skipped(&answer)[0].1.contains("a process that was ended is not started again"), "{:?}", answer.rows());
}
