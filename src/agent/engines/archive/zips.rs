//! Zips: the members that their directory tells of, and what it does not.

use std::io::{self, Read, Seek, SeekFrom};

use super::super::budget::{Layer, Metered};
use super::{Source, TAIL, Visit, told};

/// The most members that a zip may promise in its directory, which is read whole.
const MAX_DIRECTORY: u64 = 100_000;
/// The password that samples are passed around with, which `getfile -zip` uses too.
const PASSWORD: &[u8] = b"infected";
/// How long a member's head is, without its name.
const HEAD: usize = 30;
/// How much is searched for heads at once.
const BLOCK: u64 = 256 * 1024;

/// Every member of every zip in a file: programs go by the directory at the end, and so does this; what that one does not refer to
/// may be another zip, or members that some programs take out all the same.
pub(super) fn zip<E>(source: &mut dyn Source, layer: &Layer<'_>, visit: Visit<'_, E>) -> Result<(), E> {
    let mut left = vec![(0, layer.packed)];
    while let Some((from, to)) = left.pop() {
        // Many in a row are as many members.
        if !layer.goes_on() || (to < layer.packed && !layer.budget.member()) {
            break;
        }
        let mut piece = Piece { inner: &mut *source, from, size: to - from, at: 0 };
        for (start, end) in directory(&mut piece, to - from, layer, &mut *visit)? {
            let mut gap = Piece { inner: &mut *source, from: from + start, size: end - start, at: 0 };
            if let Some(head) = first_head(&mut gap) {
                let start = from + start + head;
                left.push((start, from + end));
            }
        }
    }
    Ok(())
}

/// The members that the last directory tells of, and the pieces that it does not refer to. `size` is how many bytes there are.
fn directory<E>(source: &mut dyn Source, size: u64, layer: &Layer<'_>, visit: Visit<'_, E>) -> Result<Vec<(u64, u64)>, E> {
    let (budget, name) = (layer.budget, layer.name);
    let none = Ok(Vec::new());
    let end = match promised(source, size) {
        Ok((count, end)) if count <= MAX_DIRECTORY => end,
        Ok((count, _)) => {
            budget.say(format!("{name}: its directory promises {count} members, and none was looked at"));
            return none;
        }
        Err(_) if size < layer.packed => {
            budget.say(format!("{name}: {size} bytes of it that hold members stand in no directory, and were not looked at"));
            return none;
        }
        Err(error) => {
            budget.say(format!("{name}: {error}"));
            return none;
        }
    };
    let mut archive = match zip::ZipArchive::new(source) {
        Ok(archive) => archive,
        Err(error) => {
            budget.say(format!("{name}: {error}"));
            return none;
        }
    };
    let mut referred = vec![(archive.central_directory_start(), end)];
    for place in 0..archive.len() {
        if budget.is_over() {
            break;
        }
        if let Ok(member) = archive.by_index_raw(place) {
            let data = member.data_start().unwrap_or_else(|| member.header_start());
            referred.push((member.header_start(), data.saturating_add(member.compressed_size())));
        }
        // What is encrypted with another password is said as an error of that member.
        let unread = match archive.by_index_decrypt(place, PASSWORD) {
            // A link is where it leads, and a folder may have content: some programs make files of both. Nothing, packed, is two bytes.
            Ok(member) if member.is_dir() && member.size() == 0 && member.compressed_size() <= 2 => None,
            Ok(mut member) => {
                if !budget.member() {
                    break;
                }
                let inner = told(member.name_raw());
                // One that holds too much ends alone.
                let whole = format!("{name} > {inner}");
                let own = Layer::new(budget, &whole, member.compressed_size().min(layer.packed));
                own.holds(member.size());
                visit(&inner, &mut Metered { inner: &mut member, layer: &own })?;
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = unread {
            let inner = archive.name_for_index(place).and_then(Result::ok).map(|name| told(name.as_bytes()));
            let inner = inner.unwrap_or_else(|| format!("member {place}"));
            budget.say(format!("{name} > {inner}: {error}"));
        }
    }
    Ok(if budget.is_over() { Vec::new() } else { gaps(referred, size) })
}

/// What of so many bytes none of the pieces covers.
fn gaps(mut pieces: Vec<(u64, u64)>, size: u64) -> Vec<(u64, u64)> {
    pieces.sort_unstable();
    let (mut gaps, mut at) = (Vec::new(), 0);
    for (from, to) in pieces.into_iter().chain([(size, size)]) {
        if from > at {
            gaps.push((at, from.min(size)));
        }
        at = at.max(to);
    }
    gaps.retain(|(from, to)| to.saturating_sub(*from) > HEAD as u64);
    gaps
}

/// Where the first head of a member stands in a piece: what stands before a zip or between its members is often something else.
fn first_head(piece: &mut Piece<'_>) -> Option<u64> {
    let (mut bytes, mut before) = (Vec::new(), 0_u64);
    loop {
        let kept = bytes.len().min(HEAD - 1);
        before += (bytes.len() - kept) as u64;
        bytes.drain(..bytes.len() - kept);
        let count = (&mut *piece).take(BLOCK).read_to_end(&mut bytes).ok().filter(|&count| count > 0)?;
        let mut heads = memchr::memmem::find_iter(&bytes, b"PK\x03\x04");
        if let Some(at) = heads.find(|&at| bytes.get(at..).is_some_and(is_head)) {
            return Some(before + at as u64);
        }
        if (count as u64) < BLOCK {
            return None;
        }
    }
}

/// Whether a member's head may begin here (APPNOTE 4.3.7): a version that there is, a method that there is, a name.
fn is_head(bytes: &[u8]) -> bool {
    let number = |at: usize| bytes.get(at..at + 2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_le_bytes);
    bytes.len() >= HEAD && number(4) & 0xff <= 63 && matches!(number(8), 0..=20 | 93..=99) && (1..=4096).contains(&number(26))
}

/// A part of what an archive is read from.
struct Piece<'a> {
    inner: &'a mut dyn Source,
    from: u64,
    size: u64,
    at: u64,
}

impl Read for Piece<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        self.inner.seek(SeekFrom::Start(self.from.saturating_add(self.at)))?;
        let count = self.inner.read(buffer.get_mut(..room).unwrap_or_default())?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Piece<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// How many members a zip's directory promises (APPNOTE 4.3.14 and 4.3.16), since the library makes room for all of them, and where the
/// directory and its comment end.
fn promised(source: &mut dyn Source, size: u64) -> io::Result<(u64, u64)> {
    let start = size.saturating_sub(TAIL);
    source.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    (&mut *source).take(TAIL).read_to_end(&mut tail)?;
    source.seek(SeekFrom::Start(0))?;
    let found = |mark: &[u8]| memchr::memmem::rfind(&tail, mark);
    let number = |at: usize, length: usize| {
        let bytes = tail.get(at..at + length).unwrap_or_default();
        bytes.iter().rev().fold(0, |value: u64, &byte| (value << 8) | u64::from(byte))
    };
    let end = found(b"PK\x05\x06").ok_or_else(|| io::Error::other("it has no directory: cut, or no zip"))?;
    let (count, behind) = (number(end + 10, 2), start + end as u64 + 22 + number(end + 20, 2));
    if count < 0xffff {
        return Ok((count, behind));
    }
    Ok((found(b"PK\x06\x06").map_or(u64::MAX, |wide| number(wide + 32, 8)), behind))
}
