//! What may be taken out of archives: bounds on depth, members, bytes, and on how many times its size an archive unpacks to.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};

/// What comes out of an archive may be so many times as large as the archive, from [`RATIO_FROM`] bytes on.
const RATIO: u64 = 200;
const RATIO_FROM: u64 = 16 * 1024 * 1024;
/// How many things that were passed over are said.
const MAX_SAID: usize = 20;

/// The error of what holds too much, which is said as it happens.
const TOO_MUCH: io::ErrorKind = io::ErrorKind::FileTooLarge;

/// Whether reading ended since there was too much, of which all has been said.
#[must_use]
pub fn is_too_much(error: &io::Error) -> bool {
    error.kind() == TOO_MUCH
}

/// What may still be taken out of archives, all layers of one file together.
pub struct Budget {
    bytes: Cell<u64>,
    members: Cell<u32>,
    /// How deep archives may lie in archives.
    pub depth: u32,
    said: RefCell<Vec<String>>,
    unsaid: Cell<u64>,
    over: Cell<bool>,
}

impl Budget {
    /// One of so many bytes, members and layers.
    #[must_use]
    pub fn new(bytes: u64, members: u32, depth: u32) -> Self {
        Self {
            bytes: Cell::new(bytes),
            members: Cell::new(members),
            depth,
            said: RefCell::default(),
            unsaid: Cell::new(0),
            over: Cell::new(false),
        }
    }

    /// Says what was passed over.
    pub fn say(&self, what: String) {
        let mut said = self.said.borrow_mut();
        if said.len() < MAX_SAID {
            said.push(what);
        } else {
            self.unsaid.set(self.unsaid.get() + 1);
        }
    }

    /// Whether nothing more may be taken.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// All that was passed over.
    #[must_use]
    pub fn into_said(self) -> Vec<String> {
        let mut said = self.said.into_inner();
        if self.unsaid.get() > 0 {
            said.push(format!("{} more members were passed over", self.unsaid.get()));
        }
        said
    }

    /// How many bytes may still be taken.
    fn left(&self) -> u64 {
        self.bytes.get()
    }

    pub(super) fn end(&self, why: &str) {
        if !self.over.replace(true) {
            self.say(why.to_owned());
        }
    }

    /// Takes one member; `false` when there were too many.
    pub(super) fn member(&self) -> bool {
        match self.members.get().checked_sub(1) {
            Some(left) => self.members.set(left),
            None => self.end("too many members: the rest of the archive was not looked at"),
        }
        !self.is_over()
    }
}

/// One archive among others: how much went in and came out.
pub(super) struct Layer<'a> {
    /// What all layers share.
    pub(super) budget: &'a Budget,
    /// What the archive is called.
    pub(super) name: &'a str,
    /// How large it is.
    pub(super) packed: u64,
    out: Cell<u64>,
    /// What may be read before somebody says that more may be.
    pub(super) allowed: Cell<u64>,
    /// The most that may come of it, and what is said where more does.
    most: RefCell<Option<(u64, String)>>,
    bomb: Cell<bool>,
}

impl<'a> Layer<'a> {
    pub(super) fn new(budget: &'a Budget, name: &'a str, packed: u64) -> Self {
        let (out, allowed) = (Cell::new(0), Cell::new(u64::MAX));
        Self { budget, name, packed, out, allowed, most: RefCell::default(), bomb: Cell::new(false) }
    }

    /// Says how much it claims to hold. More does not come of it; and where there is not room for all of that, it gets half of
    /// the room, so that something is left for others.
    pub(super) fn holds(&self, size: u64) {
        let left = self.budget.left();
        let most = if size <= left {
            (size, format!("it holds more than the {size} bytes that it claims; the rest was not looked at"))
        } else {
            (left / 2, format!("it has {size} bytes, of which {} were looked at", left / 2))
        };
        self.most.replace(Some(most));
    }

    /// Whether something more may come of it.
    pub(super) fn goes_on(&self) -> bool {
        !self.budget.is_over() && !self.bomb.get()
    }

    pub(super) fn took(&self, count: usize) -> io::Result<()> {
        let count = count as u64;
        self.out.set(self.out.get().saturating_add(count));
        if self.out.get() > RATIO_FROM && self.out.get() / RATIO > self.packed.max(1) && !self.bomb.replace(true) {
            self.budget
                .say(format!("{}: it unpacks to more than {RATIO} times its size; the rest was not looked at", self.name));
        }
        if let Some((most, why)) = self.most.borrow().as_ref()
            && self.out.get() > *most
            && !self.bomb.replace(true)
        {
            self.budget.say(format!("{}: {why}", self.name));
        }
        match self.budget.bytes.get().checked_sub(count) {
            Some(left) => self.budget.bytes.set(left),
            None => self.budget.end("it unpacks to too many bytes: the rest of the archive was not looked at"),
        }
        match self.allowed.get().checked_sub(count) {
            Some(left) if self.allowed.get() != u64::MAX => self.allowed.set(left),
            Some(_) => {}
            None => return Err(io::Error::other("a name of it is longer than any name")),
        }
        if self.goes_on() { Ok(()) } else { Err(io::Error::new(TOO_MUCH, "there is too much in it")) }
    }
}

/// Reads what comes out of an archive and counts it.
pub(super) struct Metered<'a, R> {
    /// What is read.
    pub(super) inner: R,
    /// Whose it is.
    pub(super) layer: &'a Layer<'a>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.layer.took(count)?;
        Ok(count)
    }
}
