//! A file of the registry (a hive, format `regf`), read where it lies: cells are fetched as they are asked for, so that a hive of
//! any size takes no memory, and nothing in it is believed. Every list has a bound, every offset is checked, lists of lists
//! go one level deep as the format says, so that no damage and no malice makes it read for ever or allocate much.
//!
//! The format: Maxim Suhanov, "Windows registry file format specification". A hive that was not written to its end is read with
//! what its logs have of it ([`Hive::recover`]); where they have nothing, that is told ([`Hive::is_dirty`]).

mod logs;
mod source;
mod value;

use std::cell::Cell;
use std::fs::File;
use std::io;

pub use value::{Data, Value};

use source::{Bytes, checksum, u16_at, u32_at, u64_at};
use value::Place;

use super::text;
use crate::agent::pattern::same_in_any_case;
use crate::agent::platform::Time;

/// How many bytes are read from one hive in all: so much, twice its size, and no more than that. Whoever lets every entry of a
/// list lead to one large cell makes no more of it.
const BUDGET: (u64, u64) = (64 * 1024 * 1024, 256 * 1024 * 1024);
/// Where cells begin: what stands before is the base block.
const BINS: u64 = 4096;
/// The most subkeys or values of one key that are told.
pub const MAX_LIST: usize = 200_000;
/// The most bytes of one value that are read.
pub const MAX_DATA: usize = 128 * 1024;
/// The most bytes of a segment of large data, as the format has it.
const SEGMENT: usize = 16344;
/// The bytes of a name that are read at once with what stands before it.
const SHORT: usize = 60;
/// The most bytes of a name: 255 characters are allowed for a key, 16,383 for a value.
const MAX_NAME: usize = 2 * 16_384;

/// Why something cannot be read from a hive.
#[derive(Debug, thiserror::Error)]
pub enum HiveError {
    /// It is no hive.
    #[error("it is no file of the registry")]
    NoHive,
    /// Something in it is not as the format says.
    #[error("the file of the registry is damaged: {what} at {at:#x}")]
    Damaged {
        /// What.
        what: &'static str,
        /// Where, in bytes from the first bin.
        at: u32,
    },
    /// The system could not read it.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
}

/// An opened hive.
pub struct Hive {
    bytes: Box<dyn Bytes>,
    /// How many bytes of bins there are.
    size: u64,
    root: u32,
    dirty: bool,
    /// How many entries of its logs are laid over it.
    recovered: usize,
    /// How many bytes may still be read.
    left: Cell<u64>,
    /// Whether large values lie in segments: since version 1.4.
    segments: bool,
}

/// A key.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// When it, one of its values, or the list of its subkeys was last changed.
    pub written: Time,
    /// Whether it only leads to another key.
    pub is_link: bool,
    subkeys: (u32, u32),
    values: (u32, u32),
}

impl Key {
    /// How many subkeys and how many values it says that it has.
    #[must_use]
    pub fn counts(&self) -> (u32, u32) {
        (self.subkeys.0, self.values.0)
    }
}

impl Hive {
    /// Reads the head of an opened file.
    ///
    /// # Errors
    /// When it is no hive, or cannot be read.
    pub fn of_file(file: File) -> Result<Self, HiveError> {
        Self::new(Box::new(file))
    }

    /// The same of bytes in memory.
    ///
    /// # Errors
    /// When they are no hive.
    pub fn of_bytes(bytes: Vec<u8>) -> Result<Self, HiveError> {
        Self::new(Box::new(bytes))
    }

    fn new(bytes: Box<dyn Bytes>) -> Result<Self, HiveError> {
        let length = bytes.length()?;
        let mut head = [0; 512];
        if length < BINS {
            return Err(HiveError::NoHive);
        }
        bytes.read(0, &mut head)?;
        if !head.starts_with(b"regf") {
            return Err(HiveError::NoHive);
        }
        let claimed = u64::from(u32_at(&head, 40));
        // What is written first and last differ while, or when never, all of it was.
        let dirty = u32_at(&head, 4) != u32_at(&head, 8) || checksum(&head) != u32_at(&head, 508);
        let minor = u32_at(&head, 24);
        let (size, root, segments) = (claimed.min(length - BINS), u32_at(&head, 36), minor >= 4);
        Ok(Self { left: Cell::new(budget(length)), size, root, dirty, recovered: 0, segments, bytes })
    }

    /// Whether its last changes are missing: the device stopped before it was written to its end, and no log has them.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// How many entries of its logs are laid over it.
    #[must_use]
    pub fn recovered(&self) -> usize {
        self.recovered
    }

    /// Lays its logs over it, where it needs them and they fit: opened files, in any order.
    #[must_use]
    pub fn recover(self, logs: Vec<File>) -> Self {
        self.overlaid(logs.into_iter().map(|log| Box::new(log) as Box<dyn Bytes>).collect())
    }

    /// The same of logs in memory.
    #[must_use]
    pub fn recover_bytes(self, logs: Vec<Vec<u8>>) -> Self {
        self.overlaid(logs.into_iter().map(|log| Box::new(log) as Box<dyn Bytes>).collect())
    }

    fn overlaid(self, logs: Vec<Box<dyn Bytes>>) -> Self {
        let mut head = [0; 512];
        if !self.dirty || self.bytes.read(0, &mut head).is_err() {
            return self;
        }
        let (bytes, size, recovered) = logs::overlay(self.bytes, &head, logs);
        if recovered == 0 {
            return Self { bytes, ..self };
        }
        Self { left: Cell::new(budget(BINS + size)), size, dirty: false, recovered, bytes, ..self }
    }

    /// The key at the top.
    ///
    /// # Errors
    /// When it is damaged, or cannot be read.
    pub fn root(&self) -> Result<Key, HiveError> {
        self.key(self.root)
    }

    /// The key at a path from the top: names in any case, backslashes between them.
    ///
    /// # Errors
    /// When something on the way is damaged, or cannot be read.
    pub fn open(&self, path: &str) -> Result<Option<Key>, HiveError> {
        let mut key = self.root()?;
        for name in path.split('\\').filter(|name| !name.is_empty()) {
            match self.child(&key, name)? {
                Some(child) => key = child,
                None => return Ok(None),
            }
        }
        Ok(Some(key))
    }

    /// The subkey of that name, in any case.
    ///
    /// # Errors
    /// When the list of subkeys is damaged; a damaged subkey is passed over.
    pub fn child(&self, key: &Key, name: &str) -> Result<Option<Key>, HiveError> {
        let mut keys = self.subkeys(key)?.into_iter().filter_map(Result::ok);
        Ok(keys.find(|child| same_in_any_case(child.name.as_bytes(), name.as_bytes())))
    }

    /// The subkeys, in the order of the list, at most [`MAX_LIST`]; one that is damaged is an error among them.
    ///
    /// # Errors
    /// When the list itself is damaged.
    pub fn subkeys(&self, key: &Key) -> Result<Vec<Result<Key, HiveError>>, HiveError> {
        let (count, at) = key.subkeys;
        if count == 0 {
            return Ok(Vec::new());
        }
        let wanted = usize::try_from(count).unwrap_or(MAX_LIST).min(MAX_LIST);
        let mut offsets = Vec::new();
        self.list(at, wanted, true, &mut offsets)?;
        Ok(offsets.into_iter().map(|at| self.key(at)).collect())
    }

    /// Adds the offsets of a list of subkeys; `outer` where it may be a list of lists.
    fn list(&self, at: u32, wanted: usize, outer: bool, offsets: &mut Vec<u32>) -> Result<(), HiveError> {
        let head = self.cell(at, 4)?;
        let count = usize::from(u16_at(&head, 2));
        let width = match head.get(..2) {
            Some(b"lf" | b"lh") => 8,
            Some(b"li") => 4,
            Some(b"ri") if outer => 4,
            _ => return Err(HiveError::Damaged { what: "no list of subkeys", at }),
        };
        let cell = self.cell(at, 4 + count * width)?;
        let entries = cell.get(4..).unwrap_or_default().chunks_exact(width).map(|entry| u32_at(entry, 0));
        if !head.starts_with(b"ri") {
            offsets.extend(entries.take(wanted.saturating_sub(offsets.len())));
            return Ok(());
        }
        for inner in entries {
            if offsets.len() >= wanted {
                break;
            }
            let before = offsets.len();
            self.list(inner, wanted, false, offsets)?;
            if offsets.len() == before {
                return Err(HiveError::Damaged { what: "an empty list within a list", at: inner });
            }
        }
        Ok(())
    }

    /// The values, in the order of the list, at most [`MAX_LIST`]; one that is damaged is an error among them.
    ///
    /// # Errors
    /// When the list itself is damaged.
    pub fn values(&self, key: &Key) -> Result<Vec<Result<Value, HiveError>>, HiveError> {
        let (count, at) = key.values;
        if count == 0 {
            return Ok(Vec::new());
        }
        let wanted = usize::try_from(count).unwrap_or(MAX_LIST).min(MAX_LIST);
        let list = self.cell(at, wanted * 4)?;
        Ok(list.chunks_exact(4).map(|entry| self.value_at(u32_at(entry, 0))).collect())
    }

    /// The value of that name, in any case; the default value has none.
    ///
    /// # Errors
    /// When the list of values is damaged; a damaged value is passed over.
    pub fn value(&self, key: &Key, name: &str) -> Result<Option<Value>, HiveError> {
        let mut values = self.values(key)?.into_iter().filter_map(Result::ok);
        Ok(values.find(|value| same_in_any_case(value.name.as_bytes(), name.as_bytes())))
    }

    /// What the value of that name holds; `None` where there is none, or it cannot be read.
    #[must_use]
    pub fn data_of(&self, key: &Key, name: &str) -> Option<Data> {
        self.data(&self.value(key, name).ok()??).ok()
    }

    /// The text of that name.
    #[must_use]
    pub fn text_of(&self, key: &Key, name: &str) -> Option<String> {
        match self.data_of(key, name)? {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number of that name.
    #[must_use]
    pub fn number_of(&self, key: &Key, name: &str) -> Option<u64> {
        self.data_of(key, name)?.number()
    }

    /// What a value holds, at most [`MAX_DATA`] bytes of it.
    ///
    /// # Errors
    /// When it is damaged, or cannot be read.
    pub fn data(&self, value: &Value) -> Result<Data, HiveError> {
        Ok(self.told(value)?.0)
    }

    /// The bytes of a value.
    fn raw(&self, value: &Value) -> Result<Vec<u8>, HiveError> {
        let size = usize::try_from(value.size).unwrap_or(MAX_DATA).min(MAX_DATA);
        let at = match value.data {
            Place::Inline(bytes) => return Ok(bytes.get(..size).unwrap_or(&bytes).to_vec()),
            Place::Cell(_) if size == 0 => return Ok(Vec::new()),
            Place::Cell(at) => at,
        };
        if size <= SEGMENT || !self.segments {
            let bytes = self.cell(at, size)?;
            return if bytes.len() == size {
                Ok(bytes)
            } else {
                Err(HiveError::Damaged { what: "a value that is cut off", at })
            };
        }
        let head = self.cell(at, 8)?;
        if !head.starts_with(b"db") || head.len() < 8 {
            return Err(HiveError::Damaged { what: "no list of segments", at });
        }
        let count = usize::from(u16_at(&head, 2));
        let mut bytes = Vec::new();
        for entry in self.cell(u32_at(&head, 4), count * 4)?.chunks_exact(4) {
            bytes.extend(self.cell(u32_at(entry, 0), SEGMENT.min(size - bytes.len()))?);
            if bytes.len() >= size {
                return Ok(bytes);
            }
        }
        Err(HiveError::Damaged { what: "a value that is cut off", at })
    }

    fn key(&self, at: u32) -> Result<Key, HiveError> {
        const HEAD: usize = 76;
        let cell = self.cell(at, HEAD + SHORT)?;
        let damaged = |what| HiveError::Damaged { what, at };
        if !cell.starts_with(b"nk") || cell.len() < HEAD {
            return Err(damaged("no key"));
        }
        let (flags, length) = (u16_at(&cell, 2), usize::from(u16_at(&cell, 72)));
        let cell = if length > SHORT { self.cell(at, HEAD + length.min(MAX_NAME))? } else { cell };
        let name = cell.get(HEAD..HEAD + length).ok_or_else(|| damaged("a key whose name is cut off"))?;
        Ok(Key {
            name: name_of(name, flags & 0x20 != 0),
            written: text::filetime(u64_at(&cell, 4)),
            is_link: flags & 0x10 != 0,
            subkeys: (u32_at(&cell, 20), u32_at(&cell, 28)),
            values: (u32_at(&cell, 36), u32_at(&cell, 40)),
        })
    }

    fn value_at(&self, at: u32) -> Result<Value, HiveError> {
        const HEAD: usize = 20;
        const INLINE: u32 = 1 << 31;
        let cell = self.cell(at, HEAD + SHORT)?;
        let damaged = |what| HiveError::Damaged { what, at };
        if !cell.starts_with(b"vk") || cell.len() < HEAD {
            return Err(damaged("no value"));
        }
        let length = usize::from(u16_at(&cell, 2));
        let cell = if length > SHORT { self.cell(at, HEAD + length.min(MAX_NAME))? } else { cell };
        let name = cell.get(HEAD..HEAD + length).ok_or_else(|| damaged("a value whose name is cut off"))?;
        let (size, place) = (u32_at(&cell, 4), u32_at(&cell, 8));
        let data = if size & INLINE == 0 { Place::Cell(place) } else { Place::Inline(place.to_le_bytes()) };
        let size = if size & INLINE == 0 { size } else { (size & !INLINE).min(4) };
        Ok(Value { name: name_of(name, u16_at(&cell, 16) & 1 != 0), kind: u32_at(&cell, 12), size, data })
    }

    /// The content of a cell that is in use, at most `most` bytes of it.
    fn cell(&self, at: u32, most: usize) -> Result<Vec<u8>, HiveError> {
        let damaged = |what| HiveError::Damaged { what, at };
        let room = self.size.checked_sub(u64::from(at) + 4).ok_or_else(|| damaged("a place outside the file"))?;
        let mut head = [0; 4];
        self.bytes.read(BINS + u64::from(at), &mut head)?;
        // The size counts itself, and is negative where the cell is in use.
        let size =
            i32::from_le_bytes(head).checked_neg().filter(|&size| size > 4).ok_or_else(|| damaged("a cell that is free"))?;
        let size = u64::try_from(size).unwrap_or_default() - 4;
        if size > room {
            return Err(damaged("a cell that ends outside the file"));
        }
        let length = most.min(usize::try_from(size).unwrap_or(most));
        let left = self.left.get().checked_sub(length as u64).ok_or_else(|| damaged("more to read than it can hold"))?;
        self.left.set(left);
        let mut bytes = vec![0; length];
        self.bytes.read(BINS + u64::from(at) + 4, &mut bytes)?;
        Ok(bytes)
    }
}

/// A name as it is kept: a byte a character where all of them fit one.
fn name_of(bytes: &[u8], narrow: bool) -> String {
    if narrow { bytes.iter().map(|&byte| char::from(byte)).collect() } else { text::utf16_exact(bytes) }
}

fn budget(length: u64) -> u64 {
    length.saturating_mul(2).saturating_add(BUDGET.0).min(BUDGET.1)
}
