//! Event streams: readers at their own pace, signs of life, and streams that end and are gone on with.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lrsh::protocol::Status;
use lrsh::service::Limits;
use serde_json::{Value, json};

use crate::kit::home::Home;
use crate::kit::puppet::{Puppet, Served, rows};
use crate::kit::scripted::{Scripted, answer, events};
use crate::kit::standin::StandIn;
use crate::kit::talking::Talking;
use crate::kit::wire;

#[test]
fn a_reader_that_stops_reading_loses_nothing_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let puppet = Puppet::new("puppet", |command, to| {
        let events = if command.command_definition_id == "processes" { 200 } else { 1 };
        for event in 0..events {
            let batch: Vec<Value> = (0..512)
                .map(|row| json!({"pid": event * 512 + row, "name": "a name of some length", "path": "/usr/bin/x"}))
                .collect();
            let _ = to.blocking_send(rows(&batch));
        }
        Status::Completed
    });
    let service = Served::start(folder.path(), Limits::default(), vec![puppet]).unwrap();
    let session = service.session();
    let mut slow = service.post(&session, "processes");
    let first = slow.piece().unwrap();
    // Nothing more is read: the command and another one end all the same.
    assert_eq!(service.post(&session, "services").events().last().unwrap()["status"], "completed");
    let mut watch = wire::json(&service.socket, "GET", &format!("/sessions/{session}/commands/2/events?after=200"), None);
    while watch.piece().is_some() {}
    assert_eq!(service.get(&format!("/sessions/{session}/commands/2"))["status"], "completed");
    let mut text = first;
    text.extend(slow.body());
    let text = String::from_utf8(text).unwrap();
    let events: Vec<Value> =
        text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|json| serde_json::from_str(json).unwrap()).collect();
    let numbers: Vec<u64> = events.iter().map(|event| event["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=203).collect::<Vec<_>>());
    let pids = events.iter().filter_map(|event| event["rows"].as_array()).flatten().map(|row| row["pid"].as_u64().unwrap());
    assert!(pids.eq(0..102_400));
    assert_eq!(events.last().unwrap()["errors"], json!([]));
}

#[test]
fn a_quiet_stream_says_that_it_is_alive_and_one_that_is_ended_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let go = Arc::new(AtomicBool::new(false));
    let told = go.clone();
    let puppet = Puppet::new("puppet", move |_, to| {
        while !told.load(Ordering::Relaxed) && !to.is_closed() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let _ = to.blocking_send(rows(&[json!({"pid": 1})]));
        Status::Completed
    });
    let limits = Limits { keep_alive_seconds: 1, stream_seconds: 3, ..Limits::default() };
    let service = Served::start(folder.path(), limits, vec![puppet]).unwrap();
    let session = service.session();
    let answer = service.post(&session, "processes");
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let text = String::from_utf8(answer.body()).unwrap();
    assert!(text.contains("\n\n:\n\n"), "a comment says that it is alive: {text}");
    assert!(text.contains("\"started\"") && !text.contains("\"completed\""), "{text}");
    // A session's stream ends the same way, and is gone on with from its last event.
    let path = format!("/sessions/{session}/events");
    let of_session = wire::json(&service.socket, "GET", &format!("{path}?after=0"), None).events();
    assert_eq!(of_session[0]["kind"], "command");
    let last = of_session.last().unwrap()["n"].as_u64().unwrap();
    go.store(true, Ordering::Relaxed);
    let rest = wire::json(&service.socket, "GET", &format!("/sessions/{session}/commands/2/events?after=2"), None).events();
    assert_eq!(rest.iter().map(|event| event["n"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 4]);
    service.post(&session, "processes").events();
    let header = [("last-event-id", &*last.to_string())];
    let of_session = wire::call(&service.socket, "GET", &format!("/api/v1{path}"), &header, b"").events();
    assert_eq!(of_session.iter().map(|event| event["n"].as_u64().unwrap()).collect::<Vec<_>>(), [last + 1]);
}

#[test]
fn a_reader_of_a_session_that_is_too_far_behind_is_told_what_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { stream_seconds: 1, ..Limits::default() };
    let puppet = || Puppet::new("puppet", |_, _| Status::Completed);
    let service = Served::start(folder.path(), limits.clone(), vec![puppet()]).unwrap();
    let session = service.session();
    let path = format!("/sessions/{session}/events");
    let shells = |count: usize| {
        for shell in 0..count {
            let shell = [("lrsh-shell", &*format!("shell-{shell}"))];
            // A stream that is opened and dropped attaches and leaves.
            drop(wire::call(&service.socket, "GET", &format!("/api/v1{path}"), &shell, b""));
        }
    };
    let after = |after: u64| wire::json(&service.socket, "GET", &format!("{path}?after={after}"), None).events();
    let numbers = |events: &[Value]| events.iter().map(|event| event["n"].as_u64().unwrap()).collect::<Vec<_>>();
    shells(10);
    let known = after(0);
    assert!(known.iter().all(|event| event["kind"] != "missed") && numbers(&known)[0] == 1, "all are still known");
    shells(2100);
    let told = after(5);
    assert_eq!((&told[0]["kind"], &told[0]["first"]), (&json!("missed"), &json!(6)));
    let last = told[0]["last"].as_u64().unwrap();
    assert_eq!(told[0]["n"], last);
    assert!(numbers(&told).windows(2).all(|pair| pair[1] == pair[0] + 1), "from there on none is missing");
    // Who was told by a service that is gone may have missed anything.
    let told = after(1 << 40);
    assert_eq!((&told[0]["kind"], &told[0]["last"]), (&json!("missed"), &Value::Null));
    assert!(told.len() > 4000, "and hears all that is known");
}

#[test]
fn what_happens_in_a_session_and_is_not_known_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let served =
        Served::start(folder.path(), Limits::default(), vec![Puppet::new("puppet", |_, _| Status::Completed)]).unwrap();
    let id = served.session();
    let session = served.get(&format!("/sessions/{id}")).to_string();
    let service = Scripted::answering(move |asked| match asked {
        asked if asked.starts_with("POST /sessions{") => {
            answer("200 OK", "content-type: application/json\r\n", session.as_bytes(), session.len())
        }
        asked if asked.ends_with("/events") => events(&[(1, r#""kind":"moved","to":"a later\u001b version""#)], false),
        _ => Vec::new(),
    });
    let home = Home::new();
    let _there = StandIn::take(&home.home(), &service.socket());
    let mut command = home.lrsh(&["--stream"]);
    command.stderr(Stdio::piped());
    let mut shell = Talking::start(command);
    shell.say("connect");
    let mut told = BufReader::new(shell.stderr()).lines().map_while(Result::ok);
    let line = told.find(|line| line.contains("moved")).expect("it is not shown");
    assert!(line.contains(r#""to":"a later\u001b version""#), "{line}");
    shell.kill();
}

#[test]
fn a_small_command_is_one_answer_and_a_long_one_begins_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let go = Arc::new(AtomicBool::new(false));
    let told = go.clone();
    let puppet = Puppet::new("puppet", move |command, to| {
        while command.command_definition_id == "processes" && !told.load(Ordering::Relaxed) && !to.is_closed() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let _ = to.blocking_send(rows(&[json!({"pid": 1})]));
        Status::Completed
    });
    let service = Served::start(folder.path(), Limits::default(), vec![puppet]).unwrap();
    let session = service.session();
    // What is there already is one piece of known length, also when it is asked for again.
    service.post(&session, "services").events();
    let again = wire::json(&service.socket, "GET", &format!("/sessions/{session}/commands/2/events"), None);
    assert!(again.headers.iter().any(|(name, _)| name == "content-length"), "{:?}", again.headers);
    let kinds: Vec<Value> = again.events().into_iter().map(|mut event| event["kind"].take()).collect();
    assert_eq!(kinds, ["created", "started", "rows", "completed"]);
    let mut long = service.post(&session, "processes");
    let first = String::from_utf8(long.piece().unwrap()).unwrap();
    assert!(first.contains("\"created\"") && !first.contains("\"completed\""), "{first}");
    go.store(true, Ordering::Relaxed);
    assert_eq!(long.events().last().unwrap()["status"], "completed");
}
