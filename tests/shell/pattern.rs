//! `getfile` with a pattern: every file is a job of its own, and all of them are one answer.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::kit::need::rounds;
use crate::kit::shell::Home;
use crate::kit::talking::until;

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

#[test]
fn what_matches_and_cannot_be_looked_at_is_in_the_exit_code() {
    let (home, line) = desk();
    std::os::unix::fs::symlink("nowhere", home.work().join("dangling.log")).unwrap();
    let ran = home.line(&format!("{line} -output jsonl")).code(1);
    assert!(ran.err().contains("dangling.log: there is no such file"), "{}", ran.err());
    check(&home, &ran.jsonl());
    home.line(&format!("{line} > rows &")).code(1);
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

/// More files than are sent for at once, and the line that fetches them.
fn crowd(home: &Home, count: usize) -> String {
    let (from, to) = (home.work().join("from"), home.work().join("to"));
    std::fs::create_dir(&from).unwrap();
    std::fs::create_dir(&to).unwrap();
    for number in 0..count {
        std::fs::write(from.join(format!("f{number:04}")), format!("content of {number}")).unwrap();
    }
    format!("getfile {}/f* -to {}/", from.display(), to.display())
}

/// Every file of such a crowd is here, once, whole, and nothing else.
#[track_caller]
fn all_came(to: &Path, count: usize) {
    let mut names: Vec<_> =
        std::fs::read_dir(to).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, (0..count).map(|number| format!("f{number:04}")).collect::<Vec<_>>());
    for number in 0..count {
        assert_eq!(std::fs::read_to_string(to.join(format!("f{number:04}"))).unwrap(), format!("content of {number}"));
    }
}

#[test]
fn however_many_files_match_they_come_in_order() {
    let home = Home::new();
    let line = crowd(&home, 300);
    let to = home.work().join("to");
    let rows = home.batch(&format!("{line} -output jsonl\n")).run().code(0).jsonl();
    let paths: Vec<&str> = rows.iter().map(|row| row["path"].as_str().unwrap()).collect();
    assert!(paths.len() == 300 && paths.is_sorted(), "{paths:?}");
    all_came(&to, 300);
    // In the background the first few are named, and all of them are waited for.
    std::fs::remove_dir_all(&to).unwrap();
    std::fs::create_dir(&to).unwrap();
    let ran = home.batch(&format!("{line} -output jsonl > rows &\n")).run().code(0);
    assert_eq!((ran.out().as_str(), ran.err().matches("(Just created)").count()), ("", 8), "{}", ran.err());
    assert!(ran.err().contains("and 292 more"), "{}", ran.err());
    assert_eq!(in_file(&home, "rows").len(), 300);
    all_came(&to, 300);
}

#[test]
fn a_service_that_dies_loses_none_of_the_files_of_a_pattern() {
    let home = Home::new();
    let count = 200;
    let line = crowd(&home, count);
    let to = home.work().join("to");
    for round in 0..rounds().div_ceil(5) {
        let mut command = home.command();
        let shell = command.args(["-c", &format!("{line} -output jsonl")]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shell = shell.spawn().unwrap();
        let names = || std::fs::read_dir(&to).unwrap().count();
        for some in [5, 60, 120] {
            until("some files", || names() > some + usize::try_from(round % 10).unwrap() * 7);
            let is_service =
                |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().ends_with(b"\0embedded\0");
            if let Some(pid) = home.processes().into_iter().find(is_service) {
                std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
            }
        }
        let output = shell.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), count, "{said}");
        all_came(&to, count);
        std::fs::remove_dir_all(&to).unwrap();
        std::fs::create_dir(&to).unwrap();
    }
}

#[test]
fn several_files_do_not_go_under_one_name() {
    let home = Home::new();
    crowd(&home, 3);
    let ran = home.line(&format!("getfile {}/* -to {}/none", home.work().join("from").display(), home.work().display()));
    assert!(ran.err().contains("none is no folder here, and several files match"), "{}", ran.err());
    assert!(!home.work().join("none").exists());
    ran.code(1);
}
