//! A booted systemd that is not this machine's init: a Debian root started in namespaces of its own, and this test binary run in it.
//!
//! `LRSH_SYSTEMD_ROOT` names the root, which `.ci/run` makes: `mmdebstrap --variant=minbase
//! --include=systemd,dbus,init,iproute2,cron,nginx,openssh-server,postfix bookworm ROOT`. It is only mounted over. `none` says that this
//! machine forbids unshare, which is then no failure under `.ci/run` either.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::kit::need::{need, skip};
use crate::kit::shell::PROGRAM;

/// Says to a test that it runs in the booted system.
const INSIDE: &str = "LRSH_INSIDE_SYSTEMD";

const BOOT: &str = r#"
set -e
root=$1
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
for folder in run tmp dev; do mount -t tmpfs tmpfs "$root/$folder"; done
for node in null zero random urandom tty; do touch "$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"; done
mkdir "$root/dev/pts"
mount -t devpts -o newinstance devpts "$root/dev/pts"
touch "$root/dev/console"
mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
mkdir "$root/sys/fs/cgroup/unified" "$root/sys/fs/cgroup/systemd"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
mkdir "$root/run/lrsh"
cp "$2" "$root/run/lrsh/tests"
cp "$3" "$root/run/lrsh/lrsh"
exec env -i container=lrshtest PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" /lib/systemd/systemd --system --log-target=console systemd.unit=multi-user.target
"#;

/// A booted system; ended when dropped.
struct Booted {
    unshare: Child,
    init: u32,
}

/// Whether this test already runs in the booted system. If not, it is run there, and its outcome is this test's.
///
/// `if !inside_systemd("agent::services::booted") { return; }`
pub fn inside_systemd(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let Some(root) = std::env::var_os("LRSH_SYSTEMD_ROOT").map(PathBuf::from) else {
        return skip("LRSH_SYSTEMD_ROOT is not set");
    };
    if root == Path::new("none") {
        eprintln!("SKIPPED {test}: LRSH_SYSTEMD_ROOT=none says that this machine forbids unshare");
        return false;
    }
    if !need(&["unshare", "nsenter"]) {
        return false;
    }
    let Some(booted) = Booted::start(&root) else { return skip("this machine forbids unshare, or the root does not boot") };
    let init = booted.init.to_string();
    let out = Command::new("nsenter")
        .args([
            "-t",
            &init,
            "-m",
            "-p",
            "-u",
            "-i",
            "-n",
            "-C",
            "-r",
            "-w",
            "--",
            "/run/lrsh/tests",
            "--exact",
            test,
            "--nocapture",
        ])
        .env_clear()
        .envs([
            (INSIDE, "1"),
            (PROGRAM, "/run/lrsh/lrsh"),
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("LC_ALL", "C"),
            ("TMPDIR", "/tmp"),
        ])
        .output()
        .unwrap();
    drop(booted);
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
    false
}

impl Booted {
    fn start(root: &Path) -> Option<Self> {
        let tests = std::env::current_exe().unwrap();
        let unshare = Command::new("unshare")
            .args(["-mpfuinC", "--propagation", "private", "sh", "-c", BOOT, "sh"])
            .args([root, tests.as_path(), Path::new(env!("CARGO_BIN_EXE_lrsh"))])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut booted = Self { unshare, init: 0 };
        // The boot has no event that could be waited for from outside: asked again until it is over.
        let deadline = Instant::now() + Duration::from_mins(2);
        while Instant::now() < deadline && booted.unshare.try_wait().ok()?.is_none() {
            let pid = booted.unshare.id();
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            if let Some(init) = children.split_whitespace().next().and_then(|child| child.parse::<u32>().ok()) {
                booted.init = init;
                let target = init.to_string();
                let state = Command::new("nsenter")
                    .args(["-t", &target, "-m", "-p", "-r", "-w", "systemctl", "is-system-running"])
                    .output()
                    .ok()?;
                if matches!(String::from_utf8_lossy(&state.stdout).trim(), "running" | "degraded") {
                    return Some(booted);
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        None
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // With the first process of its namespace every other one ends.
        if let Some(init) = i32::try_from(self.init).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(init, rustix::process::Signal::KILL);
        }
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}
