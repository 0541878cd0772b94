//! The verbs and the table tell of the same commands and the same fields.

use std::collections::BTreeSet;

use lrsh::agent::VERBS;
use lrsh::grammar::{RunsOn, table};
use lrsh::protocol::{Body, Status};

use crate::kit::device::Device;

#[test]
fn every_command_of_the_device_has_a_verb_and_every_verb_a_command() {
    let rows = table().rows().iter().filter(|row| row.runs_on == RunsOn::Device && row.since.is_none());
    // The service sends `connect` to the device by itself.
    let rows: BTreeSet<&str> = rows.map(|row| row.name.as_str()).chain(["connect"]).collect();
    let verbs: BTreeSet<&str> = VERBS.iter().map(|(name, _)| *name).collect();
    assert_eq!(verbs, rows, "left: verbs; right: rows of grammar/commands that run on the device, without `since`");
    assert!(VERBS.is_sorted_by_key(|(name, _)| name));
}

fn columns(command: &str) -> Vec<String> {
    table().find(command).unwrap().columns.iter().map(|column| column.key.clone()).collect()
}

#[test]
fn rows_carry_the_fields_that_the_table_lists() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let device = Device::live();
    let check = |command: &str, params: &[(&str, &str)]| {
        let answer = device.run(command, params, &[]);
        assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
        let keys = answer.events.iter().find_map(|body| match body {
            Body::Table { keys } => Some(keys.clone()),
            _ => None,
        });
        assert_eq!(keys.unwrap(), columns(command), "{command}");
    };
    check("dir", &[("path", path)]);
    check("findfile", &[("name", "x"), ("path", path)]);
    check("processes", &[("name", "no process is called that")]);
    let info = device.run("fileinfo", &[("path", path)], &[]).object();
    let known = columns("fileinfo");
    for field in info[path].as_object().unwrap().keys() {
        assert!(known.contains(field), "{field}");
    }
}
