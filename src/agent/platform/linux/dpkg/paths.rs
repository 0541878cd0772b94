//! A table by path for very many of them: their bytes lie in one piece, so that a path costs no memory of its own to ask for.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// What is known of each path.
#[derive(Debug)]
pub(super) struct Paths<V> {
    bytes: Vec<u8>,
    table: HashTable<Slot<V>>,
    state: RandomState,
}

/// Where a path lies among the bytes, and what is known of it.
#[derive(Debug)]
struct Slot<V> {
    start: u32,
    length: u32,
    value: V,
}

impl<V> Default for Paths<V> {
    fn default() -> Self {
        Self { bytes: Vec::new(), table: HashTable::new(), state: RandomState::default() }
    }
}

impl<V> Slot<V> {
    fn path<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = self.start as usize;
        bytes.get(start..start + self.length as usize).unwrap_or_default()
    }
}

impl<V> Paths<V> {
    /// Makes room for so many more paths of so many bytes together.
    pub(super) fn reserve(&mut self, paths: usize, bytes: usize) {
        self.bytes.reserve(bytes);
        let (bytes, state) = (&self.bytes, &self.state);
        self.table.reserve(paths, |slot| state.hash_one(slot.path(bytes)));
    }

    /// Adds a path, given in two parts; where it is known already, what is known of it. Nothing is added beyond four gigabytes.
    pub(super) fn add(&mut self, front: &[u8], rest: &[u8], value: V) -> Option<&mut V> {
        let start = self.bytes.len();
        let length = front.len() + rest.len();
        let (Ok(begin), Ok(_), Ok(length)) =
            (u32::try_from(start), u32::try_from(start.saturating_add(length)), u32::try_from(length))
        else {
            return None;
        };
        self.bytes.extend_from_slice(front);
        self.bytes.extend_from_slice(rest);
        let (bytes, state) = (&self.bytes, &self.state);
        let path = bytes.get(start..).unwrap_or_default();
        let hash = state.hash_one(path);
        match self.table.entry(hash, |slot| slot.path(bytes) == path, |slot| state.hash_one(slot.path(bytes))) {
            Entry::Occupied(known) => {
                self.bytes.truncate(start);
                Some(&mut known.into_mut().value)
            }
            Entry::Vacant(place) => {
                place.insert(Slot { start: begin, length, value });
                None
            }
        }
    }

    /// What is known of a path.
    pub(super) fn get(&self, path: &[u8]) -> Option<&V> {
        let found = self.table.find(self.state.hash_one(path), |slot| slot.path(&self.bytes) == path);
        found.map(|slot| &slot.value)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_whatever_their_parts_were() {
        let mut paths = Paths::default();
        paths.reserve(2, 20);
        for number in 0..5_000_u32 {
            let path = format!("/lib/x{number}");
            assert!(paths.add(b"/usr", path.as_bytes(), number).is_none(), "{path}");
        }
        for number in 0..5_000_u32 {
            assert_eq!(paths.get(format!("/usr/lib/x{number}").as_bytes()), Some(&number));
        }
        assert_eq!(paths.get(b"/lib/x1"), None);
        assert_eq!(paths.get(b""), None);
        let held = paths.bytes.len();
        *paths.add(b"", b"/usr/lib/x7", 0).unwrap() = 9;
        assert_eq!((paths.get(b"/usr/lib/x7"), paths.bytes.len()), (Some(&9), held));
        assert!(paths.add(b"", b"", 1).is_none());
        assert_eq!(paths.get(b""), Some(&1));
        assert!(!paths.is_empty() && Paths::<u32>::default().is_empty());
    }
}
