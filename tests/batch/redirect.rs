//! Answers that go to a file: whole or not at all.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;

use super::signal;
use crate::kit::shell::Home;

#[test]
fn an_answer_takes_the_place_of_a_file_whole() {
    let home = Home::new();
    let work = home.work();
    let read = |name: &str| std::fs::read_to_string(work.join(name)).unwrap();
    std::fs::write(work.join("kept"), "as it was").unwrap();
    std::fs::set_permissions(work.join("kept"), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::write(work.join("source"), "one\n").unwrap();
    let source = work.join("source").display().to_string();
    let ran = home.batch(&format!("cat {source} > new\ncat {source} > kept\ncat {source}>>new\ncat {source} >> first\n")).run();
    assert_eq!(ran.code(0).out(), "");
    assert_eq!((read("new"), read("kept"), read("first")), ("one\none\n".into(), "one\n".into(), "one\n".into()));
    let mode = |name: &str| std::fs::metadata(work.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("new"), mode("kept"), mode("first")), (0o600, 0o640, 0o600));
    assert_eq!(names(&home), ["first", "kept", "new", "source"], "nothing is left beside them");
    // A name is what stands there, quotes stripped; the shell's own commands write to files too.
    home.batch(&format!("cat {source} > \"a b > c\"\nhelp > help.txt\ndevices -output json > d.json\n")).run().code(0);
    assert_eq!(read("a b > c"), "one\n");
    assert!(read("help.txt").contains("processes"));
    assert_eq!(serde_json::from_str::<Value>(&read("d.json")).unwrap()[0]["platform"], "linux");
}

#[test]
fn a_failure_leaves_the_file_as_it_was_and_says_where_the_rest_is() {
    let home = Home::new();
    let work = home.work();
    std::fs::write(work.join("kept"), "as it was").unwrap();
    let ran = home.line("cat /nonexistent > kept").code(1);
    assert_eq!(std::fs::read_to_string(work.join("kept")).unwrap(), "as it was");
    assert!(ran.err().contains("kept is as it was: nothing came"), "{}", ran.err());
    let ran = home.line("cat /nonexistent > new").code(1);
    assert!(ran.err().contains("new is not written: nothing came"), "{}", ran.err());
    assert_eq!(names(&home), ["kept"], "nothing came, nothing is kept");
    home.line("cat /nonexistent >> kept").code(1);
    assert_eq!(std::fs::read_to_string(work.join("kept")).unwrap(), "as it was");
}

#[test]
fn what_came_before_a_cancel_is_whole_json() {
    let home = Home::new();
    let work = home.work();
    let tree = work.join("tree");
    for folder in 0..40 {
        std::fs::create_dir_all(tree.join(folder.to_string())).unwrap();
        for file in 0..100 {
            std::fs::write(tree.join(format!("{folder}/{file}")), "").unwrap();
        }
    }
    // A FIFO in the middle of what is hashed would not end; a sparse file takes long enough to be cancelled.
    let sparse = std::fs::File::create(tree.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    let line = format!("findfile * {} -sha256 {} -output json > found.json", tree.display(), "0".repeat(64));
    let mut command = home.command();
    let child = command.args(["-c", &line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    home.until_running("findfile");
    signal(child.id(), "INT");
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(!work.join("found.json").exists());
    let partial = std::fs::read_to_string(work.join("found.json.partial")).unwrap();
    assert!(serde_json::from_str::<Vec<Value>>(&partial).is_ok(), "{partial}");
    assert!(err.contains("found.json.partial"), "{err}");
}

#[test]
fn devices_links_and_fifos_are_written_as_they_are() {
    let home = Home::new();
    let work = home.work();
    std::fs::write(work.join("source"), "one\n").unwrap();
    let source = work.join("source").display().to_string();
    home.line(&format!("cat {source} > /dev/null")).code(0);
    std::fs::write(work.join("target"), "a longer old content\n").unwrap();
    std::os::unix::fs::symlink("target", work.join("link")).unwrap();
    home.line(&format!("cat {source} > link")).code(0);
    assert!(work.join("link").is_symlink());
    assert_eq!(std::fs::read_to_string(work.join("target")).unwrap(), "one\n");
    home.line(&format!("cat {source} >> link")).code(0);
    assert_eq!(std::fs::read_to_string(work.join("target")).unwrap(), "one\none\n");
    // What a link names is made, through the links on the way.
    std::os::unix::fs::symlink("to-be-made", work.join("dangling")).unwrap();
    std::os::unix::fs::symlink(work.join("dangling"), work.join("further")).unwrap();
    home.line(&format!("cat {source} > further")).code(0);
    assert!(work.join("further").is_symlink() && work.join("dangling").is_symlink());
    assert_eq!(std::fs::read_to_string(work.join("to-be-made")).unwrap(), "one\n");
    assert_eq!(std::fs::metadata(work.join("to-be-made")).unwrap().permissions().mode() & 0o777, 0o600);
    // A second name of a file keeps being one.
    std::fs::hard_link(work.join("target"), work.join("second")).unwrap();
    home.line(&format!("cat {source} > second")).code(0);
    assert_eq!(std::fs::read_to_string(work.join("target")).unwrap(), "one\n");
    let fifo = work.join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::read_to_string(fifo).unwrap()
    });
    // The reader has opened it once a writer can without waiting.
    while home.line(&format!("cat {source} > fifo")).code != Some(0) {}
    assert_eq!(reader.join().unwrap(), "one\n");
    let ran = home.line(&format!("cat {source} > fifo")).code(1);
    assert!(ran.err().contains("FIFO that nobody reads"), "{}", ran.err());
}

#[test]
fn a_target_that_cannot_be_is_told_before_anything_is_asked() {
    let home = Home::new();
    let work = home.work();
    std::os::unix::fs::symlink("nowhere/at/all", work.join("dangling")).unwrap();
    std::os::unix::fs::symlink("ring", work.join("ring")).unwrap();
    std::os::unix::fs::symlink("/", work.join("root")).unwrap();
    let check = |target: &str, says: &str| {
        let ran = home.line(&format!("processes > {target}")).code(1);
        assert!(ran.err().contains(target.trim_matches('"')) && ran.err().contains(says), "{target}: {}", ran.err());
    };
    check("missing/file", "folder does not exist");
    check("/", "it is a folder");
    check(".", "it is a folder");
    check("root", "it is a folder");
    check("dangling", "folder does not exist");
    check("ring", "");
    check("/proc/nothing", "");
    assert_eq!(home.line("sessions -output json").json(), serde_json::json!([]), "no session was opened");
}

#[test]
fn a_target_without_a_name_is_no_target() {
    let home = Home::new();
    for line in ["devices > \"\"", "devices >> ''"] {
        let ran = home.line(line).code(2);
        assert!(ran.err().contains("the file behind the redirect has no name"), "{line}: {}", ran.err());
    }
    let ran = home.batch("devices > a\0b\n").run().code(2);
    assert!(ran.err().contains("no file has a NUL in its name") && ran.err().contains("a\\x00b"), "{}", ran.err());
    assert!(names(&home).is_empty());
}

#[test]
fn a_tilde_is_the_home_folder_of_who_types() {
    let home = Home::new();
    let folder = home.work().join("me");
    std::fs::create_dir(&folder).unwrap();
    let run = |line: &str| home.batch("").args(&["-c", line]).env("HOME", folder.to_str().unwrap()).run();
    run("devices > ~/devices.txt").code(0);
    run("getfile /etc/hostname -to ~").code(0);
    run("devices > ./~").code(0);
    assert!(folder.join("devices.txt").exists() && folder.join("hostname").exists() && home.work().join("~").exists());
}

#[test]
fn two_shells_do_not_mix_what_they_append() {
    let home = Home::new();
    let work = home.work();
    let long = "x".repeat(30_000);
    for name in ["a", "b"] {
        std::fs::write(work.join(name), format!("{name}{long}\n")).unwrap();
    }
    let script = |name: &str| format!("cat {} >> all\n", work.join(name).display()).repeat(10);
    let (home, a, b) = (&home, script("a"), script("b"));
    std::thread::scope(|scope| {
        scope.spawn(move || home.batch(&a).run().code(0));
        scope.spawn(move || home.batch(&b).run().code(0));
    });
    let all = std::fs::read_to_string(work.join("all")).unwrap();
    assert_eq!(all.lines().count(), 20);
    assert!(all.lines().all(|line| line.len() == long.len() + 1 && line.ends_with(&long)));
}

fn names(home: &Home) -> Vec<String> {
    let entries = std::fs::read_dir(home.work()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
