//! `lrsh supervise`: the process that a script hangs below. One thread, one script, no way around it.
//!
//! It writes the script's private file itself (so that nothing else of the agent can have it open for writing), checks its
//! SHA-256 at the last moment, starts it, and waits: for its end, for the word to end it, or for the end of the agent, which
//! it hears as the end of its standard input. Whatever comes first, no process of the script's tree is left afterwards.

mod cgroup;
mod program;
mod tree;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{IFlags, OFlags};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, PidfdFlags, Signal};
use sha2::{Digest, Sha256};

use cgroup::Cgroup;
use tree::Tree;

use crate::agent::digest::hex;
use crate::agent::platform::linux::ending::wait_for_one;
use crate::agent::script::{ASKS_FOR_END, COMMAND_MARK, GO, Order, Report, ScriptEnd};
use crate::host::{lock_within, private_file, private_folder};
use crate::protocol::Problem;

/// An order is at most this long: parameters are at most a call's body.
const MAX_ORDER: u64 = 8 << 20;
/// How long a script that was asked to end may take for it.
const GRACE: Duration = Duration::from_secs(2);
/// How long what a script leaves behind may take to end by itself: the reading end of a pipe that it wrote to.
const AFTER: Duration = Duration::from_millis(500);
/// How long processes that were killed are waited for.
const KILLING: Duration = Duration::from_secs(5);
/// How often what ended below is taken note of, while nothing else happens.
const REAPING: Duration = Duration::from_secs(1);

/// What was asked while the script ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The agent asks for its end.
    End,
    /// The agent is gone.
    Gone,
}

/// Runs one script, as the agent at the other end of standard input orders.
///
/// # Errors
/// When it was not started by an agent.
pub fn supervise() -> io::Result<()> {
    let control = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    // Fails only for the leader of a process group, which already stands apart.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut orders = BufReader::new(control.try_clone()?);
    let mut line = Vec::new();
    orders.by_ref().take(MAX_ORDER).read_until(b'\n', &mut line)?;
    let order: Order = serde_json::from_slice(&line)?;
    let report = match prepare(&order, &mut orders) {
        Ok(Some(prepared)) => Some(run(&order, &prepared.file, &mut orders, &control)),
        // The agent has thought better of it, or is gone.
        Ok(None) => None,
        Err(problem) => Some(Report::Refused(problem)),
    };
    remove(&order.folder);
    if let Some(report) = report {
        // An agent that is gone hears nothing.
        let _ = tell(&control, &report);
    }
    Ok(())
}

/// A script that may be started.
struct Prepared {
    file: PathBuf,
    /// Held until this process ends: who starts an agent anew waits for that.
    _lock: File,
}

/// Writes the script's file and waits for the word to go; `None` when that does not come.
fn prepare(order: &Order, content: &mut BufReader<UnixStream>) -> Result<Option<Prepared>, Problem> {
    let failed =
        |error: io::Error| Problem::new("io_error", format!("the private file of {} cannot be made: {error}", order.name));
    // A folder of its own, because a library file may be called like what stands beside it.
    let folder = order.folder.join("script");
    private_folder(&folder).map_err(failed)?;
    let lock = private_file().write(true).create(true).truncate(true).open(order.folder.join(LOCK)).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let path = folder.join(&order.name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path).map_err(failed)?;
    if io::copy(&mut content.by_ref().take(order.size), &mut file).map_err(failed)? < order.size {
        return Ok(None);
    }
    drop(file);
    let mut word = [0];
    let goes = content.read(&mut word).map_err(failed)? == 1 && word == [GO];
    Ok(goes.then_some(Prepared { file: path, _lock: lock }))
}

/// A script's folder is looked through so far down.
const MAX_DEPTH: u32 = 64;
/// Locked by a supervisor as long as it lives.
const LOCK: &str = "supervisor";
/// Names the script's control group.
const GROUP: &str = "cgroup";

/// Runs the script to its end.
fn run(order: &Order, file: &Path, orders: &mut BufReader<UnixStream>, control: &UnixStream) -> Report {
    let (mut command, image) = match program::command(order, file) {
        Ok(command) => command,
        Err(problem) => return Report::Refused(problem),
    };
    command
        .args(&order.arguments)
        .current_dir(&order.directory)
        .env(COMMAND_MARK, &order.command_id)
        .stdin(Stdio::null())
        // A script that signals its own group does not mean its supervisor.
        .process_group(0);
    // What a script makes for others must be theirs to read, as from any shell.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let group = Cgroup::make(&order.command_id).filter(|group| {
        let entered = std::fs::write(order.folder.join(GROUP), group.folder().as_os_str().as_encoded_bytes()).is_ok()
            && group.enter().is_ok();
        if !entered {
            group.remove();
        }
        entered
    });
    let begun = Instant::now();
    let spawned = unaltered(order, file).and_then(|()| command.spawn().map_err(|error| program::problem(order, file, &error)));
    let group = group.filter(|group| group.leave().is_ok());
    let child = match spawned {
        Ok(child) => child,
        Err(problem) => {
            if let Some(group) = &group {
                group.remove();
            }
            return Report::Refused(problem);
        }
    };
    // The pipes are the script's alone.
    drop((command, image));
    close_output();
    let main = Pid::from_child(&child);
    let mut tree = Tree::new(main);
    let told = tell(control, &Report::Started { pid: child.id() });
    let asked = if told.is_ok() { wait(&mut tree, main, orders, control) } else { Some(Asked::Gone) };
    let left = match asked {
        None => end_what_is_left(&mut tree, group.as_ref()),
        Some(Asked::End) => end_in_order(&mut tree, group.as_ref()),
        Some(Asked::Gone) => Left { ended: 0, stuck: tree.kill(KILLING, || kill(group.as_ref())).into_iter().collect() },
    };
    if let Some(group) = &group {
        group.kill();
        group.remove();
    }
    tree.reap();
    let code = tree.ended.and_then(rustix::process::WaitStatus::exit_status);
    let signal = tree.ended.and_then(rustix::process::WaitStatus::terminating_signal);
    let cpu_ms = cpu_of_children();
    let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let was_asked = asked.is_some();
    Report::Ended(ScriptEnd { code, signal, was_asked, also_ended: left.ended, stuck: left.stuck, cpu_ms, duration_ms })
}

/// What was left of a tree.
struct Left {
    /// Processes beside the script's own that did not end by themselves.
    ended: usize,
    /// Those that cannot be ended.
    stuck: Vec<u32>,
}

/// Waits for the script's end; what was asked before that.
fn wait(tree: &mut Tree, main: Pid, orders: &mut BufReader<UnixStream>, control: &UnixStream) -> Option<Asked> {
    let process = rustix::process::pidfd_open(main, PidfdFlags::empty()).ok();
    loop {
        tree.reap();
        if tree.ended.is_some() {
            return None;
        }
        let mut watched = vec![PollFd::new(control, PollFlags::IN)];
        watched.extend(process.as_ref().map(|process| PollFd::new(process, PollFlags::IN)));
        let seconds = if orders.buffer().is_empty() { REAPING.as_secs() } else { 0 };
        let patience = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(1), tv_nsec: 0 };
        // Interrupted, it is asked again.
        let _ = rustix::event::poll(&mut watched, Some(&patience));
        // What was said together with the word to go is here already.
        if !orders.buffer().is_empty() || watched.first().is_some_and(|control| !control.revents().is_empty()) {
            let mut word = [0];
            return match orders.read(&mut word) {
                Ok(1) if word == [ASKS_FOR_END] => Some(Asked::End),
                _ => Some(Asked::Gone),
            };
        }
    }
}

/// The script has ended: what it left behind ends too.
fn end_what_is_left(tree: &mut Tree, group: Option<&Cgroup>) -> Left {
    let left = tree.wait(AFTER);
    if left.is_empty() {
        return Left { ended: 0, stuck: Vec::new() };
    }
    tree.signal(Signal::TERM);
    tree.signal(Signal::CONT);
    tree.wait(AFTER);
    let stuck = tree.kill(KILLING, || kill(group));
    Left { ended: left.len(), stuck: stuck.into_iter().collect() }
}

/// Asks every process to end, then makes it.
fn end_in_order(tree: &mut Tree, group: Option<&Cgroup>) -> Left {
    let all = tree.alive();
    tree.signal(Signal::TERM);
    // One that is stopped would not hear it.
    tree.signal(Signal::CONT);
    tree.wait(GRACE);
    let stuck = tree.kill(KILLING, || kill(group));
    Left { ended: all.len().saturating_sub(1), stuck: stuck.into_iter().collect() }
}

fn kill(group: Option<&Cgroup>) {
    if let Some(group) = group {
        group.kill();
    }
}

/// Looks, at the last moment, whether the file is what was ordered.
fn unaltered(order: &Order, path: &Path) -> Result<(), Problem> {
    let failed = |error: io::Error| Problem::new("io_error", format!("{} cannot be read again: {error}", order.name));
    let mut file = File::open(path).map_err(failed)?;
    unaltered_bytes(order, &mut file)?;
    let (held, named) = (file.metadata().map_err(failed)?, std::fs::symlink_metadata(path).map_err(failed)?);
    if (held.dev(), held.ino()) == (named.dev(), named.ino()) { Ok(()) } else { Err(altered(order)) }
}

/// Reads a file to its end and looks whether it is what was ordered.
fn unaltered_bytes(order: &Order, file: &mut File) -> Result<(), Problem> {
    let failed = |error: io::Error| Problem::new("io_error", format!("{} cannot be read again: {error}", order.name));
    let mut hash = Sha256::new();
    let mut piece = vec![0; 256 * 1024];
    loop {
        match file.read(&mut piece).map_err(failed)? {
            0 => break,
            count => hash.update(piece.get(..count).unwrap_or_default()),
        }
    }
    let is_whole = file.stream_position().is_ok_and(|at| at == order.size);
    if is_whole && hex(&hash.finalize()) == order.sha256 { Ok(()) } else { Err(altered(order)) }
}

fn altered(order: &Order) -> Problem {
    let message = format!("{} is not what the library holds: it was altered on its way, and was not run", order.name);
    Problem::new("hash_differs", message).about(order.name.clone())
}

/// Lets go of the pipes that the script writes to.
fn close_output() {
    if let Ok(null) = OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

fn tell(control: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    let mut control = control;
    control.write_all(&line)
}

/// The processor time of everything below that has ended, in milliseconds: proc(5), `cutime` and `cstime`.
fn cpu_of_children() -> u64 {
    let stat = procfs::process::Process::myself().and_then(|process| process.stat());
    let ticks = stat.map_or(0, |stat| stat.cutime.saturating_add(stat.cstime));
    u64::try_from(ticks).unwrap_or(0).saturating_mul(1000) / procfs::ticks_per_second().max(1)
}

fn remove(folder: &Path) {
    let mut removed = std::fs::remove_dir_all(folder);
    if removed.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
        // A script may have done to its folder what it liked.
        loosen(folder, 0);
        removed = std::fs::remove_dir_all(folder);
    }
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, folder = %folder.display(), "a script's folder stays");
    }
}

/// Takes away what keeps a script's folder from being removed: mounts, flags, modes. No link is followed.
fn loosen(path: &Path, depth: u32) {
    let _ = rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    let Ok(facts) = std::fs::symlink_metadata(path) else { return };
    if !facts.is_dir() && !facts.is_file() {
        return;
    }
    let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(opened) = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
        && let Ok(kept) = rustix::fs::ioctl_getflags(&opened)
    {
        let _ = rustix::fs::ioctl_setflags(&opened, kept - (IFlags::IMMUTABLE | IFlags::APPEND));
    }
    if facts.is_dir() && depth < MAX_DEPTH {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            loosen(&entry.path(), depth + 1);
        }
    }
}

/// Ends what is left of a script whose supervisor is dead, and removes its folder. Waits for a supervisor that is still
/// at it, for a moment.
pub fn end_remains(folder: &Path) {
    if let Ok(lock) = File::open(folder.join(LOCK)) {
        // One that hangs in the kernel holds nobody up.
        let _ = lock_within(&lock, KILLING + GRACE);
    }
    if let Ok(group) = std::fs::read_to_string(folder.join(GROUP)) {
        cgroup::end_remains(Path::new(group.trim_end()));
    }
    if let Some(id) = folder.file_name().and_then(|name| name.to_str()) {
        let mark = format!("{COMMAND_MARK}={id}");
        let until = Instant::now() + KILLING;
        loop {
            let left: Vec<u32> = tree::all().into_iter().filter(|&pid| carries(pid, mark.as_bytes())).collect();
            if left.is_empty() || Instant::now() >= until {
                break;
            }
            left.iter().for_each(|&pid| tree::send(pid, Signal::KILL));
            wait_for_one(left, until);
        }
    }
    remove(folder);
}

/// Whether a process has this in its environment. One that has ended has none.
fn carries(pid: u32, mark: &[u8]) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|variable| variable == mark)
}
