//! The interactive loop, typed at through a terminal.

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
