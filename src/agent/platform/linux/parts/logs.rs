//! Logs, as they are; and who logged in when, read from utmp's files.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::none;
use crate::agent::collect::{Gathered, Gatherer};
use crate::agent::path::key;
use crate::agent::platform::Facts;
use crate::protocol::Problem;

/// How the names of logs begin that are taken, rotated ones too.
const LOGS: [&str; 14] = [
    "auth.log",
    "secure",
    "syslog",
    "messages",
    "kern.log",
    "daemon.log",
    "user.log",
    "cron",
    "dpkg.log",
    "faillog",
    "lastlog",
    "wtmp",
    "btmp",
    "boot.log",
];
/// Folders of `/var/log` whose files are taken too.
const FOLDERS: [&str; 2] = ["/var/log/audit", "/var/log/apt"];
const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
const MAX_NAMES: usize = 10_000;
/// Of the journal the newest files up to this.
const MAX_JOURNAL: u64 = 512 * 1024 * 1024;
/// One of utmp's files is read up to this.
const MAX_RECORDS: u64 = 64 * 1024 * 1024;

/// `struct utmp` of glibc where `long` is kept small for 32-bit programs (x86, utmp(5)): its size, and where its fields are.
const RECORD: usize = 384;
/// `struct lastlog`.
const LAST: usize = 292;

pub(super) fn gather(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let names = |folder: &str| {
        let mut names = agent.root.names(Path::new(folder), MAX_NAMES).unwrap_or_default();
        names.sort();
        names.into_iter().map(|name| Path::new(folder).join(name)).collect::<Vec<PathBuf>>()
    };
    let is_log = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        LOGS.iter().any(|log| name.strip_prefix(log).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-'])))
    };
    let mut files: Vec<PathBuf> = names("/var/log").into_iter().filter(is_log).collect();
    files.extend(FOLDERS.iter().flat_map(|folder| names(folder)));
    files.push(PathBuf::from("/var/run/utmp"));
    let of_logins: Vec<PathBuf> = files.iter().filter(|path| is_of(path, &["wtmp", "btmp", "utmp"])).cloned().collect();
    let mut problems = Vec::new();
    to.rows("logins", |rows| {
        for path in &of_logins {
            let Ok(bytes) = agent.root.read(path, MAX_RECORDS) else { continue };
            if bytes.len() % RECORD != 0 {
                problems.push(format!("{}: {} bytes at its end are no record that is known", key(path), bytes.len() % RECORD));
            }
            for record in bytes.chunks_exact(RECORD) {
                if let Some(row) = login_record(record, path) {
                    rows.row(&row)?;
                }
            }
        }
        Ok(())
    })?;
    let users = crate::agent::platform::linux::homes::users(&agent.root);
    to.rows("last_logins", |rows| {
        for user in &users {
            let at = u64::from(user.uid) * LAST as u64;
            let Some(row) = last(&agent.root, at).and_then(|record| last_login(&record, &user.name)) else { continue };
            rows.row(&row)?;
        }
        Ok(())
    })?;
    for message in problems {
        to.problem(Problem::new("damaged", message))?;
    }
    let mut any = false;
    // lastlog is as long as the highest user's number makes it, and empty for the most part: its rows tell it all.
    for path in files.iter().filter(|path| !is_of(path, &["lastlog"])) {
        any |= to.raw(path)?;
    }
    for path in journals(to)? {
        any |= to.raw(&path)?;
    }
    none(any, "logs")
}

/// Whether it is one of these logs, as it is or rotated, and not packed.
fn is_of(path: &Path, names: &[&str]) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is_packed =
        path.extension().is_some_and(|extension| ["gz", "xz", "bz2", "zst"].iter().any(|known| extension == *known));
    !is_packed
        && names
            .iter()
            .any(|wanted| name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-'])))
}

/// The journal's files, the newest first, up to a size; what is left out is said.
fn journals(to: &mut Gatherer) -> Result<Vec<PathBuf>, crate::agent::collect::Over> {
    let agent = Arc::clone(&to.agent);
    let names = |folder: &Path| agent.root.names(folder, MAX_NAMES).unwrap_or_default();
    let mut files = Vec::new();
    for top in JOURNALS.map(Path::new) {
        for folder in names(top) {
            let folder = top.join(folder);
            files.extend(names(&folder).into_iter().filter_map(|name| {
                let path = folder.join(name);
                let facts = agent.root.link_facts(&path).ok().filter(Facts::is_file)?;
                Some((facts.modified.ns(), facts.allocated.min(facts.size), path))
            }));
        }
    }
    files.sort_by_key(|(modified, _, _)| std::cmp::Reverse(*modified));
    let (mut taken, mut left_out, mut room) = (Vec::new(), 0_u32, MAX_JOURNAL);
    for (_, size, path) in files {
        match room.checked_sub(size) {
            Some(rest) => {
                room = rest;
                taken.push(path);
            }
            None => left_out += 1,
        }
    }
    if left_out > 0 {
        let message =
            format!("{left_out} older files of the journal are left out: they are more than {} MB", MAX_JOURNAL >> 20);
        to.problem(Problem::new("limit", message))?;
    }
    Ok(taken)
}

fn last(root: &crate::agent::platform::Root, at: u64) -> Option<Vec<u8>> {
    let file = root.open_file(Path::new("/var/log/lastlog")).ok()?;
    let mut record = vec![0; LAST];
    let read = std::os::unix::fs::FileExt::read_at(&file, &mut record, at).ok()?;
    (read == LAST).then_some(record)
}

fn last_login(record: &[u8], user: &str) -> Option<Value> {
    let seconds = number::<4>(record, 0).map(i32::from_ne_bytes).filter(|seconds| *seconds != 0)?;
    Some(json!({
        "time": Timestamp::from_second(i64::from(seconds)).ok(), "user_name": user, "terminal": text(record, 4, 32),
        "host": text(record, 36, 256),
    }))
}

/// A record of utmp(5), from that file, as a row; none for an empty one.
#[must_use]
pub fn login_record(record: &[u8], path: &Path) -> Option<Value> {
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
    let seconds = number::<4>(record, 340).map(i32::from_ne_bytes)?;
    let micros = number::<4>(record, 344).map_or(0, i32::from_ne_bytes);
    let time = Timestamp::new(i64::from(seconds), micros.clamp(0, 999_999) * 1000).ok();
    let address = number::<16>(record, 348)?;
    let address: Option<IpAddr> = match address {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => None,
        [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => Some(Ipv4Addr::new(a, b, c, d).into()),
        all => Some(Ipv6Addr::from(all).into()),
    };
    Some(json!({
        "time": time, "event": kind, "failed": is_of(path, &["btmp"]), "user_name": text(record, 44, 32),
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

    #[test]
    fn a_record_is_read_whatever_it_holds() {
        let mut record = vec![0; RECORD];
        assert_eq!(login_record(&record, Path::new("/var/log/wtmp")), None);
        record[0] = 7;
        record[4..8].copy_from_slice(&42_i32.to_ne_bytes());
        record[8..13].copy_from_slice(b"pts/0");
        record[44..47].copy_from_slice(b"eve");
        record[76..80].copy_from_slice(b"h\xff\x1b[");
        record[340..344].copy_from_slice(&1_700_000_000_i32.to_ne_bytes());
        record[344..348].copy_from_slice(&500_000_i32.to_ne_bytes());
        record[348..352].copy_from_slice(&[192, 0, 2, 7]);
        let row = login_record(&record, Path::new("/var/log/btmp.1")).unwrap();
        assert_eq!(row["time"], "2023-11-14T22:13:20.5Z");
        assert_eq!((&row["event"], &row["user_name"], &row["address"]), (&json!("login"), &json!("eve"), &json!("192.0.2.7")));
        assert_eq!((&row["failed"], &row["host"], &row["pid"]), (&json!(true), &json!("h\u{fffd}\u{1b}["), &json!(42)));
        for byte in 0..RECORD {
            let mut damaged = vec![0xff; RECORD];
            damaged[byte] = 7;
            let _ = login_record(&damaged, Path::new("x"));
        }
        assert_eq!(login_record(&record[..200], Path::new("x")), None);
    }
}
