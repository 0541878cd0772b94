//! Shows content to every engine and makes a judgement of what they say.
//!
//! One judge works on one thread, and on one thing at a time; memory is its window, and one more for each layer of archives.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::archive::{At, Kind, members};
use super::budget::Budget;
use super::clamav::Clam;
use super::hashes::Hashes;
use super::heuristics::Static;
use super::packages::Packages;
use super::reading::{Extents, Hashing, Piece, Taken, cleared, is_all_zeros, streamed};
use super::yara::Yara;
use super::{Engine, Finding, OVERLAP, OnDevice, Rules, Subject, Trouble, Verdict, WINDOW, Wants, Whole, score, verdict};
use crate::agent::content::Content;
use crate::agent::context::{Meter, Stop, VerbError};
use crate::agent::digest::Counts;
use crate::agent::dispatch::Shared;
use crate::agent::filetype::executable_type;
use crate::agent::identity::FileIdentity;
use crate::agent::path::{lossy, reason};
use crate::agent::platform::{Facts, Origin};

/// How much of the start tells what it is.
const HEAD: usize = 64 * 1024;
/// The entropy of a program is that of so many bytes from its start.
const COUNTED: u64 = 8 * 1024 * 1024;
/// The most that is read of a file whose size is not known beforehand.
const MAX_VIRTUAL: u64 = 16 * 1024 * 1024;

/// How much is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of a file that are read; of a larger one there is no hash, and holes are passed over.
    pub file: u64,
    /// Bytes that are taken out of the archives in one file.
    pub unpacked: u64,
    /// Their members.
    pub members: u32,
    /// How deep they may lie in each other.
    pub depth: u32,
    /// Whether it is one among very many: no hash that nobody asks for, and no program started for it.
    pub quick: bool,
}

impl Bounds {
    /// For one thing that somebody waits for.
    pub const ANALYZE: Self = Self { file: 4 << 30, unpacked: 2 << 30, members: 20_000, depth: 4, quick: false };
    /// For one among very many.
    pub const SCAN: Self = Self { file: 512 << 20, unpacked: 256 << 20, members: 5_000, depth: 3, quick: true };
}

/// What engines say of one thing.
#[derive(Debug, Default)]
pub struct Judgement {
    /// What they found, the weightiest first.
    pub findings: Vec<Finding>,
    /// Engines that failed at it, and why.
    pub errors: Vec<(&'static str, String)>,
    /// What was not looked at, and why.
    pub cut: Vec<String>,
    /// Of the whole content, where it was read.
    pub sha256: Option<String>,
    /// Which file it was, where it stayed the same while it was read.
    pub identity: Option<FileIdentity>,
}

impl Judgement {
    /// What its findings weigh.
    #[must_use]
    pub fn score(&self) -> u32 {
        score(&self.findings)
    }

    /// Its verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        verdict(self.score(), self.errors.is_empty() && self.cut.is_empty())
    }

    /// Adds what was found in a part of it.
    pub fn add(&mut self, part: Self, place: &str) {
        let within = |finding: Finding| Finding {
            place: Some(finding.place.map_or_else(|| place.to_owned(), |inner| format!("{place} > {inner}"))),
            ..finding
        };
        self.findings.extend(part.findings.into_iter().map(within));
        self.cut.extend(part.cut);
        for error in part.errors {
            if !self.errors.contains(&error) {
                self.errors.push(error);
            }
        }
    }

    /// Puts the weightiest first.
    pub fn sort(&mut self) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    }
}

struct Slot {
    engine: Box<dyn Engine>,
    gone: Option<String>,
}

/// Judges, on one thread.
pub struct Judge {
    slots: Vec<Slot>,
    bounds: Bounds,
    stop: Stop,
    meter: Arc<Meter>,
    /// Bytes that were looked at, for whoever tells how far it is.
    done: Arc<AtomicU64>,
    spare: Vec<Arc<Vec<u8>>>,
}

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
        engines.push(Box::new(Yara::builtin(rules.builtin.clone(), stop.clone(), Arc::clone(meter))));
        if let Some(scanner) = &rules.yara {
            engines.push(Box::new(Yara::library(scanner.clone(), stop.clone(), Arc::clone(meter))));
        }
        if rules.clamav.looks(bounds.quick) {
            let clamav = Arc::clone(&rules.clamav);
            engines.push(Box::new(Clam { clamav, stop: stop.clone(), quick: bounds.quick }));
        }
        engines.push(Box::new(Packages::new(Arc::clone(agent))));
        engines.push(Box::new(Static::new(Arc::clone(agent))));
        let slots = engines.into_iter().map(|engine| Slot { engine, gone: None }).collect();
        Self { slots, bounds, stop: stop.clone(), meter: Arc::clone(meter), done, spare: Vec::new() }
    }

    /// The engines that look, and why one does no longer.
    pub fn engines(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        self.slots.iter().map(|slot| (slot.engine.name(), slot.gone.as_deref()))
    }

    /// Judges an open file. `path` is its real one where it is `named`.
    ///
    /// # Errors
    /// When the command was asked to stop.
    pub fn file(
        &mut self,
        content: &Content,
        path: &Path,
        named: bool,
        origin: Option<&Origin>,
        autostart: bool,
    ) -> Result<Judgement, VerbError> {
        let mut judgement = Judgement::default();
        let on_device = OnDevice { path, facts: &content.facts, file: &content.file, named, origin, autostart };
        let subject = Subject { file: Some(on_device), place: None };
        let size = content.size.unwrap_or(MAX_VIRTUAL);
        let large = content.size.is_some_and(|size| size > self.bounds.file);
        let wants = if large { Wants::default() } else { self.wants(&subject) };
        let mut reader = Extents::new(&content.file, size, self.bounds.file, large);
        let read = self.read(&subject, wants, &mut judgement, &mut |buffer| reader.next(buffer))?;
        if large {
            let bound = self.bounds.file;
            if self.slots.iter().any(|slot| slot.engine.name() == "hashes") {
                judgement.errors.push(("hashes", format!("it has {size} bytes, and above {bound} no hash is computed")));
            }
            if reader.cut {
                judgement.cut.push(format!("of its {size} bytes only the first {bound} that hold data were looked at"));
            }
        }
        if let Some(error) = &read.error {
            judgement.cut.push(format!("it could not be read to its end: {}", reason(error).1));
        }
        let same = Facts::of(content.file.as_fd(), c"")
            .is_ok_and(|now| FileIdentity::new(&now, None) == FileIdentity::new(&content.facts, None));
        let whole = content.size.is_none() || (read.size == size && same);
        if !whole && !large && read.error.is_none() {
            judgement.cut.push(format!("it changed while it was read; {} bytes were looked at", read.size));
        }
        let Taken { window, head, size: came, hashes, counts, .. } = read;
        if let Some(kind) = Kind::of(&head) {
            self.archive(&mut At::new(&content.file, size.min(self.bounds.file)), kind, &name_of(path), &mut judgement)?;
        }
        self.give_back(window);
        let entropy = counts.map(|(counts, counted)| counts.entropy(counted));
        let (sha256, sha1, md5) = if large { (None, None, None) } else { hashes.end() };
        judgement.sha256.clone_from(&sha256);
        judgement.identity = same.then(|| FileIdentity::new(&content.facts, sha256.clone().filter(|_| whole)));
        let whole = Whole { size: came, sha256, sha1, md5, entropy, head: &head };
        self.end(&subject, &whole, &mut judgement)?;
        judgement.sort();
        Ok(judgement)
    }

    fn wants(&mut self, subject: &Subject<'_>) -> Wants {
        let always = Wants { sha256: !self.bounds.quick && subject.file.is_some(), ..Wants::default() };
        let wants = |slot: &mut Slot| if slot.gone.is_none() { slot.engine.wants(subject) } else { Wants::default() };
        self.slots.iter_mut().map(wants).fold(always, Wants::and)
    }

    /// Reads content to its end and shows it window by window.
    fn read(
        &mut self,
        subject: &Subject<'_>,
        wants: Wants,
        judgement: &mut Judgement,
        next: &mut dyn FnMut(&mut Vec<u8>) -> io::Result<Piece>,
    ) -> Result<Taken, VerbError> {
        let mut window = self.spare.pop().unwrap_or_default();
        cleared(&mut window).clear();
        let mut read = Taken {
            window: Arc::default(),
            head: Vec::new(),
            single: true,
            size: 0,
            hashes: Hashing::new(wants),
            counts: None,
            error: None,
        };
        let mut at = 0;
        let mut fresh = 0;
        loop {
            self.stop.check()?;
            let buffer = cleared(&mut window);
            let before = buffer.len();
            match next(buffer) {
                Ok(Piece::Data(count)) => {
                    let block = buffer.get(before..).unwrap_or_default();
                    if read.size == 0 {
                        read.head = block.get(..HEAD.min(block.len())).unwrap_or_default().to_vec();
                        let is_code = executable_type(&read.head).is_some_and(|kind| !kind.starts_with("script"));
                        read.counts = is_code.then(|| (Counts::default(), 0));
                    }
                    read.hashes.take(block);
                    if let Some((counts, counted)) = read.counts.as_mut().filter(|(_, counted)| *counted < COUNTED) {
                        counts.take(block);
                        *counted += count as u64;
                    }
                    read.size += count as u64;
                    fresh += count;
                    self.meter.read(count as u64);
                    self.done.fetch_add(count as u64, Ordering::Relaxed);
                    if buffer.len() >= WINDOW {
                        read.single = false;
                        self.show(subject, &window, at, judgement)?;
                        let buffer = cleared(&mut window);
                        at += (buffer.len() - OVERLAP) as u64;
                        buffer.drain(..buffer.len() - OVERLAP);
                        fresh = 0;
                    }
                }
                Ok(Piece::Gap(next)) => {
                    if fresh > 0 {
                        self.show(subject, &window, at, judgement)?;
                    }
                    read.single = false;
                    cleared(&mut window).clear();
                    at = next;
                    fresh = 0;
                }
                Ok(Piece::End) => break,
                Err(error) => {
                    read.error = Some(error);
                    break;
                }
            }
        }
        if fresh > 0 || read.size == 0 {
            self.show(subject, &window, at, judgement)?;
        }
        read.window = window;
        Ok(read)
    }

    fn give_back(&mut self, mut window: Arc<Vec<u8>>) {
        if let Some(room) = Arc::get_mut(&mut window) {
            room.clear();
            self.spare.push(window);
        }
    }

    fn show(
        &mut self,
        subject: &Subject<'_>,
        window: &Arc<Vec<u8>>,
        at: u64,
        judgement: &mut Judgement,
    ) -> Result<(), VerbError> {
        if window.is_empty() || is_all_zeros(window) {
            return Ok(());
        }
        self.each(judgement, subject, |engine, _| engine.look(subject, window, at))
    }

    fn end(&mut self, subject: &Subject<'_>, whole: &Whole<'_>, judgement: &mut Judgement) -> Result<(), VerbError> {
        self.each(judgement, subject, |engine, found| engine.end(subject, whole, found))
    }

    /// Asks every engine that is not given up. One that fails or panics is its own trouble.
    fn each(
        &mut self,
        judgement: &mut Judgement,
        subject: &Subject<'_>,
        mut ask: impl FnMut(&mut dyn Engine, &[Finding]) -> super::Answer,
    ) -> Result<(), VerbError> {
        for slot in &mut self.slots {
            if let Some(why) = &slot.gone {
                let error = (slot.engine.name(), why.clone());
                if !judgement.errors.contains(&error) {
                    judgement.errors.push(error);
                }
                continue;
            }
            let name = slot.engine.name();
            let asked = std::panic::catch_unwind(AssertUnwindSafe(|| ask(slot.engine.as_mut(), &judgement.findings)));
            match asked.unwrap_or_else(|_| Err(Trouble::Gone("it failed inside the agent".to_owned()))) {
                Ok(found) => {
                    let placed = found.into_iter().map(|finding| Finding { place: subject.place.clone(), ..finding });
                    // The same rule in every window of a large file is one finding.
                    for finding in placed {
                        let known = |other: &Finding| {
                            (other.engine, &other.rule, &other.place) == (finding.engine, &finding.rule, &finding.place)
                        };
                        if finding.engine == "static" || !judgement.findings.iter().any(known) {
                            judgement.findings.push(finding);
                        }
                    }
                }
                Err(Trouble::Stopped) => return Err(VerbError::stopped()),
                Err(Trouble::Here(why)) => judgement.errors.push((name, why)),
                Err(Trouble::Gone(why)) => {
                    judgement.errors.push((name, why.clone()));
                    slot.gone = Some(why);
                }
            }
        }
        Ok(())
    }

    fn archive(
        &mut self,
        source: &mut dyn super::archive::Source,
        kind: Kind,
        name: &str,
        judgement: &mut Judgement,
    ) -> Result<(), VerbError> {
        let budget = Budget::new(self.bounds.unpacked, self.bounds.members, self.bounds.depth);
        let looked = self.layer(source, kind, name, "", &budget, 1, judgement);
        judgement.cut.extend(budget.into_said());
        looked
    }

    /// Looks into one archive. `prefix` is where it lies in others.
    #[allow(clippy::too_many_arguments)]
    fn layer(
        &mut self,
        source: &mut dyn super::archive::Source,
        kind: Kind,
        name: &str,
        prefix: &str,
        budget: &Budget,
        depth: u32,
        judgement: &mut Judgement,
    ) -> Result<(), VerbError> {
        members(source, kind, name, budget, &mut |member, content| {
            self.member(content, &format!("{prefix}{member}"), budget, depth, judgement)
        })
    }

    fn member(
        &mut self,
        content: &mut dyn Read,
        place: &str,
        budget: &Budget,
        depth: u32,
        judgement: &mut Judgement,
    ) -> Result<(), VerbError> {
        let subject = Subject { file: None, place: Some(place.to_owned()) };
        let wants = self.wants(&subject);
        let read = self.read(&subject, wants, judgement, &mut |buffer| streamed(content, buffer))?;
        let whole = read.error.is_none();
        if let Some(error) = read.error.as_ref().filter(|_| !budget.is_over()) {
            budget.say(format!("{place}: {error}"));
        }
        if let Some(kind) = Kind::of(&read.head).filter(|_| whole) {
            if !read.single {
                budget.say(format!("{place}: an archive within an archive, and too large to be looked into"));
            } else if depth >= budget.depth {
                budget.say(format!("{place}: it lies in more than {} archives and was not looked into", budget.depth));
            } else {
                let name = name_of(Path::new(place));
                let mut inner = io::Cursor::new(read.window.as_slice());
                self.layer(&mut inner, kind, &name, &format!("{place} > "), budget, depth + 1, judgement)?;
            }
        }
        let Taken { window, head, size, hashes, counts, .. } = read;
        self.give_back(window);
        let (sha256, sha1, md5) = if whole { hashes.end() } else { (None, None, None) };
        let entropy = counts.map(|(counts, counted)| counts.entropy(counted));
        self.end(&subject, &Whole { size, sha256, sha1, md5, entropy, head: &head }, judgement)
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| lossy(path), |name| name.to_string_lossy().into_owned())
}
