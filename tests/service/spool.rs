//! Spools: what is acknowledged is kept, within limits; what is not kept or damaged is said, and the rest is whole.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use lrsh::protocol::{AgentEvent, Body, Effect, Status};
use lrsh::service::Limits;
use serde_json::{Value, json};

use crate::kit::home::Home;
use crate::kit::need::need;
use crate::kit::puppet::{Puppet, Served, command, rows};
use crate::kit::wire;

const EFFECT: &str = r#"{"effect_id": 1, "type": "file", "target": "/x", "action": "kept", "before": null, "after": null,
    "undoable": "no", "state": "done", "reason": null}"#;

/// A service whose device answers every command with `count` events of rows, and an effect before its end.
fn served(folder: &Path, limits: Limits, count: u64) -> Served {
    let puppet = Puppet::new("puppet", move |_, to| {
        for number in 0..count {
            // Digits of a hash do not shrink much.
            let noise: String =
                (0..8u64).map(|at| format!("{:016x}", (number * 8 + at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
            let _ = to.blocking_send(rows(&[json!({"pid": number, "name": noise})]));
        }
        let effect: Effect = serde_json::from_str(EFFECT).unwrap();
        let _ = to.blocking_send(AgentEvent::Read(Box::new(Body::Effect(Box::new(effect)))));
        Status::Completed
    });
    Served::start(folder, limits, vec![puppet]).unwrap()
}

fn spool(folder: &Path, session: &str, number: u64) -> PathBuf {
    folder.join(format!("service/spool/{session}/{number}"))
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

fn codes(event: &Value) -> Vec<&str> {
    event["errors"].as_array().unwrap().iter().map(|error| error["code"].as_str().unwrap()).collect()
}

/// Waits for what another thread does; a guard against hanging, nothing else.
fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_cap_cuts_output_and_nothing_else_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { spool_bytes: 32 << 10, ..Limits::default() };
    let service = served(folder.path(), limits, 1000);
    let session = service.session();
    let live = service.post(&session, "processes").events();
    assert_eq!(kinds(&live).iter().filter(|kind| **kind == "rows").count(), 1000, "who listens hears everything");
    assert_eq!(codes(live.last().unwrap()), ["spool_capped"]);
    let again = service.replay(&session, 2);
    let kept = kinds(&again).iter().filter(|kind| **kind == "rows").count();
    assert!(kept > 50 && kept < 1000, "{kept}");
    assert_eq!(again[..kept + 2], live[..kept + 2], "what is kept is the beginning");
    assert_eq!(kinds(&again[kept + 2..]), ["effect", "completed"]);
    assert_eq!(again.last().unwrap(), live.last().unwrap());
    assert_eq!(service.get(&format!("/sessions/{session}/commands/2"))["errors"][0]["code"], "spool_capped");
    let size = std::fs::metadata(spool(folder.path(), &session, 2)).unwrap().len();
    assert!(size < (32 << 10) + 2000, "{size}");
    // Another command is not concerned.
    assert!(service.replay(&session, 1).len() > 1);
}

#[test]
fn a_damaged_spool_yields_what_is_whole_and_says_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let service = served(folder.path(), Limits::default(), 100);
    let session = service.session();
    let live = service.post(&session, "processes").events();
    let file = spool(folder.path(), &session, 2);
    let whole = std::fs::read(&file).unwrap();
    assert_eq!(service.replay(&session, 2), live);

    let mut bytes = whole.clone();
    bytes[5000..5010].fill(0xaa);
    std::fs::write(&file, &bytes).unwrap();
    let again = service.replay(&session, 2);
    let (said, rest) = again.split_last().unwrap();
    assert_eq!(codes(said), ["spool_damaged"]);
    assert_eq!((said["n"].as_u64(), &said["status"]), (Some(104), &json!("completed")));
    assert!(rest.len() >= 101 && rest.len() < 103, "{}", rest.len());
    assert!(rest.iter().all(|event| live.contains(event)));
    // Who asks for what lies behind the damage misses nothing.
    let path = format!("/sessions/{session}/commands/2/events");
    let behind = wire::json(&service.socket, "GET", &format!("{path}?after=90"), None).events();
    assert_eq!(behind, live[90..]);
    let header = wire::call(&service.socket, "GET", &format!("/api/v1{path}"), &[("last-event-id", "90")], b"").events();
    assert_eq!(header, live[90..]);

    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let again = service.replay(&session, 2);
    let (said, rest) = again.split_last().unwrap();
    assert_eq!((codes(said), said["n"].as_u64()), (vec!["spool_damaged"], Some(104)));
    assert_eq!(said["status"], "completed", "how it ended is known from the log");
    assert!(rest.len() > 20 && rest == &live[..rest.len()], "{}", rest.len());

    for garbage in [vec![], vec![0; 100], b"no spool at all, and long enough to be taken for one".to_vec(), vec![0xff; 70_000]]
    {
        std::fs::write(&file, &garbage).unwrap();
        let again = service.replay(&session, 2);
        assert_eq!(kinds(&again), ["completed"]);
        assert_eq!(codes(&again[0]), ["spool_damaged"]);
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(codes(&service.replay(&session, 2)[0]), ["spool_pruned"]);
    std::fs::create_dir(&file).unwrap();
    assert_eq!(codes(&service.replay(&session, 2)[0]), ["spool_unread"]);
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(service.replay(&session, 2), live);
}

#[test]
fn a_shell_shows_what_is_left_of_a_damaged_spool_and_says_so() {
    let home = Home::new();
    let (socket, _held) = home.hold();
    let session = wire::json(&socket, "POST", "/sessions", Some(&json!({}))).value();
    let id = session["session_id"].as_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    for number in 0..2000 {
        std::fs::write(folder.path().join(format!("file-{number}")), "").unwrap();
    }
    let line = format!("dir {}", folder.path().display());
    let events = wire::json(&socket, "POST", &format!("/sessions/{id}/commands"), Some(&command(&line))).events();
    assert!(events.len() >= 7, "{}", events.len());
    let file = spool(home.path(), &id, 2);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    // One shell: with the last that leaves the session ends.
    let lines = ["-c", "status 2 -output json", "-c", "log 2 -output json", "-c", "fg 2"];
    let output = home.lrsh(&lines).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let mut answers = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    for _ in 0..2 {
        let object = answers.next().unwrap().unwrap();
        assert_eq!(codes(&object), ["spool_damaged"], "{object}");
        assert_eq!(object["status"], "completed");
        assert!(object["output"].as_array().is_some_and(|rows| rows.len() > 100));
    }
    let table = String::from_utf8_lossy(&output.stdout[answers.byte_offset()..]).into_owned();
    let rows = table.lines().filter(|line| line.contains("file-")).count();
    assert!((1000..2000).contains(&rows), "{rows}: {said}");
    assert!(said.contains("damaged"), "{said}");
}

#[test]
fn what_was_cut_off_with_its_service_is_ended_behind_what_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let begin = |count: u64| {
        let puppet = Puppet::new("puppet", move |command, to| {
            for number in 0..count {
                let _ = to.blocking_send(rows(&[json!({"pid": number})]));
            }
            if command.command_definition_id == "services" {
                // It runs until its service is gone.
                while !to.is_closed() {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            }
            Status::Completed
        });
        Served::start(folder.path(), Limits::default(), vec![puppet]).unwrap()
    };
    let service = begin(5);
    let session = service.session();
    assert_eq!(service.post(&session, "processes").events().len(), 8);
    let mut running = service.post(&session, "services");
    let mut text = String::new();
    while text.matches("\ndata: ").count() < 7 {
        text.push_str(&String::from_utf8(running.piece().unwrap()).unwrap());
    }
    drop(service);
    let file = spool(folder.path(), &session, 3);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
    let service = begin(5);
    let events = service.replay(&session, 3);
    assert_eq!(kinds(&events), ["created", "started", "rows", "rows", "rows", "rows", "completed"]);
    let end = events.last().unwrap();
    assert_eq!((&end["status"], end["n"].as_u64()), (&json!("interrupted"), Some(7)));
    assert_eq!(codes(end), ["interrupted", "spool_damaged"]);
    let log = service.get(&format!("/sessions/{session}/commands/3"));
    assert_eq!((&log["status"], &log["last_event"]), (&json!("interrupted"), &json!(7)));
    assert_eq!(codes(&log), ["interrupted", "spool_damaged"]);

    // A process that dies between the last event and the log's word of it: what was told stays true.
    if !need(&["python3"]) {
        return;
    }
    drop(service);
    let python = "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1], timeout=30)\n\
        base.execute(\"UPDATE commands SET status = 'running', completed = NULL, duration_ms = NULL, last_event = 0 WHERE number = 2\")\nbase.commit()\n";
    let store = folder.path().join("service/store.db");
    assert!(std::process::Command::new("python3").args(["-c", python]).arg(store).status().unwrap().success());
    let service = begin(5);
    let log = service.get(&format!("/sessions/{session}/commands/2"));
    assert_eq!((&log["status"], &log["last_event"]), (&json!("completed"), &json!(8)));
    assert_eq!(service.replay(&session, 2).len(), 8);
}

#[test]
fn spools_go_by_age_and_total_size_and_never_while_a_command_runs() {
    let folder = tempfile::tempdir().unwrap();
    let begin = |limits: Limits| {
        let puppet = Puppet::new("puppet", move |command, to| {
            let _ = to.blocking_send(rows(&[json!({"pid": 1, "name": "x"})]));
            while command.command_definition_id == "services" && !to.is_closed() {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            Status::Completed
        });
        Served::start(folder.path(), limits, vec![puppet]).unwrap()
    };
    let age = |file: &Path, days: u64| {
        let then = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
        std::fs::File::options().write(true).open(file).unwrap().set_modified(then).unwrap();
    };
    let service = begin(Limits::default());
    let session = service.session();
    for _ in 2..=9 {
        service.post(&session, "processes").events();
    }
    drop(service);
    let file = |number| spool(folder.path(), &session, number);
    age(&file(2), 91);
    age(&file(3), 89);
    let outside = folder.path().join("outside");
    std::fs::write(&outside, "x").unwrap();
    age(&outside, 500);
    std::os::unix::fs::symlink(&outside, folder.path().join("service/spool/link")).unwrap();
    // At the start: what is too old.
    let service = begin(Limits::default());
    until("the old spool goes", || !file(2).exists());
    assert!(file(3).exists() && outside.exists());
    assert_eq!(codes(&service.replay(&session, 2)[0]), ["spool_pruned"]);
    assert_eq!(service.get(&format!("/sessions/{session}/commands/2"))["status"], "completed", "the log stays");
    drop(service);
    // When a command ends: what is too much, the oldest first, and not the one that runs.
    let size = std::fs::metadata(file(4)).unwrap().len();
    let service = begin(Limits { spool_total_bytes: size * 10, ..Limits::default() });
    let mut running = service.post(&session, "services");
    running.piece().unwrap();
    until("the running one has a spool", || file(10).exists());
    age(&file(10), 500);
    for number in 4..=9 {
        age(&file(number), 80 - number);
    }
    for _ in 0..6 {
        service.post(&session, "processes").events();
    }
    until("the oldest spools go", || !file(3).exists() && !file(4).exists());
    assert!(file(10).exists() && file(16).exists() && file(15).exists());
}

#[test]
fn an_event_that_no_reader_takes_is_left_out_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let puppet = Puppet::new("puppet", |_, to| {
        let huge = json!({"kind": "object", "value": {"x": "y".repeat(20 << 20)}}).to_string();
        let _ = to.blocking_send(rows(&[json!({"pid": 1})]));
        let _ = to.blocking_send(AgentEvent::Pass { json: huge.into(), rows: 0 });
        let _ = to.blocking_send(rows(&[json!({"pid": 2})]));
        Status::Completed
    });
    let service = Served::start(folder.path(), Limits::default(), vec![puppet]).unwrap();
    let session = service.session();
    let live = service.post(&session, "processes").events();
    assert_eq!(kinds(&live), ["created", "started", "rows", "rows", "completed"]);
    assert_eq!(codes(live.last().unwrap()), ["event_too_large"]);
    assert_eq!(service.replay(&session, 2), live);
}
