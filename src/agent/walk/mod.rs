//! Walks trees of folders with several threads, for `findfile` and whatever else looks at every file.
//!
//! A [`Walk`] is a stack of folders yet to be read and a box of what was found. The threads belong to a [`WalkPool`] that all
//! commands of an agent share. Nothing recurses: a tree of any depth takes one place on the stack a folder, and folders are
//! opened relative to each other, so that no path is too long. Links are never followed; where a folder turns out to be one
//! of its own parents (a loop that only a broken or hostile file system makes) it is not entered again.

mod node;
mod pool;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::FileType;

use node::Node;
pub use pool::{WalkHandle, WalkPool};

use super::context::{Meter, Stop};
use super::path::{key, lossy, reason};
use super::platform::{Entry, EntryBuffer, Facts, Folder, is_virtual};
use crate::protocol::Problem;

/// When this many finds wait for the command, its walk pauses until it has taken them.
const OUTBOX: usize = 8 * 1024;
/// How many unreadable folders are named; the rest is only counted.
const NAMED: usize = 20;

/// What a walk is for: looks at entries and says what is worth telling.
pub trait Search: Send + Sync {
    /// Looks at one entry; what it adds to `found` is told.
    fn look(&self, place: &Place<'_>, entry: &Entry<'_>, found: &mut Vec<Found>);
}

/// The folder whose entries are looked at.
pub struct Place<'a> {
    /// Opened.
    pub folder: &'a Folder,
    /// Its absolute path with a slash at the end.
    pub path: &'a [u8],
    /// The word to stop, for a look that takes long.
    pub stop: &'a Stop,
    /// What it costs.
    pub meter: &'a Meter,
}

/// Something that was found.
#[derive(Debug)]
pub struct Found {
    /// Its absolute path.
    pub path: Vec<u8>,
    /// What the file system tells of it; or why it does not.
    pub facts: Result<Facts, String>,
    /// Where it leads, if it is a link.
    pub link_target: Option<PathBuf>,
}

impl Found {
    /// What is known of an entry.
    #[must_use]
    pub fn new(place: &Place<'_>, entry: &Entry<'_>, facts: io::Result<Facts>) -> Self {
        let name = entry.name();
        let is_link = facts.as_ref().is_ok_and(Facts::is_link);
        Self {
            path: [place.path, name.to_bytes()].concat(),
            facts: facts.map_err(|error| reason(&error).1),
            link_target: if is_link { place.folder.read_link(name).ok() } else { None },
        }
    }
}

/// How far a walk is.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Folders read.
    pub folders: u64,
    /// Folders that could not be read.
    pub unreadable: u64,
    /// Folders that were one of their own parents.
    pub loops: u64,
    /// The first unreadable ones, each with its reason.
    pub named: Vec<(PathBuf, String)>,
}

impl Tally {
    /// What could not be searched, each as a sentence.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let unreadable =
            |(path, why): &(PathBuf, String)| Problem::new("unreadable", format!("{}: {why}", key(path))).at(lossy(path));
        let mut problems: Vec<Problem> = self.named.iter().map(unreadable).collect();
        if self.unreadable > self.named.len() as u64 {
            problems.push(Problem::new("unreadable", format!("{} folders could not be searched in all", self.unreadable)));
        }
        if self.loops > 0 {
            let message = format!("{} folders lead back to themselves and were not entered", self.loops);
            problems.push(Problem::new("folder_loop", message));
        }
        problems
    }
}

/// A walk over one tree.
pub struct Walk {
    search: Box<dyn Search>,
    stop: Stop,
    meter: Arc<Meter>,
    base: Folder,
    base_path: PathBuf,
    /// What the kernel makes up is walked only where the walk begins there.
    into_virtual: bool,
    /// Said when the walk is given up, for whatever reason.
    end: Stop,
    todo: Mutex<Vec<Task>>,
    /// Folders on the stack and in the threads' hands; at 0 the walk is over.
    open: AtomicUsize,
    /// Threads that are at it.
    hands: AtomicUsize,
    outbox: Mutex<VecDeque<Found>>,
    waiting: AtomicUsize,
    news: Condvar,
    folders: AtomicU64,
    trouble: Mutex<Tally>,
}

/// A folder to be read; half read where there was no room for what was found, or it was another walk's turn.
struct Task {
    node: Arc<Node>,
    begun: Option<Folder>,
}

/// What a thread keeps between folders.
#[derive(Default)]
struct Desk {
    buffer: EntryBuffer,
    path: Vec<u8>,
    found: Vec<Found>,
    /// The folder last read that had folders in it: most likely the parent of the next.
    last: Option<(Arc<Node>, Folder)>,
    /// When another walk may be due; looked at within large folders too.
    turn_ends: Option<Instant>,
}

impl Walk {
    /// A walk over the tree at an opened folder.
    #[must_use]
    pub fn new(base: Folder, base_path: &Path, search: Box<dyn Search>, stop: Stop, meter: Arc<Meter>) -> Self {
        let into_virtual = is_virtual(base.fd());
        let node = Node::top();
        Self {
            search,
            stop,
            meter,
            base,
            base_path: base_path.to_owned(),
            into_virtual,
            end: Stop::default(),
            todo: Mutex::new(vec![Task { node, begun: None }]),
            open: AtomicUsize::new(1),
            hands: AtomicUsize::new(0),
            outbox: Mutex::default(),
            waiting: AtomicUsize::new(0),
            news: Condvar::new(),
            folders: AtomicU64::new(0),
            trouble: Mutex::default(),
        }
    }

    fn take(&self, patience: Duration) -> (VecDeque<Found>, bool) {
        let mut outbox = locked(&self.outbox);
        if outbox.is_empty() && !self.is_over() {
            outbox = self.news.wait_timeout(outbox, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        // Asked before the box is emptied: what is put in before the end is in it then.
        let over = self.is_over();
        self.waiting.store(0, Ordering::Release);
        (std::mem::take(&mut *outbox), over)
    }

    /// How far it is.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally { folders: self.folders(), ..locked(&self.trouble).clone() }
    }

    /// How many folders it has read.
    #[must_use]
    pub fn folders(&self) -> u64 {
        self.folders.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    fn is_stopped(&self) -> bool {
        self.end.asked() || self.stop.asked()
    }

    /// Whether a thread could do something for it now.
    fn is_ready(&self) -> bool {
        !self.is_stopped() && self.waiting.load(Ordering::Acquire) < OUTBOX && !locked(&self.todo).is_empty()
    }

    /// Reads one folder, or goes on with one; `false` when there is none to be had now.
    fn step(&self, desk: &mut Desk) -> bool {
        if self.is_stopped() || self.waiting.load(Ordering::Acquire) >= OUTBOX {
            return false;
        }
        let Some(Task { node, begun }) = locked(&self.todo).pop() else { return false };
        let fresh = begun.is_none();
        let result = match begun {
            Some(folder) => Ok(Some(folder)),
            None => self.enter(&node, desk),
        };
        match result {
            Ok(Some(folder)) => {
                if fresh {
                    self.folders.fetch_add(1, Ordering::Relaxed);
                }
                self.read(node, folder, desk);
            }
            Ok(None) => {}
            Err(error) => self.note(&node, &error),
        }
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _outbox = locked(&self.outbox);
            self.news.notify_all();
        }
        true
    }

    /// Opens a folder; `None` where it is not to be entered.
    fn enter(&self, node: &Arc<Node>, desk: &Desk) -> io::Result<Option<Folder>> {
        let folder = node.open(&self.base, desk.last.as_ref().map(|(node, folder)| (node, folder)))?;
        let facts = Facts::of(folder.fd(), c"")?;
        let id = (facts.dev, facts.inode);
        if node.is_own_parent(id) {
            locked(&self.trouble).loops += 1;
            return Ok(None);
        }
        let crosses = node.parent_device().is_none_or(|device| device != facts.dev);
        if crosses && !self.into_virtual && is_virtual(folder.fd().as_fd()) {
            return Ok(None);
        }
        node.identify(id);
        Ok(Some(folder))
    }

    fn read(&self, node: Arc<Node>, folder: Folder, desk: &mut Desk) {
        desk.path.clear();
        node.write_path(&self.base_path, &mut desk.path);
        let place = Place { folder: &folder, path: &desk.path, stop: &self.end, meter: &self.meter };
        let mut inner = Vec::new();
        let mut entries = folder.entries(&mut desk.buffer);
        let mut half = false;
        loop {
            let entry = match entries.next() {
                None => break,
                Some(Ok(entry)) => entry,
                Some(Err(error)) => {
                    self.note(&node, &error);
                    break;
                }
            };
            if !entry.is_dots() {
                self.search.look(&place, &entry, &mut desk.found);
                let is_folder = match entry.kind() {
                    FileType::Directory => true,
                    FileType::Unknown => folder.facts(entry.name()).is_ok_and(|facts| facts.is_folder()),
                    _ => false,
                };
                if is_folder {
                    inner.push(Task { node: Node::below(&node, entry.name()), begun: None });
                }
            }
            if entries.at_batch_end() {
                self.put(&mut desk.found);
                let turn_is_over = desk.turn_ends.is_some_and(|end| Instant::now() >= end);
                half = turn_is_over || self.waiting.load(Ordering::Acquire) >= OUTBOX;
                if half || self.is_stopped() {
                    break;
                }
            }
        }
        self.put(&mut desk.found);
        let has_inner = !inner.is_empty();
        self.open.fetch_add(inner.len() + usize::from(half), Ordering::AcqRel);
        let mut todo = locked(&self.todo);
        if half {
            todo.push(Task { node, begun: Some(folder) });
            todo.append(&mut inner);
        } else {
            todo.append(&mut inner);
            drop(todo);
            if has_inner {
                desk.last = Some((node, folder));
            }
        }
    }

    fn put(&self, found: &mut Vec<Found>) {
        if found.is_empty() {
            return;
        }
        let mut outbox = locked(&self.outbox);
        outbox.extend(found.drain(..));
        self.waiting.store(outbox.len(), Ordering::Release);
        self.news.notify_all();
    }

    fn note(&self, node: &Node, error: &io::Error) {
        // What went away while the tree was walked is not there: nothing to tell of.
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        let mut trouble = locked(&self.trouble);
        trouble.unreadable += 1;
        if trouble.named.len() < NAMED {
            let mut path = Vec::new();
            node.write_path(&self.base_path, &mut path);
            let path = path.strip_suffix(b"/").unwrap_or(&path);
            let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path);
            trouble.named.push((PathBuf::from(path), reason(error).1));
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
