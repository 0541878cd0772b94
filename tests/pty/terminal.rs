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
