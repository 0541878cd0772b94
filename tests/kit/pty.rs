//! The real program at a terminal: keys go in, and what a person would see comes out of a screen model. Questions for the
//! cursor are answered, as every terminal does.

use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};

/// A guard against hanging, nothing else.
const PATIENCE: Duration = Duration::from_mins(1);
/// What a program sends to ask where the cursor is.
const CURSOR_QUESTION: &[u8] = b"\x1b[6n";

/// A program at a terminal.
pub struct Pty {
    child: Box<dyn Child + Send + Sync>,
    master: Option<Box<dyn MasterPty + Send>>,
    /// Kept open, so that the terminal can be looked at when the program has ended.
    slave: Option<Box<dyn SlavePty + Send>>,
    /// The terminal's settings before the program began.
    found: String,
    keys: Arc<Mutex<Box<dyn Write + Send>>>,
    seen: Arc<Seen>,
}

struct Seen {
    screen: Mutex<vt100::Parser>,
    /// Everything that was written, and when.
    written: Mutex<Vec<(Instant, Vec<u8>)>>,
    changed: Condvar,
}

impl Pty {
    /// The shell, with this home, on a terminal of 24 rows and 100 columns.
    pub fn shell(home: &Path) -> Self {
        Self::start(home, &[], 24, 100)
    }

    /// The program with arguments.
    pub fn start(home: &Path, args: &[&str], rows: u16, columns: u16) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_lrsh"));
        command.args(args);
        command.env("LRSH_HOME", home);
        command.cwd(home);
        Self::of(command, rows, columns)
    }

    /// Any program.
    pub fn of(command: CommandBuilder, rows: u16, columns: u16) -> Self {
        Self::on("xterm-256color", command, rows, columns)
    }

    /// The shell, with this home, on a terminal that can only print.
    pub fn dumb(home: &Path) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_lrsh"));
        command.env("LRSH_HOME", home);
        command.cwd(home);
        Self::on("dumb", command, 24, 100)
    }

    fn on(term: &str, mut command: CommandBuilder, rows: u16, columns: u16) -> Self {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        command.env("TERM", term);
        command.env_remove("NO_COLOR");
        let found = format!("{:?}", pair.master.get_termios().unwrap());
        let child = pair.slave.spawn_command(command).unwrap();
        let keys = Arc::new(Mutex::new(pair.master.take_writer().unwrap()));
        let seen = Arc::new(Seen {
            screen: Mutex::new(vt100::Parser::new(count(rows), count(columns), 1000)),
            written: Mutex::default(),
            changed: Condvar::new(),
        });
        let mut output = pair.master.try_clone_reader().unwrap();
        let (watcher, answers) = (seen.clone(), keys.clone());
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                let bytes = &buffer[..read];
                watcher.written.lock().unwrap().push((Instant::now(), bytes.to_vec()));
                let asked = bytes.windows(CURSOR_QUESTION.len()).filter(|window| *window == CURSOR_QUESTION).count();
                let position = {
                    let mut screen = watcher.screen.lock().unwrap();
                    screen.process(bytes);
                    screen.screen().cursor_position()
                };
                for _ in 0..asked {
                    let answer = format!("\x1b[{};{}R", position.0 + 1, position.1 + 1);
                    let _ = answers.lock().unwrap().write_all(answer.as_bytes());
                }
                watcher.changed.notify_all();
            }
        });
        Self { child, master: Some(pair.master), slave: Some(pair.slave), found, keys, seen }
    }

    /// Types.
    pub fn keys(&self, keys: &str) -> &Self {
        let mut writer = self.keys.lock().unwrap();
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
        drop(writer);
        self
    }

    /// Types a line and Enter.
    pub fn line(&self, line: &str) -> &Self {
        self.keys(&format!("{line}\r"))
    }

    /// What is on the screen now.
    pub fn screen(&self) -> String {
        self.seen.screen.lock().unwrap().screen().contents()
    }

    /// Everything that was written to the terminal so far, and when.
    pub fn written(&self) -> Vec<(Instant, Vec<u8>)> {
        self.seen.written.lock().unwrap().clone()
    }

    /// Waits until the screen is so.
    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        let mut screen = self.seen.screen.lock().unwrap();
        loop {
            let contents = screen.screen().contents();
            if is_so(&contents) {
                return contents;
            }
            let left = PATIENCE.checked_sub(begun.elapsed());
            let left = left.unwrap_or_else(|| panic!("never seen: {what}; the screen:\n{contents}"));
            screen = self.seen.changed.wait_timeout(screen, left).unwrap().0;
        }
    }

    /// Waits until a text is on the screen.
    #[track_caller]
    pub fn expect(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// Waits until the cursor stands behind a prompt.
    #[track_caller]
    pub fn prompt(&self) -> String {
        self.until("a prompt", |screen| screen.trim_end_matches('\n').ends_with('>') || screen.ends_with("> "))
    }

    /// Makes the terminal another size.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        self.seen.screen.lock().unwrap().screen_mut().set_size(count(rows), count(columns));
        self.master.as_ref().unwrap().resize(size).unwrap();
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Holds the terminal to be set as it was found, and its cursor to be shown.
    #[track_caller]
    pub fn is_as_found(&self) {
        let now = format!("{:?}", self.master.as_ref().unwrap().get_termios().unwrap());
        assert_eq!(now, self.found);
        assert!(!self.seen.screen.lock().unwrap().screen().hide_cursor());
    }

    /// Whether the terminal echoes and edits lines by itself.
    pub fn is_cooked(&self) -> bool {
        format!("{:?}", self.master.as_ref().unwrap().get_termios().unwrap()) == self.found
    }

    /// Where the cursor is: row and column.
    pub fn cursor(&self) -> (u16, u16) {
        self.seen.screen.lock().unwrap().screen().cursor_position()
    }

    /// Waits for its end; the exit code.
    #[track_caller]
    pub fn end(&mut self) -> u32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end; the screen:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn count(cells: u16) -> NonZero<u16> {
    NonZero::new(cells).unwrap()
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
