//! Units that start in other ways than by a link of their own: masked, pulled in by others, templates, other names.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use lrsh::protocol::Effect;

use super::faults::files;
use super::service::{UNITS, set_up, state};
use super::{done, dump, refused};
use crate::kit::device::{Answer, Device};
use crate::kit::systemd::inside_systemd;

const LIB: &str = "usr/lib/systemd/system";
const ETC: &str = "etc/systemd/system";

/// A tree with a default target, units and links.
fn tree(units: &[(&str, &str)], links: &[(&str, &str)]) -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(tree.path().join(ETC)).unwrap();
    let target = [("usr/lib/systemd/system/multi-user.target", "[Unit]\nDescription=All\n")];
    for (path, text) in target.iter().chain(units) {
        let path = tree.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    for (path, target) in [("usr/lib/systemd/system/default.target", "multi-user.target")].iter().chain(links) {
        let path = tree.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }
    tree
}

fn remediate(device: &mut Device, name: &str, flags: &[&str]) -> Answer {
    device.seen = device.run("services", &[], &[]).seen();
    device.run("remediate", &[("type", "service"), ("id", name)], flags)
}

/// Removes a service of a tree, after a plan that changes nothing; it starts no more, and comes back.
fn goes_and_comes_back(tree: &Path, name: &str, action: &str, gone: &[&str], made: &[&str]) -> Effect {
    let mut device = Device::at(tree);
    let before = files(tree);
    let planned = remediate(&mut device, name, &["plan"]);
    assert_eq!(planned.rows()[0]["action"], action, "{:?}", planned.completed);
    assert_eq!(files(tree), before, "a plan changes nothing");
    let effect = done(&remediate(&mut device, name, &[]));
    assert_eq!(effect.action, action);
    for path in gone {
        assert!(tree.join(path).symlink_metadata().is_err(), "{path}");
    }
    for path in made {
        assert_eq!(std::fs::read_link(tree.join(path)).unwrap(), Path::new("/dev/null"), "{path}");
    }
    let rows = device.run("services", &[], &[]).rows();
    let starts = rows.iter().find(|row| row["service_name"] == effect.target.as_str()).map(|row| row["start_type"].clone());
    assert_ne!(starts, Some("auto".into()), "{rows:?}");
    done(&device.run("undo", &[("number", "1")], &[]));
    assert_eq!(files(tree), before);
    effect
}

#[test]
fn what_another_unit_pulls_in_is_hidden_or_its_file_goes() {
    let puller = ("usr/lib/systemd/system/multi-user.target", "[Unit]\nWants=evil.service\n");
    let evil = "[Service]\nExecStart=/opt/evil\n";
    let shipped = format!("{LIB}/evil.service");
    let own = format!("{ETC}/evil.service");
    let packaged = tree(&[puller, (&shipped, evil)], &[]);
    let effect = goes_and_comes_back(packaged.path(), "evil", "masked", &[], &[&own]);
    assert!(effect.reason.is_none_or(|reason| !reason.contains("start")), "nothing is left to be said");
    let administered = tree(&[puller, (&own, evil)], &[]);
    let effect = goes_and_comes_back(administered.path(), "evil", "disabled", &[&own], &[]);
    assert!(effect.reason.unwrap().contains("multi-user.target would start it again, so that its file goes too"));
    // The same by a package's link.
    let wants = format!("{LIB}/multi-user.target.wants/evil.service");
    let linked = tree(&[(&own, evil)], &[(&wants, "/etc/systemd/system/evil.service")]);
    goes_and_comes_back(linked.path(), "evil", "disabled", &[&own], &[]);
    // What a package has of that name would come to light.
    let both = tree(&[puller, (&own, evil), (&shipped, evil)], &[]);
    let why = refused(&remediate(&mut Device::at(both.path()), "evil", &[]));
    assert!(
        why.code == "nothing_to_do"
            && why.message.contains("it cannot be masked since /etc/systemd/system/evil.service is there"),
        "{why:?}"
    );
}

#[test]
fn what_is_masked_is_left_alone() {
    let tree = tree(
        &[(&format!("{LIB}/evil.service"), "[Service]\nExecStart=/opt/evil\n")],
        &[
            (&format!("{LIB}/multi-user.target.wants/evil.service"), "../evil.service"),
            (&format!("{ETC}/evil.service"), "/dev/null"),
        ],
    );
    let before = files(tree.path());
    let why = refused(&remediate(&mut Device::at(tree.path()), "evil", &[]));
    assert!(why.code == "nothing_to_do" && why.message.ends_with("it does not run and does not start by itself"), "{why:?}");
    assert_eq!(files(tree.path()), before);
}

#[test]
fn a_template_goes_with_the_links_of_its_instances() {
    let wants = format!("{ETC}/multi-user.target.wants/evil@one.service");
    let tree =
        tree(&[(&format!("{ETC}/evil@.service"), "[Service]\nExecStart=/opt/evil %i\n")], &[(&wants, "../evil@.service")]);
    let effect = goes_and_comes_back(tree.path(), "evil@.service", "disabled", &[&wants], &[]);
    assert!(effect.reason.unwrap().contains("with its instances: evil@one.service"));
}

#[test]
fn another_name_means_the_unit_that_has_it() {
    let wants = format!("{ETC}/multi-user.target.wants/evil.service");
    let alias = format!("{ETC}/harmless.service");
    let tree = tree(
        &[(&format!("{ETC}/evil.service"), "[Service]\nExecStart=/opt/evil\n[Install]\nAlias=harmless.service\n")],
        &[(&wants, "../evil.service"), (&alias, "/etc/systemd/system/evil.service")],
    );
    let effect = goes_and_comes_back(tree.path(), "harmless", "disabled", &[&wants, &alias], &[]);
    assert_eq!(effect.target, "evil.service");
    assert!(effect.reason.unwrap().contains("harmless.service is another name of it"));
}

#[test]
fn instances_masked_and_static_units_of_a_booted_system() {
    if !inside_systemd("remediate::units::instances_masked_and_static_units_of_a_booted_system") {
        return;
    }
    set_up();
    let units = Path::new(UNITS);
    let systemctl = |args: &[&str]| assert!(Command::new("systemctl").args(args).status().unwrap().success(), "{args:?}");
    let write = |name: &str, text: &str| std::fs::write(units.join(name), text).unwrap();
    let sleeps = "[Service]\nExecStart=/bin/sleep 1000000\n";
    write("lrsh-many@.service", &format!("{sleeps}[Install]\nWantedBy=multi-user.target\n"));
    write("lrsh-static.service", sleeps);
    write("lrsh-idle.service", sleeps);
    systemctl(&["daemon-reload"]);
    systemctl(&["enable", "--now", "lrsh-many@one.service"]);
    systemctl(&["enable", "lrsh-many@two.service"]);
    systemctl(&["start", "lrsh-static.service"]);
    systemctl(&["mask", "--now", "cron.service"]);
    let before = dump(units);
    let mut device = Device::live();
    let mut check = |name: &str, action: &str, was: (&str, &str), now: (&str, &str)| {
        let as_told = |told: (&str, &str)| (told.0.to_owned(), told.1.to_owned());
        assert_eq!(state(name), as_told(was), "{name}");
        let effect = done(&remediate(&mut device, name, &[]));
        assert_eq!((effect.action.as_str(), state(name)), (action, as_told(now)), "{name}");
        let number = effect.effect_id.to_string();
        done(&device.run("undo", &[("number", &number)], &[]));
        assert_eq!(state(name), as_told(was), "{name}");
        assert_eq!(files(units), super::faults::only_files(&before), "{name}");
    };
    check("lrsh-many@one.service", "stopped, disabled", ("active", "enabled"), ("inactive", "disabled"));
    check("lrsh-static.service", "stopped", ("active", "static"), ("inactive", "static"));
    // What does not run and does not start is left alone, and why is said.
    for (name, says) in [
        ("lrsh-idle.service", "it does not run and does not start by itself"),
        ("cron.service", "it does not run and does not start by itself"),
        ("lrsh-many@.service", "its instances are services of their own: lrsh-many@one.service"),
    ] {
        let why = refused(&remediate(&mut device, name, &[]));
        assert!(why.code == "nothing_to_do" && why.message.contains(says), "{why:?}");
    }
    assert_eq!(files(units), super::faults::only_files(&before));
}
