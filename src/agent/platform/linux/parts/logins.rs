//! Who logged in when, read from utmp's files and from lastlog. Their records differ between processors, and nothing in a file says
//! which it holds: that is told from the records themselves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::logs::is_one_of;
use crate::agent::collect::{Gathered, Gatherer};
use crate::agent::path::key;
use crate::agent::platform::Root;
use crate::agent::platform::linux::homes::users;
use crate::protocol::Problem;

/// One of utmp's files is read up to this.
const MAX_RECORDS: u64 = 64 * 1024 * 1024;
/// So many records are looked at to know what they are.
const LOOKED_AT: usize = 200;

/// How records are laid out: utmp(5), lastlog in `bits/utmp.h` of glibc.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    /// The size of `struct utmp`.
    record: usize,
    /// Where its time is, and where microseconds and address stand.
    time: usize,
    micros: usize,
    address: usize,
    /// Whether times have eight bytes.
    wide: bool,
    /// The size of `struct lastlog`.
    last: usize,
}

/// Where times are kept small for 32-bit programs: x86, 32-bit ARM, POWER.
const NARROW: Layout = Layout { record: 384, time: 340, micros: 344, address: 348, wide: false, last: 292 };
/// Where they are not: 64-bit ARM, RISC-V.
const WIDE: Layout = Layout { record: 400, time: 344, micros: 352, address: 360, wide: true, last: 296 };

impl Layout {
    /// That of a file's records: that in which most of them make sense, and of which there is a whole number.
    fn of(bytes: &[u8]) -> &'static Self {
        let sense = |layout: &Self| {
            let records = bytes.chunks_exact(layout.record).take(LOOKED_AT);
            let (count, sound) =
                records.fold((0, 0), |(count, sound), record| (count + 1, sound + usize::from(layout.fits(record))));
            let whole = bytes.len().is_multiple_of(layout.record);
            // In thousandths, so that the two can be compared.
            (sound * 1000 / count.max(1), whole)
        };
        if sense(&WIDE) > sense(&NARROW) { &WIDE } else { &NARROW }
    }

    /// Whether a record makes sense: a kind that there is, nothing in the gap behind it, and a time.
    fn fits(&self, record: &[u8]) -> bool {
        if record.iter().all(|&byte| byte == 0) {
            return true;
        }
        let is =
            |at: usize, range: std::ops::RangeInclusive<i64>| self.number(record, at).is_some_and(|it| range.contains(&it));
        matches!(record.get(..4), Some([0..=9, 0, 0, 0])) && is(self.time, 1..=u32::MAX.into()) && is(self.micros, 0..=999_999)
    }

    fn number(&self, record: &[u8], at: usize) -> Option<i64> {
        if self.wide {
            number(record, at).map(i64::from_ne_bytes)
        } else {
            number(record, at).map(|bytes| i32::from_ne_bytes(bytes).into())
        }
    }
}

/// Writes what these files of utmp say, and what lastlog does.
pub(super) fn gather(to: &mut Gatherer, files: &[PathBuf]) -> Gathered {
    let agent = std::sync::Arc::clone(&to.agent);
    let (mut problems, mut layout) = (Vec::new(), None);
    to.rows("logins", |rows| {
        for path in files {
            let Ok(bytes) = agent.root.read(path, MAX_RECORDS) else { continue };
            if bytes.is_empty() {
                continue;
            }
            let own = Layout::of(&bytes);
            layout.get_or_insert(own);
            let left = bytes.len() % own.record;
            if left != 0 {
                problems.push(format!("{}: {left} bytes at its end are no record that is known", key(path)));
            }
            for record in bytes.chunks_exact(own.record) {
                if let Some(row) = login(own, record, path) {
                    rows.row(&row)?;
                }
            }
        }
        Ok(())
    })?;
    let lastlog = Path::new("/var/log/lastlog");
    let size = agent.root.facts(lastlog).map_or(0, |facts| facts.size);
    let layout = layout.unwrap_or(if !size.is_multiple_of(NARROW.last as u64) && size.is_multiple_of(WIDE.last as u64) {
        &WIDE
    } else {
        &NARROW
    });
    to.rows("last_logins", |rows| {
        for user in users(&agent.root) {
            let at = u64::from(user.uid) * layout.last as u64;
            let record = last(&agent.root, lastlog, at, layout.last);
            if let Some(row) = record.and_then(|record| last_login(layout, &record, &user.name)) {
                rows.row(&row)?;
            }
        }
        Ok(())
    })?;
    for message in problems {
        to.problem(Problem::new("damaged", message))?;
    }
    Ok(())
}

fn last(root: &Root, lastlog: &Path, at: u64, size: usize) -> Option<Vec<u8>> {
    let file = root.open_file(lastlog).ok()?;
    let mut record = vec![0; size];
    let read = std::os::unix::fs::FileExt::read_at(&file, &mut record, at).ok()?;
    (read == size).then_some(record)
}

fn last_login(layout: &Layout, record: &[u8], user: &str) -> Option<Value> {
    let seconds = layout.number(record, 0).filter(|seconds| *seconds != 0)?;
    let texts = if layout.wide { 8 } else { 4 };
    Some(json!({
        "time": Timestamp::from_second(seconds).ok(), "user_name": user, "terminal": text(record, texts, 32),
        "host": text(record, texts + 32, 256),
    }))
}

/// A record of utmp(5), from that file, as a row; none for an empty one.
#[must_use]
pub fn login_record(record: &[u8], path: &Path) -> Option<Value> {
    login(Layout::of(record), record, path)
}

/// The same of one whose layout is known.
fn login(layout: &Layout, record: &[u8], path: &Path) -> Option<Value> {
    let kind = match number::<2>(record, 0).map(i16::from_ne_bytes)? {
        0 => return None,
        1 => "runlevel",
        2 => "boot",
        3 => "clock_new",
        4 => "clock_old",
        5 => "init",
        6 => "waiting",
        7 => "login",
        8 => "logout",
        9 => "accounting",
        _ => "unknown",
    };
    let seconds = layout.number(record, layout.time)?;
    let micros = layout.number(record, layout.micros).unwrap_or(0).clamp(0, 999_999);
    let time = Timestamp::new(seconds, i32::try_from(micros * 1000).unwrap_or(0)).ok();
    let address = number::<16>(record, layout.address)?;
    let address: Option<IpAddr> = match address {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => None,
        [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => Some(Ipv4Addr::new(a, b, c, d).into()),
        all => Some(Ipv6Addr::from(all).into()),
    };
    Some(json!({
        "time": time, "event": kind, "failed": is_one_of(path, &["btmp"]), "user_name": text(record, 44, 32),
        "terminal": text(record, 8, 32), "host": text(record, 76, 256), "address": address,
        "pid": number::<4>(record, 4).map(i32::from_ne_bytes), "source": key(path),
    }))
}

/// A field that ends at its first zero byte.
fn text(record: &[u8], at: usize, length: usize) -> Option<String> {
    let field = record.get(at..at + length)?.split(|&byte| byte == 0).next()?;
    (!field.is_empty()).then(|| String::from_utf8_lossy(field).into_owned())
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(layout: &Layout) -> Vec<u8> {
        let mut record = vec![0; layout.record];
        record[0] = 7;
        record[4..8].copy_from_slice(&42_i32.to_ne_bytes());
        record[8..13].copy_from_slice(b"pts/0");
        record[44..47].copy_from_slice(b"eve");
        record[76..80].copy_from_slice(b"h\xff\x1b[");
        record[layout.time..layout.time + 4].copy_from_slice(&1_700_000_000_i32.to_ne_bytes());
        record[layout.micros..layout.micros + 4].copy_from_slice(&500_000_i32.to_ne_bytes());
        record[layout.address..layout.address + 4].copy_from_slice(&[192, 0, 2, 7]);
        record
    }

    #[test]
    fn a_record_is_read_whatever_it_holds() {
        for layout in [&NARROW, &WIDE] {
            assert_eq!(login(layout, &vec![0; layout.record], Path::new("/var/log/wtmp")), None);
            let record = record(layout);
            let row = login(layout, &record, Path::new("/var/log/btmp.1")).unwrap();
            assert_eq!(row["time"], "2023-11-14T22:13:20.5Z");
            assert_eq!(
                (&row["event"], &row["user_name"], &row["address"]),
                (&json!("login"), &json!("eve"), &json!("192.0.2.7"))
            );
            assert_eq!((&row["failed"], &row["host"], &row["pid"]), (&json!(true), &json!("h\u{fffd}\u{1b}["), &json!(42)));
            for byte in 0..layout.record {
                let mut damaged = vec![0xff; layout.record];
                damaged[byte] = 7;
                let _ = login(layout, &damaged, Path::new("x"));
            }
            assert_eq!(login(layout, &record[..200], Path::new("x")), None);
        }
    }

    #[test]
    fn the_layout_is_told_from_the_records() {
        for (layout, other) in [(&NARROW, &WIDE), (&WIDE, &NARROW)] {
            // As many as make a whole number of records of the other kind too.
            for count in [1, 2, 3, 24, 25, 100] {
                let mut bytes = record(layout).repeat(count);
                assert_eq!(Layout::of(&bytes), layout, "{count}");
                bytes.extend(vec![0; layout.record]);
                assert_eq!(Layout::of(&bytes), layout, "{count} and an empty one");
                bytes.truncate(bytes.len() - 100);
                assert_eq!(Layout::of(&bytes), layout, "{count} and a part of one");
            }
            assert_ne!(layout, other);
        }
        assert_eq!(Layout::of(&[]), &NARROW);
    }
}
