//! A device that is switched off, at a terminal: its prompt, and what is offered while a path of it is typed.

use std::os::unix::fs::symlink;

use crate::kit::home::Home;
use crate::kit::pty::Pty;
use crate::kit::windows;

const CTRL_C: &str = "\x03";
const CTRL_U: &str = "\x15";

/// A shell at a root, connected: its prompt ends so.
fn at(home: &Home, root: &std::path::Path, prompt: &str) -> Pty {
    let shell = Pty::start(home.path(), &["--root", root.to_str().unwrap()], 30, 120);
    shell.prompt();
    shell.line("connect");
    shell.until("a session", |screen| screen.contains("disconnect ends") && screen.trim_end().ends_with(prompt));
    shell
}

/// The line that is being typed.
fn last(screen: &str) -> &str {
    screen.lines().rev().find(|line| line.contains("> ")).unwrap_or_default().trim_end()
}

fn completes(shell: &Pty, typed: &str, whole: &str) {
    shell.keys(typed).keys("\t");
    shell.until(whole, |screen| last(screen).ends_with(whole));
    shell.keys(CTRL_U);
}

#[test]
fn a_path_is_completed_inside_a_root_and_never_outside() {
    let (home, tree) = (Home::new(), tempfile::tempdir().unwrap());
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "").unwrap();
    let root = tree.path();
    std::fs::create_dir_all(root.join("etc/only here")).unwrap();
    std::fs::write(root.join("etc/hostname"), "web01\n").unwrap();
    symlink(outside.path(), root.join("out")).unwrap();
    symlink("/etc", root.join("link")).unwrap();
    let mut shell = at(&home, root, "/ >");
    shell.expect(&format!("web01:{}", root.canonicalize().unwrap().display()));
    completes(&shell, "cat /etc/ho", "cat /etc/hostname");
    completes(&shell, "cat /link/on", "cat \"/link/only here/\"");
    shell.keys("cat /out/s\t");
    shell.expect("nothing known begins with /out/s");
    shell.keys(CTRL_C);
    shell.line("exit");
    assert_eq!(shell.end(), 0);
}

#[test]
fn a_path_of_a_windows_disk_is_completed_as_windows_writes_it() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    let mut shell = at(&home, &disk, r"C:\ >");
    completes(&shell, r"cat C:\Users\max\Doc", r"cat C:\Users\max\Documents\");
    completes(&shell, r"cat C:\Users\max\Documents\", r"cat C:\Users\max\Documents\report.txt");
    completes(&shell, r"cat c:\users\MAX\documents\", r"cat c:\users\MAX\documents\report.txt");
    completes(&shell, r#"cat "C:\Program F"#, r#"cat "C:\Program Files\""#);
    shell.line("exit");
    assert_eq!(shell.end(), 0);
}
