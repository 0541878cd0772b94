//! The corpus: lines, good and bad, and how they read. A case fixes only the fields that it names.

use std::fs;
use std::path::Path;

use lrsh::grammar;
use lrsh::protocol::PlatformName;
use serde_json::Value;

/// A line and what is to be made of it: one line of `grammar/corpus/*.jsonl`.
pub(super) struct Case {
    place: String,
    pub(super) line: String,
    platform: Option<PlatformName>,
    whole: Value,
}

/// Every case, file by file.
pub(super) fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grammar/corpus");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for (at, text) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let place = format!("{name}:{}", at + 1);
            let whole: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{place}: {error}"));
            let line = whole["line"].as_str().unwrap().to_owned();
            let platform = whole.get("platform").map(|name| serde_json::from_value(name.clone()).unwrap());
            cases.push(Case { place, line, platform, whole });
        }
    }
    cases
}

fn check(case: &Case) -> Result<(), String> {
    let read = grammar::read(&case.line, case.platform).explained();
    let fits = match case.whole.get("expect") {
        Some(wanted) => wanted.as_object().unwrap().iter().all(|(field, value)| read.get(field) == Some(value)),
        None => {
            let error = read.get("error").ok_or_else(|| format!("{}: {:?} read as {read}", case.place, case.line))?;
            let kind = &case.whole["error"];
            (kind == "*" || *kind == error["kind"]) && case.whole.get("span").is_none_or(|span| *span == error["span"])
        }
    };
    if fits { Ok(()) } else { Err(format!("{}: {:?}\n  wanted {}\n  read   {read}", case.place, case.line, case.whole)) }
}

#[test]
fn every_line_of_the_corpus_reads_as_it_says() {
    let cases = cases();
    assert!(cases.len() >= 200, "{} cases", cases.len());
    let wrong: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
