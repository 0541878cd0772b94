//! What archives there are in content: by its first bytes, at its end, and behind a program that unpacks itself.

use memchr::memmem;

use super::tapes::CPIO;

/// What an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A zip, and what is one by another name: jar, docx, apk.
    Zip,
    /// A tar.
    Tar,
    /// A cpio, in the format of initial ramdisks.
    Cpio,
    /// An ar: a package of Debian, a library of object files.
    Ar,
    /// One stream of gzip.
    Gzip,
    /// One stream of zlib.
    Zlib,
    /// One stream of xz.
    Xz,
    /// One stream of zstd.
    Zstd,
    /// One that is not looked into, by its name.
    Closed(&'static str),
}

/// How long the end of a zip's directory is without its comment (APPNOTE 4.3.16).
const ZIP_END: usize = 22;
/// What ends a zip's directory.
const ZIP_END_MARK: &[u8] = b"PK\x05\x06";
/// The first bytes of 7z and of both kinds of rar.
const SEVEN: &[u8] = b"7z\xbc\xaf\x27\x1c";
const RAR: &[u8] = b"Rar!\x1a\x07";

/// Where an image of a disc says that it is one (ECMA-119, 8.1).
const ISO: usize = 0x8001;
/// How much has to come out of a stream of zlib, whose two first bytes begin texts too.
const INFLATED: usize = 64;

impl Kind {
    /// What the first bytes tell.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        let kind = match head {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', 7, 8, b'P', b'K', 3, 4, ..] => Self::Zip,
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A stream that holds nothing begins with its end.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Self::Closed("bzip2"),
            [b'M', b'S', b'C', b'F', 0, 0, 0, 0, ..] => Self::Closed("a cabinet (cab)"),
            [b'L', b'Z', b'I', b'P', 0 | 1, ..] => Self::Closed("lzip"),
            [0x89, b'L', b'Z', b'O', 0, b'\r', b'\n', 0x1a, b'\n', ..] => Self::Closed("lzop"),
            [4, 0x22, 0x4d, 0x18, ..] => Self::Closed("lz4"),
            [0x5d, 0, 0, _, _, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ..] => Self::Closed("lzma"),
            [0x1f, 0x9d, flags, ..] if flags & 0x60 == 0 && (9..=16).contains(&(flags & 0x1f)) => Self::Closed("compress (Z)"),
            [_, _, b'-', b'l', b'h', b'0'..=b'7', b'-', ..] => Self::Closed("lha"),
            [0xed, 0xab, 0xee, 0xdb, ..] => Self::Closed("an rpm package"),
            [b'h', b's', b'q', b's', ..] => Self::Closed("squashfs"),
            [b'x', b'a', b'r', b'!', 0, ..] => Self::Closed("xar"),
            _ if head.starts_with(SEVEN) => Self::Closed("7z"),
            _ if head.starts_with(RAR) => Self::Closed("rar"),
            [b'0', b'7', b'0', b'7', b'0', b'7', ..] => Self::Closed("an old cpio"),
            _ if CPIO.iter().any(|mark| head.starts_with(mark)) => Self::Cpio,
            _ if head.starts_with(b"!<arch>\n") => Self::Ar,
            _ if head.get(257..262) == Some(b"ustar") || is_old_tar(head) => Self::Tar,
            _ if head.get(ISO..ISO + 5) == Some(b"CD001") => Self::Closed("an image of a disc (ISO 9660)"),
            [0x78, flags, ..] if (0x7800 | u16::from(*flags)) % 31 == 0 && is_deflated(head) => Self::Zlib,
            _ => return None,
        };
        Some(kind)
    }
}

/// Whether it begins with a head of a tar as it was before POSIX, which has no mark, but a sum of its bytes (tar(5)).
fn is_old_tar(head: &[u8]) -> bool {
    let Some(head) = head.get(..512).filter(|head| head.first().is_some_and(|&byte| byte != 0)) else { return false };
    let Some(field) = head.get(148..156) else { return false };
    let digits = field.trim_ascii().split(|&byte| byte == 0).next().unwrap_or_default().trim_ascii();
    let wanted = std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 8).ok());
    // The sum counts its own field as blanks.
    let sum: u32 = head.iter().chain(&[b' '; 8]).map(|&byte| u32::from(byte)).sum();
    wanted.is_some_and(|wanted| wanted + field.iter().map(|&byte| u32::from(byte)).sum::<u32>() == sum)
}

/// Whether something comes out of it as a stream of zlib.
fn is_deflated(head: &[u8]) -> bool {
    let mut out = [0; INFLATED];
    let mut decoder = flate2::Decompress::new(true);
    let ended = decoder.decompress(head, &mut out, flate2::FlushDecompress::None);
    ended.is_ok_and(|status| status == flate2::Status::StreamEnd || decoder.total_out() >= INFLATED as u64)
}

/// Every archive that content is, each with the byte that it begins at: what its first bytes tell, a zip whose directory ends it
/// whatever it begins with, and what stands behind a program or script that unpacks itself. `start` is as much of it as is at hand,
/// `tail` its last bytes.
#[must_use]
pub fn archives(start: &[u8], tail: &[u8]) -> Vec<(Kind, usize)> {
    let mut found: Vec<(Kind, usize)> = Kind::of(start).map(|kind| (kind, 0)).into_iter().collect();
    let own = found.first().map(|(kind, _)| *kind);
    // The last member of these may be a zip, which is looked at as a member.
    let is_plain = matches!(own, Some(Kind::Tar | Kind::Ar | Kind::Cpio));
    if own != Some(Kind::Zip) && ends_as_zip(tail, is_plain) {
        found.push((Kind::Zip, 0));
    }
    if own.is_none() {
        let script = start.starts_with(b"#!");
        found.extend(script.then(|| behind_script(start)).flatten().or_else(|| behind_program(start)));
    }
    found
}

/// Whether a zip's directory stands at the end. `exactly`: with nothing behind it.
fn ends_as_zip(tail: &[u8], exactly: bool) -> bool {
    let Some(end) = memmem::rfind(tail, ZIP_END_MARK) else { return false };
    let number = |at: usize, length: usize| {
        let bytes = tail.get(end + at..end + at + length).unwrap_or_default();
        bytes.iter().rev().fold(0_usize, |value, &byte| (value << 8) | usize::from(byte))
    };
    let (members, directory, comment) = (number(10, 2), number(12, 4), number(20, 2));
    if exactly && end + ZIP_END + comment != tail.len() {
        return false;
    }
    // Where the directory itself is at hand, it is held against its mark: these four bytes stand in many a program.
    let begins = end.checked_sub(directory).filter(|_| directory < 0xffff_ffff);
    tail.len() >= end + ZIP_END
        && members > 0
        && begins.is_none_or(|begins| tail.get(begins..begins + 4) == Some(b"PK\x01\x02"))
}

/// What a script carries: the first stream in it, wherever it begins.
fn behind_script(start: &[u8]) -> Option<(Kind, usize)> {
    let marks: [&[u8]; 4] = [b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"BZh"];
    let first = |mark: &&[u8]| {
        memmem::find_iter(start, mark).find_map(|at| {
            let rest = start.get(at..)?;
            let kind = Kind::of(rest)?;
            // Flags that nobody has defined, and systems that there are not (RFC 1952).
            let is_gzip = |rest: &[u8]| matches!(rest, [_, _, _, flags, _, _, _, _, _, 0..=13 | 255, ..] if flags & 0xe0 == 0);
            (kind != Kind::Gzip || is_gzip(rest)).then_some((kind, at))
        })
    };
    marks.iter().filter_map(first).min_by_key(|&(_, at)| at)
}

/// What a program carries that is not looked into. Programs that know these archives carry their first bytes too, so that the
/// checksum of their heads has to be right.
fn behind_program(start: &[u8]) -> Option<(Kind, usize)> {
    // 7zFormat.txt: the CRC of the 20 bytes behind it stands at 8.
    let seven = |at: usize| Some(crc32fast::hash(start.get(at + 12..at + 32)?) == little(start, at + 8)?);
    if let Some(at) = memmem::find_iter(start, SEVEN).find(|&at| seven(at) == Some(true)) {
        return Some((Kind::Closed("7z"), at));
    }
    let rar = |at: usize| match start.get(at + 6)? {
        // The archive's head: CRC16 of type, flags, size and six more bytes.
        0 => Some(crc32fast::hash(start.get(at + 9..at + 20)?) & 0xffff == little(start, at + 7)? & 0xffff),
        // The CRC of size and head; a head that is longer than 127 bytes is none of an archive.
        1 => {
            let size = usize::from(*start.get(at + 12)?);
            Some(size < 0x80 && crc32fast::hash(start.get(at + 12..at + 13 + size)?) == little(start, at + 8)?)
        }
        _ => None,
    };
    let at = memmem::find_iter(start, RAR).find(|&at| rar(at) == Some(true))?;
    Some((Kind::Closed("rar"), at))
}

fn little(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_looked_into_has_a_name() {
        let check = |head: &[u8], wanted: Option<&'static str>| {
            assert_eq!(Kind::of(head), wanted.map(Kind::Closed), "{head:x?}");
        };
        check(b"BZh91AY&SY\0", Some("bzip2"));
        check(b"7z\xbc\xaf\x27\x1c\0\x04", Some("7z"));
        check(b"Rar!\x1a\x07\x01\0", Some("rar"));
        check(b"Rar!\x1a\x07\0", Some("rar"));
        check(b"MSCF\0\0\0\0", Some("a cabinet (cab)"));
        check(b"\x1f\x9d\x90\0", Some("compress (Z)"));
        check(b"070707000000", Some("an old cpio"));
        check(&[vec![0; 0x8001], b"CD001".to_vec()].concat(), Some("an image of a disc (ISO 9660)"));
        for plain in [
            &b"x\x9c and no stream"[..],
            b"x^2 + y^2 = z^2, and so on and on",
            b"x\x01\x02\x03",
            b"BZh9 is text",
            b"7z",
            b"LZIP is a word",
            b"MSCF",
            b"hsq",
            b"",
        ] {
            check(plain, None);
        }
    }

    #[test]
    fn archives_behind_something_else_are_found() {
        let program = |tail: &[u8]| {
            [&b"MZ\x90\0 a program that unpacks itself; it knows Rar!\x1a\x07\0 and 7z\xbc\xaf\x27\x1c\0\x04"[..], tail]
                .concat()
        };
        let check = |content: &[u8], wanted: &[(Kind, usize)]| assert_eq!(archives(content, content), wanted, "{content:x?}");
        check(&program(b""), &[]);
        let head = [7; 20];
        let seven = [SEVEN, &[0, 4], &crc32fast::hash(&head).to_le_bytes(), &head].concat();
        let whole = program(&seven);
        check(&whole, &[(Kind::Closed("7z"), whole.len() - seven.len())]);
        let head = [0x73, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0];
        let sum = crc32fast::hash(&head).to_le_bytes();
        let rar = [RAR, &[0], &sum[..2], &head].concat();
        let whole = program(&rar);
        check(&whole, &[(Kind::Closed("rar"), whole.len() - rar.len())]);
        let script = b"#!/bin/sh\ntail -n +3 \"$0\" | gzip -d | tar x\n\x1f\x8b\x08\0\0\0\0\0\0\x03 and so on";
        check(script, &[(Kind::Gzip, 44)]);
        // It need not begin a line.
        let script = b"#!/bin/sh\ntail -c +41 \"$0\"|gzip -d|sh;exit\x1f\x8b\x08\0\0\0\0\0\0\x03 and so on";
        check(script, &[(Kind::Gzip, 42)]);
        check(b"#!/bin/sh\ngrep '\x1f\x8b\x08' file\n", &[]);
        check(b"#!/bin/sh\necho text\n", &[]);
        check(b"no script\n\x1f\x8b\x08\0", &[]);
        // Four bytes alone are no directory.
        check(&program(&[ZIP_END_MARK, &[0; 18]].concat()), &[]);
    }
}
