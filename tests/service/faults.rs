//! What the machine does to a service: full disks, homes that cannot be written, damaged stores, clocks that go back,
//! descriptors that run out. Each is said in a sentence, and everything works again afterwards.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::kit::home::{Home, held};
use crate::kit::mount::Mount;
use crate::kit::need::{need, skip};
use crate::kit::puppet::command;
use crate::kit::wire;

fn lrsh(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lrsh"));
    command.args(arguments).env("LRSH_HOME", home).env("TERM", "dumb").current_dir("/");
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// It ends with a sentence that holds these words, and not with a panic.
#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let text = said(output);
    assert!(output.status.code().is_some_and(|code| (1..=5).contains(&code)), "{:?}: {text}", output.status);
    assert!(words.iter().any(|word| text.contains(word)), "{text}");
    assert!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "{text}");
}

#[track_caller]
fn works(home: &Path) {
    let output = lrsh(home, &["-c", "processes 1 -output json"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows[0]["pid"], 1);
}

/// Takes what room there is.
fn fill(folder: &Path) -> PathBuf {
    let file = folder.join("filler");
    let mut writer = std::fs::File::create(&file).unwrap();
    for size in [64 << 10, 4 << 10, 1] {
        while writer.write_all(&vec![0; size]).is_ok() {}
    }
    file
}

#[test]
fn a_full_disk_is_said_and_is_forgotten_once_there_is_room() {
    if !need(&["mount", "umount"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(folder.path(), 4096) else { return };
    let home = folder.path();
    // Full before anything was there.
    let filler = fill(home);
    refused(&lrsh(home, &["-c", "processes 1"]).output().unwrap(), &["No space left", "full"]);
    std::fs::remove_file(&filler).unwrap();
    works(home);
    // Full while it runs: a connection keeps the service there.
    let (socket, keep) = held(|| lrsh(home, &["paths", "--start", "socket"]));
    let session = wire::json(&socket, "POST", "/sessions", Some(&json!({}))).value();
    let commands = format!("/sessions/{}/commands", session["session_id"].as_str().unwrap());
    let filler = fill(home);
    let mut refusals = 0;
    for _ in 0..200 {
        let answer = wire::json(&socket, "POST", &commands, Some(&command("dir /usr/bin")));
        if answer.status == 200 {
            // The log had room for its line; of its events some may not be kept, which is said.
            let events = answer.events();
            let end = events.last().unwrap();
            assert_eq!(end["kind"], "completed", "{end}");
        } else {
            assert_eq!(answer.status, 500);
            let told = answer.value();
            assert_eq!(told["error"]["message"], "the disk of the service is full", "{told}");
            refusals += 1;
        }
        if refusals > 2 {
            break;
        }
    }
    assert!(refusals > 0, "the store takes what a full disk does not hold");
    std::fs::remove_file(&filler).unwrap();
    let events = wire::json(&socket, "POST", &commands, Some(&command("dir /usr/bin"))).events();
    let end = events.last().unwrap();
    assert_eq!((&end["status"], &end["errors"]), (&json!("completed"), &json!([])), "{end}");
    let log = wire::json(&socket, "GET", &commands, None).value();
    let numbers: Vec<u64> = log.as_array().unwrap().iter().map(|entry| entry["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "nothing that was refused took a number");
    let log: Vec<&str> = log.as_array().unwrap().iter().map(|entry| entry["status"].as_str().unwrap()).collect();
    assert_eq!(log.last(), Some(&"completed"));
    drop(keep);
    works(home);
}

#[test]
fn events_that_a_full_disk_refused_are_not_missed_in_silence() {
    if !need(&["mount", "umount"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("service/spool");
    std::fs::create_dir_all(&spool).unwrap();
    let Some(_mount) = Mount::new(&spool, 96) else { return };
    let rows = tempfile::tempdir().unwrap();
    for number in 0..8_000 {
        std::fs::write(rows.path().join(format!("{:016x}", u64::wrapping_mul(number, 0x9e37_79b9_7f4a_7c15))), "").unwrap();
    }
    let home = folder.path();
    let (socket, keep) = held(|| lrsh(home, &["paths", "--start", "socket"]));
    let session = wire::json(&socket, "POST", "/sessions", Some(&json!({}))).value();
    let commands = format!("/sessions/{}/commands", session["session_id"].as_str().unwrap());
    let line = format!("dir {}", rows.path().display());
    let live = wire::json(&socket, "POST", &commands, Some(&command(&line))).events();
    let end = live.last().unwrap();
    assert_eq!((&end["status"], &end["errors"][0]["code"]), (&json!("completed"), &json!("spool_unwritten")), "{end}");
    assert!(end["errors"][0]["message"].as_str().unwrap().contains("No space left"), "{end}");
    let again = wire::json(&socket, "GET", &format!("{commands}/2/events"), None).events();
    assert!(again.len() < live.len(), "{} of {}", again.len(), live.len());
    let end = again.last().unwrap();
    assert_eq!((&end["kind"], &end["errors"][0]["code"]), (&json!("completed"), &json!("spool_unwritten")), "{end}");
    // With room there is nothing to be said any more.
    std::fs::remove_file(spool.join(session["session_id"].as_str().unwrap()).join("2")).unwrap();
    let live = wire::json(&socket, "POST", &commands, Some(&command("processes 1"))).events();
    assert_eq!(live.last().unwrap()["errors"], json!([]));
    assert_eq!(wire::json(&socket, "GET", &format!("{commands}/3/events"), None).events(), live);
    drop(keep);
}

#[test]
fn a_home_that_cannot_be_written_is_said() {
    if !need(&["mount", "umount"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(folder.path(), 16384) else { return };
    mount.remount("ro");
    refused(&lrsh(folder.path(), &["-c", "processes 1"]).output().unwrap(), &["read-only"]);
    mount.remount("rw");
    works(folder.path());
    // It ends by itself: once it has, the home is written by nobody.
    wait_for_end(folder.path());
    mount.remount("ro");
    refused(&lrsh(folder.path(), &["-c", "processes 1"]).output().unwrap(), &["read-only"]);
    refused(&lrsh(folder.path(), &["-c", "log"]).output().unwrap(), &["read-only"]);
    mount.remount("rw");
    works(folder.path());
}

#[test]
fn a_store_that_is_damaged_inside_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let (socket, keep) = held(|| lrsh(home, &["paths", "--start", "socket"]));
    let session = wire::json(&socket, "POST", "/sessions", Some(&json!({}))).value();
    assert_eq!(session["state"], "open");
    drop(keep);
    wait_for_end(home);
    let store = home.join("service/store.db");
    let whole = std::fs::read(&store).unwrap();
    for from in [100, 4096, 3 * 4096] {
        let mut bytes = whole.clone();
        let to = bytes.len().min(from + 8000);
        bytes[from..to].fill(0x5a);
        std::fs::write(&store, bytes).unwrap();
        let output = lrsh(home, &["-c", "sessions", "-c", "processes 1", "-c", "log"]).output().unwrap();
        refused(&output, &["the store", "store.db"]);
        wait_for_end(home);
        for beside in ["store.db-wal", "store.db-shm"] {
            let _ = std::fs::remove_file(home.join("service").join(beside));
        }
        std::fs::write(&store, &whole).unwrap();
        works(home);
        wait_for_end(home);
        std::fs::write(&store, &whole).unwrap();
    }
}

#[test]
fn a_clock_that_is_set_back_harms_nothing() {
    let library =
        ["/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"];
    let Some(library) = library.iter().find(|path| Path::new(path).exists()) else {
        skip("faketime not installed");
        return;
    };
    let home = Home::new();
    let clock = home.path().join("clock");
    let at = |offset: &str| {
        // Renamed into place: a reader sees the old or the new.
        let new = home.path().join("clock.new");
        std::fs::write(&new, offset).unwrap();
        std::fs::rename(&new, &clock).unwrap();
    };
    at("+0");
    let faked = |arguments: &[&str]| {
        let mut command = home.lrsh(arguments);
        command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &clock).env("FAKETIME_NO_CACHE", "1");
        command.env("DONT_FAKE_MONOTONIC", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command
    };
    let (socket, keep) = held(|| faked(&["paths", "--start", "socket"]));
    let session = wire::json(&socket, "POST", "/sessions", Some(&json!({}))).value();
    let path = format!("/sessions/{}", session["session_id"].as_str().unwrap());
    let commands = format!("{path}/commands");
    let run = || {
        let events = wire::json(&socket, "POST", &commands, Some(&command("processes 1"))).events();
        assert_eq!(events.last().unwrap()["status"], "completed");
    };
    run();
    at("-2d");
    run();
    let facts = wire::json(&socket, "GET", &path, None).value();
    assert!(facts["duration_ms"].as_u64().unwrap() < 600_000, "{facts}");
    assert!(facts["idle_left_ms"].as_u64().unwrap() > 60_000, "{facts}");
    let log = wire::json(&socket, "GET", &commands, None).value();
    let entries = log.as_array().unwrap();
    assert!(entries[2]["created"].as_str() < entries[1]["created"].as_str(), "the clock was set back: {log}");
    let numbers: Vec<u64> = entries.iter().map(|entry| entry["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(entries.iter().all(|entry| entry["duration_ms"].as_u64().is_some_and(|ms| ms < 600_000)), "{log}");
    drop(keep);
    // Another service, which finds times that lie ahead of it: the session goes on.
    let output = faked(&["-c", "processes 1", "-c", "log -output json"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    at("+0");
    let output = faked(&["-c", "processes 1"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn running_out_of_descriptors_is_waited_out() {
    if !need(&["prlimit"]) {
        return;
    }
    let home = Home::new();
    let (socket, _held) = held(|| {
        let mut start = Command::new("prlimit");
        start.args(["--nofile=64:64", env!("CARGO_BIN_EXE_lrsh"), "paths", "--start", "socket"]);
        start.env("LRSH_HOME", home.path()).env("XDG_RUNTIME_DIR", home.path());
        start
    });
    let session = wire::json(&socket, "POST", "/sessions", Some(&json!({}))).value();
    let commands = format!("/sessions/{}/commands", session["session_id"].as_str().unwrap());
    // A stream that is open already, and then as many connections as there may be.
    let mut open =
        wire::json(&socket, "GET", &format!("/sessions/{}/events?after=0", session["session_id"].as_str().unwrap()), None);
    assert_eq!(open.status, 200);
    let post = command("processes 1");
    let body = post.to_string();
    let head = format!(
        "POST /api/v1{commands} HTTP/1.1\r\nhost: lrsh\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let asked = UnixStream::connect(&socket).unwrap();
    let many: Vec<UnixStream> = (0..100).map_while(|_| UnixStream::connect(&socket).ok()).collect();
    (&asked).write_all(head.as_bytes()).unwrap();
    (&asked).write_all(body.as_bytes()).unwrap();
    // A command that needs descriptors of its own while there are none: it ends with a sentence, whatever it could do.
    let answer = wire::of(asked);
    assert!(answer.status == 200 || answer.status == 500, "{}", answer.status);
    if answer.status == 200 {
        let events = answer.events();
        let end = events.last().unwrap();
        assert_eq!(end["kind"], "completed", "{end}");
        for error in end["errors"].as_array().unwrap() {
            assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{end}");
        }
    }
    drop(many);
    let events = wire::json(&socket, "POST", &commands, Some(&command("processes 1"))).events();
    let end = events.last().unwrap();
    assert_eq!((&end["status"], &end["errors"]), (&json!("completed"), &json!([])), "{end}");
    assert!(open.piece().is_some());
    drop(open);
    let log = std::fs::read_to_string(home.path().join("log/service.log")).unwrap_or_default();
    assert!(!log.contains("panicked"), "{log}");
}

/// Returns once no service runs in a home.
fn wait_for_end(home: &Path) {
    let lock = std::fs::File::open(home.join("service/lock")).unwrap();
    lock.lock_shared().unwrap();
}
