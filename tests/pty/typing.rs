//! Keys that come together, pastes, edit modes, and what the prompt says.

use lrsh::host::private_file;

use crate::kit::home::Home;
use crate::kit::pty::Pty;

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_Z: &str = "\x1a";

fn leave(mut shell: Pty) {
    shell.line("exit");
    assert_eq!(shell.end(), 0);
}

fn config(home: &Home, text: &str) {
    use std::io::Write;
    let mut file = private_file().create(true).write(true).open(home.home().config_file()).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn typed_lines(home: &Home) -> Vec<String> {
    let text = std::fs::read_to_string(home.home().history_file()).unwrap();
    let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["line"].as_str().unwrap().to_owned();
    text.lines().map(line).collect()
}

#[test]
fn ten_pasted_lines_run_in_order_and_nothing_before_the_return_key() {
    let home = Home::new();
    let shell = Pty::start(home.path(), &[], 60, 100);
    shell.prompt();
    let mut lines: Vec<String> = (0..9).map(|n| format!("help nosuch{n}")).collect();
    lines.insert(4, "dir \"/no\nsuch\"".to_owned());
    shell.keys(&format!("\x1b[200~{}\r\x1b[201~", lines.join("\r")));
    let screen = shell.until("the paste", |screen| screen.contains("help nosuch8"));
    assert!(!screen.contains("error"), "{screen}");
    shell.keys("\r");
    let screen = shell.until("the last answer", |screen| screen.matches("error:").count() == 10);
    let places: Vec<usize> = (0..9).map(|n| screen.rfind(&format!("> help nosuch{n}")).unwrap()).collect();
    assert!(places.is_sorted(), "{screen}");
    leave(shell);
    let typed = typed_lines(&home);
    assert_eq!(typed[..10], lines, "{typed:?}");
}

#[test]
fn who_cancels_a_pasted_line_has_the_others_on_the_line_again() {
    let home = Home::new();
    let large = home.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(29 << 30).unwrap();
    let shell = Pty::start(home.path(), &[], 40, 100);
    shell.prompt();
    shell.keys(&format!("\x1b[200~fileinfo {}\rhelp one\rhelp two\x1b[201~\r", large.display()));
    shell.until("a bar", |screen| screen.contains("GiB"));
    shell.keys(CTRL_C);
    shell.expect("2 pasted lines have not run");
    shell.until("they are there", |screen| screen.contains("/ > help one") && screen.trim_end().ends_with("\n> help two"));
    shell.keys(CTRL_C);
    leave(shell);
}

#[test]
fn what_is_typed_behind_a_key_that_ends_the_line_is_kept() {
    let home = Home::new();
    let shell = Pty::start(home.path(), &[], 40, 100);
    shell.prompt();
    shell.keys(&format!("nonsense{CTRL_C}help session\r"));
    // At the prompt: while a command runs, the same keys are signals.
    let done = |text: &str| shell.until(text, |screen| screen.contains(text) && screen.trim_end().ends_with(" >"));
    done("Show the session");
    shell.keys(&format!("{CTRL_Z}help history\r"));
    shell.expect("no job of this shell");
    done("history [count]");
    // All of it, several times over, and a line feed as the return key.
    shell.keys(&format!("a{CTRL_C}b{CTRL_C}{CTRL_C}help cls\nhelp trace\n"));
    shell.expect("trace [state]");
    let screen = shell.expect("cls: ");
    assert!(!screen.contains("`a"), "{screen}");
    // Ctrl+D in a line takes away what stands behind the cursor, and goes on.
    shell.keys(&format!("help jobsx\x1b[D{CTRL_D}\r"));
    shell.expect("jobs: ");
    leave(shell);
}

#[test]
fn a_second_end_asked_for_at_once_counts() {
    let home = Home::new();
    let large = home.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(29 << 30).unwrap();
    let mut shell = Pty::shell(home.path());
    shell.prompt();
    shell.line(&format!("fileinfo {} &", large.display()));
    shell.expect("[1 job] > ");
    shell.keys(&format!("{CTRL_D}{CTRL_D}"));
    assert_eq!(shell.end(), 0);
}

#[test]
fn vi_keys_and_keys_of_ones_own() {
    let home = Home::new();
    config(&home, "edit_mode = \"vi\"\n[keys]\n\"ctrl+t\" = \"help trace\"\n\"alt+j\" = \"cut-to-start\"\n");
    let shell = Pty::start(home.path(), &[], 40, 100);
    shell.prompt();
    shell.keys("hxelp session\x1b");
    shell.until("normal mode", |screen| screen.contains("> : hxelp session"));
    shell.keys("0");
    shell.keys("l");
    shell.keys("x");
    shell.until("the letter is gone", |screen| screen.contains(": help session"));
    shell.keys("\r");
    shell.expect("Show the session");
    shell.keys("half\x14");
    shell.expect("trace [state]");
    shell.until("the line is there again", |screen| screen.trim_end().ends_with("half"));
    shell.keys(CTRL_C);
    leave(shell);
    let told = home.lrsh(&["config"]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("edit_mode = \"vi\"") && told.contains("\"ctrl+t\" = \"help trace\""), "{told}");
}

#[test]
fn a_line_that_was_dropped_leaves_no_mode_behind() {
    let home = Home::new();
    config(&home, "edit_mode = \"vi\"\n");
    let shell = Pty::start(home.path(), &[], 40, 100);
    shell.prompt();
    shell.keys("help x\x1b");
    shell.until("normal mode", |screen| screen.contains("> : help x"));
    shell.keys(CTRL_C);
    shell.until("the next line", |screen| screen.matches("> ").count() >= 2 && screen.trim_end().ends_with('>'));
    shell.keys("help trace\r");
    shell.expect("trace [state]");
    leave(shell);
}

#[test]
fn a_line_shows_what_runs() {
    let home = Home::new();
    let shell = Pty::start(home.path(), &[], 40, 100);
    shell.prompt();
    // A text that shows itself in another order, pasted or typed.
    shell.keys("\x1b[200~cat /tmp/a\u{202e}b\x1b[201~ \u{2066}x");
    // The model of a screen shows nothing for what has no form.
    shell.until("the whole line", |screen| screen.contains("cat /tmp/ab x"));
    let written: Vec<u8> = shell.written().into_iter().flat_map(|(_, bytes)| bytes).collect();
    let text = String::from_utf8_lossy(&written);
    assert!(text.contains("/tmp/a\u{fffd}b") && !text.contains(['\u{202e}', '\u{2066}']), "{text:?}");
    shell.keys(CTRL_C);
    // What is only foreign stays as it is: wide, of two directions, and in two parts.
    shell.keys("cat 文件名/שלום/e\u{301}\x1b[D\x1b[D");
    shell.until("all of it", |screen| screen.contains("cat 文件名/שלום/e\u{301}"));
    shell.keys("\x01\x0b");
    leave(shell);
}

#[test]
fn a_line_of_ten_kilobytes_is_typed_and_run() {
    let home = Home::new();
    let shell = Pty::start(home.path(), &[], 24, 80);
    shell.prompt();
    shell.keys(&format!("\x1b[200~help {}\x1b[201~", "x".repeat(10_000)));
    shell.until("a full screen of it", |screen| screen.matches('x').count() >= 22 * 80);
    shell.keys("\r");
    shell.expect("error:");
    shell.until("the next prompt", |screen| {
        screen.trim_end().lines().last().is_some_and(|last| last.contains(" > ") || last.ends_with('>'))
    });
    shell.keys("help trace\r");
    shell.expect("trace [state]");
    leave(shell);
}

#[test]
fn a_key_that_is_not_understood_is_named() {
    let home = Home::new();
    config(&home, "[keys]\n\"hyper+x\" = \"jobs\"\n");
    let mut shell = Pty::shell(home.path());
    shell.expect("`hyper+x` is no key");
    assert_eq!(shell.end(), 2);
    let told = home.lrsh(&["config"]).output().unwrap();
    assert_eq!(told.status.code(), Some(2));
    assert!(String::from_utf8(told.stderr).unwrap().contains("hyper+x"));
}

#[test]
fn the_prompt_says_what_one_may_do_and_where_one_is() {
    let home = Home::new();
    let deep = home.path().join("a-folder-with-a-long-name/and-another-one-below-it/and-the-last");
    std::fs::create_dir_all(&deep).unwrap();
    let name = std::process::Command::new("id").arg("-un").output().unwrap();
    let name = String::from_utf8(name.stdout).unwrap();
    let analyst = format!("[[analyst]]\nname = \"{}\"\nroles = [\"basic\"]\n", name.trim());
    std::fs::create_dir(home.home().service()).unwrap();
    std::fs::write(home.home().service().join("service.toml"), analyst).unwrap();
    let shell = Pty::start(home.path(), &[], 30, 100);
    shell.prompt();
    shell.line("connect");
    shell.expect("/ (basic) > ");
    shell.line(&format!("cd {}", deep.display()));
    shell.expect("…/and-the-last (basic) > ");
    shell.line("dir /no/such");
    shell.until("how it went", |screen| screen.trim_end().lines().last().is_some_and(|last| last.ends_with("exit 1")));
    leave(shell);
}

#[test]
fn the_end_of_a_session_is_told_once() {
    let home = Home::new();
    let shell = Pty::start(home.path(), &[], 30, 100);
    shell.prompt();
    shell.line("connect");
    shell.expect("disconnect ends");
    shell.line("disconnect");
    shell.expect("is closed");
    shell.line("help session");
    shell.expect("Show the session");
    let screen = shell.prompt();
    assert!(!screen.contains("was ended"), "{screen}");
    leave(shell);
}

#[test]
fn the_line_that_connects_is_remembered_with_its_device() {
    let home = Home::new();
    let shell = Pty::shell(home.path());
    shell.prompt();
    shell.line("cd /etc");
    shell.expect(" /etc > ");
    leave(shell);
    let text = std::fs::read_to_string(home.home().history_file()).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert!(first["device"].is_string(), "{text}");
}
