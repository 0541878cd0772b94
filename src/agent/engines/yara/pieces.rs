//! A file that is larger than what is kept of it in memory, as boreal looks at it: piece by piece, each at its own offset.
//!
//! The first time pieces overlap, so that what lies across a border is found (boreal counts what it finds twice at one offset once).
//! Whenever a condition asks for bytes again, pieces follow each other without a gap, as hashes over ranges need them.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use boreal::memory::{FragmentedMemory, MemoryParams, Region, RegionDescription};
use rustix::fs::SeekFrom;

use super::Tally;
use crate::agent::engines::reading::read_more;
use crate::agent::path::reason;

/// How large a piece is.
const PIECE: u64 = 4 * 1024 * 1024;
/// How much of a piece the next one shows again.
const OVERLAP: u64 = 64 * 1024;
/// What programs begin with that YARA's modules know: a piece in the middle of a file is none, whatever stands there.
const PROGRAMS: [&[u8]; 9] = [
    b"MZ",
    b"\x7fELF",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"\xca\xfe\xba\xbf",
    b"dex\n",
];

/// What kept a file from being seen whole.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    cut: AtomicBool,
    error: Mutex<Option<String>>,
}

impl Outcome {
    /// In words, where there is anything.
    pub(super) fn told(&self, size: u64, bound: u64) -> Vec<String> {
        let cut = self.cut.load(Ordering::Relaxed);
        let cut = cut.then(|| format!("of its {size} bytes only the first {bound} that hold data were looked at"));
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        cut.into_iter().chain(error.map(|why| format!("it could not be read whole: {why}"))).collect()
    }

    fn failed(&self, error: &io::Error) {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| reason(error).1);
    }
}

/// A file in pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    file: File,
    /// The first piece, which is in memory all the time.
    start: Arc<Vec<u8>>,
    size: u64,
    tally: Tally,
    outcome: Arc<Outcome>,
    /// How much more data may be read.
    left: u64,
    /// Where every piece but the first begins, and how long it is.
    known: Vec<(u64, u64)>,
    /// Whether they are being found out, which is the first time.
    first_time: bool,
    /// Which one comes next, the start counted.
    at: usize,
    /// What is in `buffer`: where it begins.
    held: Option<u64>,
    buffer: Vec<u8>,
}

impl Pieces {
    pub(super) fn new(file: File, start: Arc<Vec<u8>>, size: u64, bound: u64, tally: Tally, outcome: Arc<Outcome>) -> Self {
        let left = bound.saturating_sub(start.len() as u64);
        let (known, buffer) = (Vec::new(), Vec::new());
        Self { file, start, size, tally, outcome, left, known, first_time: true, at: 0, held: None, buffer }
    }

    /// The piece behind those that are known: from the next byte that holds data.
    fn find(&mut self) -> Option<(u64, u64)> {
        let end = self.known.last().map_or(self.start.len() as u64, |(from, length)| from + length);
        // What has no holes to tell of has data everywhere.
        let from = match rustix::fs::seek(&self.file, SeekFrom::Data(end)) {
            Err(rustix::io::Errno::NXIO) => return None,
            Ok(data) => data.max(end),
            Err(_) => end,
        };
        if from >= self.size || self.tally.stop.asked() {
            return None;
        }
        if self.left == 0 {
            self.outcome.cut.store(true, Ordering::Relaxed);
            return None;
        }
        let length = PIECE.min(self.size - from).min(self.left);
        self.left -= length;
        self.known.push((from, length));
        Some((from, length))
    }

    /// A piece with what it shares with the one before, if that lies right before it.
    fn overlapping(&self, (from, length): (u64, u64)) -> (u64, u64) {
        let mut before = self.known.iter().rev().skip(1);
        let end = before.next().map_or(self.start.len() as u64, |(from, length)| from + length);
        let shared = if end == from { OVERLAP } else { 0 };
        (from - shared, length + shared)
    }

    /// Reads into the buffer what is not in it; whether all of that came.
    fn load(&mut self, from: u64, length: u64) -> bool {
        if self.held == Some(from) && self.buffer.len() as u64 == length {
            return true;
        }
        self.held = None;
        self.buffer.clear();
        while (self.buffer.len() as u64) < length && !self.tally.stop.asked() {
            let (had, left) = (self.buffer.len() as u64, usize::try_from(length - self.buffer.len() as u64).unwrap_or(0));
            match read_more(&self.file, from + had, left, &mut self.buffer) {
                Ok(0) => break,
                Ok(count) => {
                    self.tally.meter.read(count as u64);
                    self.tally.done.fetch_add(count as u64, Ordering::Relaxed);
                }
                Err(error) => {
                    self.outcome.failed(&error);
                    break;
                }
            }
        }
        self.held = Some(from);
        self.buffer.len() as u64 == length
    }

    /// Where the piece that was listed last begins, and how long it is.
    fn current(&self) -> Option<(u64, u64)> {
        let known = self.at.checked_sub(2).and_then(|place| self.known.get(place).copied());
        if self.first_time { known.map(|piece| self.overlapping(piece)) } else { known }
    }
}

impl FragmentedMemory for Pieces {
    fn next(&mut self, _params: &MemoryParams) -> Option<RegionDescription> {
        self.at += 1;
        if self.at == 1 {
            return Some(RegionDescription { start: 0, length: self.start.len() });
        }
        if self.first_time {
            self.find()?;
        }
        let (from, length) = self.current()?;
        Some(RegionDescription { start: usize::try_from(from).ok()?, length: usize::try_from(length).ok()? })
    }

    fn fetch(&mut self, _params: &MemoryParams) -> Option<Region<'_>> {
        if self.at < 2 {
            return Some(Region { start: 0, mem: &self.start });
        }
        let (mut from, mut length) = self.current()?;
        let mut came = self.load(from, length);
        if self.first_time && PROGRAMS.iter().any(|program| self.buffer.starts_with(program)) {
            // One byte more in front, and it is no program to whoever looks.
            (from, length) = (from - 1, length + 1);
            came = self.load(from, length);
        }
        // A file that became shorter is looked at as far as it goes now, which whoever read it first has said or will say.
        if !came && !self.first_time {
            return None;
        }
        Some(Region { start: usize::try_from(from).ok()?, mem: &self.buffer })
    }

    fn reset(&mut self) {
        self.first_time = false;
        self.at = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use boreal::compiler::Compiler;
    use boreal::scanner::{FragmentedScanMode, ScanParams};

    use super::*;
    use crate::agent::context::Stop;

    const START: usize = 1024 * 1024;

    /// The rules that match a file of which the first megabyte is in memory.
    fn matching(file: &File, bound: u64, rules: &str) -> (Vec<String>, Vec<String>) {
        let size = file.metadata().unwrap().len();
        let mut start = vec![0; START];
        file.read_exact_at(&mut start, 0).unwrap();
        let mut compiler = Compiler::new();
        compiler.add_rules_str(rules).unwrap();
        let mut scanner = compiler.finalize();
        scanner.set_scan_params(ScanParams::default().fragmented_scan_mode(FragmentedScanMode::legacy()));
        let outcome = Arc::new(Outcome::default());
        let tally = Tally { stop: Stop::default(), meter: Arc::default(), done: Arc::default() };
        let pieces = Pieces::new(file.try_clone().unwrap(), Arc::new(start), size, bound, tally, Arc::clone(&outcome));
        let found = scanner.scan_fragmented(pieces).unwrap();
        let mut names: Vec<String> = found.rules.iter().map(|rule| rule.name.to_owned()).collect();
        names.sort();
        (names, outcome.told(size, bound))
    }

    #[test]
    fn offsets_are_those_of_the_whole() {
        let mut file = tempfile::tempfile().unwrap();
        // A program at its start, and what looks like one at each border of a piece.
        let program = std::fs::read("/proc/self/exe").unwrap();
        let mut content = program[..4096].to_vec();
        content.resize(START + 3 * usize::try_from(PIECE).unwrap() + 100, b'.');
        let border = START + usize::try_from(PIECE - OVERLAP).unwrap();
        for at in [START, START - usize::try_from(OVERLAP).unwrap(), border] {
            content[at..at + 4].copy_from_slice(b"\x7fELF");
        }
        let across = START + usize::try_from(PIECE).unwrap() - 3;
        content[across..across + 6].copy_from_slice(b"needle");
        file.write_all(&content).unwrap();
        let rules = format!(
            r#"
            import "hash"
            rule across {{ strings: $a = "needle" condition: $a at {across} and #a == 1 }}
            rule at_start {{ strings: $a = "\x7fELF" condition: $a at 0 }}
            rule each_once {{ strings: $a = "\x7fELF" condition: #a == 4 }}
            rule in_order {{ strings: $a = "\x7fELF" condition: @a[2] == {} }}
            rule none {{ strings: $a = "needle" condition: $a at 0 or $a in (0..100) }}
            rule read {{ condition: uint32(0) == 0x464c457f and uint8({}) == 0x2e and uint8({across}) == 0x6e }}
            rule beyond {{ condition: uint8({}) == 0x2e }}
            rule hashed {{ condition: hash.crc32(0, {size}) == {} }}
            rule entry {{ condition: entrypoint > {START} }}
            "#,
            START - usize::try_from(OVERLAP).unwrap(),
            content.len() - 1,
            content.len(),
            crc32fast::hash(&content),
            size = content.len(),
        );
        let wanted = ["across", "at_start", "each_once", "hashed", "in_order", "read"].map(ToOwned::to_owned).to_vec();
        assert_eq!(matching(&file, u64::MAX, &rules), (wanted, vec![]));
    }

    #[test]
    fn holes_are_passed_over_and_a_bound_is_said() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 << 30).unwrap();
        let at = 5_u64 << 30;
        file.write_all_at(b"needle", at).unwrap();
        file.write_all_at(b"thread", at + 1024 * 1024 * 1024).unwrap();
        let rules = format!(
            r#"rule needle {{ strings: $a = "needle" condition: $a at {at} }} rule thread {{ strings: $a = "thread" condition: $a }}"#
        );
        let all = ["needle".to_owned(), "thread".to_owned()].to_vec();
        assert_eq!(matching(&file, 1 << 30, &rules), (all, vec![]));
        let (found, told) = matching(&file, START as u64 + PIECE, &rules);
        assert_eq!(found, ["needle"]);
        assert!(told[0].contains("only the first 5242880 that hold data"), "{told:?}");
    }
}
