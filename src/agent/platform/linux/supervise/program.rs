//! How a library file is started: a program by itself, a script by the interpreter that it names, else by the shell that
//! its kind means. No shell reads its parameters.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{MemfdFlags, SealFlags, StatVfsMountFlags};
use rustix::io::Errno;

use crate::agent::script::Order;
use crate::protocol::Problem;

/// The first line of a script is looked at up to this: the kernel reads no more either.
const HEAD: u64 = 256;

/// The command that starts a file, without its parameters; and what has to be held until it has started. On a file system
/// that lets nothing be run (`noexec`) a script is given to its interpreter by name, and a program starts from memory.
pub(super) fn command(order: &Order, file: &Path) -> Result<(Command, Option<File>), Problem> {
    let failed = |error: io::Error| problem(order, file, &error);
    if is_powershell(&order.name) || !is_noexec(file) {
        return Ok((direct(order, file)?, None));
    }
    if head(file).map_err(failed)?.starts_with(b"\x7fELF") {
        let image = in_memory(order, file)?;
        let mut command = Command::new(format!("/proc/self/fd/{}", image.as_raw_fd()));
        command.arg0(file);
        return Ok((command, Some(image)));
    }
    let Some(line) = first_line(file) else { return Ok((direct(order, file)?, None)) };
    // As the kernel reads it: an interpreter, and all that follows as one argument.
    let (interpreter, argument) = line.split_once([' ', '\t']).unwrap_or((&line, ""));
    let argument = argument.trim_matches([' ', '\t']);
    let mut command = Command::new(interpreter);
    command.args(Some(argument).filter(|argument| !argument.is_empty())).arg(file);
    Ok((command, None))
}

/// Whether nothing may be run from where a file is.
fn is_noexec(file: &Path) -> bool {
    rustix::fs::statvfs(file).is_ok_and(|facts| facts.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

/// The bytes of a program in memory, checked and sealed, so that they are what was ordered when they start.
fn in_memory(order: &Order, file: &Path) -> Result<File, Problem> {
    let failed = |error: io::Error| problem(order, file, &error);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut image = File::from(rustix::fs::memfd_create(order.name.as_str(), flags).map_err(|error| failed(error.into()))?);
    File::open(file).and_then(|mut from| io::copy(&mut from, &mut image)).map_err(failed)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&image, seals).map_err(|error| failed(error.into()))?;
    image.rewind().map_err(failed)?;
    super::unaltered_bytes(order, &mut image)?;
    Ok(image)
}

fn direct(order: &Order, file: &Path) -> Result<Command, Problem> {
    if is_powershell(&order.name) {
        let pwsh = find("pwsh").ok_or_else(|| {
            let message = format!("{}: PowerShell (`pwsh`) is not installed on this device, so .ps1 cannot be run", order.name);
            Problem::new("no_interpreter", message).about(order.name.clone())
        })?;
        let mut command = Command::new(pwsh);
        command.args(["-NoLogo", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File"]).arg(file);
        return Ok(command);
    }
    let head = head(file).map_err(|error| problem(order, file, &error))?;
    if head.starts_with(b"#!") || head.starts_with(b"\x7fELF") {
        return Ok(Command::new(file));
    }
    let bash = find("bash").ok_or_else(|| {
        let message = format!("{}: it names no interpreter (#!), and bash is not installed on this device", order.name);
        Problem::new("no_interpreter", message).about(order.name.clone())
    })?;
    let mut command = Command::new(bash);
    command.arg(file);
    Ok(command)
}

/// Why a file could not be started.
pub(super) fn problem(order: &Order, file: &Path, error: &io::Error) -> Problem {
    let name = &order.name;
    let (code, why) = match Errno::from_io_error(error) {
        Some(Errno::NOEXEC) => ("not_executable", "it is no program for this device".to_owned()),
        Some(Errno::TOOBIG) => ("too_long", "its parameters are longer than the system takes".to_owned()),
        Some(Errno::NOENT | Errno::NOTDIR) => match interpreter(file) {
            Some(interpreter) if interpreter.ends_with('\r') => (
                "no_interpreter",
                "its first line ends in a carriage return (Windows line ends); save it with Unix ones".to_owned(),
            ),
            Some(interpreter) => ("no_interpreter", format!("its interpreter {interpreter} is not on this device")),
            None => ("no_interpreter", "the loader that it needs is not on this device".to_owned()),
        },
        Some(Errno::ACCESS | Errno::PERM) => (
            "permission_denied",
            "the system does not let it run: its interpreter, or programs in memory, may not be run".to_owned(),
        ),
        _ if error.kind() == io::ErrorKind::InvalidInput => ("bad_value", "a parameter holds a NUL".to_owned()),
        _ => ("io_error", error.to_string()),
    };
    Problem::new(code, format!("{name} was not started: {why}")).about(name.clone())
}

fn is_powershell(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ps1"))
}

fn head(file: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(file)?.take(HEAD).read_to_end(&mut head)?;
    Ok(head)
}

/// The interpreter that the first line names.
fn interpreter(file: &Path) -> Option<String> {
    let line = first_line(file)?;
    Some(line.split([' ', '\t']).next().unwrap_or(&line).to_owned())
}

/// What the first line says behind `#!`.
fn first_line(file: &Path) -> Option<String> {
    let head = head(file).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).trim_start_matches([' ', '\t']).to_owned())
}

/// A program on the path.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH");
    let path = path.as_deref().unwrap_or(OsStr::new("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    let is_program =
        |file: &PathBuf| std::fs::metadata(file).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0);
    std::env::split_paths(path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(program)).find(is_program)
}
