//! Several shells of one analyst: one session, one numbering, each its own directory and jobs; and shells that are lost.

use std::path::Path;

use serde_json::Value;

use crate::kit::home::Home;
use crate::kit::pty::Pty;
use crate::kit::talking::{Talking, until};

fn shell(home: &Home) -> Talking {
    Talking::start(home.lrsh(&["--stream", "--keep-going"]))
}

/// The rows of a command that answers with rows.
fn rows(home: &Home, line: &str) -> Vec<Value> {
    let output = home.lrsh(&["-c", &format!("{line} -output jsonl")]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A file that takes long to read: nothing but a hole.
fn endless(folder: &Path) -> String {
    let path = folder.join("endless");
    std::fs::File::create(&path).unwrap().set_len(29 << 30).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn shells_share_a_numbering_and_have_a_directory_each() {
    let home = Home::new();
    let (mut one, mut two) = (shell(&home), shell(&home));
    let mut ids = Vec::new();
    for (shell, folder) in [(&mut one, "/etc"), (&mut two, "/usr")] {
        shell.say(&format!("cd {folder}"));
        shell.say("session -output jsonl");
        ids.push(shell.hear()["session_id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    for (shell, wanted) in [(&mut one, "/etc"), (&mut two, "/usr")] {
        shell.say("dir -first 1 -full_path -output jsonl");
        let path = shell.hear()["path"].as_str().unwrap().to_owned();
        assert!(path.starts_with(wanted), "{path} is not below {wanted}");
    }
    one.say("log -output jsonl");
    let log: Vec<Value> = (0..5).map(|_| one.hear()).collect();
    let numbers: Vec<u64> = log.iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let shells: std::collections::BTreeSet<&str> = log[1..].iter().filter_map(|row| row["shell"].as_str()).collect();
    assert_eq!(shells.len(), 2);
    // To end it for the other takes a word more.
    one.say("disconnect");
    one.say("session -output jsonl");
    assert_eq!(one.hear()["session_id"], ids[0], "it is still open");
    one.say("disconnect -force");
    one.say("sessions -output jsonl");
    assert_eq!(one.line().unwrap(), format!("session {} is closed\n", ids[0].as_str().unwrap()));
    assert_eq!(one.hear()["state"], "closed");
    assert_eq!(one.end(), Some(3), "its first disconnect was refused");
    two.say("session -output jsonl");
    assert_eq!(two.end(), Some(3), "a batch does not go on in another session");
}

#[test]
fn a_killed_shell_leaves_its_commands_to_the_next() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let file = endless(folder.path());
    let mut lost = shell(&home);
    lost.say(&format!("fileinfo {file} &"));
    lost.say("jobs -output jsonl");
    let job = lost.hear();
    let number = job["number"].as_u64().unwrap();
    lost.kill();

    // A shell that comes and goes in order ends nothing of it.
    let jobs = rows(&home, "jobs");
    assert_eq!(jobs[0]["command_id"], job["command_id"]);
    let ids = rows(&home, "session");
    let mut next = shell(&home);
    next.say("session -output jsonl");
    assert_eq!(next.hear()["session_id"], ids[0]["session_id"], "the session is still the same");
    next.say("jobs -output jsonl");
    let found = next.hear();
    assert_eq!((found["command_id"].clone(), found["status"].as_str()), (job["command_id"].clone(), Some("running")));
    assert_ne!(found["shell"], Value::Null);
    next.say(&format!("cancel {number}"));
    assert_eq!(next.line().unwrap(), format!("[{number}] fileinfo {file} &: cancelled\n"));
    next.leave();
    until("the session is closed with the last shell", || rows(&home, "sessions")[0]["state"] == "closed");
}

#[test]
fn a_terminal_that_is_gone_leaves_its_commands_running_and_another_reads_on() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let file = endless(folder.path());
    let mut lost = Pty::shell(home.path());
    lost.prompt();
    lost.line(&format!("fileinfo {file} &"));
    lost.expect("(Just created)");
    // What the kernel does when a terminal goes away.
    lost.signal(rustix::process::Signal::HUP);
    assert_eq!(lost.end(), 129);

    let mut next = Pty::shell(home.path());
    next.prompt();
    next.line("jobs");
    next.expect("attached to your session");
    next.expect("running");
    next.prompt();
    next.line("fg 2");
    // It is being shown, and listens.
    next.expect("/29.00 GiB");
    next.keys("\x03");
    next.expect("another shell typed this");
    next.keys("\x03");
    next.expect("[2] cancelled; the device confirmed");
    next.line("exit");
    assert_eq!(next.end(), 0);
}

#[test]
fn a_shell_that_leaves_cancels_its_own_jobs_alone() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let file = endless(folder.path());
    let mut stays = shell(&home);
    stays.say(&format!("fileinfo {file} &"));
    stays.say("jobs -output jsonl");
    let theirs = stays.hear()["command_id"].clone();

    let mut leaves = Pty::shell(home.path());
    leaves.prompt();
    leaves.line(&format!("fileinfo {file} &"));
    leaves.expect("(Just created)");
    leaves.line("exit");
    leaves.expect("1 job runs. Cancel and leave? [y/N]");
    leaves.line("y");
    assert_eq!(leaves.end(), 0);

    until("its own job is cancelled", || rows(&home, "log")[2]["status"] == "cancelled");
    stays.say("jobs -output jsonl");
    let job = stays.hear();
    assert_eq!((job["command_id"].clone(), job["status"].as_str()), (theirs, Some("running")));
    stays.say(&format!("cancel {}", job["number"]));
    let _ = stays.line();
    // The end of its job makes the batch's own end.
    assert_eq!(stays.end(), Some(130));
}

#[test]
fn the_log_reaches_back_over_ended_sessions() {
    let home = Home::new();
    assert!(home.lrsh(&["-c", "processes 1", "-c", "cat /no/such"]).output().unwrap().status.code() == Some(1));
    let sessions = rows(&home, "sessions");
    assert_eq!((sessions.len(), sessions[0]["state"].as_str()), (1, Some("closed")));
    // No session is opened for looking back.
    let log = rows(&home, "log");
    let lines: Vec<&str> = log.iter().map(|row| row["command_line"].as_str().unwrap()).collect();
    assert_eq!(lines, ["connect", "processes 1", "cat /no/such"]);
    assert_eq!(rows(&home, "sessions").len(), 1);
    let second = rows(&home, "log 2").remove(0);
    assert_eq!((&second["input"]["pid"], &second["output"][0]["pid"]), (&Value::from("1"), &Value::from(1)));
    let id = log[2]["command_id"].as_str().unwrap();
    assert_eq!(rows(&home, &format!("status {id}"))[0]["status"], "failed");

    let mut next = shell(&home);
    next.say("cd /etc");
    next.say("log -sort -started -first 1 -output jsonl");
    assert_eq!(next.hear()["command_line"], "cd /etc", "the newest is this session's");
    next.say("log 2 -output jsonl");
    assert_eq!(next.hear()["command_line"], "cd /etc", "a number is this session's");
    // The start of an id is enough, whichever session it is of.
    next.say(&format!("log {} -output jsonl", id.get(..35).unwrap()));
    assert_eq!(next.hear()["command_id"], id);
    next.say("log -output jsonl");
    let all: Vec<Value> = (0..5).map(|_| next.hear()).collect();
    assert_eq!(all[3]["command_line"], "connect");
    assert_ne!(all[3]["session_id"], all[0]["session_id"]);
    next.leave();
}

#[test]
fn limits_of_service_toml_hold_and_one_it_does_not_know_is_named() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("service")).unwrap();
    let policy = home.path().join("service/service.toml");
    std::fs::write(&policy, "[limits]\nidle_second = 2\n").unwrap();
    let output = home.lrsh(&["-c", "session"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(4) && error.contains("idle_second"), "{error}");
    std::fs::write(&policy, "[limits]\nidle_seconds = 2\n").unwrap();
    let mut shell = shell(&home);
    shell.say("session -output jsonl");
    let told = shell.hear();
    assert_eq!(told["limits"]["idle_seconds"], 2);
    until("the session ends by itself", || rows(&home, "sessions")[0]["state"] == "closed");
    assert_eq!(rows(&home, "sessions")[0]["closed_by"], "the service (idle)");
    shell.say("session");
    assert_eq!(shell.end(), Some(3));
}

#[test]
fn an_analyst_with_fewer_roles_is_shown_and_given_no_more() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("service")).unwrap();
    let user = lrsh::host::start::user_name(rustix::process::geteuid().as_raw());
    let policy = format!("[[analyst]]\nname = \"{user}\"\nroles = [\"basic\"]\n");
    std::fs::write(home.path().join("service/service.toml"), policy).unwrap();
    // Help knows the roles once there is a session.
    let output = home.lrsh(&["-c", "session -output jsonl", "-c", "help -output jsonl"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut help: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(help.remove(0)["roles"], serde_json::json!(["basic"]));
    let names: Vec<&str> = help.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"processes") && names.contains(&"settings"), "{names:?}");
    assert!(!names.contains(&"library") && !names.contains(&"remediate") && !names.contains(&"registry"), "{names:?}");
    for line in ["settings live_response off", "library"] {
        let output = home.lrsh(&["-c", line]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(3) && error.contains("role"), "{line}: {error}");
    }
    assert!(rows(&home, "settings").iter().all(|row| row["value"] == "on"));
}
