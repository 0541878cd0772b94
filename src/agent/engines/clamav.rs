//! ClamAV, where the device has it: its daemon over its socket, or `clamscan` as a process of its own.
//!
//! Content goes to it as bytes, never as a path, so that it looks at the very file that is open, and at what has no path: to the
//! daemon with `INSTREAM` (clamd(8)), to `clamscan` on its standard input. Signatures of the library are put into a private folder
//! for `clamscan`. Both are foreign programs: each answer is waited for up to a deadline, and the process is killed at it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use rustix::fs::SeekFrom;

use super::{Answer, Engine, Finding, Subject, Trouble, Whole, answer_within};
use crate::agent::context::Stop;
use crate::agent::platform::HeldProcess;
use crate::host::{private_file, private_folder};

/// Larger content is not given to it: what it looks at itself ends there (`MaxFileSize`, clamd.conf(5)).
const MAX_CONTENT: u64 = 100 * 1024 * 1024;
/// How long one answer is waited for. Reading the full set of signatures alone takes `clamscan` some twenty seconds.
const PATIENCE: Duration = Duration::from_mins(2);
/// How much the daemon is given at once.
const CHUNK: usize = 64 * 1024;
/// The longest answer.
const MAX_ANSWER: u64 = 64 * 1024;
/// Where the daemon's settings and, without them, its socket are.
const SETTINGS: [&str; 3] = ["/etc/clamav/clamd.conf", "/etc/clamd.d/scan.conf", "/etc/clamd.conf"];
const SOCKETS: [&str; 3] = ["/run/clamav/clamd.ctl", "/run/clamd.scan/clamd.sock", "/var/run/clamav/clamd.sock"];
const PROGRAMS: [&str; 2] = ["/usr/bin/clamscan", "/usr/local/bin/clamscan"];
/// Where signatures are kept that the device has itself.
const DATABASES: [&str; 2] = ["/var/lib/clamav", "/usr/local/share/clamav"];

/// What of ClamAV there is.
#[derive(Debug, Default)]
pub struct ClamAv {
    socket: Option<PathBuf>,
    program: Option<PathBuf>,
    /// The device's own signatures, where the program has to read them.
    database: Option<PathBuf>,
    /// All that the program reads.
    databases: Vec<PathBuf>,
    /// Holds the library's, and what the program writes while it looks.
    own: Option<Folder>,
}

/// The parts of the private folder.
const SCRATCH: &str = "tmp";
const SIGNATURES: &str = "signatures";

/// A private folder that goes with this.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is removed with the next command of that name, which there is none.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl ClamAv {
    /// Finds it, and puts the library's signatures into `folder`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn find(signatures: &[(String, Vec<u8>)], folder: PathBuf) -> io::Result<Self> {
        let socket = sockets().into_iter().find(|path| UnixStream::connect(path).is_ok());
        let program = PROGRAMS.iter().map(PathBuf::from).find(|path| path.is_file());
        let mut clamav = Self { socket, program, database: database(), ..Self::default() };
        if clamav.socket.is_some() {
            // The daemon has them in memory; reading them once more would only take time.
            clamav.database = None;
        }
        if signatures.is_empty() && clamav.database.is_none() {
            clamav.program = None;
        }
        if clamav.program.is_some() {
            private_folder(&folder)?;
            let own = Folder(folder);
            private_folder(&own.0.join(SCRATCH))?;
            if !signatures.is_empty() {
                private_folder(&own.0.join(SIGNATURES))?;
                clamav.databases.push(own.0.join(SIGNATURES));
            }
            for (name, bytes) in signatures {
                private_file().write(true).create_new(true).open(own.0.join(SIGNATURES).join(name))?.write_all(bytes)?;
            }
            clamav.own = Some(own);
        }
        clamav.databases.extend(clamav.database.take());
        Ok(clamav)
    }

    /// Whether there is anything to look with; `quick`: at very many files.
    #[must_use]
    pub fn looks(&self, quick: bool) -> bool {
        self.socket.is_some() || (!quick && self.program.is_some())
    }
}

fn sockets() -> Vec<PathBuf> {
    let named = SETTINGS.iter().filter_map(|path| std::fs::read_to_string(path).ok()).flat_map(|text| {
        let sockets: Vec<PathBuf> =
            text.lines().filter_map(|line| line.strip_prefix("LocalSocket ")).map(|path| path.trim().into()).collect();
        sockets
    });
    named.chain(SOCKETS.iter().map(PathBuf::from)).collect()
}

fn database() -> Option<PathBuf> {
    DATABASES.iter().map(PathBuf::from).find(|folder| {
        let mut names = std::fs::read_dir(folder).into_iter().flatten().flatten();
        names.any(|entry| {
            Path::new(&entry.file_name()).extension().is_some_and(|end| ["cvd", "cld"].iter().any(|known| end == *known))
        })
    })
}

/// The engine.
pub struct Clam {
    /// What there is.
    pub clamav: Arc<ClamAv>,
    /// The word to stop.
    pub stop: Stop,
    /// Only what is quick.
    pub quick: bool,
}

impl Engine for Clam {
    fn name(&self) -> &'static str {
        "clamav"
    }

    fn look(&mut self, subject: &Subject<'_>, whole: &Whole<'_>, _found: &[Finding]) -> Answer {
        let Some(file) = subject.file.filter(|_| whole.size > 0) else { return Ok(Vec::new()) };
        if whole.size > MAX_CONTENT || file.facts.size > MAX_CONTENT {
            return Err(Trouble::Here(format!("it is larger than the {MAX_CONTENT} bytes that ClamAV looks at")));
        }
        let mut names = Vec::new();
        if let Some(socket) = &self.clamav.socket {
            names.extend(self.ask_daemon(socket, file.file, whole.size)?);
        }
        let own = self.clamav.own.as_ref().map(|own| &own.0);
        if !self.quick
            && let (Some(program), Some(own)) = (&self.clamav.program, own)
        {
            names.extend(self.ask_program(program, own, file.file)?);
        }
        names.dedup();
        let finding = |name: String| {
            let guess = name.starts_with("PUA.") || name.starts_with("Heuristics.");
            let what = format!("ClamAV knows it as {name}");
            Finding { engine: "clamav", rule: name, weight: if guess { 50 } else { 100 }, what, place: None }
        };
        Ok(names.into_iter().map(finding).collect())
    }
}

impl Clam {
    fn ask_daemon(&self, socket: &Path, file: &File, size: u64) -> Result<Vec<String>, Trouble> {
        let begun = Instant::now();
        let failed = |error: io::Error| Trouble::Here(format!("clamd: {error}"));
        let mut stream = UnixStream::connect(socket).map_err(|error| Trouble::Gone(format!("clamd: {error}")))?;
        stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE))).map_err(failed)?;
        stream.write_all(b"zINSTREAM\0").map_err(failed)?;
        let mut chunk = vec![0; CHUNK];
        let mut at = 0;
        while at < size {
            if self.stop.asked() {
                return Err(Trouble::Stopped);
            }
            if begun.elapsed() > PATIENCE {
                return Err(Trouble::Gone(format!("clamd did not answer within {} s", PATIENCE.as_secs())));
            }
            let room = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
            let count = file.read_at(chunk.get_mut(..room).unwrap_or_default(), at).map_err(failed)?;
            if count == 0 {
                break;
            }
            at += count as u64;
            let length = u32::try_from(count).unwrap_or(0).to_be_bytes();
            // It closes its end when it has seen enough, and says so.
            if stream.write_all(&length).and_then(|()| stream.write_all(chunk.get(..count).unwrap_or_default())).is_err() {
                break;
            }
        }
        let _ = stream.write_all(&[0; 4]);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).map_err(failed)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let lines = || answer.split('\0').map(str::trim).filter(|line| !line.is_empty());
        if let Some(error) = lines().find(|line| line.ends_with("ERROR")) {
            return Err(Trouble::Here(format!("clamd: {error}")));
        }
        if lines().next().is_none() {
            return Err(Trouble::Here("clamd gave no answer".to_owned()));
        }
        Ok(lines().filter_map(name_of).collect())
    }

    fn ask_program(&self, program: &Path, own: &Path, file: &File) -> Result<Vec<String>, Trouble> {
        let failed = |error: io::Error| Trouble::Gone(format!("clamscan: {error}"));
        rustix::fs::seek(file, SeekFrom::Start(0)).map_err(|error| failed(error.into()))?;
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").current_dir("/").args(["--no-summary", "--stdout", "--infected"]);
        command.arg(format!("--tempdir={}", own.join(SCRATCH).display()));
        for database in &self.clamav.databases {
            command.arg("-d").arg(database);
        }
        let content = file.try_clone().map_err(failed)?;
        command.arg("-").stdin(Stdio::from(content)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(failed)?;
        let (status, output, why) = self.output(child)?;
        match status.code() {
            Some(0 | 1) => Ok(output.lines().filter_map(name_of).collect()),
            code => {
                let first = why.lines().chain(output.lines()).find(|line| !line.trim().is_empty()).unwrap_or("nothing");
                let code = code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
                Err(Trouble::Gone(format!("clamscan ended with {code} and said: {first}")))
            }
        }
    }

    /// What it says up to its end, which comes at the deadline whatever it does. Both pipes are read all the while: a program
    /// that finds one full waits for its reader.
    fn output(&self, mut child: Child) -> Result<(ExitStatus, String, String), Trouble> {
        let failed = |error: io::Error| Trouble::Gone(format!("clamscan: {error}"));
        let held = HeldProcess::open(child.id()).map_err(failed)?;
        let (sender, receiver) = sync_channel(1);
        let reading = std::thread::Builder::new().name("clamscan".into()).spawn(move || {
            let (out, err) = (child.stdout.take(), child.stderr.take());
            let said = std::thread::scope(|scope| {
                let err = scope.spawn(|| said(err));
                (said(out), err.join().unwrap_or_default())
            });
            // Who waits no longer need not know.
            let _ = sender.send(child.wait().map(|status| (status, said.0, said.1)));
        });
        let answer = reading.map_err(failed).and_then(|_| answer_within(&receiver, PATIENCE, &self.stop));
        if !matches!(answer, Ok(Some(_))) {
            // It may have ended just now; its thread takes it away.
            let _ = held.kill();
        }
        match answer? {
            Some(ended) => ended.map_err(failed),
            None => Err(Trouble::Gone(format!("clamscan took more than {} s and was ended", PATIENCE.as_secs()))),
        }
    }
}

/// What a pipe gives, as far as it is told; the rest is read and dropped. What cannot be read was not said.
fn said(pipe: Option<impl Read>) -> String {
    let mut text = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.by_ref().take(MAX_ANSWER).read_to_end(&mut text);
        let _ = io::copy(&mut pipe, &mut io::sink());
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The name in `stream: NAME FOUND`.
fn name_of(line: &str) -> Option<String> {
    let (_, name) = line.trim().strip_suffix(" FOUND")?.rsplit_once(": ")?;
    Some(name.chars().take(200).collect())
}
