//! Many jobs of one session: four heavy ones at a time, the rest in line, each with its own answer.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::kit::home::Home;
use crate::kit::talking::Talking;

/// Jobs at once.
const JOBS: usize = 200;

/// A call that is answered by an event stream, which stays open.
fn post(socket: &Path, session: &str, line: &str, path: &str) -> BufReader<UnixStream> {
    let body =
        json!({"command_id": uuid::Uuid::now_v7().to_string(), "raw_command_line": line, "command_definition_id": "getfile",
        "params": [{"param_id": "path", "value": path}], "flags": [], "current_directory": "/", "background_mode": false})
        .to_string();
    let mut stream = UnixStream::connect(socket).unwrap();
    let head = format!(
        "POST /api/v1/sessions/{session}/commands HTTP/1.1\r\nhost: lrsh\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    BufReader::new(stream)
}

/// Waits until a text is in the stream.
fn hear(stream: &mut BufReader<UnixStream>, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "{text} was never said");
    }
}

#[test]
fn two_hundred_jobs_at_once_all_end_in_order_each_with_its_own_answer() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    for job in 0..JOBS {
        std::fs::create_dir(folder.path().join(format!("d{job}"))).unwrap();
        std::fs::write(folder.path().join(format!("d{job}/own-{job}")), "").unwrap();
    }
    std::fs::write(folder.path().join("held"), "held").unwrap();
    let mut shell = Talking::start(home.lrsh(&["--stream"]));
    shell.say("session -output jsonl");
    let session = shell.hear()["session_id"].as_str().unwrap().to_owned();
    // Files whose bytes nobody asks for hold all the places that there are for heavy work.
    let held = folder.path().join("held").display().to_string();
    let mut holders: Vec<_> = (0..4).map(|_| post(&home.socket(), &session, &format!("getfile {held}"), &held)).collect();
    for holder in &mut holders {
        hear(holder, "\"etag\"");
    }
    for job in 0..JOBS {
        shell.say(&format!("findfile own-* {}/d{job} -output jsonl &", folder.path().display()));
    }
    shell.say("jobs -output jsonl");
    let rows: Vec<Value> = (0..4 + JOBS).map(|_| shell.hear()).collect();
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(row["number"], at + 2, "{row}");
        let (status, progress) = if at < 4 { ("running", None) } else { ("pending", Some(format!("place {}", at - 3))) };
        assert_eq!(row["status"], status, "{row}");
        assert!(progress.is_none_or(|progress| row["progress"] == *progress), "{row}");
    }
    // There is room again; at the end of the input every job is shown, in order.
    for number in 2..6 {
        shell.say(&format!("cancel {number}"));
    }
    let found = shell.rest();
    let found: Vec<&str> = found.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(found.len(), JOBS, "{found:?}");
    for (job, row) in found.iter().enumerate() {
        let row: Value = serde_json::from_str(row).unwrap();
        assert_eq!(row["path"], format!("{}/d{job}/own-{job}", folder.path().display()));
    }
}
