//! What stands around answers on a terminal: notes, questions, the prompt.

use crate::kit::home::Home;
use crate::kit::pty::Pty;

fn shell(home: &Home) -> Pty {
    let shell = Pty::start(home.path(), &[], 40, 120);
    shell.prompt();
    shell
}

fn leave(mut shell: Pty) {
    shell.line("exit");
    assert_eq!(shell.end(), 0);
    shell.is_as_found();
}

#[test]
fn a_note_behind_a_text_without_a_line_end_begins_a_line() {
    let home = Home::new();
    let file = home.path().join("long");
    std::fs::write(&file, "x".repeat(70_000)).unwrap();
    let shell = shell(&home);
    shell.line(&format!("cat {}", file.display()));
    let screen = shell.expect("65536 of 70000 bytes");
    let note = screen.lines().find(|line| line.contains("65536 of 70000 bytes")).unwrap();
    assert!(!note.contains("xxx"), "{screen}");
    leave(shell);
}

#[test]
fn a_prompt_shows_an_odd_folder_as_a_table_does() {
    let home = Home::new();
    let folder = home.path().join("odd\nname\u{1b}[31m");
    std::fs::create_dir(&folder).unwrap();
    let shell = shell(&home);
    shell.line(&format!("cd {}", lrsh::protocol::text::file_uri(folder.as_os_str().as_encoded_bytes())));
    let screen = shell.expect("odd␊name\\x1b[31m");
    assert!(!screen.trim_end().lines().last().unwrap().contains("file:///"), "{screen}");
    leave(shell);
}

#[test]
fn disconnect_asks_once_when_commands_run() {
    let home = Home::new();
    let large = home.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(29 << 30).unwrap();
    let shell = shell(&home);
    shell.line(&format!("fileinfo {} &", large.display()));
    shell.expect("[2]   (Just created)");
    shell.line("disconnect");
    shell.expect("disconnect again ends it");
    // What is no leaving says no to it.
    shell.line("jobs");
    shell.expect("running");
    shell.line("disconnect");
    shell.until("asked anew", |screen| screen.matches("disconnect again ends it").count() == 2);
    shell.line("disconnect");
    shell.expect("is closed");
    shell.expect("(Cancelled)");
    leave(shell);
}
