//! A first minute at the terminal, recorded for those who want to see it before they build it: `first-minute.cast`
//! (asciicast v2; `asciinema play` shows it). `LRSH_REWRITE=1` records it anew.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kit::home::Home;
use crate::kit::need::find;
use crate::kit::pty::Pty;

const ROWS: u16 = 28;
const COLUMNS: u16 = 100;
/// Nobody waits longer than that while watching.
const LONGEST_PAUSE: f64 = 1.5;

/// What is typed (`\t` is Tab) and what is then to be seen.
const SESSION: [(&str, &str); 9] = [
    ("help findfile", "PHP files changed in the last two days"),
    ("findf\t*.php SCENE/www -modified -2d", "upload.php"),
    ("cat SCENE/www/upload.php", "system($_GET"),
    ("fileinfo SCENE/www/upload.php -columns sha256,owner,modified", "\"sha256\""),
    ("proceses", "did you mean"),
    ("processes -deleted -name .kworkerd -columns pid,user_name,image_path,image_deleted", "true"),
    ("remediate file SCENE/www/upload.php", "undoable"),
    ("dir SCENE/www", "file:///"),
    ("undo 1", "restored"),
];

/// A web server with a web shell, a name that lies, and a program whose file is gone.
struct Scene {
    folder: tempfile::TempDir,
    program: Child,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("web-").tempdir().unwrap();
        let www = folder.path().join("www");
        std::fs::create_dir(&www).unwrap();
        std::fs::write(www.join("index.php"), "<?php echo 'hello';\n").unwrap();
        std::fs::write(www.join("upload.php"), "<?php system($_GET['c']); ?>\n").unwrap();
        std::fs::write(www.join("inv\u{202e}fdp.sh"), "#!/bin/sh\n").unwrap();
        let image = folder.path().join(".kworkerd");
        std::fs::copy(find("sleep").unwrap(), &image).unwrap();
        let program = Command::new(&image).arg("600").spawn().unwrap();
        std::fs::remove_file(image).unwrap();
        Self { folder, program }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[test]
fn the_recording_shows_what_the_shell_does() {
    let records = std::env::var_os("LRSH_REWRITE").is_some();
    let (home, scene) = (Home::new(), Scene::new());
    let mut shell = Pty::start(home.path(), &[], ROWS, COLUMNS);
    shell.prompt();
    for (line, wanted) in SESSION {
        let line = line.replace("SCENE", &scene.folder.path().display().to_string());
        for piece in line.split_inclusive('\t') {
            for key in piece.chars() {
                shell.keys(&key.to_string());
                // A person types so fast; nothing waits for it.
                std::thread::sleep(Duration::from_millis(if records { 45 } else { 0 }));
            }
            if piece.ends_with('\t') {
                shell.expect("> findfile ");
            }
        }
        shell.keys("\r");
        shell.expect(wanted);
        // The right side of the prompt may say how long the command took.
        shell.until("a prompt", |screen| screen.trim_end().lines().last().is_some_and(|row| row.contains(" >")));
        std::thread::sleep(Duration::from_millis(if records { 1500 } else { 0 }));
    }
    shell.line("exit");
    assert_eq!(shell.end(), 0);
    if records {
        std::fs::write(file(), cast(&shell.written())).unwrap();
    }
}

/// What is committed is a recording of this session: played on a screen, each line and its answer are seen.
#[test]
fn the_recording_can_be_played() {
    let text = std::fs::read_to_string(file()).unwrap();
    let mut lines = text.lines();
    let header: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!((&header["version"], &header["width"], &header["height"]), (&json!(2), &json!(COLUMNS), &json!(ROWS)));
    let mut screen = vt100::Parser::new(ROWS.try_into().unwrap(), COLUMNS.try_into().unwrap(), 0);
    let mut at = 0.0;
    let mut left: Vec<(String, &str)> =
        SESSION.iter().rev().map(|(line, wanted)| (line.replace('\t', "ile "), *wanted)).collect();
    for line in lines {
        let event: Value = serde_json::from_str(line).unwrap();
        let time = event[0].as_f64().unwrap();
        assert!(event[1] == "o" && time >= at && time - at <= LONGEST_PAUSE + 0.001, "{line}");
        at = time;
        screen.process(event[2].as_str().unwrap().as_bytes());
        let contents = screen.screen().contents();
        // The scene stands in another folder each time.
        let is_seen = |line: &str| line.split("SCENE").all(|part| contents.contains(part.trim_end()));
        while left.last().is_some_and(|(line, wanted)| is_seen(line) && contents.contains(wanted)) {
            left.pop();
        }
    }
    assert!(left.is_empty(), "not seen in the recording: {left:?}; LRSH_REWRITE=1 records it anew");
    assert!(at < 60.0, "a minute has {at} seconds");
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pty/first-minute.cast")
}

/// An asciicast: a header, then what was written and when, a line each.
fn cast(written: &[(Instant, Vec<u8>)]) -> String {
    let header = json!({"version": 2, "width": COLUMNS, "height": ROWS, "title": "lrsh: a first minute", "env": {"TERM": "xterm-256color"}});
    let mut text = format!("{header}\n");
    let mut at = 0.0;
    let mut before = None;
    let mut held: Vec<u8> = Vec::new();
    for (when, bytes) in written {
        let pause = before.map_or(0.0, |before| when.duration_since(before).as_secs_f64());
        at += pause.min(LONGEST_PAUSE);
        before = Some(*when);
        held.extend_from_slice(bytes);
        // A character may come in two pieces.
        let whole = match std::str::from_utf8(&held) {
            Ok(_) => held.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = held.split_off(whole);
        let shown = String::from_utf8(std::mem::replace(&mut held, rest)).unwrap();
        if !shown.is_empty() {
            let time = (at * 1000.0).round() / 1000.0;
            text.push_str(&format!("{}\n", json!([time, "o", shown])));
        }
    }
    text
}
