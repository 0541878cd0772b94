//! No shortcut past HTTP: what a shell shows is what the service tells anyone, asked beside it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::kit::need::need;
use crate::kit::shell::Home;

#[test]
fn a_command_that_is_replayed_by_curl_has_the_rows_that_the_shell_printed() {
    if !need(&["curl"]) {
        return;
    }
    let home = Home::new();
    let folder = home.work().join("files");
    std::fs::create_dir(&folder).unwrap();
    for number in 0..1500 {
        std::fs::write(folder.join(format!("{number}\u{1b}[m")), number.to_string()).unwrap();
    }
    let mut command = home.command();
    command.arg("--stream").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut shell = command.spawn().unwrap();
    let mut input = shell.stdin.take().unwrap();
    let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
    writeln!(input, "dir {} -output jsonl", folder.display()).unwrap();
    let shown: Vec<Value> = (0..1500).map(|_| serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap()).collect();

    // As the README has it, beside the shell.
    let socket = home.batch("").args(&["paths", "socket"]).run().code(0).out();
    let get = |path: &str| {
        let url = format!("http://lrsh/api/v1{path}");
        let output = Command::new("curl").args(["-sS", "--unix-socket", socket.trim(), &url]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let sessions: Value = serde_json::from_str(&get("/sessions")).unwrap();
    assert_eq!((&sessions[0]["state"], &sessions[0]["shells"]), (&Value::from("open"), &Value::from(1)));
    let commands = format!("/sessions/{}/commands", sessions[0]["session_id"].as_str().unwrap());
    let log: Value = serde_json::from_str(&get(&commands)).unwrap();
    assert_eq!(log[1]["raw_command_line"], format!("dir {} -output jsonl", folder.display()));
    let events = get(&format!("{commands}/{}/events", log[1]["command_id"].as_str().unwrap()));
    let events = events.lines().filter_map(|line| line.strip_prefix("data: "));
    let told: Vec<Value> = events
        .filter_map(|event| serde_json::from_str::<Value>(event).unwrap()["rows"].as_array().cloned())
        .flatten()
        .collect();
    assert!(told == shown, "{} rows were told, {} shown", told.len(), shown.len());
    drop(input);
    assert_eq!(shell.wait().unwrap().code(), Some(0));
}
