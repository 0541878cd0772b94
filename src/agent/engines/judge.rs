//! Shows content to every engine and makes a judgement of what they say.
//!
//! One judge works on one thread, and on one thing at a time; memory is the start of it, and one more for each layer of archives.
//! Of those that work side by side one alone is at something large, or in an archive: memory is that of one, however many there are.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::archive::{self, At, Kind};
use super::budget::Budget;
use super::clamav::Clam;
use super::hashes::Hashes;
use super::heuristics::Static;
use super::packages::{Packages, spare_examples};
use super::reading::{Blocks, Hashing, Taken, cleared, make_room, read_more};
use super::yara::{Builtin, Tally, Yara};
use super::{Bounds, Engine, Finding, HEAD, Judgement, OnDevice, Rest, Rules, Subject, Trouble, WINDOW, Wants, Whole};
use crate::agent::content::Content;
use crate::agent::context::{Meter, Stop, VerbError};
use crate::agent::digest::Counts;
use crate::agent::dispatch::Shared;
use crate::agent::filetype::executable_type;
use crate::agent::identity::FileIdentity;
use crate::agent::path::{lossy, reason};
use crate::agent::platform::{Facts, Origin};

/// The entropy of a program is that of so many bytes from its start.
const COUNTED: u64 = 8 * 1024 * 1024;
/// The most that is read of a file whose size is not known beforehand.
const MAX_VIRTUAL: u64 = 16 * 1024 * 1024;

/// What is larger has the [`Room`] to itself.
const SMALL: usize = 2 * 1024 * 1024;

/// The room for large content, which judges that work side by side share: whoever holds it is at something large. Kept between
/// them, since what is given back to the allocator in such pieces is not always given back to the system.
pub(super) type Room = Arc<Mutex<Arc<Vec<u8>>>>;

struct Slot {
    engine: Box<dyn Engine>,
    gone: Option<String>,
}

/// Judges, on one thread.
pub struct Judge {
    slots: Vec<Slot>,
    pub(super) bounds: Bounds,
    stop: Stop,
    meter: Arc<Meter>,
    /// Bytes that were looked at, for whoever tells how far it is.
    done: Arc<AtomicU64>,
    spare: Vec<Arc<Vec<u8>>>,
    room: Room,
}

/// The archives that content is, and where in it each begins.
type Archives = Vec<(Kind, usize)>;

impl Judge {
    /// One that judges with those rules.
    #[must_use]
    pub fn new(
        agent: &Arc<Shared>,
        rules: &Rules,
        bounds: Bounds,
        stop: &Stop,
        meter: &Arc<Meter>,
        done: Arc<AtomicU64>,
    ) -> Self {
        let mut engines: Vec<Box<dyn Engine>> = Vec::new();
        if !rules.hashes.is_empty() {
            engines.push(Box::new(Hashes(Arc::clone(&rules.hashes))));
        }
        let tally = Tally { stop: stop.clone(), meter: Arc::clone(meter), done: Arc::clone(&done) };
        engines.push(Box::new(Builtin::new(rules.builtin.clone(), tally.clone())));
        if let Some(library) = &rules.yara {
            engines.push(Box::new(Yara::new(Arc::clone(library), tally)));
        }
        if rules.clamav.looks(bounds.quick) {
            let clamav = Arc::clone(&rules.clamav);
            engines.push(Box::new(Clam { clamav, stop: stop.clone(), quick: bounds.quick }));
        }
        engines.push(Box::new(Packages::new(Arc::clone(agent))));
        engines.push(Box::new(Static::new(Arc::clone(agent))));
        let slots = engines.into_iter().map(|engine| Slot { engine, gone: None }).collect();
        Self { slots, bounds, stop: stop.clone(), meter: Arc::clone(meter), done, spare: Vec::new(), room: Room::default() }
    }

    /// The same, beside others that share the room for large content.
    #[must_use]
    pub(super) fn sharing(self, room: &Room) -> Self {
        Self { room: Arc::clone(room), ..self }
    }

    /// The engines that look, and why one does no longer.
    pub fn engines(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        self.slots.iter().map(|slot| (slot.engine.name(), slot.gone.as_deref()))
    }

    /// Judges an open file, of which the first bytes may have been read. `path` is its real one where it is `named`.
    ///
    /// # Errors
    /// When the command was asked to stop.
    pub fn file(
        &mut self,
        content: &Content,
        first: &[u8],
        path: &Path,
        named: bool,
        origin: Option<&Origin>,
        autostart: bool,
    ) -> Result<Judgement, VerbError> {
        let size = content.size.unwrap_or(MAX_VIRTUAL);
        let is_large = size > SMALL as u64 || archive::Kind::of(first).is_some();
        let room = Arc::clone(&self.room);
        let mut held = is_large.then(|| room.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(room) = &mut held {
            self.spare.push(std::mem::take(room));
        }
        let (mut judgement, archives, came) = self.opened(content, first, path, named, origin, autostart)?;
        if !archives.is_empty() {
            held = held.or_else(|| Some(room.lock().unwrap_or_else(PoisonError::into_inner)));
            let archives = archives.into_iter().map(|(kind, from)| (kind, At::new(&content.file, from as u64, came)));
            self.archives(archives, &name_of(path), &mut judgement)?;
        }
        if named {
            spare_examples(&mut judgement.findings, path);
        }
        judgement.sort();
        // What became large goes to the room, or away.
        let mut large = self.spare.extract_if(.., |start| start.capacity() > SMALL);
        if let (Some(room), Some(start)) = (&mut held, large.next()) {
            **room = start;
        }
        large.for_each(drop);
        Ok(judgement)
    }

    /// What the engines say of it, which archives it is, and how many bytes came.
    fn opened(
        &mut self,
        content: &Content,
        first: &[u8],
        path: &Path,
        named: bool,
        origin: Option<&Origin>,
        autostart: bool,
    ) -> Result<(Judgement, Archives, u64), VerbError> {
        let mut judgement = Judgement::default();
        let on_device = OnDevice { path, facts: &content.facts, file: &content.file, named, origin, autostart };
        let subject = Subject { file: Some(on_device), place: None };
        let size = content.size.unwrap_or(MAX_VIRTUAL);
        let bound = self.bounds.file;
        let large = size > bound;
        let wants = if large {
            self.refuse_hashes(&subject, size, &mut judgement);
            Wants::default()
        } else {
            self.wants(&subject)
        };
        // Of a large one the rules read what they look at themselves.
        let mut blocks = Blocks::new(&content.file, first, if large { WINDOW as u64 } else { size });
        let read = self.read(wants, &mut |buffer| blocks.next(buffer))?;
        if let Some(error) = &read.error {
            let why = if content.size.is_some() { reason(error).1 } else { "the kernel gives no more of it".to_owned() };
            judgement.cut.push(format!("it could not be read to its end: {why}"));
        }
        let same = Facts::of(content.file.as_fd(), c"")
            .is_ok_and(|now| FileIdentity::new(&now, None) == FileIdentity::new(&content.facts, None));
        let whole = content.size.is_none() || (read.size == size && same);
        if content.size.is_none() && read.size >= MAX_VIRTUAL {
            judgement
                .cut
                .push(format!("its size is not known beforehand, and only the first {MAX_VIRTUAL} bytes were looked at"));
        }
        if !whole && !large && read.error.is_none() {
            judgement.cut.push(format!("it changed while it was read; {} bytes were looked at", read.size));
        }
        let came = if large { size } else { read.size };
        let rest = (came > read.start.len() as u64).then_some(Rest { file: &content.file, bound });
        let archives = archive::archives(&read.start, &tail(&content.file, &read, came));
        let Taken { start, hashes, counts, .. } = read;
        let entropy = counts.map(|(counts, counted)| counts.entropy(counted));
        let (sha256, sha1, md5) = if large { (None, None, None) } else { hashes.end() };
        judgement.sha256.clone_from(&sha256);
        judgement.identity = same.then(|| FileIdentity::new(&content.facts, sha256.clone().filter(|_| whole)));
        let shown = Whole { size: came, sha256, sha1, md5, entropy, start, rest, ..Whole::default() };
        self.show(&subject, &shown, &mut judgement)?;
        self.give_back(shown.start);
        Ok((judgement, archives, came))
    }

    /// Which hashes the engines need.
    pub(super) fn wants(&mut self, subject: &Subject<'_>) -> Wants {
        let always = Wants { sha256: !self.bounds.quick && subject.file.is_some(), ..Wants::default() };
        let wants = |slot: &mut Slot| if slot.gone.is_none() { slot.engine.wants(subject) } else { Wants::default() };
        self.slots.iter_mut().map(wants).fold(always, Wants::and)
    }

    /// Engines that need a hash have nothing to look at.
    fn refuse_hashes(&mut self, subject: &Subject<'_>, size: u64, judgement: &mut Judgement) {
        let bound = self.bounds.file;
        for slot in &mut self.slots {
            if slot.engine.wants(subject) != Wants::default() {
                let why = format!("it has {size} bytes, and above {bound} no hash is computed");
                judgement.errors.push((slot.engine.name(), why));
            }
        }
    }

    /// Reads content to its end, and keeps its start.
    pub(super) fn read(
        &mut self,
        wants: Wants,
        next: &mut dyn FnMut(&mut Vec<u8>) -> io::Result<usize>,
    ) -> Result<Taken, VerbError> {
        let mut start = self.spare.pop().unwrap_or_default();
        let buffer = cleared(&mut start);
        // What comes behind the start is hashed and not kept.
        let mut behind = Vec::new();
        let mut size = 0;
        let mut hashes = Hashing::new(wants);
        let mut counts = None;
        let mut error = None;
        loop {
            self.stop.check()?;
            let is_start = buffer.len() < WINDOW;
            let buffer = if is_start { &mut *buffer } else { &mut behind };
            if is_start {
                make_room(buffer);
            } else {
                buffer.clear();
            }
            let before = buffer.len();
            let count = match next(buffer) {
                Ok(0) => break,
                Ok(count) => count as u64,
                Err(failed) => {
                    error = Some(failed);
                    break;
                }
            };
            let block = buffer.get(before..).unwrap_or_default();
            if size == 0 {
                let head = block.get(..HEAD.min(block.len())).unwrap_or_default();
                let is_code = executable_type(head).is_some_and(|kind| !kind.starts_with("script"));
                counts = is_code.then(|| (Counts::default(), 0));
            }
            hashes.take(block);
            if let Some((counts, counted)) = counts.as_mut().filter(|(_, counted)| *counted < COUNTED) {
                counts.take(block);
                *counted += count;
            }
            size += count;
            self.meter.read(count);
            self.done.fetch_add(count, Ordering::Relaxed);
        }
        Ok(Taken { start, size, hashes, counts, error })
    }

    /// Shows content to every engine that is not given up. One that fails or panics is its own trouble.
    pub(super) fn show(
        &mut self,
        subject: &Subject<'_>,
        whole: &Whole<'_>,
        judgement: &mut Judgement,
    ) -> Result<(), VerbError> {
        for slot in &mut self.slots {
            let name = slot.engine.name();
            if let Some(why) = &slot.gone {
                judgement.fail(name, why.clone());
                continue;
            }
            let found = &judgement.findings;
            let asked = std::panic::catch_unwind(AssertUnwindSafe(|| slot.engine.look(subject, whole, found)));
            match asked.unwrap_or_else(|_| Err(Trouble::Gone("it failed inside the agent".to_owned()))) {
                Ok(found) => {
                    let placed = found.into_iter().map(|finding| Finding { place: subject.place.clone(), ..finding });
                    judgement.findings.extend(placed);
                }
                Err(Trouble::Stopped) => return Err(VerbError::stopped()),
                Err(Trouble::Here(why)) => judgement.fail(name, why),
                Err(Trouble::Gone(why)) => {
                    judgement.fail(name, why.clone());
                    slot.gone = Some(why);
                }
            }
        }
        for what in whole.passed_over.take() {
            judgement.cut.push(subject.place.as_ref().map_or_else(|| what.clone(), |place| format!("{place}: {what}")));
        }
        Ok(())
    }

    /// Takes back what content was read into.
    pub(super) fn give_back(&mut self, mut start: Arc<Vec<u8>>) {
        if let Some(room) = Arc::get_mut(&mut start) {
            room.clear();
            self.spare.push(start);
        }
    }

    /// Looks into archives that are one thing.
    fn archives<'f>(
        &mut self,
        found: impl Iterator<Item = (Kind, At<'f>)>,
        name: &str,
        judgement: &mut Judgement,
    ) -> Result<(), VerbError> {
        let budget = Budget::new(self.bounds.unpacked, self.bounds.members, self.bounds.depth);
        let mut looked = Ok(());
        for (kind, mut source) in found {
            looked = looked.and_then(|()| self.layer(&mut source, kind, name, "", &budget, 1, judgement));
        }
        judgement.cut.extend(budget.into_said());
        looked
    }
}

/// The last bytes of a file, where an archive's directory may stand.
fn tail(file: &File, read: &Taken, size: u64) -> Vec<u8> {
    let room = archive::TAIL.min(size);
    if read.is_at_hand() {
        let from = read.start.len().saturating_sub(usize::try_from(room).unwrap_or(usize::MAX));
        return read.start.get(from..).unwrap_or_default().to_vec();
    }
    let mut tail = Vec::new();
    // What cannot be read has been said.
    let _ = read_more(file, size - room, usize::try_from(room).unwrap_or(0), &mut tail);
    tail
}

/// The last name of a path.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| lossy(path), |name| name.to_string_lossy().into_owned())
}
