//! Scripts of System V's init, where no systemd runs: they are stopped by themselves, their links go, and both come back.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use lrsh::protocol::Status;

use super::faults::files;
use super::{done, refused};
use crate::kit::device::Device;
use crate::kit::need::{need, skip};

/// Says to a test that it runs with an /etc of its own.
const INSIDE: &str = "LRSH_INSIDE_OWN_ETC";

/// The script of a daemon that writes its number down.
const SCRIPT: &str = "#!/bin/sh
### BEGIN INIT INFO
# Provides: lrsh-evil
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
case \"$1\" in
start) /etc/lrsh-evil-program 1000000 > /dev/null 2>&1 < /dev/null & echo $! > /run/lrsh-evil.pid ;;
stop) kill $(cat /run/lrsh-evil.pid); rm /run/lrsh-evil.pid ;;
status) kill -0 $(cat /run/lrsh-evil.pid) ;;
esac
";

/// Whether this test runs with an /etc and a /run that are thrown away. If not, it is run so, and its outcome is this test's.
fn inside_own_etc(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !need(&["unshare", "mount"]) {
        return false;
    }
    if Path::new("/run/systemd/system").exists() {
        return skip("systemd runs here");
    }
    let script = "set -e; mount -t tmpfs tmpfs /mnt; mkdir /mnt/upper /mnt/work; \
                  mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc; mount -t tmpfs tmpfs /run; exec \"$@\"";
    let out = Command::new("unshare")
        .args(["-mpf", "--mount-proc", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if !out.status.success() && !said.contains("running 1 test") {
        return skip(&format!("this machine forbids unshare: {said}"));
    }
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
    false
}

fn runs() -> bool {
    let pid = std::fs::read_to_string("/run/lrsh-evil.pid").unwrap_or_default();
    !pid.trim().is_empty() && Path::new("/proc").join(pid.trim()).exists()
}

#[test]
fn a_script_is_stopped_for_good_and_comes_back() {
    if !inside_own_etc("remediate::sysv::a_script_is_stopped_for_good_and_comes_back") {
        return;
    }
    let script = Path::new("/etc/init.d/lrsh-evil");
    std::fs::create_dir_all("/etc/init.d").unwrap();
    std::fs::write(script, SCRIPT).unwrap();
    std::fs::copy("/bin/sleep", "/etc/lrsh-evil-program").unwrap();
    for path in [script, Path::new("/etc/lrsh-evil-program")] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    for (level, link) in [("2", "S01"), ("3", "S01"), ("0", "K01")] {
        let folder = format!("/etc/rc{level}.d");
        std::fs::create_dir_all(&folder).unwrap();
        symlink("../init.d/lrsh-evil", format!("{folder}/{link}lrsh-evil")).unwrap();
    }
    assert!(Command::new(script).arg("start").status().unwrap().success() && runs());
    let etc = || {
        let mut all = files(Path::new("/etc/init.d"));
        for level in ["0", "2", "3"] {
            all.extend(files(Path::new(&format!("/etc/rc{level}.d"))));
        }
        all.retain(|(path, _)| path.to_string_lossy().contains("lrsh-evil"));
        all
    };
    let before = etc();
    let params = [("type", "service"), ("id", "lrsh-evil")];
    let mut device = Device::live();
    assert_eq!(refused(&device.run("remediate", &params, &[])).code, "prerequisite");
    let answer = device.run("services", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed);
    let row = answer.rows().into_iter().find(|row| row["service_name"] == "lrsh-evil").unwrap();
    assert_eq!(row["current_state"], "running", "{row}");
    device.seen = answer.seen();
    let effect = done(&device.run("remediate", &params, &[]));
    assert!(effect.action.starts_with("disabled, stopped"), "{effect:?}");
    assert!(!runs(), "it was stopped");
    assert!(!Path::new("/etc/rc2.d/S01lrsh-evil").exists() && !Path::new("/etc/rc3.d/S01lrsh-evil").exists());
    let undone = done(&device.run("undo", &params, &[]));
    assert!(undone.action.contains("started") && runs(), "{undone:?}");
    assert_eq!(etc(), before);
    assert!(Command::new(script).arg("stop").status().unwrap().success());
}
