//! `cat`: the start of a file, its first or last lines, or its bytes in hexadecimal.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::agent::content::Content;
use crate::agent::context::{Context, VerbError, VerbResult};
use crate::agent::hexdump::HexDump;
use crate::agent::path::{key, problem};
use crate::agent::targets::Targets;
use crate::protocol::text::Pieces;
use crate::protocol::{Problem, StreamName};

/// What is shown of a file when nothing else is asked for.
const START: u64 = 64 * 1024;
/// The most that `-head` and `-tail` show of one file: lines may be long.
const MAX: u64 = 16 * 1024 * 1024;
/// How much is read, and told, at once.
const CHUNK: usize = 64 * 1024;
/// How many bytes a line of a dump shows.
const DUMP_LINE: u64 = 16;

/// What is asked for.
#[derive(Clone, Copy)]
enum Part {
    Start,
    Head(u64),
    Tail(u64),
}

pub(super) fn run(ctx: &mut Context) -> VerbResult {
    let part = match (count(ctx, "head")?, count(ctx, "tail")?) {
        (Some(_), Some(_)) => {
            return Err(Problem::new("bad_value", "-head and -tail exclude each other").about("tail").into());
        }
        (Some(lines), None) => Part::Head(lines),
        (None, Some(lines)) => Part::Tail(lines),
        (None, None) => Part::Start,
    };
    let targets = Targets::of(ctx, ctx.required("path")?)?;
    let several = targets.paths().len() > 1;
    for (place, path) in targets.paths().iter().enumerate() {
        if several {
            let gap = if place == 0 { "" } else { "\n" };
            ctx.text(StreamName::Stdout, format!("{gap}==> {} <==\n", key(path)).as_bytes())?;
        }
        match show(ctx, path, part) {
            Err(VerbError::Failed(why)) if several => ctx.problem(why),
            done => done?,
        }
    }
    Ok(())
}

fn count(ctx: &Context, name: &str) -> Result<Option<u64>, VerbError> {
    let Some(value) = ctx.param(name) else { return Ok(None) };
    let bad = || Problem::new("bad_value", format!("-{name} {value}: not a number of lines")).about(name);
    Ok(Some(value.parse().map_err(|_| bad())?))
}

fn show(ctx: &mut Context, path: &Path, part: Part) -> VerbResult {
    // Looking at the first sector of a disk is what -hex is for, and a bounded part harms nothing.
    let content = Content::open(&ctx.agent.root, path, true)?;
    let reading = |error: io::Error| VerbError::from(problem(path, &error));
    let hex = ctx.flag("hex");
    let (from, bytes, lines) = match part {
        Part::Start => (0, START, None),
        Part::Head(lines) if hex => (0, lines.saturating_mul(DUMP_LINE).min(MAX), None),
        Part::Head(lines) => (0, MAX, Some(lines)),
        Part::Tail(lines) => match content.size {
            Some(size) if hex => {
                (size.saturating_sub(lines.saturating_mul(DUMP_LINE).min(MAX)).next_multiple_of(DUMP_LINE), MAX, None)
            }
            Some(size) => (tail_start(ctx, &content.file, size, lines).map_err(reading)?, MAX, None),
            None => return show_tail_of_stream(ctx, path, content.file, lines, hex),
        },
    };
    let mut out = Out::new(hex, from);
    let mut reader = At { file: &content.file, at: from }.take(bytes);
    let mut lines_left = lines;
    let mut buffer = vec![0; CHUNK];
    let mut shown = 0_u64;
    while lines_left != Some(0) {
        ctx.stop.check()?;
        let count = read(&mut reader, &mut buffer).map_err(reading)?;
        if count == 0 {
            break;
        }
        ctx.meter.read(count as u64);
        let chunk = buffer.get(..count).unwrap_or_default();
        let chunk = match &mut lines_left {
            Some(left) => first_lines(chunk, left),
            None => chunk,
        };
        shown += chunk.len() as u64;
        out.tell(ctx, chunk)?;
    }
    out.end(ctx)?;
    let more =
        shown == bytes && matches!(content.size, Some(size) if size > from + shown) && !matches!(part, Part::Head(_) if hex);
    if more {
        let size = content.size.unwrap_or_default();
        let said = format!("{}: {shown} of {size} bytes are shown; -head, -tail or getfile for more\n", key(path));
        ctx.text(StreamName::Stderr, said.as_bytes())?;
    }
    Ok(())
}

/// Where the last lines begin, found by reading backwards; no further back than [`MAX`] bytes.
fn tail_start(ctx: &Context, file: &File, size: u64, lines: u64) -> io::Result<u64> {
    if lines == 0 {
        return Ok(size);
    }
    let floor = size.saturating_sub(MAX);
    let mut buffer = vec![0; CHUNK];
    let (mut end, mut left) = (size, lines);
    while end > floor && !ctx.stop.asked() {
        let start = end.saturating_sub(CHUNK as u64).max(floor);
        let chunk = buffer.get_mut(..usize::try_from(end - start).unwrap_or(CHUNK)).unwrap_or_default();
        file.read_exact_at(chunk, start)?;
        for (place, _) in chunk.iter().enumerate().rev().filter(|&(_, &byte)| byte == b'\n') {
            let behind = start + place as u64 + 1;
            // The line end at the very end of a file ends its last line and begins none.
            if behind == size {
                continue;
            }
            left -= 1;
            if left == 0 {
                return Ok(behind);
            }
        }
        end = start;
    }
    Ok(floor)
}

/// The last lines of what has no size and can only be read forwards.
fn show_tail_of_stream(ctx: &mut Context, path: &Path, mut file: File, lines: u64, hex: bool) -> VerbResult {
    let mut kept: VecDeque<u8> = VecDeque::new();
    let mut buffer = vec![0; CHUNK];
    let mut dropped = 0_u64;
    loop {
        ctx.stop.check()?;
        let count = read(&mut file, &mut buffer).map_err(|error| problem(path, &error))?;
        if count == 0 {
            break;
        }
        ctx.meter.read(count as u64);
        kept.extend(buffer.get(..count).unwrap_or_default());
        let over = kept.len().saturating_sub(usize::try_from(MAX).unwrap_or(usize::MAX));
        kept.drain(..over);
        dropped += over as u64;
    }
    let bytes = kept.make_contiguous();
    let whole = bytes.len();
    let from = if hex {
        let all = dropped + whole as u64;
        usize::try_from(all.saturating_sub(lines.saturating_mul(DUMP_LINE)).next_multiple_of(DUMP_LINE).saturating_sub(dropped))
            .unwrap_or(whole)
    } else if lines == 0 {
        whole
    } else {
        let ends = bytes.iter().enumerate().rev().filter(|&(place, &byte)| byte == b'\n' && place + 1 != whole);
        ends.map(|(place, _)| place + 1).nth(usize::try_from(lines - 1).unwrap_or(usize::MAX)).unwrap_or(0)
    };
    let last = bytes.get(from..).unwrap_or_default().to_vec();
    let mut out = Out::new(hex, dropped + from as u64);
    for chunk in last.chunks(CHUNK) {
        out.tell(ctx, chunk)?;
    }
    out.end(ctx)
}

/// As many bytes as there are until a number of lines has ended.
fn first_lines<'a>(chunk: &'a [u8], left: &mut u64) -> &'a [u8] {
    for (place, _) in chunk.iter().enumerate().filter(|&(_, &byte)| byte == b'\n') {
        *left -= 1;
        if *left == 0 {
            return chunk.get(..=place).unwrap_or(chunk);
        }
    }
    chunk
}

/// A file from a place on, its own position left alone.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Reads; what has nothing to give now without waiting for it (the kernel's log) is at its end.
fn read(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            done => return done,
        }
    }
}

/// Tells bytes as they are or as a dump; no character is cut in two between events.
struct Out {
    dump: Option<HexDump>,
    text: Pieces,
}

impl Out {
    fn new(hex: bool, from: u64) -> Self {
        Self { dump: hex.then(|| HexDump::new(from)), text: Pieces::default() }
    }

    fn tell(&mut self, ctx: &mut Context, chunk: &[u8]) -> VerbResult {
        let piece = match &mut self.dump {
            Some(dump) => dump.lines(chunk).into_bytes(),
            None => self.text.take(chunk),
        };
        if piece.is_empty() { Ok(()) } else { ctx.text(StreamName::Stdout, &piece) }
    }

    fn end(mut self, ctx: &mut Context) -> VerbResult {
        let last = self.dump.map_or_else(|| self.text.end(), |dump| dump.end().into_bytes());
        if last.is_empty() { Ok(()) } else { ctx.text(StreamName::Stdout, &last) }
    }
}
