//! In a booted systemd: units made for the test are stopped, no longer start by themselves, and come back as they were.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use lrsh::protocol::Status;

use super::faults::{SERVICE, only_files};
use super::{done, dump, effects, refused};
use crate::kit::device::{Answer, Device};
use crate::kit::systemd::inside_systemd;

pub const UNITS: &str = "/etc/systemd/system";
/// Says to a test that it is the one that is to die, and where its agent's folder is.
const CHILD: &str = "LRSH_TEST_DIES_IN";

fn systemctl(args: &[&str]) -> String {
    let out = Command::new("systemctl").args(args).output().unwrap();
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A service, a timer and a socket of the test's own, enabled and running; and a service that a package's link starts.
pub fn set_up() -> PathBuf {
    // The root is shared by all that boot it, and must stay as it is.
    for folder in ["etc", "usr"] {
        let (upper, work) = (format!("/run/lrsh/{folder}/upper"), format!("/run/lrsh/{folder}/work"));
        std::fs::create_dir_all(&upper).unwrap();
        std::fs::create_dir_all(&work).unwrap();
        let options = format!("lowerdir=/{folder},upperdir={upper},workdir={work}");
        let options = std::ffi::CString::new(options).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("overlay", format!("/{folder}"), "overlay", flags, Some(options.as_c_str())).unwrap();
    }
    let program = PathBuf::from("/usr/local/bin/lrsh-test-evil");
    std::fs::create_dir_all(program.parent().unwrap()).unwrap();
    std::fs::copy("/bin/sleep", &program).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let unit = |folder: &str, name: &str, text: &str| {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(Path::new(folder).join(name), text).unwrap();
    };
    let evil = |install: &str| format!("[Service]\nExecStart={} 1000000\nRestart=always\n{install}", program.display());
    unit(UNITS, "lrsh-evil.service", &evil("[Install]\nWantedBy=multi-user.target\nAlias=lrsh-other-name.service\n"));
    unit(UNITS, "lrsh-tick.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n");
    unit(UNITS, "lrsh-tick.timer", "[Timer]\nOnCalendar=2099-01-01\n[Install]\nWantedBy=timers.target\n");
    unit(UNITS, "lrsh-talk@.service", "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n");
    unit(UNITS, "lrsh-talk.socket", "[Socket]\nListenStream=/run/lrsh-talk\nAccept=yes\n[Install]\nWantedBy=sockets.target\n");
    unit("/usr/lib/systemd/system", "lrsh-shipped.service", "[Service]\nExecStart=/bin/sleep 1000000\n");
    let wants = Path::new("/usr/lib/systemd/system/multi-user.target.wants");
    std::fs::create_dir_all(wants).unwrap();
    let _ = symlink("../lrsh-shipped.service", wants.join("lrsh-shipped.service"));
    systemctl(&["daemon-reload"]);
    for name in ["lrsh-evil.service", "lrsh-tick.timer", "lrsh-talk.socket"] {
        systemctl(&["enable", "--now", name]);
    }
    systemctl(&["start", "lrsh-shipped.service"]);
    program
}

fn look(device: &mut Device) {
    let answer = device.run("services", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    device.seen = answer.seen();
}

fn remediate(device: &Device, name: &str, flags: &[&str]) -> Answer {
    device.run("remediate", &[("type", "service"), ("id", name)], flags)
}

pub fn state(name: &str) -> (String, String) {
    (systemctl(&["is-active", name]), systemctl(&["is-enabled", name]))
}

#[test]
fn units_are_stopped_for_good_and_come_back() {
    if !inside_systemd("remediate::service::units_are_stopped_for_good_and_come_back") {
        return;
    }
    let program = set_up();
    let mut device = Device::live();
    let why = refused(&remediate(&device, "lrsh-evil", &[]));
    assert!(why.code == "prerequisite" && why.message.contains("run `services` first"), "{why:?}");
    let before = dump(Path::new(UNITS));
    let check = |device: &mut Device, name: &str, was: (&str, &str), action: &str, now: (&str, &str)| {
        assert_eq!(state(name), (was.0.to_owned(), was.1.to_owned()), "{name}");
        look(device);
        let planned = remediate(device, name, &["plan"]);
        assert_eq!(planned.rows()[0]["action"], action, "{:?}", planned.completed);
        assert_eq!(dump(Path::new(UNITS)), before);
        let effect = done(&remediate(device, name, &[]));
        assert_eq!((effect.action.as_str(), effect.undoable.as_str()), (action, Some("yes")), "{effect:?}");
        assert_eq!(state(name), (now.0.to_owned(), now.1.to_owned()), "{name}");
        effect
    };
    // `lrsh-evil` is short for `lrsh-evil.service`.
    let evil = check(
        &mut device,
        "lrsh-evil",
        ("active", "enabled"),
        "stopped, disabled, image quarantined",
        ("inactive", "disabled"),
    );
    assert_eq!(evil.target, "lrsh-evil.service");
    assert!(!program.exists());
    assert!(evil.after["evidence"].is_string(), "{evil:?}");
    done(&device.run("undo", &[("type", "service"), ("id", "lrsh-evil")], &[]));
    assert!(program.exists());
    assert_eq!(state("lrsh-evil"), ("active".into(), "enabled".into()));
    assert_eq!(dump(Path::new(UNITS)), before);
    assert_eq!(systemctl(&["is-enabled", "lrsh-other-name"]), "alias");

    for name in ["lrsh-tick.timer", "lrsh-talk.socket"] {
        check(&mut device, name, ("active", "enabled"), "stopped, disabled", ("inactive", "disabled"));
        let undone = done(&device.run("undo", &[("type", "service"), ("id", name)], &[]));
        assert!(undone.action.contains("restored") && undone.action.contains("started"), "{undone:?}");
        assert_eq!(state(name), ("active".into(), "enabled".into()), "{name}");
        assert_eq!(dump(Path::new(UNITS)), before);
    }

    let shipped = check(&mut device, "lrsh-shipped.service", ("active", "static"), "stopped, masked", ("inactive", "masked"));
    assert!(shipped.reason.unwrap().contains("image /usr/bin/sleep stays: package coreutils owns it as shipped"));
    done(&device.run("undo", &[("type", "service"), ("id", "lrsh-shipped.service")], &[]));
    assert_eq!(state("lrsh-shipped.service"), ("active".into(), "static".into()));
    assert_eq!(only_files(&dump(Path::new(UNITS))), only_files(&before));

    // What is set up otherwise by now is refused.
    look(&mut device);
    std::fs::create_dir_all("/etc/systemd/system/lrsh-evil.service.d").unwrap();
    std::fs::write("/etc/systemd/system/lrsh-evil.service.d/more.conf", "[Service]\nUser=nobody\n").unwrap();
    let why = refused(&remediate(&device, "lrsh-evil", &[]));
    assert!(why.code == "changed" && why.message.contains("its drop-ins changed"), "{why:?}");
    let why = refused(&remediate(&device, "lrsh-none", &[]));
    assert_eq!(why.code, "not_found");
    look(&mut device);
    assert_eq!(refused(&remediate(&device, "dbus.service", &[])).code, "protected");
}

#[test]
fn ended_while_a_service_is_remediated() {
    let test = "remediate::service::ended_while_a_service_is_remediated";
    if let Some(folder) = std::env::var_os(CHILD) {
        // This is the process that is to die.
        let mut device = Device::live();
        device.move_to(Path::new(&folder));
        look(&mut device);
        let name = std::env::var("LRSH_TEST_UNIT").unwrap();
        let answer = remediate(&device, &name, &[]);
        panic!("it did not die: {:?} {:?}", answer.completed, effects(&answer));
    }
    if !inside_systemd(test) {
        return;
    }
    set_up();
    let before = dump(Path::new(UNITS));
    let points = SERVICE.into_iter().flat_map(|point| [(point, 1), (point, 2)]).chain([("journal.step.after_fsync", 2)]);
    for (point, count) in points {
        let name = if point == "service.after_mask" { "lrsh-shipped.service" } else { "lrsh-evil.service" };
        if (point, count) == ("service.after_mask", 2) {
            continue;
        }
        let was = state(name);
        let folder = tempfile::tempdir().unwrap();
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, folder.path().join("agent"))
            .env("LRSH_TEST_UNIT", name)
            .env("LRSH_FAULT", format!("{point}:{count}:abort"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!said.contains("it did not die") && !out.status.success(), "{point}: {said}");
        let mut device = Device::live();
        device.move_to(&folder.path().join("agent"));
        let rows = device.run("remediate", &[("type", "list")], &[]).rows();
        let found = rows[0]["state"].as_str().unwrap();
        match found {
            "not_done" => assert_eq!(state(name), was, "{point}"),
            "partly" | "done" => {
                done(&device.run("undo", &[("number", "1")], &[]));
            }
            other => panic!("{point}: {other}"),
        }
        assert_eq!(state(name), was, "{point}: {rows:?}");
        assert_eq!(only_files(&dump(Path::new(UNITS))), only_files(&before), "{point}: {rows:?}");
    }
}
