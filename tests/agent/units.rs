//! systemd's units are found and judged as `systemctl list-unit-files` does it.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use lrsh::agent::context::Stop;
use lrsh::agent::platform::Root;
use lrsh::agent::platform::systemd::{Loaded, Scope, Units};

use crate::kit::need::need;

/// Names and states that systemctl tells of a tree.
pub fn systemctl(root: &Path) -> BTreeMap<String, String> {
    let root = format!("--root={}", root.display());
    let args = [&root, "list-unit-files", "--no-legend", "--no-pager", "--full"];
    let out = Command::new("systemctl").args(args).env("LC_ALL", "C").output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let line = |line: &str| {
        let mut words = line.split_whitespace().map(ToOwned::to_owned);
        Some((words.next()?, words.next()?))
    };
    String::from_utf8(out.stdout).unwrap().lines().filter_map(line).collect()
}

fn ours(root: &Root) -> BTreeMap<String, String> {
    let units = Units::load(root, &Scope::System, &Stop::default()).unwrap();
    units.iter().map(|unit| (unit.name.clone(), unit.state.to_owned())).collect()
}

#[test]
fn this_machines_unit_files_agree_with_systemctl() {
    if need(&["systemctl"]) {
        assert_eq!(ours(&Root::live()), systemctl(Path::new("/")));
    }
}

#[test]
fn every_way_of_being_enabled_agrees_with_systemctl() {
    if !need(&["systemctl"]) {
        return;
    }
    let tree = tempfile::tempdir().unwrap();
    let at = |path: &str| tree.path().join(path.trim_start_matches('/'));
    let write = |path: &str, text: &str| {
        std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        std::fs::write(at(path), text).unwrap();
    };
    let link = |path: &str, target: &str| {
        std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        symlink(target, at(path)).unwrap();
    };
    let service = "[Service]\nExecStart=/bin/true\n";
    let installed = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\nAlias=other.service\n";
    for name in
        ["enabled", "disabled", "by-alias", "by-wrong-alias", "runtime", "vendor-wants", "shadowed", "masked", "required"]
    {
        write(&format!("/usr/lib/systemd/system/{name}.service"), installed);
    }
    write("/usr/lib/systemd/system/static.service", service);
    write("/usr/lib/systemd/system/also.service", "[Service]\nExecStart=/x\n[Install]\nAlso=enabled.service\n");
    write("/usr/lib/systemd/system/reset.service", "[Service]\nExecStart=/x\n[Install]\nWantedBy=a.target\nWantedBy=\n");
    write("/usr/lib/systemd/system/empty.service", "");
    write("/usr/lib/systemd/system/plain@.service", installed);
    write(
        "/usr/lib/systemd/system/default@.service",
        "[Service]\nExecStart=/x %i\n[Install]\nWantedBy=a.target\nDefaultInstance=one\n",
    );
    write("/usr/lib/systemd/system/with@instance.service", service);
    write("/usr/lib/systemd/system/odd name.service", service);
    write("/usr/lib/systemd/system/readme.txt", service);
    write("/usr/lib/systemd/system/a.timer", "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n");
    write("/usr/local/lib/systemd/system/local.service", installed);
    write("/etc/systemd/system/own.service", installed);
    write("/etc/systemd/system/shadowed.service", service);
    write("/etc/systemd/system/dropped.service.d/x.conf", "[Install]\nWantedBy=a.target\n");
    write("/usr/lib/systemd/system/dropped.service", service);
    write("/opt/linked.service", installed);
    write("/opt/linked-enabled.service", installed);
    write("/opt/linked-run.service", installed);
    write("/run/systemd/generator/made.service", service);
    write("/run/systemd/generator.late/script.service", service);
    write("/run/systemd/transient/run-1.service", service);
    let wants = "/etc/systemd/system/multi-user.target.wants";
    link(&format!("{wants}/enabled.service"), "/usr/lib/systemd/system/enabled.service");
    link(&format!("{wants}/own.service"), "../own.service");
    link(&format!("{wants}/plain@tty1.service"), "/usr/lib/systemd/system/plain@.service");
    link(&format!("{wants}/default@one.service"), "/usr/lib/systemd/system/default@.service");
    link(&format!("{wants}/a.timer"), "/usr/lib/systemd/system/a.timer");
    link(&format!("{wants}/gone.service"), "/usr/lib/systemd/system/gone.service");
    link(&format!("{wants}/linked-enabled.service"), "/opt/linked-enabled.service");
    link("/etc/systemd/system/multi-user.target.requires/required.service", "/usr/lib/systemd/system/required.service");
    link("/etc/systemd/system/other.service", "/usr/lib/systemd/system/by-alias.service");
    link("/etc/systemd/system/wrong.service", "/usr/lib/systemd/system/by-wrong-alias.service");
    link("/run/systemd/system/multi-user.target.wants/runtime.service", "/usr/lib/systemd/system/runtime.service");
    link("/usr/lib/systemd/system/multi-user.target.wants/vendor-wants.service", "../vendor-wants.service");
    link("/etc/systemd/system/masked.service", "/dev/null");
    link("/run/systemd/system/masked-run.service", "/dev/null");
    link("/etc/systemd/system/linked.service", "/opt/linked.service");
    link("/etc/systemd/system/linked-enabled.service", "/opt/linked-enabled.service");
    link("/run/systemd/system/linked-run.service", "/opt/linked-run.service");
    link("/etc/systemd/system/dangling.service", "/nowhere/dangling.service");
    link("/etc/systemd/system/inst@x.service", "/usr/lib/systemd/system/plain@.service");
    link("/etc/systemd/system/chain.service", "chain2.service");
    link("/etc/systemd/system/chain2.service", "/usr/lib/systemd/system/static.service");
    link("/usr/lib/systemd/system/vendor-alias.service", "static.service");
    link("/etc/systemd/system/loop-a.service", "loop-b.service");
    link("/etc/systemd/system/loop-b.service", "loop-a.service");
    link("/lib", "usr/lib");
    link("/etc/systemd/system/plain@y.service", "/usr/lib/systemd/system/plain@.service");
    // Links to elsewhere, by another name: units of their own, which systemctl calls aliases.
    link("/etc/systemd/system/other-name.service", "/opt/linked.service");
    link("/etc/systemd/system/static.service", "/opt/linked.service");
    link("/etc/systemd/system/data.service", "/opt/data");
    write("/opt/data", installed);
    link("/opt/chain.service", "/usr/lib/systemd/system/enabled.service");
    link("/etc/systemd/system/by-elsewhere.service", "/opt/chain.service");
    write("/usr/lib/systemd/user/of-user.service", service);
    link("/etc/systemd/system/from-user.service", "/usr/lib/systemd/user/of-user.service");
    let root = Root::at(tree.path()).unwrap();
    assert_eq!(ours(&root), systemctl(tree.path()));
    let units = Units::load(&root, &Scope::System, &Stop::default()).unwrap();
    let loaded = |name: &str| units.get(name).unwrap().loaded.clone();
    for (name, target) in [
        ("other-name.service", "/opt/linked.service"),
        ("static.service", "/opt/linked.service"),
        ("data.service", "/opt/data"),
        ("by-elsewhere.service", "/usr/lib/systemd/system/enabled.service"),
        ("from-user.service", "/usr/lib/systemd/user/of-user.service"),
    ] {
        assert_eq!(loaded(name), Loaded::Linked(target.into()), "{name}");
    }
    assert_eq!(loaded("vendor-alias.service"), Loaded::Alias("static.service".into()));
}
