//! Refusals: one shape for all of them, with a request's name, and nothing of the inside; bodies and headers are bounded.

use serde_json::{Value, json};

use crate::kit::home::Home;
use crate::kit::wire;

const NO_SESSION: &str = "/api/v1/sessions/CLR0198d0a0-0000-7000-8000-000000000001";

/// Method, path, headers and body of a call; status and code of its refusal.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

#[test]
fn every_refusal_has_a_code_a_sentence_and_the_name_of_the_request() {
    let home = Home::new();
    let (socket, _held) = home.hold();
    let json_type = ("content-type", "application/json");
    let old = ("lrsh-protocol", "0");
    let session = format!("{NO_SESSION}/close");
    let commands = format!("{NO_SESSION}/commands");
    let huge = format!("{{\"comment\": \"{}\"}}", "x".repeat(2 << 20));
    let cases: [Case<'_>; 18] = [
        ("GET", "/", &[], "", 404, "not_found"),
        ("GET", "/api/v1/nothing", &[], "", 404, "not_found"),
        ("DELETE", "/api/v1/devices", &[], "", 405, "method"),
        ("GET", "/api/v1/devices/nobody", &[], "", 404, "not_found"),
        ("GET", "/api/v1/devices/%ff", &[], "", 400, "bad_request"),
        ("GET", "/api/v1/devices", &[old], "", 426, "protocol"),
        ("GET", NO_SESSION, &[], "", 404, "not_found"),
        ("GET", "/api/v1/sessions/x%0a%1b[2J", &[], "", 404, "not_found"),
        ("POST", &session, &[], "", 404, "not_found"),
        ("POST", &session, &[], "no json", 400, "bad_body"),
        ("POST", &commands, &[json_type], "{}", 400, "bad_body"),
        ("POST", "/api/v1/sessions", &[json_type], "[", 400, "bad_body"),
        ("POST", "/api/v1/sessions", &[json_type], "{\"device\": 7}", 400, "bad_body"),
        ("POST", "/api/v1/sessions", &[], "{}", 415, "media_type"),
        ("POST", "/api/v1/sessions", &[json_type], "{\"device\": \"nobody\"}", 404, "not_found"),
        ("POST", "/api/v1/sessions", &[json_type], &huge, 413, "too_large"),
        ("POST", &session, &[], &huge, 413, "too_large"),
        ("GET", "/api/v1/sessions/x/commands/1/events?after=-1", &[], "", 400, "bad_request"),
    ];
    for (method, path, headers, body, status, code) in cases {
        let answer = wire::call(&socket, method, path, headers, body.as_bytes());
        let what = format!("{method} {path} {}", body.chars().take(40).collect::<String>());
        assert_eq!(answer.status, status, "{what}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
        let id = answer.header("x-request-id").map(str::to_owned);
        let told = answer.value();
        assert_eq!(told["error"]["code"], code, "{what}: {told}");
        assert!(told["error"]["message"].as_str().is_some_and(|message| message.len() > 5), "{what}: {told}");
        assert!(told["error"].as_object().is_some_and(|error| error.contains_key("target")), "{what}: {told}");
        assert_eq!(told["request_id"].as_str(), id.as_deref(), "{what}");
        assert!(id.is_some_and(|id| uuid::Uuid::parse_str(&id).is_ok()), "{what}");
    }
    let answer = wire::call(&socket, "DELETE", "/api/v1/devices", &[], b"");
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    let answer = wire::call(&socket, "GET", "/api/v1/devices", &[], b"");
    assert!(answer.header("x-request-id").is_some(), "an answer has a name too");
}

#[test]
fn heads_and_bodies_without_end_are_cut_off() {
    let home = Home::new();
    let (socket, _held) = home.hold();
    let many = "x-a: b\r\n".repeat(5000);
    let answer = wire::send(&socket, format!("GET /api/v1/devices HTTP/1.1\r\nhost: lrsh\r\n{many}\r\n").as_bytes());
    assert_eq!(answer.status, 431);
    let long = "y".repeat(2 << 20);
    let answer = wire::send(&socket, format!("GET /api/v1/devices HTTP/1.1\r\nhost: lrsh\r\nx-a: {long}\r\n\r\n").as_bytes());
    assert_eq!(answer.status, 431);
    let answer = wire::send(&socket, format!("GET /api/v1/devices?{long} HTTP/1.1\r\nhost: lrsh\r\n\r\n").as_bytes());
    assert!(matches!(answer.status, 414 | 431), "{}", answer.status);
    let answer = wire::send(&socket, b"this is not HTTP\r\n\r\n");
    assert_eq!(answer.status, 400);
    // A body in pieces that says nothing of its length, larger than any body may be.
    let head =
        "POST /api/v1/sessions HTTP/1.1\r\nhost: lrsh\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let piece = format!("10000\r\n{}\r\n", "z".repeat(0x10000));
    let answer = wire::send(&socket, format!("{head}{}", piece.repeat(20)).as_bytes());
    assert_eq!(answer.status, 413);
    assert_eq!(answer.value()["error"]["code"], "too_large");
    // All that harmed nobody.
    let devices = wire::json(&socket, "GET", "/devices", None).value();
    assert_eq!(devices[0]["platform"], "linux");
}

#[test]
fn what_failed_inside_stays_in_the_log_under_the_name_of_the_request() {
    let home = Home::new();
    let (socket, _held) = home.hold();
    let session: Value = wire::json(&socket, "POST", "/sessions", Some(&json!({}))).value();
    let store = home.path().join("service/store.db");
    // A store that fails is made by another program that holds it: nothing of the service's own is touched.
    let python = "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1], timeout=30)\nbase.execute('DROP TABLE commands')\nbase.commit()\n";
    if !crate::kit::need::need(&["python3"]) {
        return;
    }
    assert!(std::process::Command::new("python3").args(["-c", python]).arg(&store).status().unwrap().success());
    let path = format!("/sessions/{}/commands", session["session_id"].as_str().unwrap());
    let answer = wire::json(&socket, "GET", &path, None);
    assert_eq!(answer.status, 500);
    let told = answer.value();
    assert_eq!(told["error"]["code"], "store", "{told}");
    assert!(!told.to_string().contains("table"), "{told}");
    let log = std::fs::read_to_string(home.path().join("log/service.log")).unwrap();
    let line = log.lines().find(|line| line.contains("no such table")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains(told["request_id"].as_str().unwrap()), "{line}");
    // A shell names the request too, so that the line is found.
    let output = home.lrsh(&["-c", "log"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = log_line(&home, &said);
    assert!(line.contains("no such table"), "{said}: {line}");
}

/// The line of the service's log that a message names.
fn log_line(home: &Home, said: &str) -> String {
    let id = said.split("request ").nth(1).and_then(|rest| rest.get(..36)).unwrap_or_else(|| panic!("{said}"));
    let log = std::fs::read_to_string(home.path().join("log/service.log")).unwrap();
    log.lines().rfind(|line| line.contains(id)).unwrap_or_else(|| panic!("{id} in {log}")).to_owned()
}
