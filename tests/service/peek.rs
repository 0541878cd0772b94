//! What an editor asks: answered as the command would be, and no command of the session.

use lrsh::service::Limits;
use serde_json::{Value, json};

use crate::kit::fleet::{ALL, Fleet};
use crate::kit::home::Home;
use crate::kit::puppet::command;
use crate::kit::wire;

fn paths(answer: &Value) -> Vec<String> {
    let rows = answer["rows"].as_array().unwrap().iter();
    let mut paths: Vec<String> = rows.map(|row| row["path"].as_str().unwrap().to_owned()).collect();
    paths.sort();
    paths
}

#[test]
fn rows_are_told_without_a_number_and_seen_by_nobody() {
    let home = Home::new();
    let (socket, _held) = home.hold();
    let call = |method: &str, path: &str, body: Option<&Value>| {
        let answer = wire::json(&socket, method, path, body);
        (answer.status, answer.value())
    };
    let session = call("POST", "/sessions", Some(&json!({}))).1["session_id"].as_str().unwrap().to_owned();
    let ask = |query: &str| call("GET", &format!("/sessions/{session}/peek?{query}"), None);
    let folder = tempfile::tempdir().unwrap();
    for name in ["Alpha", "alphabet", "beta", "a b"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    let path = folder.path().display().to_string();
    let (status, answer) = ask(&format!("at=folder&path={path}"));
    assert_eq!((status, paths(&answer)), (200, vec!["Alpha".into(), "a b".into(), "alphabet".into(), "beta".into()]));
    assert_eq!(answer["more"], false);
    let (_, answer) = ask(&format!("at=folder&begins=ALPHA&directory={path}"));
    assert_eq!(paths(&answer), ["Alpha", "alphabet"]);
    let (status, answer) = ask("at=folder&path=/no/such/folder");
    assert_eq!((status, &answer["error"]["code"]), (422, &json!("not_found")), "{answer}");
    assert_eq!(ask("at=nothing").0, 400);
    // It was no command: neither numbered nor logged, and nothing is under way.
    let own = std::process::id();
    let (_, answer) = ask("at=processes");
    assert!(answer["rows"].as_array().unwrap().iter().any(|row| row["pid"] == own), "{own} is not told");
    let (_, log) = call("GET", &format!("/sessions/{session}/commands"), None);
    let lines: Vec<&Value> = log.as_array().unwrap().iter().map(|record| &record["raw_command_line"]).collect();
    assert_eq!(lines, ["connect"]);
    assert_eq!(call("GET", &format!("/sessions/{session}"), None).1["last_command"], 0);
    // Nor has anybody looked at what it told.
    let line = format!("remediate process {own} -plan");
    let events = wire::json(&socket, "POST", &format!("/sessions/{session}/commands"), Some(&command(&line))).events();
    let end = events.last().unwrap();
    assert_eq!((&end["status"], &end["errors"][0]["code"]), (&json!("failed"), &json!("prerequisite")), "{end}");
}

#[test]
fn the_role_is_that_of_the_command() {
    let fleet = Fleet::new(1, Limits::default());
    let basic = fleet.analyst("basic", &[lrsh::grammar::Role::Basic]);
    let session = fleet.open(&basic, 0);
    let ask = |socket: &std::path::Path, at: &str| {
        let (status, answer) = fleet.call(socket, "GET", &format!("/sessions/{session}/peek?at={at}"), None);
        (status, answer["error"]["code"].clone())
    };
    assert_eq!(ask(&basic, "services").0, 200);
    assert_eq!(ask(&basic, "effects"), (403, json!("role")));
    let other = fleet.analyst("other", &ALL);
    assert_eq!(ask(&other, "folder"), (403, json!("held")));
}

#[test]
fn what_is_asked_at_once_is_bounded_and_ends_with_its_caller() {
    let fleet = Fleet::new(1, Limits::default());
    let owner = fleet.analyst("owner", &ALL);
    let session = fleet.open(&owner, 0);
    let client = || reqwest::Client::builder().unix_socket(owner.clone()).no_proxy().tls_certs_only([]).build().unwrap();
    let url = format!("http://lrsh/api/v1/sessions/{session}/peek?at=folder&path=/held");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let waiting: Vec<_> = (0..4).map(|_| runtime.spawn(client().get(&url).send())).collect();
    let device = &fleet.devices[0];
    while device.held() < 4 {
        std::thread::yield_now();
    }
    let (status, answer) = fleet.call(&owner, "GET", &format!("/sessions/{session}/peek?at=folder"), None);
    assert_eq!((status, &answer["error"]["code"]), (429, &json!("busy")), "{answer}");
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    while device.held() > 0 {
        std::thread::yield_now();
    }
}
