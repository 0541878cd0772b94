//! The interactive loop, typed at through a terminal.

mod answers;
mod completion;
mod first_minute;
mod jobs;
mod roots;
mod terminal;
mod typing;

use crate::kit::home::Home;
use crate::kit::pty::Pty;

#[test]
fn a_first_minute() {
    let home = Home::new();
    let mut shell = Pty::shell(home.path());
    shell.prompt();
    shell.line("help processes");
    shell.expect("processes -name ssh*");
    shell.line(&format!("processes {}", std::process::id()));
    shell.expect("connected to");
    shell.expect(&std::process::id().to_string());
    shell.line("cd /etc");
    shell.expect(" /etc > ");
    shell.line("cat hostnam");
    shell.expect("there is no such file");
    // Tab knows what may stand there.
    shell.keys("fileinf\t");
    shell.expect("> fileinfo ");
    shell.keys("/etc/passwd -columns sha256\r");
    shell.expect("\"sha256\"");
    shell.line("exit");
    assert_eq!(shell.end(), 0);
    let history = std::fs::read_to_string(home.home().history_file()).unwrap();
    assert!(history.contains("fileinfo /etc/passwd -columns sha256"), "{history}");
}

#[test]
fn a_terminal_that_can_only_print_gets_plain_lines() {
    let home = Home::new();
    let mut shell = Pty::dumb(home.path());
    shell.prompt();
    shell.line("cd /etc");
    shell.expect(" /etc > ");
    shell.line("exit");
    assert_eq!(shell.end(), 0);
    let written = shell.written();
    assert!(written.iter().all(|(_, bytes)| !bytes.contains(&0x1b)), "{written:?}");
    // What was typed is remembered as with the editor, and offered by it.
    let history = std::fs::read_to_string(home.home().history_file()).unwrap();
    assert!(history.contains("\"cd /etc\"") && history.contains("\"done\""), "{history}");
    let shell = Pty::shell(home.path());
    shell.prompt();
    shell.keys("cd /");
    shell.until("the hint", |screen| screen.trim_end().ends_with("> cd /etc"));
}

#[test]
fn a_line_typed_ahead_stands_behind_its_prompt_where_nothing_can_be_drawn() {
    let home = Home::new();
    let mut shell = Pty::dumb(home.path());
    shell.prompt();
    let large = home.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(29 << 30).unwrap();
    shell.line(&format!("fileinfo {}", large.display()));
    home.until_running("fileinfo");
    shell.keys("cat /nosuch\r");
    let _ = home.lrsh(&["-c", "cancel 2"]).output().unwrap();
    let screen = shell.expect("there is no such file");
    assert!(screen.lines().any(|line| line.trim_end().ends_with(" / > cat /nosuch")), "{screen}");
    shell.line("exit");
    assert_eq!(shell.end(), 0);
}

#[test]
fn the_end_of_a_job_begins_a_line_where_nothing_can_be_drawn() {
    let home = Home::new();
    let mut shell = Pty::dumb(home.path());
    shell.prompt();
    shell.line("findfile nothing /usr &");
    shell.expect("(Just created)");
    let ended = || {
        let told = home.lrsh(&["-c", "status 2 -output json"]).output().unwrap();
        String::from_utf8(told.stdout).unwrap().contains("\"status\": \"completed\"")
    };
    while !ended() {}
    // The shell hears of it about when the service says so.
    let is_prompt = |line: &&str| line.contains(" > ") || line.trim_end().ends_with(" >");
    for prompts in 3..20 {
        if shell.screen().contains("(Completed)") {
            break;
        }
        shell.line("");
        shell.until("the next prompt", |screen| screen.lines().filter(is_prompt).count() >= prompts);
    }
    let screen = shell.screen();
    assert!(screen.lines().any(|line| line.starts_with("[2]   (Completed)")), "{screen}");
    shell.line("exit");
    assert_eq!(shell.end(), 0);
}

#[test]
fn the_end_of_a_job_is_told_above_the_line_being_typed() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Pty::shell(home.path());
    shell.prompt();
    shell.line(&format!("findfile nothing {} &", folder.path().display()));
    shell.expect("(Just created)");
    shell.keys("processes -fir");
    let typed = |screen: &str| screen.trim_end().ends_with("> processes -fir");
    shell.until("the end above the line", |screen| screen.contains("(Completed)") && typed(screen));
    shell.keys("st 1\r");
    shell.expect("memory (K)");
    shell.line("exit");
    assert_eq!(shell.end(), 0);
}

#[test]
fn a_hostile_name_does_not_move_the_table_and_its_exact_form_can_be_pasted() {
    use std::os::unix::ffi::OsStrExt;
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    for name in [b"plain".as_slice(), b"red\x1b[31m\x1b]0;pwned\x07", b"\r\xe2\x80\xae"] {
        std::fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), "12345").unwrap();
    }
    let mut shell = Pty::start(home.path(), &[], 40, 80);
    shell.prompt();
    shell.line(&format!("dir {} -columns path,size -sort path", folder.path().display()));
    let screen = shell.until("the whole table", |screen| screen.contains("%0D%E2%80%AE") && screen.trim_end().ends_with('>'));
    let sizes: Vec<usize> = screen.lines().filter(|line| line.ends_with("  5")).map(|line| line.chars().count()).collect();
    assert!(sizes.len() == 3 && sizes.iter().all(|at| *at == sizes[0]), "{screen}");
    let uri = screen.lines().find_map(|line| line.strip_prefix("  file:///").filter(|uri| uri.contains("pwned"))).unwrap();
    shell.line(&format!("cat file:///{uri}"));
    shell.expect("12345");
    shell.line("exit");
    assert_eq!(shell.end(), 0);
}
