//! Recorded devices: small trees made to look like machines that exist, and what the looking verbs tell of them, held as snapshots.
//!
//! `INSTA_UPDATE=always cargo test --test all recorded::` writes them anew; read the difference before it is committed.

use std::path::{Path, PathBuf};

use lrsh::protocol::Status;
use serde_json::Value;

use crate::kit::device::Device;

/// A clean server, one with implants, a desktop.
pub const DEVICES: [&str; 3] = ["clean-server", "compromised-server", "desktop"];

/// Where a recorded device's tree is.
pub fn tree(device: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(device)
}

/// The rows of a command on a recorded device, without the times that a checkout gives its files.
pub fn rows(device: &str, command: &str) -> Vec<Value> {
    let answer = Device::at(&tree(device)).run(command, &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{device}: {command}: {:?}", answer.completed);
    let mut rows = answer.rows();
    for row in rows.iter_mut().filter_map(Value::as_object_mut) {
        for key in ["unit_modified", "modified", "created"] {
            if row.contains_key(key) {
                row.insert(key.to_owned(), Value::from("(when)"));
            }
        }
    }
    rows
}

#[test]
fn services_and_drivers_are_as_recorded() {
    for device in DEVICES {
        for command in ["services", "drivers"] {
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
