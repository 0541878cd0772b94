//! A package of a running system: a small one of its own, in namespaces and with a root in which there is little but this program.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

use serde_json::json;

use super::{Unpacked, found, opens_elsewhere, schemas, tree, write};
use crate::kit::need::{need, skip};
use crate::kit::shell::Ran;
use crate::kit::talking::until;
use crate::remediate::faults::has_points;

/// Every part, in order.
const PARTS: [&str; 22] = [
    "processes",
    "connections",
    "listening",
    "arp",
    "routes",
    "interfaces",
    "firewall",
    "dns",
    "open_files",
    "kernel_modules",
    "mounts",
    "system",
    "users",
    "sudoers",
    "services",
    "tasks",
    "startup",
    "persistence",
    "shell_history",
    "logs",
    "packages",
    "recent_files",
];

const START: &str = r#"
set -e
root=$1
shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
for node in null zero urandom; do mount --bind "/dev/$node" "$root/dev/$node"; done
cd "$root"
set +e
chroot "$root" /lrsh "$@"
exit $?
"#;

/// A running system with a root of its own.
struct Small {
    root: PathBuf,
    _tree: tempfile::TempDir,
}

impl Small {
    /// One; `None` where this machine does not let it be.
    fn new() -> Option<Self> {
        if !need(&["unshare", "chroot", "ldd"]) {
            return None;
        }
        let may = Command::new("unshare").args(["-mpf", "--propagation", "private", "true"]).output().unwrap();
        if !may.status.success() {
            eprintln!("SKIPPED: this machine forbids unshare");
            return None;
        }
        let tree = tree();
        let root = tree.path().to_path_buf();
        for folder in ["proc", "dev", "tmp", "work", "evidence"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for node in ["null", "zero", "urandom"] {
            write(&root, &format!("dev/{node}"), "");
        }
        let program = env!("CARGO_BIN_EXE_lrsh");
        fs::copy(program, root.join("lrsh")).unwrap();
        let needed = Command::new("ldd").arg(program).output().unwrap();
        let needed = String::from_utf8_lossy(&needed.stdout).into_owned();
        for library in needed.split_whitespace().filter(|word| word.starts_with('/')) {
            let place = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(library, place).unwrap();
        }
        let small = Self { root, _tree: tree };
        let told = small.run(&["--version"], None);
        (told.status.success() || skip(&format!("its root does not start: {told:?}"))).then_some(small)
    }

    /// The program in it. Whatever it starts ends with it: its first process is the shell that starts it.
    fn command(&self, arguments: &[&str], fault: Option<&str>) -> Command {
        let mut command = Command::new("unshare");
        command.args(["-mpf", "--propagation", "private", "--kill-child", "sh", "-c", START, "sh"]).arg(&self.root);
        command.args(arguments).env("LRSH_HOME", "/home-of-lrsh").env("TERM", "dumb").stdin(Stdio::null());
        command.env_remove("XDG_RUNTIME_DIR").env_remove("TMPDIR").env_remove("LRSH_FAULT");
        command.envs(fault.map(|fault| ("LRSH_FAULT", fault)));
        command
    }

    fn run(&self, arguments: &[&str], fault: Option<&str>) -> Output {
        self.command(arguments, fault).output().unwrap()
    }

    fn line(&self, line: &str, fault: Option<&str>) -> Ran {
        let ran = self.run(&["-c", line], fault);
        Ran { code: ran.status.code(), stdout: ran.stdout, stderr: ran.stderr }
    }

    /// The package that a line of this kind has saved.
    fn collected(&self, line: &str, fault: Option<&str>) -> (serde_json::Value, Unpacked) {
        let told = self.line(line, fault).code(0).json();
        let saved = self.root.join(told["saved_as"].as_str().unwrap());
        opens_elsewhere(&saved);
        let package = Unpacked::open(&saved);
        fs::remove_file(saved).unwrap();
        (told, package)
    }

    /// Every file with its size and when it was changed, but for what is the program's own.
    fn files(&self) -> BTreeMap<PathBuf, (u64, SystemTime)> {
        let own = ["home-of-lrsh", "proc", "dev", "tmp"].map(|name| self.root.join(name));
        let all = found(&self.root, &|_| true).into_iter().filter(|path| !own.iter().any(|own| path.starts_with(own)));
        let facts = all.filter_map(|path| {
            let facts = fs::symlink_metadata(&path).ok().filter(|facts| !facts.is_dir())?;
            Some((path, (facts.size(), facts.modified().unwrap())))
        });
        facts.collect()
    }

    /// What packages have left.
    fn left_over(&self) -> Vec<PathBuf> {
        found(&self.root, &|name| name.starts_with(".collect-") || name.contains(".where") || name.contains(".zip"))
    }
}

#[test]
fn a_running_system_is_collected_whole() {
    let Some(small) = Small::new() else { return };
    let before = small.files();
    let (told, package) = small.collected("collect -output json", None);
    assert_eq!((&told["failed"], &told["parts"]), (&json!([]), &json!(PARTS.len())), "{told}");
    assert_eq!(small.files(), before, "nothing else was written");
    assert_eq!(small.left_over(), Vec::<PathBuf>::new());
    let summary = package.summary();
    let parts = summary["parts"].as_array().unwrap();
    assert_eq!(parts.iter().map(|part| part["name"].as_str().unwrap()).collect::<Vec<_>>(), PARTS);
    for part in parts {
        let (name, status) = (part["name"].as_str().unwrap(), part["status"].as_str().unwrap());
        let explained = part["errors"][0]["message"].as_str().is_some_and(|message| !message.is_empty());
        assert!(status == "complete" || matches!(status, "partial" | "unavailable") && explained, "{part}");
        let files: u64 = part["files"].as_array().unwrap().iter().map(|file| file["size"].as_u64().unwrap()).sum();
        assert_eq!(part["size"], files, "{name}");
        assert!(part["duration_ms"].is_u64() && part["rows"].is_u64(), "{part}");
        // `firewall` needs the device's nft; a history and a log are no files here.
        let may_lack = ["firewall", "shell_history", "logs"];
        assert!(status == "complete" || may_lack.contains(&name), "{part}");
    }
    schemas::check(&package, "");
    let some = |list: &str, is_it: &dyn Fn(&serde_json::Value) -> bool| {
        let rows = package.rows(&format!("{list}.jsonl"));
        assert!(rows.iter().any(is_it), "{list}: {rows:?}");
    };
    some("processes/processes", &|row| row["image_path"] == "/lrsh");
    some("open_files/open_files", &|row| row["type"] == "socket" && row["name"] == "lrsh");
    some("mounts/mounts", &|row| row["mount_point"] == "/proc" && row["type"] == "proc");
    some("interfaces/interfaces", &|row| row["loopback"] == true);
    some("system/system", &|row| row["kernel"].is_string() && row["booted"].is_string());
    some("users/users", &|row| row["user_name"] == "eve");
    some("sudoers/sudoers", &|row| row["text"].as_str().unwrap().contains("NOPASSWD"));
    some("dns/dns", &|row| row["values"][0] == "update.example");
    some("tasks/tasks", &|row| row["command"].as_str().is_some_and(|command| command.contains("/tmp/x")));
    some("persistence/persistence", &|row| row["runs"].as_str().is_some_and(|runs| runs.contains("/tmp/x")));
    some("shell_history/shell_history", &|row| row["command"].as_str().unwrap().starts_with("curl"));
    some("logs/logins", &|row| row["user_name"] == "eve");
    some("packages/packages", &|row| row["name"] == "tool");
    some("packages/altered", &|row| row["path"] == "/usr/bin/other" && row["state"] == "altered");
    some("recent_files/recent_files", &|row| row["path"] == "/usr/bin/other");
}

#[test]
fn a_part_that_fails_or_hangs_takes_none_of_the_others() {
    let Some(small) = Small::new() else { return };
    if !has_points() {
        return;
    }
    // The fourth is `arp`, whose time is short.
    for (fault, status) in [("panic", "failed"), ("hang", "timed_out")] {
        let (told, package) = small.collected("collect -output json", Some(&format!("collect.part:4:{fault}")));
        assert_eq!(told["failed"], json!(["arp"]), "{told}");
        let (own, why) = package.part("arp");
        assert!(own == status && !why.is_empty(), "{own}: {why}");
        for other in ["listening", "routes", "packages", "recent_files"] {
            assert_eq!(package.part(other).0, "complete", "{other}");
        }
    }
}

#[test]
fn killed_anywhere_it_leaves_nothing_and_can_be_had_again() {
    let Some(small) = Small::new() else { return };
    if !has_points() {
        return;
    }
    for (place, count) in [("part", 1), ("part", 12), ("part", PARTS.len()), ("before_name", 1), ("after_name", 1)] {
        for folder in ["", " -output_folder /evidence"] {
            let ran = small.line(&format!("collect{folder}"), Some(&format!("collect.{place}:{count}:abort")));
            assert!(ran.code == Some(4) && ran.err().contains("the service's process ended"), "{place}: {}", ran.err());
            // Whole and under its name it may stay; half it goes when the next agent starts.
            small.line("session", None).code(0);
            for whole in found(&small.root.join("evidence"), &|name| name.starts_with("collect-")) {
                assert_eq!(place, "after_name");
                Unpacked::open(&whole);
                fs::remove_file(whole).unwrap();
            }
            assert_eq!(small.left_over(), Vec::<PathBuf>::new(), "{place} {count}{folder}");
        }
    }
    small.collected("collect -output json", None);
}

#[test]
fn the_whole_system_killed_at_once_leaves_nothing_either() {
    let Some(small) = Small::new() else { return };
    if !has_points() {
        return;
    }
    let mut child = small.command(&["-c", "collect -output_folder /evidence"], Some("collect.part:4:hang")).spawn().unwrap();
    until("a half package", || !small.left_over().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!small.left_over().is_empty());
    until("the end of everything", || small.line("session", None).code == Some(0));
    assert_eq!(small.left_over(), Vec::<PathBuf>::new());
}

#[test]
fn cancelled_it_leaves_nothing() {
    let Some(small) = Small::new() else { return };
    if !has_points() {
        return;
    }
    let mut command = small.command(&["-c", "collect -output_folder /evidence"], Some("collect.part:4:hang"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("a half package", || !small.left_over().is_empty());
    // The shell within: the one process whose first argument is the program, and that is no service.
    let shell = until_some("the shell", || shell_below(child.id()));
    assert!(Command::new("kill").args(["-INT", &shell.to_string()]).status().unwrap().success());
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(130), "{said}");
    assert!(said.contains("parts, which are dropped"), "{said}");
    assert_eq!(small.left_over(), Vec::<PathBuf>::new());
}

fn until_some<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    until(what, || {
        found = find();
        found.is_some()
    });
    found.unwrap()
}

/// The program that runs a line, below a process.
fn shell_below(top: u32) -> Option<u32> {
    let mut waiting = vec![top];
    while let Some(pid) = waiting.pop() {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if line.starts_with(b"/lrsh\0-c\0") {
            return Some(pid);
        }
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        waiting.extend(children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
    }
    None
}

#[test]
fn it_stays_in_a_folder_where_it_was_wanted() {
    let Some(small) = Small::new() else { return };
    let (told, _) = small.collected("collect -output_folder /evidence -output json", None);
    let stays = found(&small.root.join("evidence"), &|_| true);
    assert_eq!(stays.len(), 1, "{stays:?}");
    assert_eq!(fs::metadata(&stays[0]).unwrap().mode() & 0o777, 0o600);
    assert_eq!(told["path"], format!("/{}", stays[0].strip_prefix(&small.root).unwrap().display()));
    Unpacked::open(&stays[0]);
    let refused = small.line("collect -output_folder /nowhere", None).code(1);
    assert!(refused.err().contains("/nowhere"), "{}", refused.err());
}
