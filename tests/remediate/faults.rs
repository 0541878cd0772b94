//! The agent's process is ended at every point at which that could hurt: the next start tells the truth, nothing is lost, and
//! `undo` works.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lrsh::agent::faults::POINTS;

use super::dump;
use super::file::{Mounted, rich};
use super::process::Sleeper;
use crate::kit::need::skip;
use crate::kit::shell::{Home, Ran};

/// The points that the removal of a file passes, and its way back.
const REMOVAL: [&str; 8] = [
    "journal.intent.before_fsync",
    "journal.intent.after_fsync",
    "quarantine.after_rename",
    "quarantine.after_compare",
    "quarantine.after_seal",
    "quarantine.after_sync",
    "journal.close.before_fsync",
    "journal.close.after_fsync",
];
const RETURN: [&str; 3] = ["putback.after_unseal", "putback.after_rename", "putback.after_sync"];
const PROCESS: [&str; 6] = [
    "evidence.after_folder",
    "evidence.after_file",
    "evidence.after_all",
    "process.after_kill",
    "journal.step.before_fsync",
    "journal.step.after_fsync",
];
/// While a tree stands still: see `ending`.
pub const HALT: [&str; 5] = [
    "journal.halt.before_fsync",
    "journal.halt.after_fsync",
    "process.after_halt",
    "journal.go_on.before_fsync",
    "journal.go_on.after_fsync",
];
/// Of a line of a file: see `task`.
pub const REWRITE: [&str; 5] =
    ["rewrite.after_write", "rewrite.after_exchange", "rewrite.after_rename", "rewrite.before_return", "rewrite.after_return"];
/// Of a line whose file somebody has changed meanwhile: see `task`.
pub const LINE_BACK: [&str; 2] = ["line_back.after_write", "line_back.after_exchange"];
/// In a booted systemd: see `service`.
pub const SERVICE: [&str; 3] = ["service.after_manage", "service.after_disable", "service.after_mask"];
/// Only where the file system forgets.
const COPY: [&str; 3] = ["quarantine.after_copy", "putback.after_write", "putback.after_copy"];
/// Only of a file that has other names: see `other_names`.
pub const LINKED: [&str; 2] = ["quarantine.after_unlink", "putback.after_link"];
/// Only when something has been kept long enough: see `retention`.
pub const EXPIRY: [&str; 4] =
    ["journal.expire.before_fsync", "journal.expire.after_fsync", "journal.clock.before_fsync", "journal.clock.after_fsync"];
/// Of whatever change.
const TOLD: &str = "effect.before_told";

/// Whether the program has the points; without the feature there are none.
pub fn has_points() -> bool {
    cfg!(feature = "faults") || skip("built without the feature `faults`")
}

/// All points at once: most of each round is waiting.
fn each(points: impl IntoIterator<Item = &'static str>, round: impl Fn(&'static str) + Sync) {
    std::thread::scope(|scope| {
        for point in points {
            let round = &round;
            scope.spawn(move || round(point));
        }
    });
}

/// A home with a file to be removed.
pub struct Scene {
    pub home: Home,
    pub folder: PathBuf,
    pub path: PathBuf,
}

impl Scene {
    pub fn new() -> Self {
        let home = Home::new();
        let folder = home.path().join("device");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("evil");
        Self { home, folder, path }
    }

    /// Runs a line whose agent is ended at a point.
    pub fn die(&self, line: &str, point: &str) -> Ran {
        // One that still runs does not have the point, and the one after it must not have it.
        self.wait();
        let ran = self.home.batch("").args(&["-c", line]).env("LRSH_FAULT", &format!("{point}:1:abort")).run();
        let log = std::fs::read_to_string(self.home.path().join("log/service.log")).unwrap_or_default();
        assert!(
            log.contains("aborting, as LRSH_FAULT asks"),
            "{point} was not reached: {:?} {} {}",
            ran.code,
            ran.out(),
            ran.err()
        );
        // The shell starts the service again and hears the end.
        assert!(
            ran.code == Some(4) && ran.err().contains("the service's process ended"),
            "{point}: {:?} {}",
            ran.code,
            ran.err()
        );
        self.wait();
        ran
    }

    /// Until nothing of the home runs.
    pub fn wait(&self) {
        while !self.home.processes().is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// The states of all effects, as the next shell finds them.
    pub fn states(&self) -> Vec<String> {
        let rows = self.home.line("remediate list jsonl").code(0).jsonl();
        rows.iter().map(|row| row["state"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn ended_while_a_file_is_removed() {
    if !has_points() {
        return;
    }
    each(REMOVAL.into_iter().chain([TOLD]), |point| {
        let scene = Scene::new();
        rich(&scene.path);
        let before = dump(&scene.folder);
        let line = format!("remediate file {} -auto", scene.path.display());
        let heard = scene.die(&line, point).out();
        let states = scene.states();
        assert_eq!(heard.is_empty(), states.is_empty(), "{point}: {heard}");
        assert!(states.iter().all(|state| heard.contains(state)), "{point}: {heard}");
        match states.first().map(String::as_str) {
            None | Some("not_done") => assert_eq!(dump(&scene.folder), before, "{point}"),
            Some("done") => {
                assert!(!scene.path.exists(), "{point}");
                scene.home.line("undo 1").code(0);
                assert_eq!(files(&scene.folder), only_files(&before), "{point}");
            }
            other => panic!("{point}: {other:?}"),
        }
    });
}

#[test]
fn ended_while_a_file_is_put_back() {
    if !has_points() {
        return;
    }
    each(RETURN.into_iter().chain(["journal.intent.after_fsync", "journal.close.before_fsync", TOLD]), |point| {
        let scene = Scene::new();
        rich(&scene.path);
        let before = dump(&scene.folder);
        scene.home.line(&format!("remediate file {} -auto", scene.path.display())).code(0);
        let heard = scene.die("undo 1", point).out();
        let states = scene.states();
        assert!(heard.contains(&states[1]), "{point}: {heard} {states:?}");
        if states[0] == "done" {
            assert!(!scene.path.exists(), "{point}: {states:?}");
            scene.home.line("undo 1").code(0);
        } else {
            assert_eq!(states[0], "undone", "{point}: {states:?}");
        }
        assert_eq!(files(&scene.folder), only_files(&before), "{point}: {states:?}");
    });
}

#[test]
fn ended_while_a_file_is_copied() {
    if !has_points() {
        return;
    }
    each(COPY, |point| {
        let scene = Scene::new();
        let Some(mount) = Mounted::tmpfs(&scene.folder) else { return };
        let sub = scene.folder.join("sub");
        std::fs::create_dir(&sub).unwrap();
        let path = sub.join("evil");
        rich(&path);
        let content = std::fs::read(&path).unwrap();
        let line = format!("remediate file {} -auto", path.display());
        if point.starts_with("quarantine") {
            scene.die(&line, point);
        } else {
            scene.home.line(&line).code(0);
        }
        drop(mount);
        let Some(_mount) = Mounted::tmpfs(&scene.folder) else { return };
        std::fs::create_dir(&sub).unwrap();
        if point.starts_with("putback") {
            scene.die("undo 1", point);
        }
        if scene.states()[0] != "undone" {
            assert!(!path.exists(), "{point}");
            scene.home.line("undo 1").code(0);
        }
        assert_eq!(std::fs::read(&path).unwrap(), content, "{point}");
        assert_eq!(std::fs::read_dir(&sub).unwrap().count(), 1, "{point}: nothing half-written stays");
    });
}

#[test]
fn ended_while_a_process_is_ended() {
    if !has_points() {
        return;
    }
    each(PROCESS, |point| {
        let scene = Scene::new();
        let mut sleeper = Sleeper::of_copy(&scene.path);
        let before = files(&scene.folder);
        let heard = scene.die(&format!("remediate process {} -auto", sleeper.0.id()), point).out();
        let states = scene.states();
        assert!(heard.contains(&states[0]), "{point}: {heard} {states:?}");
        let runs = sleeper.0.try_wait().unwrap().is_none();
        match states[0].as_str() {
            "not_done" => assert!(runs && scene.path.exists(), "{point}"),
            "partly" => assert!(!runs && scene.path.exists(), "{point}"),
            "done" => assert!(!runs && !scene.path.exists(), "{point}"),
            other => panic!("{point}: {other}"),
        }
        if states[0] == "done" {
            scene.home.line("undo 1").code(0);
        }
        assert_eq!(files(&scene.folder), before, "{point}");
    });
}

pub fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    only_files(&dump(folder))
}

/// Folders' times are set back only where the end came after they were written down.
pub fn only_files(dump: &BTreeMap<PathBuf, String>) -> Vec<(PathBuf, String)> {
    dump.iter().filter(|(path, _)| !path.is_dir()).map(|(path, told)| (path.clone(), told.clone())).collect()
}

#[test]
fn every_point_is_ended_at_and_every_point_is_listed() {
    let tested: BTreeSet<&str> = REMOVAL
        .iter()
        .chain(&RETURN)
        .chain(&PROCESS)
        .chain(&HALT)
        .chain(&SERVICE)
        .chain(&REWRITE)
        .chain(&LINE_BACK)
        .chain(&COPY)
        .chain(&LINKED)
        .chain(&EXPIRY)
        .chain(&crate::collect::POINTS)
        .copied()
        .chain([TOLD])
        .collect();
    assert_eq!(tested, POINTS.iter().copied().collect::<BTreeSet<_>>(), "left: tested; right: listed");
    let mut named = BTreeSet::new();
    let mut waiting = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.file_name().unwrap() != "faults.rs" {
            let text = std::fs::read_to_string(&path).unwrap();
            named.extend(POINTS.iter().filter(|point| text.contains(&format!("\"{point}\""))));
            for call in text.split("faults::point(\"").skip(1) {
                let name = call.split('"').next().unwrap();
                assert!(POINTS.contains(&name), "{name} in {} is not listed", path.display());
            }
        }
    }
    assert_eq!(named.into_iter().copied().collect::<BTreeSet<_>>(), POINTS.iter().copied().collect(), "left: in the source");
}
