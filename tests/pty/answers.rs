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
fn disconnect_asks_when_commands_run_and_is_logged_as_it_was_typed() {
    let home = Home::new();
    let large = home.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(29 << 30).unwrap();
    let shell = shell(&home);
    shell.line(&format!("fileinfo {} &", large.display()));
    shell.expect("[2]   (Just created)");
    let question = "1 command runs. End the session all the same? [y/N]";
    let asked = |count| shell.until("the question", |screen| screen.matches(question).count() == count);
    // Everything but yes is no: the return key, Ctrl+C, any other word.
    for (count, no) in [(1, "\r"), (2, "\x03"), (3, "now\r"), (4, "\x04")] {
        shell.line("disconnect");
        asked(count);
        shell.keys(no);
        shell.until("the prompt", |screen| screen.trim_end().ends_with("[1 job] >"));
    }
    // Typed ahead it is an answer too.
    shell.keys("disconnect\ry\r");
    shell.expect("is closed");
    shell.expect("(Cancelled)");
    let log = home.lrsh(&["-c", "log -output jsonl -columns command_line"]).output().unwrap();
    let log = String::from_utf8(log.stdout).unwrap();
    assert!(log.contains("{\"command_line\":\"disconnect\"}") && !log.contains("-force"), "{log}");
    let history = std::fs::read_to_string(home.home().history_file()).unwrap();
    assert!(!history.contains("\"y\"") && !history.contains("\"now\""), "{history}");
    leave(shell);
}

#[test]
fn a_terminal_that_can_only_print_is_asked_too() {
    let home = Home::new();
    let large = home.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(29 << 30).unwrap();
    let mut shell = Pty::dumb(home.path());
    shell.prompt();
    shell.line(&format!("fileinfo {} &", large.display()));
    shell.expect("[2]   (Just created)");
    shell.line("disconnect");
    shell.expect("End the session all the same? [y/N]");
    shell.line("");
    shell.line("exit");
    shell.expect("1 job runs. Cancel and leave? [y/N]");
    shell.line("n");
    // The end of the input cannot be asked for ever.
    shell.keys("\x04\x04");
    assert_eq!(shell.end(), 0);
}

#[test]
fn what_is_longer_than_the_terminal_is_wide_is_broken_between_words() {
    let home = Home::new();
    let shell = Pty::start(home.path(), &[], 40, 60);
    shell.prompt();
    shell.line("scheduledtasks nosuchtask");
    let screen = shell.expect("lists their ids");
    let rows: Vec<&str> = screen.lines().map(str::trim_end).collect();
    let at = rows.iter().position(|row| *row == "error: there is no scheduled task nosuchtask:").expect(&screen);
    assert_eq!(rows[at + 1], "  `scheduledtasks` without it lists their ids", "{screen}");
    // A value goes on below itself.
    shell.line(&format!("findfile nothing {} -size +10M -modified -2d -type f -ignore_case &", home.path().display()));
    shell.expect("(Completed)");
    shell.line("cls");
    shell.line("status 3 -columns number,command_line");
    let is_whole = |screen: &str| screen.contains("command_line  findfile") && screen.contains("ignore_case &");
    let screen = shell.until("the record", is_whole);
    let rows: Vec<&str> = screen.lines().map(str::trim_end).collect();
    let at = rows.iter().position(|row| row.starts_with("command_line  findfile nothing")).expect(&screen);
    assert!(rows[at + 1].starts_with("              -") && !rows[at + 1].trim_start().contains("   "), "{screen}");
    leave(shell);
}
