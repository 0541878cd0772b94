//! One service per home: finding it, or starting it, by locks that die with their holder.
//!
//! A starter takes `service/start` (waiting) and then tries `service/lock`. If that is free, it binds the socket, writes where it
//! is into the lock file, and hands lock and listener to the new process as its standard output and input. If it is held, the
//! lock file says where the socket is. The lock is the one sign of life: there is no pid to be reused and no file to be stale.
//!
//! Its standard error is a pipe on which the new process says one word when it takes connections, or why it will not.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::lock::Holder;
use super::{Home, MountedRoot, private_file, private_folder};
use crate::protocol::PROTOCOL_VERSION;
use crate::protocol::text::said;

/// What the lock file says of the service that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Where it listens.
    pub socket: PathBuf,
    /// Its process.
    pub pid: u32,
    /// What it speaks.
    pub protocol: u32,
    /// Whether it may change the files of a root.
    #[serde(default)]
    pub writable: bool,
    /// The folder of a root, as its file system and its number there.
    #[serde(default)]
    pub top: Option<(u64, u64)>,
}

impl Running {
    /// Whether it serves a folder that was a root before another took its place.
    fn is_of_another_folder(&self, home: &Home) -> bool {
        self.top.is_some_and(|top| home.root().is_some_and(|root| root.top != top))
    }
}

/// The argument that makes the program the background process.
pub const EMBEDDED: &str = "embedded";

/// What the background process says when it takes connections.
const READY: &[u8] = b"ready\n";
/// A service that ends is waited for so long.
const LONGEST_END: Duration = Duration::from_secs(30);
/// Why it does not is said in a sentence or two.
const LONGEST_REASON: u64 = 4096;

/// Finds the service of a home, or starts it; returns its socket. Blocks for as long as a start takes.
///
/// # Errors
/// When the home cannot be written, the socket cannot be bound, the process cannot be started or says why it ends, or a
/// service that speaks another protocol runs, or the folder of a root is no more what it was.
pub fn ensure(home: &Home) -> io::Result<PathBuf> {
    home.root().map_or(Ok(()), MountedRoot::check)?;
    let mut program = Command::new(std::env::current_exe()?);
    program.arg(EMBEDDED);
    if let Some(root) = home.root() {
        program.arg("--root").arg(&root.folder);
        if root.writable {
            program.arg("--root-writable");
        }
    }
    ensure_by(home, program)
}

fn ensure_by(home: &Home, program: Command) -> io::Result<PathBuf> {
    let folder = home.service();
    private_folder(&folder).map_err(|error| about(&folder, &error))?;
    // Held to the end of a start.
    let start = open_lock(&folder.join("start"))?;
    start.lock()?;
    let path = folder.join("lock");
    let mut lock = open_lock(&path)?;
    if let Some(mut running) = reached(&mut lock, &path)? {
        if running.is_of_another_folder(home) {
            // It hears that its socket goes, finds its folder gone too, and ends.
            remove_socket(&running.socket);
            match reached(&mut lock, &path)? {
                Some(still) => running = still,
                None => return begin(home, program, lock, &path),
            }
        }
        return fits(home, running);
    }
    begin(home, program, lock, &path)
}

/// Starts a service, now that the lock of its home is this process's.
fn begin(home: &Home, program: Command, mut lock: File, path: &Path) -> io::Result<PathBuf> {
    // Who was killed could not clear up behind itself.
    if let Ok(killed) = read_lock(&mut lock, path) {
        remove_socket(&killed.socket);
    }
    let socket = socket_path(home)?;
    let started = start_at(&socket, home, program, lock);
    if started.is_err() {
        remove_socket(&socket);
    }
    started.map(|()| socket)
}

/// Starts the service at a socket of its own; returns once it takes connections.
fn start_at(socket: &Path, home: &Home, mut program: Command, mut lock: File) -> io::Result<()> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(about(socket, &error)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(|error| about(socket, &error))?;
    let writable = home.root().is_some_and(|root| root.writable);
    let top = home.root().map(|root| root.top);
    let running = Running { socket: socket.to_owned(), pid: std::process::id(), protocol: PROTOCOL_VERSION, writable, top };
    write_lock(&mut lock, &running)?;
    let mut copy = lock.try_clone()?;
    let mut child = program
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::from(OwnedFd::from(lock)))
        .stderr(Stdio::piped())
        .spawn()?;
    // The command holds copies of lock and listener.
    drop(program);
    write_lock(&mut copy, &Running { pid: child.id(), ..running })?;
    drop(copy);
    let mut said = Vec::new();
    if let Some(word) = child.stderr.take() {
        word.take(LONGEST_REASON).read_to_end(&mut said)?;
    }
    if said != READY {
        // It is on its way out, or gone: once it has ended, the lock is free for the next start.
        let status = child.wait()?;
        let reason = crate::protocol::text::visible(String::from_utf8_lossy(&said).trim());
        let reason = if reason.is_empty() { status.to_string() } else { reason };
        return Err(io::Error::other(format!("the service did not start: {reason}")));
    }
    // Whoever started it also has to take note of its end, or it would stay as a zombie.
    std::thread::spawn(move || child.wait());
    Ok(())
}

/// The service that holds the lock, once it takes a connection; `None` when the lock is this process's now.
fn reached(lock: &mut File, path: &Path) -> io::Result<Option<Running>> {
    let until = Instant::now() + LONGEST_END;
    let mut holder: Option<Holder> = None;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(None),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let running = read_lock(lock, path)?;
        match UnixStream::connect(&running.socket) {
            Ok(_) => return Ok(Some(running)),
            // It is on its way out, its listener gone and its lock not yet: then its process ends. Or somebody has removed its
            // socket, and it binds another and writes that down.
            Err(_) if Instant::now() < until => match &mut holder {
                Some(holder) => holder.wait(until.saturating_duration_since(Instant::now())),
                // Looked at once more, now that nothing can be missed.
                None => holder = Some(Holder::watch(running.pid, path)),
            },
            Err(error) => {
                return Err(io::Error::other(format!(
                    "the service of this home (process {}) holds its lock but takes no connection at {}: {error}",
                    running.pid,
                    running.socket.display()
                )));
            }
        }
    }
}

/// The socket of a service that runs, if it is understood and does what is asked.
fn fits(home: &Home, running: Running) -> io::Result<PathBuf> {
    if running.protocol == PROTOCOL_VERSION {
        return match home.root() {
            Some(root) if running.is_of_another_folder(home) => Err(io::Error::other(format!(
                "the service of the folder that was {} before still runs (process {}); it ends by itself when no shell is left",
                root.folder.display(),
                running.pid
            ))),
            Some(root) if root.writable != running.writable => Err(io::Error::other(format!(
                "the service of this root runs {} --root-writable; it ends by itself when no shell is left",
                if running.writable { "with" } else { "without" }
            ))),
            _ => Ok(running.socket),
        };
    }
    Err(io::Error::other(format!(
        "the service that runs in this home speaks protocol {}, this lrsh speaks {PROTOCOL_VERSION}; \
         it ends by itself when no shell is left",
        running.protocol
    )))
}

/// Binds another socket for the service that holds `lock`, when the folder of its first one was removed (as that of a user
/// is when they log out), and writes down where.
///
/// # Errors
/// As for a start.
pub fn bind_again(home: &Home, lock: &mut File) -> io::Result<UnixListener> {
    let before = read_lock(lock, &home.service().join("lock"))?;
    let socket = socket_path(home)?;
    let listener = UnixListener::bind(&socket).map_err(|error| about(&socket, &error))?;
    write_lock(lock, &Running { socket, ..before })?;
    Ok(listener)
}

/// What runs in a home now, if anything does. Makes nothing there, and waits for a start that is under way: whoever tried the
/// lock meanwhile would seem to hold it.
///
/// # Errors
/// When the lock file cannot be read.
pub fn running(home: &Home) -> io::Result<Option<Running>> {
    let folder = home.service();
    let path = folder.join("lock");
    let (Some(start), Some(mut lock)) = (open_existing(&folder.join("start"))?, open_existing(&path)?) else {
        return Ok(None);
    };
    start.lock()?;
    match lock.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => read_lock(&mut lock, &path).map(Some),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes a socket that [`ensure`] bound, and the folder it made for it.
pub fn remove_socket(socket: &Path) {
    let Some(folder) = socket.parent().filter(|_| socket.ends_with("s")) else { return };
    if folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"lrsh-")) {
        // Neither may be there any more; what else somebody put into the folder keeps it.
        let _ = std::fs::remove_file(socket);
        let _ = std::fs::remove_dir(folder);
    }
}

/// In the background process: takes listener and lock from where [`ensure`] put them, and leaves terminal and session.
///
/// # Errors
/// When the process was not started by [`ensure`].
pub fn take_over() -> io::Result<(UnixListener, File, Word)> {
    let listener = UnixListener::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
    let lock = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
    listener.local_addr()?;
    let word = Word(File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?));
    let null = Path::new("/dev/null");
    let null = File::options().read(true).write(true).open(null).map_err(|error| about(null, &error))?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Fails only for the leader of a process group, which already stands apart.
    let _ = rustix::process::setsid();
    Ok((listener, lock, word))
}

/// What the starter waits for; dropped without a word it reads as a start that failed.
pub struct Word(File);

impl Word {
    /// Connections are taken from now on.
    pub fn ready(mut self) {
        // A starter that is gone does not hear it; everyone else reads the lock file.
        let _ = self.0.write_all(READY);
    }

    /// There will be no service.
    pub fn failed(mut self, reason: &dyn std::fmt::Display) {
        let _ = write!(self.0, "{reason}");
    }
}

/// Raises the soft limit of open files to the hard one.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, the lower one holds.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

fn open_lock(path: &Path) -> io::Result<File> {
    private_file().read(true).write(true).create(true).truncate(false).open(path).map_err(|error| about(path, &error))
}

fn open_existing(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(about(path, &error)),
    }
}

fn read_lock(lock: &mut File, path: &Path) -> io::Result<Running> {
    let mut text = Vec::new();
    lock.rewind()?;
    lock.take(64 * 1024).read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(|_| {
        let path = path.display();
        let what = if text.trim_ascii().is_empty() { "is empty" } else { "is not what a service has written" };
        io::Error::other(format!(
            "{path} {what}, so nothing tells where the service of this home listens; somebody has changed the file. The service \
             ends by itself when no shell is left, or by `fuser -k {path}`; then lrsh starts another"
        ))
    })
}

fn write_lock(lock: &mut File, running: &Running) -> io::Result<()> {
    // One write, over all of what was there: nobody reads half of it.
    let mut text = serde_json::to_string(running)?;
    let before = usize::try_from(lock.metadata()?.len()).unwrap_or(0).min(4096);
    text.extend(std::iter::repeat_n(' ', before.saturating_sub(text.len())));
    std::os::unix::fs::FileExt::write_all_at(lock, text.as_bytes(), 0)
}

/// Where the socket of a home is: only the starter asks, everyone else reads the lock file.
fn socket_path(home: &Home) -> io::Result<PathBuf> {
    let real = home.data().canonicalize()?;
    let hash = Sha256::digest(real.as_os_str().as_encoded_bytes());
    let hash = hash.iter().take(6).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let uid = rustix::process::geteuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|folder| folder.is_absolute() && folder.as_os_str().len() < 60);
    let candidates = runtime.map(|folder| folder.join(format!("lrsh-{hash:012x}"))).into_iter();
    let shared = PathBuf::from(format!("/tmp/lrsh-{uid}-{hash:012x}"));
    // Anybody can take a name below /tmp beforehand; another one does as well, as everyone reads it from the lock file.
    let spare = PathBuf::from(format!("/tmp/lrsh-{uid}-{}", uuid::Uuid::new_v4().simple()));
    let mut failed = None;
    for folder in candidates.chain([shared, spare]) {
        match own_folder(&folder, uid) {
            Ok(()) => return Ok(folder.join("s")),
            Err(error) => failed = Some(about(&folder, &error)),
        }
    }
    Err(failed.unwrap_or_else(|| io::Error::other("there is no folder for the socket")))
}

fn own_folder(folder: &Path, uid: u32) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let facts = std::fs::symlink_metadata(folder)?;
    if !facts.is_dir() || facts.uid() != uid || facts.mode() & 0o077 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not a private folder of this user"));
    }
    Ok(())
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {}", path.display(), said(error)))
}

/// The name of a user of this machine; the number where there is none.
pub fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut entries = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = entries.find(|entry| entry.get(2).is_some_and(|id| id.parse() == Ok(uid)));
    found.and_then(|entry| entry.first().map(ToString::to_string)).unwrap_or_else(|| uid.to_string())
}
