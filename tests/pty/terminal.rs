//! The terminal is as it was found, whatever ends the shell, and a shell that is lost leaves its jobs running.

use lrsh::host::terminal::{self, Quiet};
use portable_pty::CommandBuilder;
use rustix::process::Signal;

use crate::kit::home::Home;
use crate::kit::pty::Pty;

/// Set in the process that is to panic.
const PANICS: &str = "LRSH_TEST_PANICS";

fn long(home: &Home) -> String {
    let file = home.path().join("large");
    std::fs::File::create(&file).unwrap().set_len(29 << 30).unwrap();
    format!("fileinfo {}", file.display())
}

#[test]
fn a_signal_ends_the_shell_and_leaves_the_terminal_as_it_was() {
    for (signal, code) in [(Signal::HUP, 129), (Signal::TERM, 143)] {
        let home = Home::new();
        let mut at_the_prompt = Pty::shell(home.path());
        at_the_prompt.prompt();
        assert!(!at_the_prompt.is_cooked());
        at_the_prompt.signal(signal);
        assert_eq!(at_the_prompt.end(), code);
        at_the_prompt.is_as_found();

        let mut at_work = Pty::shell(home.path());
        at_work.prompt();
        at_work.line(&long(&home));
        at_work.until("a bar", |screen| screen.contains("GiB"));
        at_work.signal(signal);
        assert_eq!(at_work.end(), code);
        at_work.is_as_found();
    }
}

#[test]
fn a_terminal_that_is_lost_leaves_its_jobs_to_the_next_shell() {
    let home = Home::new();
    let line = long(&home);
    let mut lost = Pty::shell(home.path());
    lost.prompt();
    lost.line(&format!("{line} &"));
    lost.expect("(Just created)");
    lost.signal(Signal::HUP);
    assert_eq!(lost.end(), 129);
    let mut next = Pty::shell(home.path());
    next.prompt();
    next.line("connect");
    next.expect("attached to your session");
    next.line("fg 2");
    next.until("the bar", |screen| screen.contains("GiB"));
    next.keys("\x03");
    next.expect("another shell typed this");
    next.keys("\x03");
    next.expect("[2] cancelled; the device confirmed");
    // SIGTERM ends in order: its own jobs with it.
    next.line(&format!("{line} &"));
    next.expect("[3]   (Just created)");
    next.signal(Signal::TERM);
    assert_eq!(next.end(), 143);
    let log = home.lrsh(&["-c", "log -output jsonl"]).output().unwrap();
    let log = String::from_utf8(log.stdout).unwrap();
    let job = log.lines().rfind(|row| row.contains(&format!("{line} &"))).unwrap();
    assert!(job.contains("\"cancelled\""), "{log}");
}

#[test]
fn what_came_into_a_file_is_kept_when_the_shell_leaves() {
    for way in ["keys", "signal at the prompt", "signal while it is looked at"] {
        let home = Home::new();
        let mut shell = Pty::shell(home.path());
        shell.prompt();
        // More than fits, so that it runs until it is ended, and its answer comes as it goes.
        shell.line("findfile * / -output jsonl > found &");
        shell.expect("(Just created)");
        let hidden = || names(home.path()).into_iter().find(|name| name.strip_suffix(".lrsh").is_some());
        let begun = std::time::Instant::now();
        while hidden().is_none_or(|name| home.path().join(name).metadata().is_ok_and(|facts| facts.len() == 0)) {
            assert!(begun.elapsed().as_secs() < 60, "nothing is written");
            std::thread::yield_now();
        }
        match way {
            "keys" => {
                shell.keys("\x04");
                shell.expect("Cancel and leave? [y/N]");
                shell.keys("\x04");
            }
            "signal at the prompt" => shell.signal(Signal::TERM),
            _ => {
                shell.line("fg");
                shell.until("the look", |screen| screen.matches("findfile * /").count() >= 3);
                shell.signal(Signal::TERM);
            }
        }
        assert_eq!(shell.end(), if way == "keys" { 0 } else { 143 }, "{way}");
        assert_eq!(hidden(), None, "{way}");
        if !home.path().join("found").exists() {
            // It had not ended before.
            assert!(home.path().join("found.partial").metadata().unwrap().len() > 0, "{way}");
            shell.expect("what came is in found.partial");
        }
    }
}

fn names(folder: &std::path::Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Runs itself at a terminal, where it panics.
#[test]
fn a_panic_leaves_the_terminal_as_it_was() {
    if std::env::var_os(PANICS).is_some() {
        terminal::remember();
        // As when the program ends at once: what is on the stack is not dropped.
        std::mem::forget(Quiet::enter().unwrap().unwrap());
        std::thread::spawn(|| panic!("of a task")).join().unwrap_err();
        let modes = rustix::termios::tcgetattr(std::io::stdin()).unwrap().local_modes;
        let is_cooked = modes.contains(rustix::termios::LocalModes::ICANON);
        eprintln!("{}", if is_cooked { "restored too early" } else { "still quiet" });
        panic!("of the shell");
    }
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["--exact", "pty::terminal::a_panic_leaves_the_terminal_as_it_was", "--nocapture", "--test-threads=1"]);
    command.env(PANICS, "1");
    let mut panics = Pty::of(command, 200, 100);
    assert_ne!(panics.end(), 0);
    panics.is_as_found();
    panics.expect("still quiet");
}
