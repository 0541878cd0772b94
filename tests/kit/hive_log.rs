//! Writes the logs beside a hive, in both formats: of a hive as it was and as it became.

use super::hive::seal;

const BINS: usize = 4096;

/// Marks a hive as not written to its end: what it was begun and ended with last.
pub fn dirty(hive: &mut [u8], first: u32, last: u32) {
    hive[4..8].copy_from_slice(&first.to_le_bytes());
    hive[8..12].copy_from_slice(&last.to_le_bytes());
    seal(hive);
}

/// The pieces of that size which have changed, each with where it belongs behind the head.
fn changed(before: &[u8], after: &[u8], size: usize) -> Vec<(u32, Vec<u8>)> {
    let pieces = after[BINS..].chunks(size).enumerate();
    let place = |number: usize| u32::try_from(number * size).unwrap();
    let differs = |number: &usize, piece: &[u8]| before[BINS..].chunks(size).nth(*number) != Some(piece);
    pieces.filter(|(number, piece)| differs(number, piece)).map(|(number, piece)| (place(number), piece.to_vec())).collect()
}

/// An entry of a log since Windows 8.1: what made `after` of `before`.
pub fn entry(number: u32, before: &[u8], after: &[u8]) -> Vec<u8> {
    let pages = changed(before, after, 4096);
    let mut body: Vec<u8> = Vec::new();
    for (place, page) in &pages {
        body.extend(place.to_le_bytes());
        body.extend(u32::try_from(page.len()).unwrap().to_le_bytes());
    }
    body.extend(pages.iter().flat_map(|(_, page)| page));
    let size = (40 + body.len()).next_multiple_of(512);
    body.resize(size - 40, 0);
    let mut head = b"HvLE".to_vec();
    let bins = u32::try_from(after.len() - BINS).unwrap();
    for field in [u32::try_from(size).unwrap(), 0, number, bins, u32::try_from(pages.len()).unwrap()] {
        head.extend(field.to_le_bytes());
    }
    head.extend(marvin(&body).to_le_bytes());
    head.extend(marvin(&head).to_le_bytes());
    [head, body].concat()
}

/// A log since Windows 8.1 with these entries.
pub fn log(hive: &[u8], number: u32, entries: &[Vec<u8>]) -> Vec<u8> {
    [head(hive, 6, number), entries.concat()].concat()
}

/// A log before Windows 8.1: what made `after` of `before`.
pub fn old_log(number: u32, before: &[u8], after: &[u8]) -> Vec<u8> {
    let sectors = changed(before, after, 512);
    let mut bits = vec![0_u8; (after.len() - BINS) / 512 / 8];
    for (place, _) in &sectors {
        let sector = *place as usize / 512;
        bits[sector / 8] |= 1 << (sector % 8);
    }
    let mut log = head(after, 1, number);
    log.extend(b"DIRT");
    log.extend(bits);
    log.resize(log.len().next_multiple_of(512), 0);
    log.extend(sectors.into_iter().flat_map(|(_, sector)| sector));
    log
}

/// The head of a log: that of the hive, with what kind of file it is, written to its end.
fn head(hive: &[u8], kind: u32, number: u32) -> Vec<u8> {
    let mut head = hive[..512].to_vec();
    head[28..32].copy_from_slice(&kind.to_le_bytes());
    dirty(&mut head, number, number);
    head
}

/// Marvin32 with the number that Windows begins it with.
fn marvin(bytes: &[u8]) -> u64 {
    let (mut low, mut high) = (0x7a4e_55c5_u32, 0x82ef_4d88_u32);
    let mut padded = [bytes, &[0x80]].concat();
    padded.resize(padded.len().next_multiple_of(4) + 4, 0);
    for number in padded.chunks(4) {
        low = low.wrapping_add(u32::from_le_bytes(number.try_into().unwrap()));
        high ^= low;
        low = low.rotate_left(20).wrapping_add(high);
        high = high.rotate_left(9) ^ low;
        low = low.rotate_left(27).wrapping_add(high);
        high = high.rotate_left(19);
    }
    u64::from(high) << 32 | u64::from(low)
}
