//! No shortcut past HTTP: with curl alone a session is opened, commands run, replayed and logged, and the session closed.

use std::process::Command;

use serde_json::{Value, json};

use crate::kit::home::Home;
use crate::kit::need::need;

/// curl at the service of a home.
pub struct Curl<'h> {
    home: &'h Home,
}

impl<'h> Curl<'h> {
    /// Starts the service of a home as the first shell would.
    pub fn new(home: &'h Home) -> Self {
        Self { home }
    }

    /// A call; the body is posted as JSON where there is one. Returns the status and the answer.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        // A service that ended by itself between two calls is started again, as any shell does.
        let (socket, _held) = self.home.hold();
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-X", method, "-w", "\n%{http_code}", "--unix-socket"]).arg(&socket);
        if let Some(body) = body {
            curl.args(["-H", "content-type: application/json", "-d", &body.to_string()]);
        }
        let output = curl.arg(format!("http://lrsh/api/v1{path}")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (text, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), text.to_owned())
    }

    fn json(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, text) = self.call(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}

/// The events of an answer.
fn events(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|json| serde_json::from_str(json).unwrap()).collect()
}

fn command(id: &str, line: &str, definition: &str, params: &[(&str, &str)]) -> Value {
    let params: Vec<Value> = params.iter().map(|(id, value)| json!({"param_id": id, "value": value})).collect();
    json!({"command_id": id, "raw_command_line": line, "command_definition_id": definition, "params": params, "flags": [],
        "current_directory": "/", "background_mode": false})
}

#[test]
fn a_session_from_beginning_to_end() {
    if !need(&["curl"]) {
        return;
    }
    let home = Home::new();
    let curl = Curl::new(&home);
    assert_eq!(curl.json("GET", "/devices", None)[0]["platform"], "linux");
    let session = curl.json("POST", "/sessions", Some(&json!({"comment": "a test"})));
    let sid = session["session_id"].as_str().unwrap();
    assert!(sid.starts_with("CLR"));
    let commands = format!("/sessions/{sid}/commands");

    let pid = std::process::id().to_string();
    let post = command("0198d0a0-0000-7000-8000-000000000001", &format!("processes {pid}"), "processes", &[("pid", &pid)]);
    let (status, answer) = curl.call("POST", &commands, Some(&post));
    assert_eq!(status, 200, "{answer}");
    let first = events(&answer);
    let kinds: Vec<&str> = first.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["created", "started", "table", "rows", "completed"]);
    assert_eq!(first[0]["number"], 2);
    assert_eq!(first[3]["rows"][0]["pid"], json!(std::process::id()));
    assert_eq!(first[4]["status"], "completed");

    let (_, again) = curl.call("POST", &commands, Some(&post));
    assert_eq!(events(&again), first, "a repeated command id gets the first answer");
    for (field, value) in [
        ("raw_command_line", json!(format!("processes  {pid}"))),
        ("current_directory", json!("/etc")),
        ("flags", json!(["tree"])),
        ("background_mode", json!(true)),
    ] {
        let mut other = post.clone();
        other[field] = value;
        let (status, answer) = curl.call("POST", &commands, Some(&other));
        assert_eq!((status, answer.contains("\"duplicate\"")), (409, true), "{field}: {answer}");
    }
    let (_, replay) = curl.call("GET", &format!("{commands}/2/events?after=3"), None);
    assert_eq!(events(&replay), first[3..]);

    let wrong = command("0198d0a0-0000-7000-8000-000000000002", "processes 1", "processes", &[("pid", "2")]);
    let (status, answer) = curl.call("POST", &commands, Some(&wrong));
    assert_eq!((status, answer.contains("\"mismatch\"")), (400, true), "{answer}");
    let unread = command("0198d0a0-0000-7000-8000-000000000003", "proceses", "processes", &[]);
    let (status, answer) = curl.call("POST", &commands, Some(&unread));
    assert_eq!((status, answer.contains("\"unknown_command\"")), (400, true), "{answer}");

    let log = curl.json("GET", &commands, None);
    let lines: Vec<&str> = log.as_array().unwrap().iter().map(|entry| entry["raw_command_line"].as_str().unwrap()).collect();
    assert_eq!(lines, ["connect".to_owned(), format!("processes {pid}")]);
    assert_eq!(curl.json("GET", &format!("{commands}/2"), None)["status"], "completed");
    assert_eq!(curl.json("GET", "/sessions", None)[0]["session_id"], sid);

    assert_eq!(curl.json("POST", &format!("/sessions/{sid}/close"), None)["state"], "closed");
    let (status, _) =
        curl.call("POST", &commands, Some(&command("0198d0a0-0000-7000-8000-000000000004", "processes", "processes", &[])));
    assert_eq!(status, 410, "a closed session takes no command");
    let (status, _) = curl.call("POST", &format!("/sessions/{sid}/close"), None);
    assert_eq!(status, 410);
}

#[test]
fn a_large_folder_comes_whole() {
    if !need(&["curl"]) {
        return;
    }
    let home = Home::new();
    let curl = Curl::new(&home);
    let folder = tempfile::tempdir().unwrap();
    for number in 0..20_000 {
        std::fs::write(folder.path().join(format!("file-{number}")), "").unwrap();
    }
    let session = curl.json("POST", "/sessions", Some(&json!({})));
    let path = folder.path().to_str().unwrap();
    let post = command("0198d0a0-0000-7000-8000-000000000005", &format!("dir {path}"), "dir", &[("path", path)]);
    let (_, answer) =
        curl.call("POST", &format!("/sessions/{}/commands", session["session_id"].as_str().unwrap()), Some(&post));
    let events = events(&answer);
    let rows: usize = events.iter().filter_map(|event| Some(event["rows"].as_array()?.len())).sum();
    assert_eq!(rows, 20_000);
    let numbers: Vec<u64> = events.iter().map(|event| event["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}
