//! A frame of a spool: one event, which stands for itself.
//!
//! A frame is length and CRC-32 of what follows (little-endian, 4 bytes each), then the event's number (8 bytes) and its
//! JSON, compressed by zstd. Behind damage the next frame is looked for by the four bytes that all zstd data begins with
//! (RFC 8878, section 3.1.1).

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

thread_local! {
    /// Making one takes longer than most events need it for.
    static PACKER: RefCell<zstd::bulk::Compressor<'static>> = RefCell::new(fast_packer());
}

/// No event is larger, in bytes of JSON; what is larger is not written and, when read, damage.
pub(super) const MAX_EVENT: usize = 16 << 20;
/// Length and checksum.
pub(super) const HEAD: usize = 8;
/// The event's number.
const NUMBER: usize = 8;
/// What is counted by a frame's length, at most: an event that does not shrink, and what zstd adds to it.
const MAX_LENGTH: usize = NUMBER + MAX_EVENT + (MAX_EVENT >> 8) + 1024;
/// What zstd data begins with.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// So much is searched at once for the next whole frame.
const WINDOW: usize = 64 << 10;

fn fast_packer() -> zstd::bulk::Compressor<'static> {
    let mut packer = zstd::bulk::Compressor::default();
    // Where the level cannot be set, the ordinary one does.
    let _ = packer.set_compression_level(1);
    packer
}

/// An event as a frame.
pub(super) fn framed(n: u64, json: &[u8]) -> io::Result<Vec<u8>> {
    if json.len() > MAX_EVENT {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an event is larger than any may be"));
    }
    let packed = PACKER.with_borrow_mut(|packer| packer.compress(json))?;
    let length = u32::try_from(NUMBER + packed.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(HEAD + NUMBER + packed.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&n.to_le_bytes());
    frame.extend_from_slice(&packed);
    let checksum = crc32fast::hash(frame.get(HEAD..).unwrap_or_default());
    if let Some(place) = frame.get_mut(4..HEAD) {
        place.copy_from_slice(&checksum.to_le_bytes());
    }
    Ok(frame)
}

/// Number and packed JSON of a frame whose checksum is right.
pub(super) fn whole(frame: &[u8]) -> Option<(u64, &[u8])> {
    let (length, rest) = frame.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let content = rest.get(..u32::from_le_bytes(*length) as usize)?;
    let (n, packed) = content.split_first_chunk::<NUMBER>()?;
    (crc32fast::hash(content) == u32::from_le_bytes(*checksum)).then_some((u64::from_le_bytes(*n), packed))
}

/// Reads the frame that begins here into `content`, without its head; its number, when it is whole.
pub(super) fn next_frame(reader: &mut impl Read, left: u64, content: &mut Vec<u8>) -> io::Result<Option<u64>> {
    if left < (HEAD + NUMBER) as u64 {
        return Ok(None);
    }
    let mut head = [0; HEAD];
    reader.read_exact(&mut head)?;
    let [a, b, c, d, checksum @ ..] = head;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if !(NUMBER..=MAX_LENGTH).contains(&length) || (HEAD + length) as u64 > left {
        return Ok(None);
    }
    content.resize(length, 0);
    reader.read_exact(content)?;
    let right = crc32fast::hash(content) == u32::from_le_bytes(checksum);
    Ok(content.first_chunk::<NUMBER>().filter(|_| right).map(|n| u64::from_le_bytes(*n)))
}

/// Where the next whole frame begins, from `from` on.
pub(super) fn search(file: &File, from: u64, size: u64) -> io::Result<Option<u64>> {
    let mut window = vec![0; WINDOW];
    let mut content = Vec::new();
    let mut at = from;
    while at < size {
        let read = read_up_to(file, &mut window, at)?;
        let bytes = window.get(..read).unwrap_or_default();
        for (place, found) in bytes.windows(ZSTD.len()).enumerate() {
            // The data begins behind head and number.
            let Some(begin) = (at + place as u64).checked_sub((HEAD + NUMBER) as u64) else { continue };
            if found != ZSTD || begin < from {
                continue;
            }
            let mut reader = file;
            reader.seek(SeekFrom::Start(begin))?;
            if next_frame(&mut reader, size - begin, &mut content)?.is_some() {
                return Ok(Some(begin));
            }
        }
        if read < WINDOW {
            break;
        }
        // The four bytes may lie across the border.
        at += (read - (ZSTD.len() - 1)) as u64;
    }
    Ok(None)
}

fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + read as u64)? {
            0 => break,
            count => read += count,
        }
    }
    Ok(read)
}
