//! The processes that run or map a file.

use std::ffi::CString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use super::facts::Facts;
use super::folder::{EntryBuffer, Folder};
use crate::agent::context::Stop;

/// The longest list of mappings that is read of one process.
const MAX_MAPS: u64 = 64 * 1024 * 1024;

/// The processes that run a file or have it in their memory.
///
/// # Errors
/// When /proc cannot be read, or `Interrupted` when told to stop.
pub fn users(path: &Path, facts: &Facts, stop: &Stop) -> io::Result<Vec<u32>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = Folder::new(rustix::fs::openat(CWD, c"/proc", flags, Mode::empty())?);
    let mut buffer = EntryBuffer::default();
    let mut entries = proc.entries(&mut buffer);
    let mut pids = Vec::new();
    let mut maps = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let Some(pid) = entry.name().to_str().ok().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if stop.asked() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let Ok(exe) = CString::new(format!("{pid}/exe")) else { continue };
        // The kernel's own threads run no file and map none.
        let Ok(image) = Facts::of_target(proc.fd(), &exe) else { continue };
        let runs = (image.dev, image.inode) == (facts.dev, facts.inode);
        if runs || maps_it(&proc, pid, path, facts, &mut maps) {
            pids.push(pid);
        }
    }
    pids.sort_unstable();
    Ok(pids)
}

fn maps_it(proc: &Folder, pid: u32, path: &Path, facts: &Facts, text: &mut Vec<u8>) -> bool {
    let Ok(name) = CString::new(format!("{pid}/maps")) else { return false };
    let Ok(fd) = rustix::fs::openat(proc.fd(), &name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { return false };
    text.clear();
    if std::fs::File::from(fd).take(MAX_MAPS).read_to_end(text).is_err() {
        return false;
    }
    let device = format!("{:02x}:{:02x}", rustix::fs::major(facts.dev), rustix::fs::minor(facts.dev));
    let inode = facts.inode.to_string();
    text.split(|&byte| byte == b'\n').any(|line| {
        // `address permissions offset device inode   path`
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let (Some(on), Some(number)) = (fields.nth(3), fields.next()) else { return false };
        // File systems that stack others tell another device here than to stat(2); there the path has to agree.
        number == inode.as_bytes()
            && (on == device.as_bytes()
                || fields.next().is_some_and(|rest| rest.trim_ascii_start() == path.as_os_str().as_bytes()))
    })
}
