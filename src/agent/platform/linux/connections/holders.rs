//! Who holds which socket: every open file of every process is looked at once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::CString;
use std::io;

use super::super::folder::{EntryBuffer, Folder};
use super::{Socket, bracketed, check, namespaces};
use crate::agent::context::Stop;

/// What was found beside the holders, which stand in the sockets.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// The processes that hold any.
    pub(super) pids: BTreeSet<u32>,
    /// Sockets of TCP or UDP that are none of those asked for: a process or thread, as a path below /proc, and the number that it has
    /// it open under.
    pub(super) strangers: Vec<(String, i32)>,
    /// How many processes would not tell what they hold.
    pub(super) closed: usize,
}

/// Finds who holds the sockets.
pub(super) fn hold(proc: &Folder, pids: &[u32], sockets: &mut [Socket], stop: &Stop) -> io::Result<Holders> {
    let places = sockets.iter().enumerate().filter(|(_, socket)| socket.inode != 0).map(|(at, socket)| (socket.inode, at));
    let mut search = Search {
        places: places.collect(),
        sockets,
        looked_at: HashSet::new(),
        buffer: EntryBuffer::default(),
        found: Holders::default(),
    };
    for &pid in pids {
        check(stop)?;
        match search.look(proc, pid, &pid.to_string()) {
            // Where the first thread has ended, the others tell.
            Ok(0) => drop(
                namespaces::threads(proc, pid).iter().find(|place| search.look(proc, pid, place).is_ok_and(|seen| seen > 0)),
            ),
            Ok(_) => {}
            Err(error) => search.found.closed += usize::from(error.kind() == io::ErrorKind::PermissionDenied),
        }
    }
    Ok(search.found)
}

struct Search<'a> {
    sockets: &'a mut [Socket],
    /// Where each stands, by its number.
    places: HashMap<u64, usize>,
    /// The numbers of other sockets that were looked at.
    looked_at: HashSet<u64>,
    buffer: EntryBuffer,
    found: Holders,
}

impl Search<'_> {
    /// Looks at what a process has open, told by it or one of its threads (a path below /proc); how many files that are.
    fn look(&mut self, proc: &Folder, pid: u32, place: &str) -> io::Result<usize> {
        let folder = proc.folder(&CString::new(format!("{place}/fd"))?)?;
        let mut target = [0; 64];
        let mut seen = 0;
        let mut entries = folder.entries(&mut self.buffer);
        while let Some(Ok(entry)) = entries.next() {
            let Ok(length) = rustix::fs::readlinkat_raw(folder.fd(), entry.name(), &mut target[..]) else { continue };
            seen += 1;
            let Some(inode) = bracketed(target.get(..length).unwrap_or_default(), b"socket:[") else { continue };
            if let Some(socket) = self.places.get(&inode).and_then(|&at| self.sockets.get_mut(at)) {
                if socket.holders.last() != Some(&pid) {
                    socket.holders.push(pid);
                    self.found.pids.insert(pid);
                }
            } else if self.looked_at.insert(inode) && namespaces::is_internet(place, entry.name()) {
                self.found
                    .strangers
                    .extend(entry.name().to_str().ok().and_then(|name| Some((place.to_owned(), name.parse().ok()?))));
            }
        }
        Ok(seen)
    }
}
