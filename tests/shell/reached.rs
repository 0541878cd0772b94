//! What the real program says of a service that is slow to come back, and of what it does not know.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use lrsh::protocol::SessionId;
use serde_json::json;

use crate::kit::home::Home;
use crate::kit::scripted::{Scripted, answer, events};
use crate::kit::talking::Talking;

/// Reads standard error up to a line that says that; what came before it.
fn until_said(stderr: impl std::io::Read, what: &str) -> String {
    let mut said = String::new();
    for line in BufReader::new(stderr).lines() {
        let line = line.unwrap();
        said.push_str(&format!("{line}\n"));
        if line.contains(what) {
            return said;
        }
    }
    panic!("never said {what}: {said}");
}

const NOTE: &str = "the service is being started; this takes longer than usual";

#[test]
fn a_start_that_takes_long_is_said_and_waited_for() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("service")).unwrap();
    let start = std::fs::File::create(home.path().join("service/start")).unwrap();
    // Another shell is at it.
    start.lock().unwrap();
    let mut child: Child =
        home.lrsh(&["-c", "devices -output jsonl"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(until_said(child.stderr.take().unwrap(), NOTE), format!("{NOTE}\n"), "nothing else is said");
    start.unlock().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty());
}

#[test]
fn a_service_that_is_slow_to_come_back_is_said_and_then_all_goes_on() {
    let home = Home::new();
    let mut command = home.lrsh(&["--stream"]);
    command.stderr(Stdio::piped());
    let mut shell = Talking::start(command);
    let stderr = shell.stderr();
    shell.say("cd /etc");
    shell.say("dir hostname -output jsonl");
    assert_eq!(shell.hear()["path"], "hostname");
    let start = std::fs::File::open(home.path().join("service/start")).unwrap();
    start.lock().unwrap();
    let service = home.service_pid().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(service).unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    shell.say("dir hostname -output jsonl");
    until_said(stderr, NOTE);
    start.unlock().unwrap();
    assert_eq!(shell.hear()["path"], "hostname", "in the folder where it was");
    shell.leave();
}

#[test]
fn events_of_later_versions_are_shown_and_end_nothing() {
    let home = Home::new();
    let session = SessionId::new();
    let of_session = session.clone();
    let service = Scripted::answering(move |asked| {
        let json = |value: &serde_json::Value| {
            let text = value.to_string();
            answer("200 OK", "content-type: application/json\r\n", text.as_bytes(), text.len())
        };
        match asked.split(' ').collect::<Vec<_>>().as_slice() {
            ["GET", path, ..] if path.ends_with("/events") => events(&[(1, r#""kind":"moon","phase":"full""#)], true),
            ["POST", path, ..] if path.contains("/commands{") => events(
                &[
                    (1, r#""kind":"created","number":2,"moon":1"#),
                    (2, r#""kind":"weather","text":"rain\u001b[2J""#),
                    (3, r#""kind":"rows","rows":[{"path":"x"}],"moon":2"#),
                    (4, r#""kind":"completed","status":"completed","duration_ms":1"#),
                ],
                true,
            ),
            ["POST", path, ..] if path.starts_with("/sessions{") => json(&json!({
                "session_id": of_session, "device": {"id": "d", "name": "far", "platform": "linux", "version": "9", "last_seen":
                "2026-01-01T00:00:00Z", "state": "online", "tags": [], "moon": true}, "analyst": "me", "comment": null, "started":
                "2026-01-01T00:00:00Z", "ended": null, "duration_ms": 0, "idle_left_ms": 1000, "state": "open", "closed_by": null,
                "shells": 1, "last_command": 1, "roles": ["basic"], "limits": {"idle_seconds": 1, "command_seconds": 1,
                "long_command_seconds": 1, "getfile_bytes": 1, "fileinfo_bytes": 1, "library_bytes": 1, "putfile_bytes": 1},
            })),
            _ => json(&json!({})),
        }
    });
    // As a service of this home writes it down.
    std::fs::create_dir(home.path().join("service")).unwrap();
    std::fs::write(
        home.path().join("service/lock"),
        json!({"socket": service.socket(), "pid": std::process::id(), "protocol": lrsh::protocol::PROTOCOL_VERSION})
            .to_string(),
    )
    .unwrap();
    let lock = std::fs::File::open(home.path().join("service/lock")).unwrap();
    lock.lock().unwrap();
    let output = home.lrsh(&["-c", "dir -output jsonl"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "{\"path\":\"x\"}\n");
    assert!(said.contains("weather: ") && said.contains("rain") && !said.contains('\x1b'), "{said:?}");
}
