//! Hostile trees below `--root`: cycles, huge folders, FIFOs and device nodes wherever a verb looks. Every verb on files answers.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use lrsh::protocol::Status;
use lrsh::protocol::link::AgentLink;

use crate::kit::device::Device;
use crate::kit::windows;

/// A guard against hanging, nothing else: what reaches it ends as `expired`.
const LIMIT_MS: u64 = 60_000;
/// The same of `collect`, which is many verbs.
const COLLECT_LIMIT_MS: u64 = 540_000;
/// The names in the huge folder.
const MANY: usize = 100_000;

/// What Linux verbs read: each is a FIFO, a device or a loop in the hostile tree.
const READ: [&str; 24] = [
    "etc/passwd",
    "etc/group",
    "etc/crontab",
    "etc/cron.d/job",
    "etc/anacrontab",
    "etc/rc.local",
    "etc/profile",
    "etc/ld.so.preload",
    "etc/init.d/script",
    "etc/modules",
    "etc/sudoers",
    "etc/systemd/system/x.service",
    "etc/systemd/system/x.timer",
    "etc/xdg/autostart/x.desktop",
    "etc/ssh/sshd_config",
    "etc/pam.d/sshd",
    "proc/modules",
    "root/.bashrc",
    "root/.ssh/authorized_keys",
    "usr/lib/modules/1/modules.dep",
    "usr/lib/modules/1/x.ko",
    "var/lib/dpkg/status",
    "var/spool/cron/crontabs/root",
    "var/spool/cron/atjobs/a0000301c9a1b2",
];

/// The same of a Windows disk.
const READ_ON_WINDOWS: [&str; 9] = [
    "Windows/System32/config/SYSTEM",
    "Windows/System32/config/SOFTWARE",
    "Windows/System32/config/SAM",
    "Windows/System32/Tasks/x",
    "Windows/System32/drivers/x.sys",
    "Users/max/NTUSER.DAT",
    "Users/max/AppData/Local/Microsoft/Windows/UsrClass.dat",
    "ProgramData/Microsoft/Windows/Start Menu/Programs/Startup/x.lnk",
    "Users/max/AppData/Roaming/Microsoft/Windows/Start Menu/Programs/Startup/y.lnk",
];

/// Puts something without an end at a place: a FIFO, an endless device (where one can be made), or a link to itself.
fn endless(place: &Path, kind: usize) {
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    let _ = std::fs::remove_file(place);
    let made = match kind % 3 {
        0 => Command::new("mkfifo").arg(place).status().unwrap().success(),
        1 => Command::new("mknod")
            .arg(place)
            .args(["c", "1", "5"])
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
            .success(),
        _ => symlink(place.file_name().unwrap(), place).is_ok(),
    };
    if !made {
        assert!(Command::new("mkfifo").arg(place).status().unwrap().success());
    }
}

/// Cycles, a deep tree and a folder of so many files.
fn maze(tree: &Path, many: usize) {
    let maze = tree.join("maze");
    std::fs::create_dir_all(maze.join("many")).unwrap();
    for (target, name) in [("..", "up"), ("/", "top"), ("a", "b"), ("b", "a"), (".", "own"), ("/maze/many", "many/again")] {
        symlink(target, maze.join(name)).unwrap();
    }
    for number in 0..many {
        std::fs::File::create(maze.join(format!("many/{number:06}"))).unwrap();
    }
    let deep: std::path::PathBuf = std::iter::repeat_n("d", 1500).collect();
    std::fs::create_dir_all(maze.join(deep)).unwrap();
    endless(&maze.join("fifo"), 0);
    endless(&maze.join("zero"), 1);
}

/// Every verb on files, at everything in the maze.
fn all(device: &Device, endless: &str, many: usize) {
    let maze = |name: &str| format!("/maze/{name}");
    let paths = ["many", "up", "top", "a", "own", "fifo", "zero", "many/*", "own/own/own/own/up/maze/top"].map(maze);
    let mut asked: Vec<(&str, Vec<(&str, String)>)> = Vec::new();
    for path in paths.iter().chain([&endless.to_owned(), &"/*".to_owned()]) {
        for verb in ["dir", "cat", "fileinfo", "getfile"] {
            // A hundred thousand files are not read one by one here.
            if verb == "dir" || !path.ends_with("many/*") {
                asked.push((verb, vec![("path", path.clone())]));
            }
        }
        asked.push(("cd", vec![("id", path.clone())]));
        asked.push(("analyze", vec![("type", "file".into()), ("id", path.clone())]));
    }
    asked.push(("findfile", vec![("name", "*7".into())]));
    asked.push(("findfile", vec![("name", "*".into()), ("size", "+1".into())]));
    asked.push(("findfile", vec![("name", "*".into()), ("sha256", "0".repeat(64)), ("path", "/maze".into())]));
    for verb in ["services", "drivers", "scheduledtasks", "startupfolders", "persistence"] {
        asked.push((verb, Vec::new()));
    }
    asked.push(("scan", Vec::new()));
    asked.push(("scan", vec![("path", "/maze".into())]));
    asked.push(("collect", Vec::new()));
    for (verb, params) in asked {
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut command = device.command(verb, &params, &[]);
        command.time_limit_ms = if verb == "collect" { COLLECT_LIMIT_MS } else { LIMIT_MS };
        let id = command.command_id;
        if matches!(verb, "getfile" | "collect") {
            // Nobody will ask for the bytes: the offer is what is looked at.
            let mut running = device.agent.start(command, None);
            let status = device.runtime.block_on(async {
                while let Some(event) = running.events.recv().await {
                    match crate::kit::device::body(event) {
                        lrsh::protocol::Body::Completed(completed) => return completed.status,
                        lrsh::protocol::Body::Object { value } if value.get().contains("etag") => {
                            device.agent.stop(id, lrsh::protocol::link::StopReason::Cancel { by: "the test".into() });
                        }
                        _ => {}
                    }
                }
                Status::Interrupted
            });
            assert!(!matches!(status, Status::Expired | Status::Interrupted), "{verb} {params:?}: {status:?}");
            assert!(verb == "getfile" || status == Status::Cancelled, "a package was offered: {status:?}");
            continue;
        }
        let answer = device.send(command, None);
        let status = answer.completed.status;
        assert!(matches!(status, Status::Completed | Status::Failed), "{verb} {params:?}: {:?}", answer.completed);
        if verb == "dir" && params[0].1 == "/maze/many" {
            assert_eq!(answer.rows().len(), many + 1);
        }
        if verb == "findfile" && params[0].1 == "*7" {
            assert_eq!(answer.rows().len(), many / 10);
        }
        assert!(answer.completed.errors.iter().all(|error| error.code != "internal"), "{:?}", answer.completed);
    }
}

#[test]
fn a_hostile_tree_never_hangs() {
    for kind in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        for (number, place) in READ.iter().enumerate() {
            endless(&folder.path().join(place), kind + number);
        }
        if kind == 0 {
            maze(folder.path(), MANY);
            all(&Device::at(folder.path()), "/etc/crontab", MANY);
        } else {
            let device = Device::at(folder.path());
            for verb in ["services", "drivers", "scheduledtasks", "startupfolders", "persistence"] {
                let mut command = device.command(verb, &[], &[]);
                command.time_limit_ms = LIMIT_MS;
                let completed = device.send(command, None).completed;
                assert!(matches!(completed.status, Status::Completed | Status::Failed), "{verb}: {completed:?}");
            }
        }
    }
}

#[test]
fn a_hostile_windows_disk_never_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    maze(&disk, 1000);
    let device = Device::at(&disk);
    // What makes it a Windows was looked at; now it turns hostile.
    for (number, place) in READ_ON_WINDOWS.iter().enumerate() {
        endless(&disk.join(place), number);
    }
    all(&device, r"C:\Windows\System32\config\SYSTEM", 1000);
    for path in ["HKLM", "HKU", r"HKLM\SYSTEM\Select", r"HKLM\SOFTWARE\x", r"HKLM\SAM\x", r"HKU\max\x", r"HKU\max_Classes\x"] {
        let completed = device.run("registry", &[("path", path)], &[]).completed;
        assert!(matches!(completed.status, Status::Completed | Status::Failed), "{path}: {completed:?}");
    }
}
