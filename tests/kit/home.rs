//! A home of its own for one test: folder, service, socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A home; its service ends with it.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    /// An empty one.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Waits until a command whose line begins so runs in the session that is open.
    pub fn until_running(&self, line: &str) {
        let begun = std::time::Instant::now();
        loop {
            let told = self.lrsh(&["-c", "jobs -output jsonl -columns status,command_line"]).output().unwrap();
            let jobs = String::from_utf8(told.stdout).unwrap();
            if jobs.contains(&format!("{{\"status\":\"running\",\"command_line\":\"{line}")) {
                return;
            }
            assert!(begun.elapsed().as_secs() < 60, "{line} does not run: {jobs}");
        }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program, with this home and a plain environment.
    pub fn lrsh(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lrsh"));
        command.args(arguments).env("LRSH_HOME", self.path()).env("XDG_RUNTIME_DIR", self.path());
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env("TERM", "dumb").env("LANG", "C.UTF-8");
        command
    }

    /// The home as the program knows it.
    pub fn home(&self) -> lrsh::host::Home {
        lrsh::host::Home::at(self.path()).unwrap()
    }

    /// The process of its service, if one runs.
    pub fn service_pid(&self) -> Option<u32> {
        let marker = format!("LRSH_HOME={}", self.path().display());
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            line.ends_with(b"\0embedded\0") && environment.split(|&c| c == 0).any(|entry| entry == marker.as_bytes())
        })
    }

    /// Starts its service, which stays for as long as the connection is held.
    pub fn hold(&self) -> (PathBuf, UnixStream) {
        held(|| self.lrsh(&["paths", "--start", "socket"]))
    }

    /// The socket of the service that runs.
    pub fn socket(&self) -> PathBuf {
        lrsh::host::start::running(&self.home()).unwrap().unwrap().socket
    }
}

/// Starts a service with a command that prints its socket; it stays for as long as the connection is held.
pub fn held(start: impl Fn() -> Command) -> (PathBuf, UnixStream) {
    loop {
        let started = start().output().unwrap();
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let socket = PathBuf::from(String::from_utf8(started.stdout).unwrap().trim());
        // One that ends in this very moment takes no connection, or closes it.
        let Ok(mut stream) = UnixStream::connect(&socket) else { continue };
        let asked = stream.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: lrsh\r\n\r\n");
        if asked.is_ok() && stream.read(&mut [0; 16]).is_ok_and(|read| read > 0) {
            return (socket, stream);
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A test that failed half-way may leave a service that something still holds.
        if let Some(pid) = self.service_pid() {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}
