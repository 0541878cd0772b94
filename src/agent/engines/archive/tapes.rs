//! Archives whose members follow each other, each behind a head of its own: tar, cpio, ar.

use std::io::{self, Read, SeekFrom};

use super::super::budget::{Layer, Metered, is_too_much};
use super::{Source, Visit, told};
use crate::agent::content::fill;

/// What may be read of a tar between two members: names, attributes, and the zeros behind its end.
const BETWEEN: u64 = 1024 * 1024;
/// What a head of cpio begins with, without and with checksums (cpio(5), "New ASCII Format").
pub(super) const CPIO: [&[u8]; 2] = [b"070701", b"070702"];
/// The longest name of a member of a cpio.
const MAX_CPIO_NAME: u64 = 64 * 1024;

pub(super) fn tar<E>(source: &mut dyn Read, layer: &Layer<'_>, visit: Visit<'_, E>) -> Result<(), E> {
    // Content of a plain tar is not counted otherwise; of a compressed one it counts twice against the bytes, which is no harm.
    let mut archive = tar::Archive::new(Metered { inner: source, layer });
    // Behind the two blocks of zeros that end one another may stand, which `tar -i` takes out.
    archive.set_ignore_zeros(true);
    let mut entries = match archive.entries() {
        Ok(entries) => entries,
        Err(error) => {
            layer.budget.say(format!("{}: {error}", layer.name));
            return Ok(());
        }
    };
    loop {
        layer.allowed.set(BETWEEN);
        let next = entries.next();
        layer.allowed.set(u64::MAX);
        match next {
            None => return Ok(()),
            Some(Err(error)) => {
                if layer.goes_on() {
                    layer.budget.say(format!("{}: {error}; what comes behind was not looked at", layer.name));
                }
                return Ok(());
            }
            Some(Ok(mut entry)) => {
                // What nobody knows is taken out as a file, and links and folders may carry content behind them.
                let kind = entry.header().entry_type();
                let is_empty = kind.is_dir() || kind.is_symlink() || kind.is_hard_link() || kind.is_fifo();
                if !is_empty || entry.size() > 0 {
                    if !layer.budget.member() {
                        return Ok(());
                    }
                    let name = told(&entry.path_bytes());
                    visit(&name, &mut entry)?;
                }
                // Read to its end here, where it is counted: the library would on its way to the next.
                if io::copy(&mut entry, &mut io::sink()).is_err_and(|error| is_too_much(&error)) {
                    return Ok(());
                }
            }
        }
    }
}

/// An archive of cpio(5) in its new format, as in an initial ramdisk. What stands behind its end, where the kernel looks for another
/// one, is a member too.
pub(super) fn cpio<E>(source: &mut dyn Read, layer: &Layer<'_>, visit: Visit<'_, E>) -> Result<(), E> {
    let mut reader = Metered { inner: source, layer };
    let broken = |error: io::Error| {
        if !is_too_much(&error) {
            layer.budget.say(format!("{}: {error}; what comes behind was not looked at", layer.name));
        }
    };
    while layer.goes_on() {
        let mut head = [0; 110];
        // Heads stand at every fourth byte; between archives there may be zeros.
        let (mut count, mut read) = fill(&mut reader, head.get_mut(..4).unwrap_or_default());
        while read.is_ok() && count == 4 && head.starts_with(&[0; 4]) {
            (count, read) = fill(&mut reader, head.get_mut(..4).unwrap_or_default());
        }
        if count > 0 && !head.starts_with(b"0707") {
            if layer.budget.member() {
                let first = head.get(..count).unwrap_or_default().to_vec();
                visit("what follows", &mut io::Cursor::new(first).chain(&mut reader))?;
            }
            return Ok(());
        }
        if count > 0 && read.is_ok() {
            read = reader.read_exact(head.get_mut(4..).unwrap_or_default());
        }
        if let Err(error) = read {
            broken(error);
            return Ok(());
        }
        if count == 0 {
            return Ok(());
        }
        let number = |place: usize| {
            let digits = head.get(6 + place * 8..14 + place * 8).and_then(|digits| std::str::from_utf8(digits).ok());
            digits.and_then(|digits| u64::from_str_radix(digits, 16).ok())
        };
        let is_known = CPIO.iter().any(|mark| head.starts_with(mark));
        let (Some(size), Some(length)) = (number(6), number(11).filter(|&length| is_known && length <= MAX_CPIO_NAME)) else {
            broken(io::Error::other("a head of it is broken"));
            return Ok(());
        };
        // Head and name together fill whole fours, and so does the content.
        let mut name = Vec::new();
        let padded = (110 + length).next_multiple_of(4) - 110;
        let taken = (&mut reader).take(padded).read_to_end(&mut name);
        name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
        if let Err(error) = taken {
            broken(error);
            return Ok(());
        }
        let mut content = (&mut reader).take(size);
        if size > 0 {
            if !layer.budget.member() {
                return Ok(());
            }
            visit(&told(&name), &mut content)?;
        }
        let rest = content.limit();
        let left = rest.saturating_add(size.next_multiple_of(4) - size);
        match io::copy(&mut (&mut reader).take(left), &mut io::sink()) {
            Ok(copied) if copied >= rest => {}
            Ok(_) => {
                broken(io::ErrorKind::UnexpectedEof.into());
                return Ok(());
            }
            Err(error) => {
                broken(error);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// An archive of ar(5): a package of Debian, whose members are compressed tars, or a library of object files.
pub(super) fn ar<E>(source: &mut dyn Source, layer: &Layer<'_>, visit: Visit<'_, E>) -> Result<(), E> {
    let mut at = 8;
    loop {
        let mut head = [0; 60];
        if at >= layer.packed {
            return Ok(());
        }
        let read = source.seek(SeekFrom::Start(at)).and_then(|_| source.read_exact(&mut head));
        let text =
            |from: usize, to: usize| std::str::from_utf8(head.get(from..to).unwrap_or_default()).unwrap_or_default().trim();
        let size = text(48, 58).parse::<u64>().ok().filter(|_| read.is_ok() && head.ends_with(b"`\n"));
        let Some(size) = size else {
            layer.budget.say(format!("{}: it is broken at byte {at}; what comes behind was not looked at", layer.name));
            return Ok(());
        };
        if !layer.goes_on() || !layer.budget.member() {
            return Ok(());
        }
        let name = told(text(0, 16).trim_end_matches('/').as_bytes());
        visit(&name, &mut Metered { inner: (&mut *source).take(size), layer })?;
        // Members begin at even bytes.
        at = at.saturating_add(60).saturating_add(size).saturating_add(size % 2);
    }
}
