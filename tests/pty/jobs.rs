//! Work that is moved, watched and stopped with keys, as a person sees it.

use std::path::PathBuf;
use std::process::Command;

use crate::kit::home::Home;
use crate::kit::pty::Pty;

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_Z: &str = "\x1a";
const LEFT: &str = "\x1b[D";

/// A home, and a file whose hashing takes longer than any test: it costs no room on the disk.
struct Desk {
    home: Home,
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::File::create(folder.path().join("large")).unwrap().set_len(29 << 30).unwrap();
        Self { home: Home::new(), folder }
    }

    fn shell(&self) -> Pty {
        let shell = Pty::shell(self.home.path());
        shell.prompt();
        shell
    }

    fn large(&self) -> PathBuf {
        self.folder.path().join("large")
    }

    /// The line whose work takes long.
    fn long(&self) -> String {
        format!("fileinfo {}", self.large().display())
    }

    /// Types it, and waits until its bar is there.
    fn begin(&self, shell: &Pty) {
        shell.line(&self.long());
        shell.until("a bar", |screen| screen.contains("GiB") && screen.contains("left"));
    }

    fn signal(&self, name: &str) {
        let pid = self.home.service_pid().unwrap().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Runs lines in a shell of its own in the same session.
    fn batch(&self, lines: &[&str]) -> String {
        let arguments: Vec<&str> = lines.iter().flat_map(|line| ["-c", line]).collect();
        let ran = self.home.lrsh(&arguments).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    }
}

fn leave(mut shell: Pty) {
    shell.line("exit");
    assert_eq!(shell.end(), 0);
    shell.is_as_found();
}

/// The rows of a screen without the blanks at their ends.
fn rows(screen: &str) -> Vec<&str> {
    screen.lines().map(str::trim_end).collect()
}

#[test]
fn a_job_goes_to_the_background_and_comes_back_and_is_cancelled() {
    let desk = Desk::new();
    let shell = desk.shell();
    desk.begin(&shell);
    shell.keys(CTRL_Z);
    shell.expect(&format!("[2]   (Running)   {}", desk.long()));
    let screen = shell.expect("[1 job] > ");
    assert!(!screen.contains("GiB"), "the bar is gone:\n{screen}");
    shell.line("jobs");
    shell.expect("running");
    shell.line("fg");
    shell.until("the bar again", |screen| screen.contains("GiB"));
    shell.keys(CTRL_C);
    let screen = shell
        .until("a receipt", |screen| screen.contains("[2] cancelled; the device confirmed") && screen.ends_with("exit 130"));
    assert!(!screen.contains("GiB"), "the bar is gone:\n{screen}");
    assert!(desk.batch(&["log 2 -output json"]).contains("\"cancelled_by\": \""));
    leave(shell);
}

#[test]
fn a_line_that_ends_in_an_ampersand_starts_in_the_background() {
    let desk = Desk::new();
    let shell = desk.shell();
    for (number, line) in [(2, format!("{} &", desk.long())), (3, format!("{}&", desk.long()))] {
        shell.line(&line);
        shell.expect(&format!("[{number}]   (Just created)   {line}"));
    }
    shell.expect("[2 jobs] > ");
    shell.line("cancel 3");
    shell.expect(&format!("[3]   (Cancelled)   {}&", desk.long()));
    // A prompt that stands there already counts what ran when it was drawn.
    shell.keys("\r");
    shell.expect("[1 job] > ");
    // Leaving asks once, then cancels what this shell has running.
    let question = "1 job runs. Cancel and leave? [y/N]";
    let asked = |count| shell.until("the question", |screen| screen.matches(question).count() == count);
    shell.keys(CTRL_D);
    asked(1);
    shell.line("n");
    shell.expect("[1 job] > ");
    shell.line("exit");
    asked(2);
    shell.keys(CTRL_C);
    shell.until("the prompt", |screen| screen.trim_end().ends_with("[1 job] >"));
    shell.line("exit");
    asked(3);
    shell.line("Yes");
    shell.expect("[2]   (Cancelled)");
    let mut shell = shell;
    assert_eq!(shell.end(), 0);
    shell.is_as_found();
}

#[test]
fn ctrl_z_at_an_empty_prompt_brings_the_latest_job() {
    let desk = Desk::new();
    let shell = desk.shell();
    shell.keys(CTRL_Z);
    let screen = shell.expect("no job of this shell runs");
    assert!(rows(&screen).contains(&"error: no job of this shell runs"), "{screen}");
    shell.line(&format!("{} &", desk.long()));
    shell.expect("[1 job] > ");
    shell.keys(CTRL_Z);
    shell.until("the bar", |screen| screen.contains("GiB"));
    shell.keys(CTRL_C);
    shell.expect("[2] cancelled; the device confirmed");
    leave(shell);
}

#[test]
fn a_second_ctrl_c_leaves_at_once_where_nobody_confirms() {
    let desk = Desk::new();
    let shell = desk.shell();
    desk.begin(&shell);
    desk.signal("STOP");
    shell.keys(CTRL_C);
    shell.expect("[2] is being cancelled; Ctrl+C again leaves it at once");
    shell.keys(CTRL_C);
    shell.expect("[2] goes on being cancelled; see status 2");
    shell.expect("[1 job] > ");
    desk.signal("CONT");
    shell.expect("[2]   (Cancelled)");
    leave(shell);
}

#[test]
fn what_the_device_does_not_confirm_is_said() {
    let desk = Desk::new();
    let shell = desk.shell();
    desk.begin(&shell);
    desk.signal("STOP");
    shell.keys(CTRL_C);
    shell.expect("[2] the device has not confirmed within 5 s and may still finish this: status 2 tells");
    shell.expect("[1 job] > ");
    desk.signal("CONT");
    shell.expect("[2]   (Cancelled)");
    leave(shell);
}

#[test]
fn another_shells_command_is_cancelled_only_when_asked_twice() {
    let desk = Desk::new();
    let (one, two) = (desk.shell(), desk.shell());
    desk.begin(&one);
    two.line("connect");
    two.expect("attached to your session");
    two.line("fg 2");
    two.until("the bar", |screen| screen.contains("GiB"));
    two.keys(CTRL_C);
    two.expect("another shell typed this: Ctrl+C again cancels it, Ctrl+Z leaves it");
    two.keys(CTRL_C);
    two.expect("[2] cancelled; the device confirmed");
    one.expect("[2] cancelled; the device confirmed");
    leave(two);
    leave(one);
}

#[test]
fn what_is_typed_ahead_is_the_next_line() {
    let desk = Desk::new();
    let shell = desk.shell();
    // Behind a line in the same moment.
    shell.keys("help cls\rhelp fg\r");
    shell.expect("> help fg");
    shell.expect("Bring a command to the foreground");
    desk.begin(&shell);
    // While a command runs, and in the moment in which it is left.
    shell.keys(&format!("{CTRL_C}help session\r"));
    shell.expect("[2] cancelled; the device confirmed");
    shell.expect("> help session");
    shell.expect("Show the session");
    leave(shell);
}

#[test]
fn the_line_and_the_cursor_stay_when_a_job_ends() {
    let desk = Desk::new();
    let shell = desk.shell();
    shell.line(&format!("{} &", desk.long()));
    shell.expect("[1 job] > ");
    shell.keys("processes -fist").keys(LEFT).keys(LEFT);
    let (row, column) = {
        shell.expect("> processes -fist");
        shell.keys("r");
        shell.expect("> processes -first");
        shell.cursor()
    };
    desk.batch(&["cancel 2"]);
    let screen = shell.until("the end above the line", |screen| {
        screen.contains("[2]   (Cancelled)") && rows(screen).last().is_some_and(|last| last.ends_with("/ > processes -first"))
    });
    // The prompt counts one job less by now, and the cursor stands where it stood in the line.
    assert_eq!(usize::from(shell.cursor().1), usize::from(column) - " [1 job]".len(), "{row}\n{screen}");
    shell.keys("\x05 1\r");
    shell.expect("memory (K)");
    leave(shell);
}

#[test]
fn ten_jobs_that_end_together_lose_no_line() {
    let desk = Desk::new();
    let shell = desk.shell();
    for number in 2..12 {
        shell.line(&format!("{} &", desk.long()));
        shell.expect(&format!("[{number}]   (Just created)"));
        shell.expect(if number == 2 { "[1 job] > " } else { "jobs] > " });
    }
    shell.line("jobs -columns number,status,progress");
    // Four are at work at once.
    for place in 1..7 {
        shell.expect(&format!("place {place}"));
    }
    shell.line("cls");
    shell.keys("dir /et");
    desk.signal("KILL");
    let ended = |screen: &str, number| screen.contains(&format!("[{number}]   (Interrupted)   "));
    shell.until("ten ends, and the line", |screen| {
        let reasons = screen.matches("  fileinfo: the service's process ended: run it again").count();
        reasons >= 4
            && (2..12).all(|number| ended(screen, number))
            && rows(screen).last().is_some_and(|last| last.ends_with("> dir /et"))
    });
    shell.keys("c -first 1\r");
    shell.expect("modified");
    leave(shell);
}

#[test]
fn a_bar_takes_the_width_that_the_terminal_has_now() {
    let desk = Desk::new();
    let shell = Pty::start(desk.home.path(), &[], 24, 60);
    shell.prompt();
    let bars = |screen: &str| screen.lines().filter(|line| line.contains("GiB")).count();
    shell.line(&desk.long());
    shell.until("a narrow bar", |screen| screen.contains("% ") && bars(screen) == 1);
    shell.resize(30, 140);
    shell.until("a wide one in its place", |screen| screen.contains("GiB/s") || screen.contains("MiB/s") && bars(screen) == 1);
    shell.resize(24, 60);
    shell.until("a narrow one again", |screen| screen.trim_end().ends_with("left") && screen.contains("% "));
    shell.keys(CTRL_C);
    shell.expect("[2] cancelled; the device confirmed");
    shell.expect("exit 130");
    leave(shell);
}

#[test]
fn the_command_that_has_to_look_first_is_shown_first() {
    let desk = Desk::new();
    let file = desk.folder.path().join("note");
    std::fs::write(&file, "hello").unwrap();
    let shell = Pty::start(desk.home.path(), &[], 70, 100);
    shell.prompt();
    shell.line(&format!("getfile {} -auto -to {}/", file.display(), desk.home.path().display()));
    let screen = shell.until("both", |screen| screen.contains("saved_as"));
    let (looked, fetched) = (screen.find("mime_type").unwrap(), screen.find("saved_as").unwrap());
    assert!(looked < fetched, "{screen}");
    leave(shell);
}

#[test]
fn status_tells_what_a_running_command_has_said() {
    let desk = Desk::new();
    std::fs::write(desk.folder.path().join("found-at-once"), "").unwrap();
    let shell = desk.shell();
    let hash = "0".repeat(64);
    shell.line(&format!("findfile * {} -sha256 {hash} &", desk.folder.path().display()));
    shell.expect("[1 job] > ");
    desk.batch(&[&format!("findfile found* {}", desk.folder.path().display())]);
    shell.line("status 2 -output json -columns number,status,output");
    shell.expect("\"running\"");
    shell.expect("\"output\": []");
    shell.line("cancel 2");
    shell.expect("[2]   (Cancelled)");
    leave(shell);
}

#[test]
fn what_is_said_of_a_job_begins_a_line() {
    let desk = Desk::new();
    let script = desk.folder.path().join("talks.sh");
    std::fs::write(&script, "printf 'no line end'; sleep 1000\n").unwrap();
    desk.batch(&[&format!("library add {}", script.display())]);
    let shell = desk.shell();
    for (key, said) in [(CTRL_Z, "[2]   (Running)   run talks.sh"), (CTRL_C, "[3] cancelled; the device confirmed")] {
        shell.line("run talks.sh");
        shell.until("its words", |screen| rows(screen).last().is_some_and(|last| *last == "no line end"));
        shell.keys(key);
        let screen = shell.expect(said);
        assert!(rows(&screen).contains(&said), "{screen}");
        shell.until("a prompt", |screen| rows(screen).last().is_some_and(|last| last.contains("] >")));
    }
    shell.line("cancel 2");
    shell.expect("[2]   (Cancelled)");
    leave(shell);
}

/// Files of holes that a pattern matches: they take a while, and no room.
fn many(desk: &Desk) -> String {
    for name in ["x1", "x2", "x3"] {
        std::fs::File::create(desk.folder.path().join(name)).unwrap().set_len(3 << 30).unwrap();
    }
    format!("getfile {}/x* -to {}/", desk.folder.path().display(), desk.home.path().display())
}

#[test]
fn the_files_of_a_pattern_share_a_bar_and_are_cancelled_together() {
    let desk = Desk::new();
    let shell = desk.shell();
    shell.line(&many(&desk));
    shell.expect("of 3 files: getfi");
    let screen = shell.until("all bytes of all files", |screen| screen.contains("9.00 GiB"));
    assert_eq!(screen.matches("9.00 GiB").count(), 1, "{screen}");
    shell.keys(CTRL_C);
    shell.expect("cancelled; the device confirmed");
    let screen = shell.expect("files behind it are cancelled too");
    assert!(!screen.contains("9.00 GiB"), "{screen}");
    leave(shell);
}

#[test]
fn the_files_of_a_pattern_go_to_the_background_together() {
    let desk = Desk::new();
    let shell = desk.shell();
    shell.line(&many(&desk));
    shell.expect("of 3 files: getfi");
    shell.keys(CTRL_Z);
    shell.expect("jobs] > ");
    shell.expect("(Running)");
    desk.batch(&["cancel 3", "cancel 4", "cancel 5"]);
    for number in 3..6 {
        shell.expect(&format!("[{number}]   (Cancelled)"));
    }
    leave(shell);
}

#[test]
fn a_file_that_goes_on_under_another_number_says_so_at_once_and_answers_to_both() {
    let desk = Desk::new();
    let file = desk.folder.path().join("x");
    std::fs::File::create(&file).unwrap().set_len(3 << 30).unwrap();
    let shell = desk.shell();
    shell.line(&format!("getfile {} -to {}/ &", file.display(), desk.home.path().display()));
    shell.expect("[1 job] > ");
    let part = desk.home.path().join("x.part");
    while !part.exists() {
        std::thread::yield_now();
    }
    desk.signal("KILL");
    shell.expect("[2] goes on as [3]");
    shell.line("cls");
    shell.line("status 2 -columns number,status");
    let screen = shell.until("the status", |screen| screen.contains("running") && screen.contains("goes on as"));
    assert!(screen.contains("[2] goes on as [3]") && rows(&screen).contains(&"number  3"), "{screen}");
    shell.line("fg 2");
    shell.until("a bar", |screen| screen.contains("GiB"));
    shell.keys(CTRL_Z);
    shell.expect("[3]   (Running)");
    assert!(desk.batch(&["log 2 -output json"]).contains("\"continued_by\": 3"));
    shell.line("cancel 2");
    shell.expect("[3]   (Cancelled)");
    leave(shell);
}

#[test]
fn what_was_announced_is_no_job_any_more() {
    let desk = Desk::new();
    let shell = desk.shell();
    shell.line(&format!("findfile nothing {} &", desk.folder.path().display()));
    shell.expect("(Completed)");
    shell.line("jobs");
    shell.expect("no rows");
    // Who comes later was not told, and is told once.
    let told = desk.batch(&["jobs -output jsonl -columns number,status", "jobs -output jsonl"]);
    assert_eq!(told, "{\"number\":2,\"status\":\"completed\"}\n");
    leave(shell);
}

#[test]
fn a_table_that_is_cut_short_does_not_say_that_there_is_nothing() {
    let desk = Desk::new();
    let shell = desk.shell();
    let hash = "0".repeat(64);
    shell.line(&format!("findfile * {} -sha256 {hash}", desk.folder.path().display()));
    shell.expect("connected to");
    desk.home.until_running("findfile");
    shell.keys(CTRL_C);
    shell.expect("[2] cancelled; the device confirmed");
    let screen = shell.expect("exit 130");
    assert!(!screen.contains("no rows"), "{screen}");
    leave(shell);
}
