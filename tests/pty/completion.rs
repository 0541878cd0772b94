//! Menus, hints and help while a line is typed, as a person sees them.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use lrsh::protocol::Status;
use lrsh::service::Limits;
use serde_json::json;

use crate::kit::home::Home;
use crate::kit::pty::Pty;
use crate::kit::puppet::{Puppet, Served, rows};
use crate::kit::standin::StandIn;

const CTRL_C: &str = "\x03";
const F1: &str = "\x1bOP";
const RIGHT: &str = "\x1b[C";
const DOWN: &str = "\x1b[B";
const CTRL_R: &str = "\x12";
const CTRL_U: &str = "\x15";

/// The line that is being typed.
fn last(screen: &str) -> &str {
    screen.lines().rev().find(|line| line.contains("> ") || line.ends_with('>')).unwrap_or_default().trim_end()
}

fn connected(home: &Home, rows: u16, columns: u16) -> Pty {
    let shell = Pty::start(home.path(), &[], rows, columns);
    shell.prompt();
    shell.line("connect");
    shell.until("a session", |screen| screen.contains("disconnect ends") && screen.trim_end().ends_with("/ >"));
    shell
}

fn leave(mut shell: Pty) {
    shell.line("exit");
    assert_eq!(shell.end(), 0);
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("my folder")).unwrap();
    std::fs::write(folder.path().join("my folder/in it"), "found it\n").unwrap();
    for name in [b"gr\xc3\xb6\xc3\x9fe.log".as_slice(), b"it's \"x\"", b"red\x1b[31m\x1b]0;pwned\x07", b"plain", b"plate"] {
        std::fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), "content\n").unwrap();
    }
    folder
}

#[test]
fn the_menu_of_a_folder_opens_filters_and_inserts() {
    let (home, folder) = (Home::new(), folder());
    let shell = connected(&home, 30, 120);
    let path = folder.path().display();
    shell.keys(&format!("cat {path}/\t"));
    let screen = shell.until("every entry", |screen| screen.contains("my folder/") && screen.contains("plate"));
    assert!(screen.contains("größe.log") && screen.contains("it's \"x\"") && screen.contains("8 bytes"), "{screen}");
    // What a device calls a file is shown, and nothing of it obeyed.
    assert!(screen.contains("red\\x1b[31m\\x1b]0;pwned\\x07") && !screen.contains("NO RECORDS"), "{screen}");
    shell.keys("pla");
    shell.until("two of them", |screen| screen.contains("plain  ") && screen.contains("plate") && !screen.contains("größe"));
    shell.keys(DOWN).keys("\r");
    shell.until("the second", |screen| last(screen).ends_with(&format!("cat {path}/plate")));
    shell.keys("\r");
    shell.expect("content");
    // A lone one is taken at once: a folder stays open, with its quotes; what is in it is asked for in turn.
    shell.keys(&format!("cat {path}/my\t"));
    shell.until("the folder", |screen| last(screen).ends_with(&format!("cat \"{path}/my folder/\"")));
    shell.keys("\t");
    shell.until("the file in it", |screen| last(screen).ends_with(&format!("cat \"{path}/my folder/in it\"")));
    shell.keys("\r");
    shell.expect("found it");
    for (begun, whole) in [("gr", format!("{path}/größe.log")), ("it", format!("\"{path}/it's \"\"x\"\"\""))] {
        shell.keys(&format!("cat {path}/{begun}\t"));
        shell.until("the whole name", |screen| last(screen).ends_with(&format!("cat {whole}")));
        shell.keys(CTRL_U);
    }
    shell.keys(&format!("cat {path}/red\t"));
    shell.until("the exact form", |screen| last(screen).contains("cat file:///") && last(screen).ends_with("pwned%07"));
    shell.keys("\r");
    shell.until("its content", |screen| screen.matches("content").count() >= 2);
    leave(shell);
}

#[test]
fn what_was_asked_is_no_command() {
    let (home, folder) = (Home::new(), folder());
    let shell = connected(&home, 30, 120);
    shell.keys(&format!("cat {}/\t", folder.path().display()));
    shell.expect("my folder/");
    shell.keys(CTRL_C).keys("remediate process \t");
    shell.expect("lrsh");
    shell.keys(CTRL_C);
    shell.line("log -columns id,command_line");
    shell.until("the log", |screen| screen.contains("connect") && screen.trim_end().ends_with("/ >"));
    shell.line(&format!("remediate process {} -plan", std::process::id()));
    let screen = shell.expect("has not looked at it");
    assert!(!screen.lines().any(|line| line.trim_start().starts_with("2  dir")), "{screen}");
    leave(shell);
}

#[test]
fn where_there_is_nothing_to_offer_it_is_said_why() {
    let home = Home::new();
    let shell = Pty::start(home.path(), &[], 30, 120);
    shell.prompt();
    shell.keys("dir /et\t");
    shell.expect("none is connected");
    shell.keys(CTRL_C);
    shell.line("connect");
    shell.expect("disconnect ends");
    shell.keys("dir /no/such/\t");
    shell.expect("there is no such file or folder");
    shell.keys(CTRL_C).keys("findfile x -size \t");
    let screen = shell.expect("10M");
    assert!(!screen.contains("NO RECORDS"), "{screen}");
    shell.keys(CTRL_C);
    leave(shell);
}

/// A device that lists a folder once it is told to.
fn slow(answers: Receiver<()>) -> Arc<Puppet> {
    let answers = Mutex::new(answers);
    Puppet::new("sloth", move |command, to| {
        if command.command_definition_id == "dir" {
            let _ = answers.lock().unwrap().recv();
            let names = ["abcd", "abce", "other"];
            let entries: Vec<_> = names.iter().map(|name| json!({"path": name, "isDirectory": false, "size": 1})).collect();
            let _ = to.blocking_send(rows(&entries));
        }
        Status::Completed
    })
}

fn slow_desk(home: &Home, folder: &Path) -> (Served, StandIn, Pty, Sender<()>) {
    let (answer, answers) = channel();
    let served = Served::start(folder, Limits::default(), vec![slow(answers)]).unwrap();
    let stand_in = StandIn::take(&home.home(), &served.socket);
    let shell = Pty::start(home.path(), &[], 24, 100);
    shell.prompt();
    shell.line("connect");
    shell.expect("tester@sloth / >");
    (served, stand_in, shell, answer)
}

#[test]
fn a_device_that_is_slow_delays_no_key() {
    let (home, folder) = (Home::new(), tempfile::tempdir().unwrap());
    let (served, _stand_in, mut shell, answer) = slow_desk(&home, folder.path());
    shell.keys("cat /x/\t");
    // The device says nothing, and every key is seen all the same.
    for (key, typed) in [("a", "a"), ("b", "ab"), ("c", "abc")] {
        shell.keys(key);
        shell.until("the key", |screen| screen.contains(&format!("> cat /x/{typed}")));
    }
    shell.expect("asking sloth");
    answer.send(()).unwrap();
    let screen = shell.until("its answer", |screen| screen.contains("abcd") && screen.contains("abce"));
    assert!(!screen.contains("other"), "{screen}");
    shell.keys("d\t");
    shell.until("what was chosen", |screen| last(screen).ends_with("cat /x/abcd"));
    // It asks no more than once for what it knows.
    shell.keys(CTRL_U).keys("cat /x/o\t");
    shell.until("what is known", |screen| last(screen).ends_with("cat /x/other"));
    shell.keys(CTRL_U);
    let session = served.get("/sessions")[0]["session_id"].as_str().unwrap().to_owned();
    let log = served.get(&format!("/sessions/{session}/commands"));
    assert_eq!(log.as_array().unwrap().len(), 1, "{log}");
    drop(answer);
    shell.line("exit");
    assert_eq!(shell.end(), 0);
}

#[test]
fn a_line_is_run_while_its_device_has_not_answered() {
    let (home, folder) = (Home::new(), tempfile::tempdir().unwrap());
    let (_served, _stand_in, mut shell, answer) = slow_desk(&home, folder.path());
    shell.keys("cat /x/\t").keys("y\r");
    shell.until("the next prompt", |screen| screen.contains("> cat /x/y\n") && screen.trim_end().ends_with("/ >"));
    drop(answer);
    shell.line("exit");
    assert_eq!(shell.end(), 0);
}

#[test]
fn a_narrow_terminal_and_one_that_changes_its_size() {
    let (home, folder) = (Home::new(), folder());
    let shell = connected(&home, 30, 40);
    shell.line(&format!("cd {}", folder.path().display()));
    shell.until("a short directory", |screen| screen.trim_end().ends_with('>') && screen.contains(" /tmp/"));
    shell.keys("cat pla\t");
    let screen = shell.until("the menu", |screen| screen.contains("plain") && screen.contains("plate"));
    let menu: Vec<&str> = screen.lines().filter(|line| line.starts_with("pla")).collect();
    assert!(menu.len() == 2 && menu.iter().all(|line| line.chars().count() <= 40), "{screen}");
    shell.resize(20, 100);
    shell.until("the menu at its new width", |screen| screen.contains("cat pla") && screen.contains("plate"));
    shell.keys("t");
    shell.until("the line goes on", |screen| screen.contains("cat plat"));
    shell.resize(24, 60);
    shell.keys("\r\r");
    shell.expect("content");
    leave(shell);
}

#[test]
fn hints_come_from_the_history_else_from_the_definition() {
    let home = Home::new();
    let shell = Pty::start(home.path(), &[], 24, 100);
    shell.prompt();
    shell.keys("getfile ");
    shell.until("the parameter", |screen| last(screen).ends_with("> getfile <path>"));
    shell.keys(RIGHT);
    shell.keys(CTRL_U);
    shell.line("help fileinfo");
    shell.expect("fileinfo <path>");
    shell.keys("hel");
    shell.until("the rest", |screen| last(screen).ends_with("> help fileinfo"));
    shell.keys(RIGHT).keys(" -output json\r");
    shell.expect("\"since\": null");
    leave(shell);
}

#[test]
fn f1_explains_what_the_cursor_is_on_above_the_line() {
    let home = Home::new();
    let shell = Pty::start(home.path(), &[], 40, 100);
    shell.prompt();
    shell.keys("findfile x -size").keys(F1);
    let typed = |screen: &str| last(screen).ends_with("> findfile x -size");
    shell.until("the parameter", |screen| screen.contains("findfile: -size: ") && typed(screen));
    shell.keys("\x01").keys(F1);
    shell.until("the command", |screen| screen.contains("findfile <name> [path]") && typed(screen));
    shell.keys("\x0b").keys(F1);
    shell.expect("Session and terminal");
    leave(shell);
}

#[test]
fn ctrl_r_finds_lines_by_what_is_in_them() {
    let home = Home::new();
    let shell = connected(&home, 24, 100);
    shell.line("processes -first 1 -columns pid");
    shell.expect("pid");
    shell.line("dir /no/such");
    shell.until("the next prompt", |screen| screen.trim_end().ends_with("exit 1"));
    shell.keys(CTRL_R);
    let screen = shell.until("all of them", |screen| screen.contains("connect  ") && screen.contains("exit 1"));
    assert!(screen.contains("done"), "{screen}");
    shell.keys("prcpid");
    shell.until("the one", |screen| screen.contains("? prcpid") && !screen.contains("dir /no/such  "));
    shell.keys("\r");
    shell.until("it on the line", |screen| screen.contains("/ > processes -first 1 -columns pid"));
    // What is not found is nothing to run.
    shell.keys(CTRL_U).keys(CTRL_R).keys("zzz\r");
    shell.until("it stays", |screen| screen.contains("/ > zzz"));
    shell.keys(CTRL_U);
    leave(shell);
}

#[test]
fn two_shells_share_what_was_typed() {
    let home = Home::new();
    let (one, two) = (Pty::shell(home.path()), Pty::shell(home.path()));
    one.prompt();
    two.prompt();
    one.line("help trace");
    one.until("the next prompt", |screen| screen.contains("trace [state]") && screen.trim_end().ends_with('>'));
    two.line("");
    two.prompt();
    two.keys("\x1b[A");
    two.until("the other's line", |screen| last(screen).ends_with("> help trace"));
    two.keys(CTRL_U);
    leave(one);
    leave(two);
}

#[test]
fn colour_and_menu_without_colour() {
    let home = Home::new();
    let shell = Pty::start(home.path(), &["--color", "never"], 24, 100);
    shell.prompt();
    shell.keys("di\t");
    shell.until("the menu", |screen| screen.contains("dir") && screen.contains("disconnect"));
    // Which one is chosen is told without capitals; nothing is in colour.
    let written: Vec<u8> = shell.written().into_iter().flat_map(|(_, bytes)| bytes).collect();
    let text = String::from_utf8_lossy(&written).into_owned();
    assert!(!text.contains("DIR") && !text.contains("\x1b[36m") && !text.contains("\x1b[31m"), "{text:?}");
    shell.keys(CTRL_C);
    leave(shell);
}
