//! Callers that mean harm, or are broken: who hangs up in the middle, sends what is no call, or asks for what is not theirs.

use std::io::Write;
use std::os::unix::net::UnixStream;

use lrsh::protocol::Status;
use lrsh::service::Limits;
use serde_json::json;

use crate::kit::puppet::{Puppet, Served, command};

fn served(folder: &std::path::Path) -> Served {
    let puppet = Puppet::new("puppet", |_, _| Status::Completed);
    Served::start(folder, Limits::default(), vec![puppet]).unwrap()
}

/// The bytes of a call with a JSON body.
fn call(path: &str, body: &serde_json::Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST /api/v1{path} HTTP/1.1\r\nhost: lrsh\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[test]
fn who_hangs_up_after_a_call_leaves_nothing_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let service = served(folder.path());
    let session = service.session();
    let path = format!("/sessions/{session}/commands");
    for round in 0..200 {
        let mut stream = UnixStream::connect(&service.socket).unwrap();
        stream.write_all(&call(&path, &command("processes"))).unwrap();
        // The call is under way, further each time.
        std::thread::park_timeout(std::time::Duration::from_micros(round * 10));
        drop(stream);
    }
    // A session of everyone who asks and hangs up is the same one.
    for _ in 0..20 {
        let mut stream = UnixStream::connect(&service.socket).unwrap();
        stream.write_all(&call("/sessions", &json!({}))).unwrap();
        drop(stream);
    }
    // Who stays is served, under the next number.
    let events = service.post(&session, "processes").events();
    assert_eq!(events.last().unwrap()["status"], "completed", "{events:?}");
    let number = events[0]["number"].as_u64().unwrap();
    let log = service.get(&path);
    let numbers: Vec<u64> = log.as_array().unwrap().iter().map(|record| record["number"].as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=*numbers.last().unwrap()) && numbers.contains(&number), "{numbers:?}");
    crate::kit::talking::until("every command has ended", || {
        service.get(&path).as_array().unwrap().iter().all(|record| record["status"] == "completed")
    });
    let sessions = service.get("/sessions");
    assert_eq!(sessions.as_array().unwrap().len(), 1, "{sessions}");
}

#[test]
fn what_is_kept_for_good_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let service = served(folder.path());
    let post = |path: &str, body: &serde_json::Value| {
        let answer = crate::kit::wire::json(&service.socket, "POST", path, Some(body));
        (answer.status, answer.value())
    };
    let refused = |path: &str, body: &serde_json::Value, about: &str| {
        let (status, error) = post(path, body);
        assert_eq!((status, &error["error"]["code"], &error["error"]["target"]), (400, &json!("too_long"), &json!(about)));
    };
    refused("/sessions", &json!({"comment": "x".repeat(5000)}), "comment");
    let session = post("/sessions", &json!({"comment": "x".repeat(4096)})).1["session_id"].as_str().unwrap().to_owned();
    let commands = format!("/sessions/{session}/commands");
    let mut far = command("processes");
    far["current_directory"] = json!("/a".repeat(10_000));
    refused(&commands, &far, "current_directory");
    let mut long = command("processes");
    long["raw_command_line"] = json!(format!("processes{}", " ".repeat(70_000)));
    refused(&commands, &long, "raw_command_line");
    refused(&format!("/sessions/{session}/close"), &json!({"reason": "x".repeat(201)}), "reason");
    assert_eq!(post(&format!("/sessions/{session}/close"), &json!({"reason": "x".repeat(200)})).0, 200);
}

#[test]
fn an_absurd_place_in_a_stream_is_answered_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let service = served(folder.path());
    let session = service.session();
    service.post(&session, "processes").events();
    let path = format!("/sessions/{session}/commands/2/events");
    for after in ["18446744073709551615", "18446744073709551614", "1000000"] {
        let answer = crate::kit::wire::json(&service.socket, "GET", &format!("{path}?after={after}"), None);
        assert_eq!((answer.status, answer.events().len()), (200, 0), "{after}: it has ended, and there is nothing behind");
    }
    for after in ["-1", "18446744073709551616", "1e3", "", "%00"] {
        let answer = crate::kit::wire::json(&service.socket, "GET", &format!("{path}?after={after}"), None);
        assert_eq!(answer.status, 400, "{after}");
    }
}
