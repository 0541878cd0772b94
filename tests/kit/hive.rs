//! Writes files of the registry (format `regf` 1.5), as small as they can be: keys, values, lists of every kind.
//!
//! Held against another's reader: `tests/agent/registry.rs` reads what is written here with hivexget too.

use std::path::Path;

/// When everything was written: 2026-01-02T03:04:05Z, in 100 ns since 1601.
pub const WRITTEN: u64 = 134_117_966_450_000_000;
/// The most bytes of one segment of large data.
const SEGMENT: usize = 16344;

/// A key to be written.
#[derive(Debug, Clone, Default)]
pub struct Key {
    name: String,
    link: bool,
    values: Vec<(String, u32, Vec<u8>)>,
    keys: Vec<Key>,
}

/// Which kind of list subkeys are put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `lh`: offsets and hashes; since Windows XP.
    Hashes,
    /// `lf`: offsets and the first four letters.
    Hints,
    /// `li`: offsets alone.
    Plain,
    /// `ri`: a list of such lists, each of two keys.
    Lists,
}

/// Text as the registry keeps it: UTF-16 with a zero at its end.
pub fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

impl Key {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The key at a path below this one; those on the way are made.
    pub fn at(&mut self, path: &str) -> &mut Self {
        path.split('\\').fold(self, |key, name| {
            let place = key.keys.iter().position(|child| child.name == name);
            let place = place.unwrap_or_else(|| {
                key.keys.push(Self::new(name));
                key.keys.len() - 1
            });
            &mut key.keys[place]
        })
    }

    /// Adds a value of any type.
    pub fn value(&mut self, name: &str, kind: u32, bytes: &[u8]) -> &mut Self {
        self.values.push((name.to_owned(), kind, bytes.to_vec()));
        self
    }

    /// Adds a `REG_SZ`.
    pub fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.value(name, 1, &utf16(text))
    }

    /// Adds a `REG_EXPAND_SZ`.
    pub fn expanded(&mut self, name: &str, text: &str) -> &mut Self {
        self.value(name, 2, &utf16(text))
    }

    /// Adds a `REG_MULTI_SZ`.
    pub fn texts(&mut self, name: &str, texts: &[&str]) -> &mut Self {
        let bytes: Vec<u8> = texts.iter().flat_map(|text| utf16(text)).chain([0, 0]).collect();
        self.value(name, 7, &bytes)
    }

    /// Adds a `REG_DWORD`.
    pub fn number(&mut self, name: &str, number: u32) -> &mut Self {
        self.value(name, 4, &number.to_le_bytes())
    }

    /// Makes it a link to a key.
    pub fn link(&mut self, target: &str) -> &mut Self {
        self.link = true;
        self.value("SymbolicLinkValue", 6, &target.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())
    }

    /// Writes it as the top of a hive.
    pub fn write(&self, file: &Path) {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, self.hive(List::Hashes)).unwrap();
    }

    /// The bytes of a hive with it as the top.
    pub fn hive(&self, list: List) -> Vec<u8> {
        let mut bins = Bins { bytes: Vec::new(), list };
        // The head of the one bin.
        bins.bytes.resize(32, 0);
        let root = bins.key(self, 0, true);
        let size = bins.bytes.len().next_multiple_of(4096);
        let free = size - bins.bytes.len();
        if free > 0 {
            bins.bytes.extend(u32::try_from(free).unwrap().to_le_bytes());
        }
        bins.bytes.resize(size, 0);
        bins.bytes[..4].copy_from_slice(b"hbin");
        bins.put(8, u32::try_from(size).unwrap());
        let mut head = vec![0; 4096];
        head[..4].copy_from_slice(b"regf");
        for (at, number) in [(4, 1), (8, 1), (20, 1), (24, 5), (32, 1), (36, root), (40, u32::try_from(size).unwrap()), (44, 1)]
        {
            head[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        head[12..20].copy_from_slice(&WRITTEN.to_le_bytes());
        seal(&mut head);
        [head, bins.bytes].concat()
    }
}

/// Writes the checksum of a hive's head.
pub fn seal(head: &mut [u8]) {
    let numbers = head[..508].chunks_exact(4).map(|number| u32::from_le_bytes(number.try_into().unwrap()));
    let sum = match numbers.fold(0, |sum, number| sum ^ number) {
        0 => 1,
        u32::MAX => u32::MAX - 1,
        sum => sum,
    };
    head[508..512].copy_from_slice(&sum.to_le_bytes());
}

struct Bins {
    bytes: Vec<u8>,
    list: List,
}

impl Bins {
    fn put(&mut self, at: usize, number: u32) {
        self.bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }

    /// Adds a cell and tells where it is.
    fn cell(&mut self, content: &[u8]) -> u32 {
        let at = self.bytes.len();
        let size = (content.len() + 4).next_multiple_of(8);
        self.bytes.extend((-i32::try_from(size).unwrap()).to_le_bytes());
        self.bytes.extend(content);
        self.bytes.resize(at + size, 0);
        u32::try_from(at).unwrap()
    }

    fn key(&mut self, key: &Key, parent: u32, top: bool) -> u32 {
        let (name, narrow) = name(&key.name);
        let flags = if top { 0x0c } else { 0 } | if narrow { 0x20 } else { 0 } | if key.link { 0x10 } else { 0 };
        let mut cell = vec![0; 76];
        cell[..2].copy_from_slice(b"nk");
        cell[2..4].copy_from_slice(&u16::to_le_bytes(flags));
        cell[4..12].copy_from_slice(&WRITTEN.to_le_bytes());
        cell[72..74].copy_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
        cell.extend(name);
        let at = self.cell(&cell);
        let values: Vec<u32> = key.values.iter().map(|(name, kind, bytes)| self.value(name, *kind, bytes)).collect();
        let values_at = if values.is_empty() { u32::MAX } else { self.cell(&offsets(&values)) };
        // Lists are sorted by name in capitals, which other readers rely on.
        let mut keys: Vec<&Key> = key.keys.iter().collect();
        keys.sort_by_key(|key| key.name.to_uppercase());
        let places: Vec<(u32, &str)> = keys.iter().map(|child| (self.key(child, at, false), child.name.as_str())).collect();
        let keys_at = if places.is_empty() { u32::MAX } else { self.list(&places) };
        let fields = [(16, parent), (20, count(places.len())), (28, keys_at), (32, u32::MAX), (36, count(values.len()))];
        let unset = [(40, values_at), (44, u32::MAX), (48, u32::MAX)];
        for (field, number) in fields.into_iter().chain(unset) {
            self.put(at as usize + 4 + field, number);
        }
        at
    }

    fn list(&mut self, places: &[(u32, &str)]) -> u32 {
        let (mark, wide) = match self.list {
            List::Hashes => (b"lh", true),
            List::Hints => (b"lf", true),
            List::Plain | List::Lists => (b"li", false),
        };
        if self.list == List::Lists && places.len() > 2 {
            let inner: Vec<u32> = places.chunks(2).map(|some| self.list(some)).collect();
            return self
                .cell(&[b"ri".as_slice(), &u16::try_from(inner.len()).unwrap().to_le_bytes(), &offsets(&inner)].concat());
        }
        let mut cell = [mark.as_slice(), &u16::try_from(places.len()).unwrap().to_le_bytes()].concat();
        for (at, name) in places {
            cell.extend(at.to_le_bytes());
            if !wide {
                continue;
            }
            let hint: Vec<u8> = name.bytes().chain([0; 4]).take(4).collect();
            let hash = name.to_uppercase().encode_utf16().fold(0_u32, |sum, c| sum.wrapping_mul(37).wrapping_add(c.into()));
            cell.extend(if self.list == List::Hints { hint } else { hash.to_le_bytes().to_vec() });
        }
        self.cell(&cell)
    }

    fn value(&mut self, called: &str, kind: u32, bytes: &[u8]) -> u32 {
        let (name, narrow) = name(called);
        let size = u32::try_from(bytes.len()).unwrap();
        let (size, place) = match bytes.len() {
            0 => (1 << 31, 0),
            1..=4 => {
                let inline: Vec<u8> = bytes.iter().copied().chain([0; 4]).take(4).collect();
                (size | 1 << 31, u32::from_le_bytes(inline.try_into().unwrap()))
            }
            length if length > SEGMENT => {
                let parts: Vec<u32> = bytes.chunks(SEGMENT).map(|part| self.cell(part)).collect();
                let list = self.cell(&offsets(&parts));
                let head = [b"db".as_slice(), &u16::try_from(parts.len()).unwrap().to_le_bytes(), &list.to_le_bytes()].concat();
                (size, self.cell(&head))
            }
            _ => (size, self.cell(bytes)),
        };
        let mut cell = b"vk".to_vec();
        cell.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        for number in [size, place, kind] {
            cell.extend(number.to_le_bytes());
        }
        cell.extend(u16::from(narrow).to_le_bytes());
        cell.extend([0, 0]);
        cell.extend(name);
        self.cell(&cell)
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap()
}

fn offsets(all: &[u32]) -> Vec<u8> {
    all.iter().flat_map(|at| at.to_le_bytes()).collect()
}

/// A name as it is kept, and whether that is a byte a character.
fn name(text: &str) -> (Vec<u8>, bool) {
    let narrow: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    let wide = || text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    narrow.map_or_else(|| (wide(), false), |narrow| (narrow, true))
}

/// What of a key is spoiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The key itself.
    Itself,
    /// The list of its subkeys.
    Keys,
    /// The list of its values.
    Values,
    /// The first of its values.
    Value,
}

/// Overwrites that part of every key of that name in the bytes of a hive.
pub fn spoil(hive: &mut [u8], name: &str, part: Part) {
    let number = |hive: &[u8], at: usize| u32::from_le_bytes(hive[at..at + 4].try_into().unwrap()) as usize;
    let is_key = |at: &usize| {
        hive[*at..].starts_with(b"nk")
            && hive[at + 76..].starts_with(name.as_bytes())
            && usize::from(u16::from_le_bytes([hive[at + 72], hive[at + 73]])) == name.len()
    };
    let keys: Vec<usize> = (4096..hive.len() - 76).step_by(4).filter(is_key).collect();
    assert!(!keys.is_empty(), "{name}");
    for key in keys {
        let list = 4096 + number(hive, key + 40) + 4;
        match part {
            Part::Itself => hive[key..key + 2].copy_from_slice(b"xx"),
            Part::Keys => {
                let list = 4096 + number(hive, key + 28) + 4;
                hive[list..list + 2].copy_from_slice(b"xx");
            }
            // A cell that is not negative in size is free.
            Part::Values => hive[list - 4..list].copy_from_slice(&64_u32.to_le_bytes()),
            Part::Value => {
                let value = 4096 + number(hive, list) + 4;
                hive[value..value + 2].copy_from_slice(b"xx");
            }
        }
    }
}
