//! Lists of ids, by which Explorer names what a shortcut leads to: one part after the other, each in a form of its own. After Joachim
//! Metz, "Windows Shell Item format specification"; what is not known there is left out and said.

use super::bytes::{bytes_at, u16_at};
use super::text::{narrow, until_zero, utf16};

/// The most parts that are read.
const MAX_ITEMS: usize = 256;
/// This computer, which stands before a drive and says nothing.
const COMPUTER: [u8; 16] = [0xe0, 0x4f, 0xd0, 0x20, 0xea, 0x3a, 0x69, 0x10, 0xa2, 0xd8, 0x08, 0, 0x2b, 0x30, 0x30, 0x9d];
/// The mark of the block that holds a long name.
const LONG_NAME: [u8; 4] = [0x04, 0, 0xef, 0xbe];
/// The mark of what stands for a file in a folder that is not on a disk.
const DELEGATE: &[u8] = b"CFSF";

/// The path that a list names, and whether all of its parts were understood; `None` where it names none.
#[must_use]
pub fn path(list: &[u8]) -> Option<(String, bool)> {
    let (mut path, mut whole, mut rest) = (String::new(), true, list);
    for _ in 0..MAX_ITEMS {
        let Some(size) = u16_at(rest, 0).map(usize::from).filter(|&size| size >= 3) else { break };
        let Some(item) = rest.get(..size) else {
            whole = false;
            break;
        };
        rest = rest.get(size..).unwrap_or_default();
        match part(item) {
            Some(Part::Nothing) => {}
            Some(Part::Start(start)) => path = start,
            Some(Part::Name(name)) => {
                if !path.is_empty() && !path.ends_with('\\') {
                    path.push('\\');
                }
                path.push_str(&name);
            }
            None => whole = false,
        }
    }
    (!path.is_empty()).then_some((path, whole))
}

enum Part {
    /// It says nothing of the path.
    Nothing,
    /// The path begins here.
    Start(String),
    /// A name below what stands before it.
    Name(String),
}

fn part(item: &[u8]) -> Option<Part> {
    let kind = *item.get(2)?;
    if item.get(6..10) == Some(DELEGATE) {
        return file(item.get(10..)?).map(Part::Name);
    }
    match kind {
        0x1f => {
            let class = bytes_at::<16>(item, 4)?;
            Some(if class == COMPUTER { Part::Nothing } else { Part::Start(format!("::{}", guid(&class))) })
        }
        0x2e => Some(Part::Start(format!("::{}", guid(&bytes_at::<16>(item, 4)?)))),
        0x20..=0x2f => Some(Part::Start(narrow(until_zero(item.get(3..)?)))),
        0x30..=0x3f => file(item).map(Part::Name),
        // A server, or a share of one.
        0x40..=0x4f | 0xc0..=0xcf => Some(Part::Start(narrow(until_zero(item.get(5..)?)))),
        0x61 => {
            // An address: in UTF-16 where a flag says so.
            let (flags, data) = (*item.get(3)?, usize::from(u16_at(item, 4)?));
            let text = item.get(6 + data..)?;
            Some(Part::Start(if flags & 0x80 == 0 { narrow(until_zero(text)) } else { utf16(text) }))
        }
        _ => None,
    }
}

/// The name of a file or folder: the long one where there is one.
fn file(item: &[u8]) -> Option<String> {
    let long =
        item.windows(4).position(|bytes| bytes == LONG_NAME).and_then(|mark| long_name(item.get(mark.checked_sub(4)?..)?));
    let wide = item.get(2)? & 4 != 0;
    let short = || item.get(14..).map(|name| if wide { utf16(name) } else { narrow(until_zero(name)) });
    long.or_else(short).filter(|name| !name.is_empty())
}

/// The name in its block, which grew from one Windows to the next.
fn long_name(block: &[u8]) -> Option<String> {
    let size = usize::from(u16_at(block, 0)?);
    let at = match u16_at(block, 2)? {
        0..3 => return None,
        3..7 => 20,
        7 => 38,
        8 => 42,
        _ => 46,
    };
    Some(utf16(block.get(at..size.min(block.len()))?)).filter(|name| !name.is_empty())
}

/// A class as Windows writes it: the first three numbers with their smallest byte first.
fn guid(bytes: &[u8; 16]) -> String {
    let part = |places: &[usize]| -> String {
        places.iter().filter_map(|&place| bytes.get(place)).map(|byte| format!("{byte:02X}")).collect()
    };
    let parts = [part(&[3, 2, 1, 0]), part(&[5, 4]), part(&[7, 6]), part(&[8, 9]), part(&[10, 11, 12, 13, 14, 15])];
    format!("{{{}}}", parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(items: &[&[u8]]) -> Vec<u8> {
        let one = |item: &&[u8]| [u16::try_from(item.len() + 2).unwrap().to_le_bytes().to_vec(), item.to_vec()].concat();
        items.iter().flat_map(one).chain([0, 0]).collect()
    }

    #[test]
    fn parts_of_every_kind_are_read_and_others_are_said() {
        let check = |items: &[&[u8]], wanted: Option<(&str, bool)>| {
            assert_eq!(path(&sized(items)), wanted.map(|(path, whole)| (path.to_owned(), whole)));
        };
        let computer = [&[0x1f, 0x50][..], &COMPUTER].concat();
        let short = b"\x32\0\0\0\0\0\0\0\0\0\0\0CMD~1.EXE\0";
        let wide: Vec<u8> = [&b"\x35\0\0\0\0\0\0\0\0\0\0\0"[..], &[b'w', 0, 0xf6, 0, 0, 0]].concat();
        check(&[&computer, b"\x2fC:\\\0", &wide, short], Some((r"C:\wö\CMD~1.EXE", true)));
        check(&[b"\xc3\x01\0\\\\host\\share\0", short], Some((r"\\host\share\CMD~1.EXE", true)));
        check(&[b"\x61\0\0\0http://x/\0"], Some(("http://x/", true)));
        check(&[b"\x2fC:\\\0", b"\xee\0\0\0", short], Some((r"C:\CMD~1.EXE", false)));
        check(&[&computer], None);
        let other =
            [&[0x1f, 0x50][..], &[0xba, 0x8f, 0x0d, 0x45, 0x25, 0xad, 0xd0, 0x11, 0x98, 0xa8, 8, 0, 0x36, 0x1b, 0x11, 3]];
        check(&[&other.concat(), short], Some((r"::{450D8FBA-AD25-11D0-98A8-0800361B1103}\CMD~1.EXE", true)));
        check(&[], None);
    }

    #[test]
    fn lengths_that_lie_end() {
        let whole = sized(&[b"\x2fC:\\\0", b"\x32\0\0\0\0\0\0\0\0\0\0\0A\0\x20\0\x09\0\x04\0\xef\xbe\0\0"]);
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let _ = path(&bytes);
            }
            let _ = path(&whole[..at]);
        }
    }
}
