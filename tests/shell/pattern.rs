//! `getfile` with a pattern: every file is a job of its own, and all of them are one answer.

use serde_json::Value;

use crate::kit::shell::Home;

/// A home with three files, and a folder for what is fetched.
fn desk() -> (Home, String) {
    let home = Home::new();
    for name in ["a", "b", "c"] {
        std::fs::write(home.work().join(format!("{name}.log")), format!("content of {name}")).unwrap();
    }
    std::fs::create_dir(home.work().join("d.log")).unwrap();
    std::fs::create_dir(home.work().join("to")).unwrap();
    let line = format!("getfile {}/*.log -to {}/", home.work().display(), home.work().join("to").display());
    (home, line)
}

fn check(home: &Home, rows: &[Value]) {
    assert_eq!(rows.len(), 3, "{rows:?}");
    for (row, name) in rows.iter().zip(["a", "b", "c"]) {
        assert_eq!(row["path"], home.work().join(format!("{name}.log")).display().to_string());
        let saved = std::path::Path::new(row["saved_as"].as_str().unwrap());
        assert_eq!(std::fs::read_to_string(saved).unwrap(), format!("content of {name}"));
        std::fs::remove_file(saved).unwrap();
    }
}

fn in_file(home: &Home, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(home.work().join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_files_of_a_pattern_are_one_answer_in_order() {
    let (home, line) = desk();
    let ran = home.batch(&format!("{line} -output json\n")).run().code(0);
    check(&home, ran.json().as_array().unwrap());
    assert!(ran.err().contains("d.log: it is no file, so it is left out"), "{}", ran.err());
    // One at a time, as a person reads it.
    let ran = home.batch(&format!("{line}\n")).run().code(0);
    assert_eq!(ran.out().matches("saved_as").count(), 3, "{}", ran.out());
}

#[test]
fn it_goes_into_the_file_of_a_redirect_at_once_or_in_the_background() {
    let (home, line) = desk();
    home.batch(&format!("{line} -output jsonl > at-once\n")).run().code(0);
    check(&home, &in_file(&home, "at-once"));
    let ran = home.batch(&format!("{line} -output jsonl > behind &\njobs -output jsonl -columns number\n")).run().code(0);
    assert_eq!(ran.err().matches("(Just created)").count(), 3, "{}", ran.err());
    check(&home, &in_file(&home, "behind"));
}

#[test]
fn the_row_of_a_single_file_goes_into_the_file_of_a_redirect() {
    let (home, _) = desk();
    let line = format!("getfile {}/a.log -to to/ -output jsonl > one", home.work().display());
    let ran = home.batch(&format!("{line}\n")).run().code(0);
    assert_eq!(ran.out(), "");
    assert_eq!(in_file(&home, "one")[0]["size"], 12);
    // What a job wrote into a file is not shown once more.
    let ran = home.batch(&format!("{line} &\nfg 2\n")).run().code(0);
    assert_eq!(ran.out(), "");
    let ran = home.batch("processes -first 1 -output jsonl > two &\nfg 2\n").run().code(0);
    assert_eq!((ran.out().as_str(), in_file(&home, "two").len()), ("", 1));
}

#[test]
fn jobs_of_a_pattern_in_the_background_end_by_themselves() {
    let (home, line) = desk();
    let ran = home.batch(&format!("{line} &\n")).run().code(0);
    assert_eq!(ran.out().matches("saved_as").count(), 3, "{}{}", ran.out(), ran.err());
}
