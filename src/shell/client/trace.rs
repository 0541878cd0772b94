//! `trace on`: every request and event with its time, on the screen's message side and in a log file.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::error::{Failure, Outcome};
use crate::host::{private_file, private_folder};
use crate::protocol::Event;
use crate::shell::view::Screen;

/// The log of requests and events. Off at first. Clones are the same log.
#[derive(Clone)]
pub struct Trace {
    shared: Arc<Shared>,
}

struct Shared {
    on: AtomicBool,
    folder: PathBuf,
    file: Mutex<Option<std::fs::File>>,
    screen: Screen,
}

impl Trace {
    /// A log that is off; files go below `folder` once it is on.
    #[must_use]
    pub fn new(folder: PathBuf, screen: Screen) -> Self {
        Self { shared: Arc::new(Shared { on: AtomicBool::new(false), folder, file: Mutex::new(None), screen }) }
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.shared.on.load(Ordering::Relaxed)
    }

    /// Begins to log; answers where.
    ///
    /// # Errors
    /// When the log file cannot be made.
    pub fn start(&self) -> Outcome<PathBuf> {
        let file = self.shared.folder.join("trace.log");
        let opened = private_folder(&self.shared.folder)
            .and_then(|()| private_file().append(true).create(true).open(&file))
            .map_err(|error| Failure::here("trace", format!("{} cannot be written: {error}", file.display())))?;
        *self.shared.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened);
        self.shared.on.store(true, Ordering::Relaxed);
        Ok(file)
    }

    /// Ends it.
    pub fn stop(&self) {
        self.shared.on.store(false, Ordering::Relaxed);
        *self.shared.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A request that is about to be sent.
    pub fn request(&self, method: &reqwest::Method, path: &str) {
        if self.is_on() {
            self.write(&format!("> {method} {path}"));
        }
    }

    /// The answer to a request.
    pub fn answer(&self, method: &reqwest::Method, path: &str, status: u16) {
        if self.is_on() {
            self.write(&format!("< {status} {method} {path}"));
        }
    }

    /// An event of a command, in short.
    pub fn event(&self, event: &Event, bytes: usize) {
        if self.is_on() {
            self.write(&format!("< event {} {} {bytes} bytes", event.n, event.body.kind()));
        }
    }

    /// Anything else.
    pub fn note(&self, text: &str) {
        if self.is_on() {
            self.write(text);
        }
    }

    fn write(&self, text: &str) {
        let line = format!("{:.6} {text}", Timestamp::now());
        self.shared.screen.message(&line);
        if let Some(file) = self.shared.file.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            // A log that cannot be written must not end the work that it tells of.
            let _ = writeln!(file, "{line}");
        }
    }
}
