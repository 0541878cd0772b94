//! View options, on every format.

use serde_json::json;

use crate::kit::shell::Home;

/// A home with a folder of four files, and what one line on it prints.
fn folder() -> (Home, impl Fn(&Home, &str) -> String) {
    let home = Home::new();
    let folder = home.work().join("files");
    std::fs::create_dir(&folder).unwrap();
    for (name, size) in [("a.txt", 10), ("b.log", 300), ("c.txt", 20), ("d e.log", 5)] {
        std::fs::write(folder.join(name), vec![b'x'; size]).unwrap();
    }
    let path = folder.display().to_string();
    (home, move |home: &Home, options: &str| home.line(&format!("dir {path} {options}")).code(0).out())
}

#[test]
fn they_do_the_same_on_every_format() {
    let (home, dir) = folder();
    let options = "-match *.txt -sort -size -columns path,size";
    assert_eq!(dir(&home, options), "path   size\nc.txt    20\na.txt    10\n");
    assert_eq!(dir(&home, &format!("{options} -output csv")), "path,size\nc.txt,20\na.txt,10\n");
    let lines = "{\"path\":\"c.txt\",\"size\":20}\n{\"path\":\"a.txt\",\"size\":10}\n";
    assert_eq!(dir(&home, &format!("{options} -output jsonl")), lines);
    let whole: serde_json::Value = serde_json::from_str(&dir(&home, &format!("{options} -output json"))).unwrap();
    assert_eq!(whole, json!([{"path": "c.txt", "size": 20}, {"path": "a.txt", "size": 10}]));
}

#[test]
fn each_works_alone_and_in_its_order() {
    let (home, dir) = folder();
    let check = |options: &str, names: &[&str]| {
        let out = dir(&home, &format!("{options} -columns path -output csv"));
        let found: Vec<&str> = out.lines().skip(1).collect();
        assert_eq!(found, names, "{options}");
    };
    check("-sort size", &["d e.log", "a.txt", "c.txt", "b.log"]);
    check("-sort -path", &["d e.log", "c.txt", "b.log", "a.txt"]);
    check("-sort -size -first 2", &["b.log", "c.txt"]);
    check("-match LOG -sort path", &["b.log", "d e.log"]);
    check("-match \"D E\"", &["d e.log"]);
    check("-match nothing", &[]);
    check("-sort path -first 0", &[]);
    check("-sort path -first 99", &["a.txt", "b.log", "c.txt", "d e.log"]);
    assert_eq!(dir(&home, "-first 2 -output jsonl").lines().count(), 2);
    assert_eq!(dir(&home, "-match nothing -output json").trim().replace('\n', ""), "[]");
}

#[test]
fn on_an_object_they_act_on_its_entries() {
    let (home, _) = folder();
    let line = format!("fileinfo {}/*.txt -columns path,size -sort -size -output json", home.work().join("files").display());
    let object = home.line(&line).code(0).json();
    let sizes: Vec<i64> = object.as_object().unwrap().values().map(|entry| entry["size"].as_i64().unwrap()).collect();
    assert_eq!(sizes, [20, 10], "{object}");
}

#[test]
fn a_field_that_is_none_is_told_before_anything_runs() {
    let (home, _) = folder();
    for line in
        ["dir / -sort nosuch", "dir / -columns path,nosuch", "dir / -first many", "dir / -output xml", "dir / -first -1"]
    {
        let ran = home.batch(&format!("devices\n{line}\n")).run().code(2);
        assert!(ran.out().is_empty() && ran.err().contains("-:2:"), "{line}: {}", ran.err());
    }
}

#[test]
fn enough_rows_end_the_command_on_the_device_as_completed() {
    let home = Home::new();
    let many = home.work().join("many");
    std::fs::create_dir(&many).unwrap();
    for number in 0..5000 {
        std::fs::write(many.join(number.to_string()), "").unwrap();
    }
    let script = format!("dir {} -first 3 -output jsonl\nlog -output jsonl -sort -id -first 1\n", many.display());
    let rows = home.batch(&script).run().code(0).jsonl();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[3]["status"], "completed");
}

#[test]
fn a_row_that_says_what_went_wrong_is_not_overlooked() {
    let home = Home::new();
    let ran = home.line("fileinfo /nonexistent -output table").code(0);
    assert!(ran.err().contains("1 row says what went wrong: -columns path,error shows it"), "{}", ran.err());
    let ran = home.line("fileinfo /nonexistent -output table -columns path,error").code(0);
    assert!(ran.out().contains("no such file") && !ran.err().contains("went wrong"), "{}{}", ran.out(), ran.err());
}

#[test]
fn the_log_tells_sessions_apart() {
    let home = Home::new();
    home.line("devices\ndir /").code(0);
    home.line("dir /").code(0);
    home.line("dir /").code(0);
    let rows = home.line("log -output jsonl").code(0).jsonl();
    let of =
        |key: &str| rows.iter().map(|row| row[key].as_str().unwrap().to_owned()).collect::<std::collections::BTreeSet<_>>();
    assert!(of("session").len() >= 2 && of("session").len() == of("session_id").len(), "{rows:?}");
    assert!(rows.iter().all(|row| row["session_id"].as_str().unwrap().ends_with(row["session"].as_str().unwrap())));
    assert!(home.line("log").code(0).out().lines().next().unwrap().ends_with("session"));
}

#[test]
fn an_old_answer_is_shown_as_its_own_line_shows_it() {
    let (home, _) = folder();
    let files = home.work().join("files").display().to_string();
    let table = "path   size\nc.txt    20\na.txt    10\n";
    for command in ["status", "log"] {
        let lines = format!("dir {files} -match *.txt -sort -size -columns path,size\n{command} 2\n");
        let out = home.batch(&lines).run().code(0).out();
        let (before, after) = out.split_once(table).unwrap();
        assert!(before.is_empty() && after.ends_with(&format!("\n\n{table}")), "{command}: {out}");
        // Nothing is said of what there is nothing of.
        assert!(after.contains("command_line") && !after.contains("cancelled_by"), "{command}: {out}");
        let object = home.batch(&format!("cd {files}\ndir -columns path\n{command} 3 -output json\n")).run().code(0).out();
        let object: serde_json::Value =
            serde_json::from_str(object.split_once('{').map(|(_, rest)| format!("{{{rest}")).as_deref().unwrap()).unwrap();
        assert_eq!(object["output"].as_array().unwrap().len(), 4, "{command}: {object}");
        let text = home.batch(&format!("cat {files}/a.txt\n{command} 2 > {command}.txt\n")).run().code(0);
        assert_eq!(text.out(), "xxxxxxxxxx");
        let text = std::fs::read_to_string(home.work().join(format!("{command}.txt"))).unwrap();
        assert!(text.contains("completed") && text.ends_with("\n\nxxxxxxxxxx"), "{text}");
    }
}

#[test]
fn fields_with_nothing_in_them_stand_where_they_are_asked_for() {
    let (home, _) = folder();
    let line = format!("getfile {}/a.txt -to {}", home.work().join("files").display(), home.work().display());
    let out = home.line(&line).code(0).out();
    assert!(out.contains("saved_as") && !out.contains("notes"), "{out}");
    let out = home.line(&format!("{line} -columns size,notes")).code(0).out();
    assert_eq!(out, "size   10\nnotes\n");
}

#[test]
fn a_note_begins_a_line_where_both_streams_go_to_one_place() {
    let home = Home::new();
    let content = "x".repeat(70_000);
    std::fs::write(home.work().join("long"), &content).unwrap();
    let line = format!("cat {}", home.work().join("long").display());
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = home.command();
    command.args(["-c", &line]).stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut told = String::new();
    std::io::Read::read_to_string(&mut reader, &mut told).unwrap();
    assert!(child.wait().unwrap().success());
    let note = told.lines().find(|line| line.contains("65536 of 70000 bytes")).unwrap();
    assert!(note.starts_with('/'), "{note}");
    // The answer itself is exact.
    let ran = home.line(&line).code(0);
    assert!(ran.out() == "x".repeat(65_536));
    assert!(ran.err().contains("\n/"), "no empty line: {}", ran.err());
}
