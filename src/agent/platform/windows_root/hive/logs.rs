//! The logs beside a hive (`.LOG1`, `.LOG2`, `.LOG`): what a device that stopped had not yet written into the hive itself. They are
//! laid over the hive where it is read; neither file is changed, and nothing of them is kept in memory but where each piece is.
//!
//! Both formats of Suhanov's specification: since Windows 8.1 entries that follow each other by number, each with its checksums;
//! before, one set of changed sectors. A hive is written after its log: what of a log the hive has already is passed over.

use std::collections::BTreeMap;
use std::io;

use super::BINS;
use super::source::{Bytes, checksum, u32_at, u64_at};

/// What a hive and its logs are cut into.
const SECTOR: u64 = 512;
/// A log that is larger is not one: Windows writes the hive long before.
const MAX_LOG: u64 = 256 * 1024 * 1024;
/// The largest entry of a log.
const MAX_ENTRY: u64 = 64 * 1024 * 1024;
/// The head of an entry.
const HEAD: usize = 40;
/// The number that Windows begins the checksums of entries with.
const SEED: u64 = 0x82ef_4d88_7a4e_55c5;

/// A hive with what its logs have laid over it.
pub(super) struct Overlaid {
    hive: Box<dyn Bytes>,
    logs: Vec<Box<dyn Bytes>>,
    /// Which sector lies in which log, and where there.
    sectors: BTreeMap<u64, (usize, u64)>,
    length: u64,
}

/// A piece of a hive in a log: where its bytes belong (from the first bin), how many, and where they are.
struct Piece {
    to: u64,
    size: u64,
    at: u64,
}

/// What was written at once.
struct Entry {
    number: u32,
    log: usize,
    /// The bytes of bins that the hive has then.
    size: u64,
    pieces: Vec<Piece>,
}

/// Lays the logs over a hive: the hive, how many bytes of bins it has then, and how many entries there were. No entries: as it was.
pub(super) fn overlay(hive: Box<dyn Bytes>, head: &[u8], logs: Vec<Box<dyn Bytes>>) -> (Box<dyn Bytes>, u64, usize) {
    let mut size = u64::from(u32_at(head, 40));
    // Where the head itself is damaged nothing tells which entries it has.
    let entries = if checksum(head) == u32_at(head, 508) { entries(head, &logs) } else { Vec::new() };
    if entries.is_empty() {
        return (hive, size, 0);
    }
    let mut sectors = BTreeMap::new();
    for entry in &entries {
        size = entry.size;
        for piece in &entry.pieces {
            for step in (0..piece.size).step_by(512) {
                sectors.insert((BINS + piece.to + step) / SECTOR, (entry.log, piece.at + step));
            }
        }
    }
    let length = BINS + size;
    (Box::new(Overlaid { hive, logs, sectors, length }), size, entries.len())
}

/// The entries that a hive has not yet, in order.
fn entries(head: &[u8], logs: &[Box<dyn Bytes>]) -> Vec<Entry> {
    let (first, last) = (u32_at(head, 4), u32_at(head, 8));
    let mut all = Vec::new();
    for (number, log) in logs.iter().enumerate() {
        let mut block = [0; 512];
        if log.length().is_ok_and(|length| length > MAX_LOG) || log.read(0, &mut block).is_err() {
            continue;
        }
        if !block.starts_with(b"regf") || checksum(&block) != u32_at(&block, 508) {
            continue;
        }
        match u32_at(&block, 28) {
            6 => all.extend(numbered(log.as_ref(), number)),
            // It was written whole, and the hive was begun behind it.
            1 | 2 if u32_at(&block, 4) == u32_at(&block, 8) && [first, last].contains(&u32_at(&block, 8)) => {
                if let Some(entry) = sectors_of(log.as_ref(), number, &block) {
                    return vec![entry];
                }
            }
            _ => {}
        }
    }
    all.retain(|entry| entry.number >= last);
    all.sort_by_key(|entry| entry.number);
    all.dedup_by_key(|entry| entry.number);
    let follow = all.windows(2).take_while(|pair| matches!(pair, [one, next] if one.number + 1 == next.number)).count();
    all.truncate(follow + 1);
    all
}

/// The entries of a log since Windows 8.1, as far as they are whole and follow each other.
fn numbered(log: &dyn Bytes, of: usize) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    let length = log.length().unwrap_or(0);
    let mut at = SECTOR;
    while let Some((entry, size)) = entry(log, of, at, length) {
        if all.last().is_some_and(|last| last.number.checked_add(1) != Some(entry.number)) {
            break;
        }
        all.push(entry);
        at += size;
    }
    all
}

/// The entry at a place, and its size; `None` where none is, or a damaged one.
fn entry(log: &dyn Bytes, of: usize, at: u64, length: u64) -> Option<(Entry, u64)> {
    let mut head = [0; HEAD];
    log.read(at, &mut head).ok()?;
    let size = u64::from(u32_at(&head, 4));
    let fits = size > HEAD as u64 && size.is_multiple_of(SECTOR) && size <= MAX_ENTRY && size <= length.checked_sub(at)?;
    if !head.starts_with(b"HvLE") || !fits || marvin32(SEED, head.get(..32)?) != u64_at(&head, 32) {
        return None;
    }
    let mut body = vec![0; usize::try_from(size).ok()? - HEAD];
    log.read(at + HEAD as u64, &mut body).ok()?;
    if marvin32(SEED, &body) != u64_at(&head, 24) {
        return None;
    }
    let (bins, count) = (u64::from(u32_at(&head, 16)), usize::try_from(u32_at(&head, 20)).ok()?);
    let places = body.get(..count.checked_mul(8)?)?;
    let mut next = at + HEAD as u64 + places.len() as u64;
    let mut pieces = Vec::new();
    for place in places.chunks_exact(8) {
        let piece = Piece { to: u64::from(u32_at(place, 0)), size: u64::from(u32_at(place, 4)), at: next };
        next += piece.size;
        let whole = piece.to.is_multiple_of(SECTOR) && piece.size.is_multiple_of(SECTOR);
        if !whole || piece.to + piece.size > bins || next > at + size {
            return None;
        }
        pieces.push(piece);
    }
    let entry = Entry { number: u32_at(&head, 12), log: of, size: bins, pieces };
    bins.is_multiple_of(4096).then_some((entry, size))
}

/// A log before Windows 8.1 as one entry: a bit for each sector of the bins, then the sectors whose bits are set.
fn sectors_of(log: &dyn Bytes, of: usize, block: &[u8]) -> Option<Entry> {
    let (size, length) = (u64::from(u32_at(block, 40)), log.length().ok()?);
    let mut bits = vec![0; usize::try_from(size.min(u64::from(u32::MAX)) / SECTOR / 8).ok()?];
    let mut mark = [0; 4];
    log.read(SECTOR, &mut mark).ok()?;
    if mark != *b"DIRT" || !size.is_multiple_of(4096) || bits.len() as u64 > length {
        return None;
    }
    log.read(SECTOR + 4, &mut bits).ok()?;
    let mut at = SECTOR + (4 + bits.len() as u64).next_multiple_of(SECTOR);
    let mut pieces = Vec::new();
    for sector in 0..size / SECTOR {
        let byte = bits.get(usize::try_from(sector / 8).ok()?)?;
        if byte >> (sector % 8) & 1 == 1 {
            pieces.push(Piece { to: sector * SECTOR, size: SECTOR, at });
            at += SECTOR;
        }
    }
    (at <= length).then_some(Entry { number: u32_at(block, 8), log: of, size, pieces })
}

impl Bytes for Overlaid {
    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        if at.checked_add(into.len() as u64).is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let own = self.hive.length()?;
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            let next = self.sectors.range(at / SECTOR..).next();
            let over = next.filter(|(sector, _)| **sector == at / SECTOR).map(|(_, place)| *place);
            let end = match (over, next) {
                (Some(_), _) => (at / SECTOR + 1) * SECTOR,
                (None, Some((sector, _))) => sector * SECTOR,
                (None, None) => u64::MAX,
            };
            // The hive itself ends where it ends: what it had grown by is zero until a log says what it is.
            let end = if over.is_none() && at < own { end.min(own) } else { end };
            let length = rest.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            let (now, behind) = rest.split_at_mut(length);
            match over {
                Some((log, place)) => {
                    let log = self.logs.get(log).ok_or(io::ErrorKind::NotFound)?;
                    log.read(place + at % SECTOR, now)?;
                }
                None if at < own => self.hive.read(at, now)?,
                None => now.fill(0),
            }
            at += length as u64;
            rest = behind;
        }
        Ok(())
    }
}

/// The checksum of entries: Marvin32 (Niels Ferguson, US patent 8,555,067).
fn marvin32(seed: u64, bytes: &[u8]) -> u64 {
    let mix = |(mut low, mut high): (u32, u32), number: u32| {
        low = low.wrapping_add(number);
        high ^= low;
        low = low.rotate_left(20).wrapping_add(high);
        high = high.rotate_left(9) ^ low;
        low = low.rotate_left(27).wrapping_add(high);
        (low, high.rotate_left(19))
    };
    let (numbers, rest) = bytes.as_chunks::<4>();
    let [low, high] = [seed, seed >> 32].map(|half| u32::try_from(half & u64::from(u32::MAX)).unwrap_or(0));
    let state = numbers.iter().fold((low, high), |state, number| mix(state, u32::from_le_bytes(*number)));
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest.iter().chain(&[0x80])) {
        *to = *from;
    }
    let (low, high) = mix(mix(state, u32::from_le_bytes(last)), 0);
    u64::from(high) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_marvin32() {
        // The vectors that .NET tests its own with.
        let check = |bytes: &[u8], sum: u64| assert_eq!(marvin32(0x004f_b61a_001b_dbcc, bytes), sum);
        check(&[], 0x30ed_35c1_00cd_3c7d);
        check(&[0xaf], 0x48e7_3fc7_7d75_ddc1);
        check(&[0xe7, 0x0f], 0xb5f6_e1fc_485d_bff8);
        check(&[0x37, 0xf4, 0x95], 0xf0b0_7c78_9b8c_f7e8);
        check(&[0x86, 0x42, 0xdc, 0x59], 0x7008_f2e8_7e9c_f556);
    }

    #[test]
    fn sectors_of_logs_lie_over_the_hive() {
        let hive = (0..BINS + 2048).map(|at| u8::try_from(at / SECTOR % 100).unwrap()).collect::<Vec<u8>>();
        let log: Vec<u8> = vec![200; 1024].into_iter().chain(vec![201; 512]).collect();
        let sectors = BTreeMap::from([(9, (0, 512)), (10, (0, 1024)), (13, (0, 0))]);
        let length = BINS + 4096;
        let over = Overlaid { hive: Box::new(hive), logs: vec![Box::new(log)], sectors, length };
        let mut all = vec![1; usize::try_from(length).unwrap()];
        over.read(0, &mut all).unwrap();
        let by_sector: Vec<u8> =
            all.chunks(512).map(|sector| if sector.iter().all(|byte| *byte == sector[0]) { sector[0] } else { 255 }).collect();
        assert_eq!(by_sector, [0, 1, 2, 3, 4, 5, 6, 7, 8, 200, 201, 11, 0, 200, 0, 0]);
        for (at, count) in [(4600, 2000), (0, 1), (5119, 2), (6143, 1000), (8191, 1)] {
            let mut some = vec![1; count];
            over.read(at, &mut some).unwrap();
            assert_eq!(some, all[usize::try_from(at).unwrap()..][..count], "{at}");
        }
        assert!(over.read(length - 1, &mut [0; 2]).is_err());
        assert!(over.read(u64::MAX, &mut [0; 2]).is_err());
    }
}
