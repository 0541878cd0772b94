//! A task as Windows kept it before Vista (`Windows\Tasks\NAME.job`), after Microsoft's [MS-TSCH], 2.4: a head of fixed length,
//! texts, triggers.

use super::bytes::{u16_at, u32_at};
use super::task_file::TaskFile;
use super::text::utf16;

/// The length of the head.
const HEAD: usize = 68;
/// Where the texts begin: behind the head, and the number of instances that run.
const TEXTS: usize = HEAD + 2;
/// The length of a trigger, and the most that are told.
const TRIGGER: usize = 48;
const MAX_TRIGGERS: usize = 100;
/// The flag of a task that does not run.
const DISABLED: u32 = 4;

/// Reads a job; `None` when it is none, or is cut off before its texts end.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<TaskFile> {
    if u16_at(bytes, 2)? != 1 || usize::from(u16_at(bytes, 20)?) != TEXTS {
        return None;
    }
    let flags = u32_at(bytes, 48)?;
    let mut at = TEXTS;
    let mut text = || {
        let length = 2 * usize::from(u16_at(bytes, at)?);
        let text = utf16(bytes.get(at + 2..at + 2 + length)?);
        at += 2 + length;
        Some(Some(text).filter(|text| !text.is_empty()))
    };
    let [program, arguments, _folder, author, comment] = [text()?, text()?, text()?, text()?, text()?];
    Some(TaskFile {
        enabled: flags & DISABLED == 0,
        triggers: triggers(bytes),
        author,
        description: comment,
        programs: vec![(program.unwrap_or_default(), arguments)],
        ..TaskFile::default()
    })
}

/// The triggers, written as those of newer definitions are.
fn triggers(bytes: &[u8]) -> Vec<String> {
    let Some(at) = u16_at(bytes, 22).map(usize::from) else { return Vec::new() };
    let count = u16_at(bytes, at).map_or(0, usize::from).min(MAX_TRIGGERS);
    let all = bytes.get(at + 2..).unwrap_or_default().chunks_exact(TRIGGER).take(count);
    all.filter_map(trigger).collect()
}

fn trigger(bytes: &[u8]) -> Option<String> {
    let number = |at| u16_at(bytes, at);
    let [first, second, third] = [number(36)?, number(38)?, number(40)?];
    let (name, parts) = match u32_at(bytes, 32)? {
        0 => ("Once", String::new()),
        1 => ("Daily", format!(" DaysInterval={first}")),
        2 => ("Weekly", format!(" WeeksInterval={first} DaysOfWeek={second:#x}")),
        3 => ("Monthly", format!(" Days={:#x} Months={third:#x}", u32::from(second) << 16 | u32::from(first))),
        4 => ("MonthlyDOW", format!(" Week={first} DaysOfWeek={second:#x} Months={third:#x}")),
        5 => ("Idle", String::new()),
        6 => ("Boot", String::new()),
        7 => ("Logon", String::new()),
        other => return Some(format!("trigger of kind {other}")),
    };
    let [year, month, day, hour, minute] = [number(4)?, number(6)?, number(8)?, number(16)?, number(18)?];
    let mut line = format!("{name} StartBoundary={year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:00{parts}");
    if u32_at(bytes, 24)? > 0 {
        line.push_str(&format!(" Interval={}min", u32_at(bytes, 24)?));
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_or_lies_about_its_lengths_ends() {
        let mut job = vec![0; TEXTS];
        job[2] = 1;
        job[20] = 70;
        for text in ["a.exe", "-x", "", "eve", ""] {
            let units: Vec<u16> = text.encode_utf16().chain([0]).collect();
            job.extend(u16::try_from(units.len()).unwrap().to_le_bytes());
            job.extend(units.into_iter().flat_map(u16::to_le_bytes));
        }
        job[22] = u8::try_from(job.len()).unwrap();
        job.extend([2, 0]);
        job.resize(job.len() + TRIGGER, 0);
        let read = parse(&job).unwrap();
        assert_eq!(read.programs, [("a.exe".to_owned(), Some("-x".to_owned()))]);
        assert_eq!((read.triggers.len(), read.enabled, read.author.as_deref()), (1, true, Some("eve")));
        for length in 0..job.len() {
            let _ = parse(&job[..length]);
        }
        for at in 0..job.len() {
            for byte in [0, 0x7f, 0xff] {
                let mut bytes = job.clone();
                bytes[at] = byte;
                let _ = parse(&bytes);
            }
        }
    }
}
