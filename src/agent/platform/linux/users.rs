//! The processes that run or map a file.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use memchr::memmem::Finder;
use rustix::fs::{CWD, Mode, OFlags};

use super::facts::Facts;
use super::folder::{EntryBuffer, Folder};
use super::threads::spokesman;
use crate::agent::context::Stop;

/// The longest list of mappings that is read of one process, and how much of it at once: the kernel hands out a page.
const MAX_MAPS: usize = 64 * 1024 * 1024;
const PIECE: usize = 8 * 1024;

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
    let mut maps = Vec::with_capacity(64 * 1024);
    let wanted = Wanted::new(path, facts);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let Some(pid) = entry.name().to_str().ok().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if stop.asked() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let image = |number: u32| Facts::of_target(proc.fd(), &CString::new(format!("{number}/exe")).ok()?).ok();
        let (number, image) = match image(pid) {
            Some(image) => (pid, image),
            // The kernel's own threads run no file and map none; nor does what has ended, but for its other threads.
            None => match spokesman(&proc, pid) {
                number if number == pid => continue,
                number => match image(number) {
                    Some(image) => (number, image),
                    None => continue,
                },
            },
        };
        let runs = (image.dev, image.inode) == (facts.dev, facts.inode);
        if runs || maps_it(&proc, number, &wanted, &mut maps) {
            pids.push(pid);
        }
    }
    pids.sort_unstable();
    Ok(pids)
}

fn maps_it(proc: &Folder, pid: u32, wanted: &Wanted<'_>, text: &mut Vec<u8>) -> bool {
    let Ok(name) = CString::new(format!("{pid}/maps")) else { return false };
    let Ok(fd) = rustix::fs::openat(proc.fd(), &name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { return false };
    text.clear();
    while text.len() < MAX_MAPS {
        text.reserve(PIECE);
        match rustix::io::read(&fd, rustix::buffer::spare_capacity(text)) {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    wanted.is_in(text)
}

/// A file as lists of mappings tell it.
struct Wanted<'a> {
    device: String,
    /// The number between its blanks: few lists hold it anywhere, and only those are looked at line by line.
    inode: Finder<'static>,
    number: String,
    path: &'a [u8],
}

impl<'a> Wanted<'a> {
    fn new(path: &'a Path, facts: &Facts) -> Self {
        let number = facts.inode.to_string();
        Self {
            device: format!("{:02x}:{:02x}", rustix::fs::major(facts.dev), rustix::fs::minor(facts.dev)),
            inode: Finder::new(format!(" {number} ").as_bytes()).into_owned(),
            number,
            path: path.as_os_str().as_bytes(),
        }
    }

    fn is_in(&self, text: &[u8]) -> bool {
        self.inode.find(text).is_some() && text.split(|&byte| byte == b'\n').any(|line| self.is_line(line))
    }

    fn is_line(&self, line: &[u8]) -> bool {
        // `address permissions offset device inode   path`
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let (Some(on), Some(number)) = (fields.nth(3), fields.next()) else { return false };
        // File systems that stack others tell another device here than to stat(2); there the path has to agree.
        number == self.number.as_bytes()
            && (on == self.device.as_bytes() || fields.next().is_some_and(|rest| rest.trim_ascii_start() == self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_told_by_device_and_number_or_by_path() {
        let facts = Facts::of(CWD, c"/").unwrap();
        let wanted = Wanted::new(Path::new("/usr/lib/x.so"), &facts);
        let (device, inode) = (&wanted.device, facts.inode);
        let check = |line: &str, is: bool| {
            let text = format!("1-2 r-xp 00000000 00:00 0 \n{line}\n");
            assert_eq!(wanted.is_in(text.as_bytes()), is, "{line}");
        };
        check(&format!("7f-80 r--p 00000000 {device} {inode}      /elsewhere"), true);
        check(&format!("7f-80 r--p 00000000 ff:99 {inode}         /usr/lib/x.so"), true);
        check(&format!("7f-80 r--p 00000000 ff:99 {inode}         /usr/lib/y.so"), false);
        check(&format!("7f-80 r--p 00000000 {device} {inode}7     /usr/lib/x.so"), false);
        check(&format!("7f-80 r--p 00000000 ff:99 5               /a {inode} /usr/lib/x.so"), false);
        check("", false);
    }
}
