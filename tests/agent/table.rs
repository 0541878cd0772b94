//! The verbs and the table tell of the same commands.

use std::collections::BTreeSet;
use std::path::Path;

use lrsh::agent::VERBS;
use lrsh::grammar::row::{Row, RunsOn};

#[test]
fn every_command_of_the_device_has_a_verb_and_every_verb_a_command() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grammar/commands");
    let mut rows = BTreeSet::from(["connect".to_owned()]);
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let row: Row = toml::from_str(&text).unwrap();
        if row.runs_on == RunsOn::Device && row.since.is_none() {
            rows.insert(row.name);
        }
    }
    let verbs: BTreeSet<String> = VERBS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(verbs, rows, "left: verbs; right: rows of grammar/commands that run on the device, without `since`");
    assert!(VERBS.is_sorted_by_key(|(name, _)| name));
}
