//! Which Windows it is, and who has an account or a profile on it. A password's hash is never taken.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::{doubts, none};
use crate::agent::collect::{Gathered, Gatherer};
use crate::agent::path::lossy;
use crate::agent::platform::windows_root::bytes::bytes_at;
use crate::agent::platform::windows_root::hive::Data;
use crate::agent::platform::windows_root::registry::{Found, Registry};
use crate::agent::platform::windows_root::text::{filetime, utf16_exact};

const VERSION: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";
const CONTROL: &str = r"SYSTEM\CurrentControlSet\Control";
/// The accounts of this machine, and the groups that every Windows has.
const ACCOUNTS: &str = r"SAM\SAM\Domains\Account";
const ALIASES: &str = r"SAM\SAM\Domains\Builtin\Aliases";
/// Members of one group, and groups.
const MAX_MEMBERS: usize = 10_000;
/// Bits of an account (`ACB_…` of ntsam.h).
const DISABLED: u16 = 1;
const NO_PASSWORD: u16 = 4;
const LOCKED: u16 = 0x400;

/// A moment counted in 100 ns since 1601; what is zero, or never, is none.
pub(super) fn moment(ticks: u64) -> Option<Timestamp> {
    filetime(ticks).timestamp().filter(|_| ticks != 0 && ticks < i64::MAX.unsigned_abs())
}

pub(super) fn bytes_of(found: &Found, name: &str) -> Option<Vec<u8>> {
    match found.data(name)? {
        Data::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn u32_at(bytes: &[u8], place: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes_at(bytes, place)?)).ok()
}

fn ticks_at(bytes: &[u8], place: usize) -> Option<Timestamp> {
    moment(u64::from_le_bytes(bytes_at(bytes, place)?))
}

/// One row of facts.
pub(super) fn system(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let registry = Registry::new(&agent.root);
    let (version, hello) = (registry.machine(VERSION), &agent.hello);
    let text = |name: &str| version.as_ref().and_then(|version| version.text(name));
    let of = |path: &str| registry.machine(&format!(r"{CONTROL}\{path}"));
    let stopped = of("Windows").and_then(|found| bytes_of(&found, "ShutdownTime"));
    let zone = of("TimeZoneInformation");
    let bias = zone.as_ref().and_then(|zone| zone.number("ActiveTimeBias")).and_then(|bias| u32::try_from(bias).ok());
    let installed = version.as_ref().and_then(|version| version.number("InstallDate"));
    let installed = installed.and_then(|seconds| Timestamp::from_second(i64::try_from(seconds).ok()?).ok());
    let row = json!({
        "time": Timestamp::now(), "name": hello.name, "device_id": hello.device_id, "platform": hello.platform,
        "server": hello.server, "root": hello.root, "os": hello.os, "product": text("ProductName"),
        "build": text("CurrentBuild"), "edition": text("EditionID"), "owner": text("RegisteredOwner"),
        "organization": text("RegisteredOrganization"), "system_root": text("SystemRoot"), "installed": installed,
        "stopped": stopped.and_then(|bytes| ticks_at(&bytes, 0)),
        "timezone": zone.as_ref().and_then(|zone| zone.text("TimeZoneKeyName").or_else(|| zone.text("StandardName"))),
        "minutes_west": bias.map(u32::cast_signed),
    });
    to.rows("system", |rows| Ok(rows.row(&row)?))?;
    doubts(to, &registry)?;
    none(version.is_some(), "hive SOFTWARE that can be read")
}

/// The accounts of this machine, and whoever else has a profile on it.
pub(super) fn users(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let registry = Registry::new(&agent.root);
    let stop = to.stop.clone();
    let mut profiles = registry.profiles();
    let own = registry.machine(ACCOUNTS).and_then(|found| machine_sid(&bytes_of(&found, "V")?));
    let groups = groups(&registry);
    let all = registry.machine(&format!(r"{ACCOUNTS}\Users"));
    let names = all.iter().filter_map(|all| registry.down(all, "Names")).flat_map(|names| registry.below(&names));
    // An account's number stands as the type of a value that is empty.
    let numbered = names.filter_map(|name| Some((name.hive.value(&name.key, "").ok()??.kind, name)));
    let numbered: BTreeMap<u32, Found> = numbered.collect();
    to.rows("users", |rows| {
        for (number, name) in &numbered {
            stop.check()?;
            let account = all.as_ref().and_then(|all| registry.down(all, &format!("{number:08X}")));
            let facts = account.as_ref().and_then(|account| bytes_of(account, "F")).unwrap_or_default();
            let texts = account.as_ref().and_then(|account| bytes_of(account, "V")).unwrap_or_default();
            let sid = own.as_ref().map(|own| format!("{own}-{number}"));
            let profile = profiles.iter().position(|profile| profile.sid.is_some() && profile.sid == sid);
            let home = profile.map(|place| lossy(&profiles.remove(place).folder));
            let bits = bytes_at(&facts, 56).map(u16::from_le_bytes);
            let has = |bit: u16| bits.map(|bits| bits & bit != 0);
            let count = |place: usize| bytes_at(&facts, place).map(u16::from_le_bytes);
            rows.row(&json!({
                "user_name": name.key.name, "sid": sid, "rid": number, "full_name": text(&texts, 0x18),
                "comment": text(&texts, 0x24), "home": home, "groups": sid.as_ref().and_then(|sid| groups.get(sid)),
                "disabled": has(DISABLED), "locked": has(LOCKED), "password_required": has(NO_PASSWORD).map(|no| !no),
                "password_changed": ticks_at(&facts, 24), "expires": ticks_at(&facts, 32), "last_login": ticks_at(&facts, 8),
                "last_failed_login": ticks_at(&facts, 40), "failed_logins": count(64), "logins": count(66),
                "created": name.key.written,
            }))?;
        }
        for profile in &profiles {
            let groups = profile.sid.as_ref().and_then(|sid| groups.get(sid));
            rows.row(&json!({
                "user_name": profile.name, "sid": profile.sid, "rid": null, "full_name": null, "comment": null,
                "home": lossy(&profile.folder), "groups": groups, "disabled": null, "locked": null, "password_required": null,
                "password_changed": null, "expires": null, "last_login": null, "last_failed_login": null,
                "failed_logins": null, "logins": null, "created": null,
            }))?;
        }
        Ok(())
    })?;
    doubts(to, &registry)?;
    none(!numbered.is_empty() || !profiles.is_empty(), "accounts that can be read")
}

/// The groups by the SID of each member. What the value `C` of a group holds behind its head of 0x34 bytes: its name at one place,
/// the SIDs of its members at another.
fn groups(registry: &Registry<'_>) -> HashMap<String, Vec<String>> {
    const HEAD: usize = 0x34;
    let mut groups: HashMap<String, Vec<String>> = HashMap::new();
    let aliases = registry.machine(ALIASES);
    for alias in aliases.iter().flat_map(|aliases| registry.below(aliases)).take(MAX_MEMBERS) {
        let Some(bytes) = bytes_of(&alias, "C") else { continue };
        let slice = |place: usize, length: usize| bytes.get(HEAD.checked_add(place)?..)?.get(..length);
        let name = u32_at(&bytes, 0x10).zip(u32_at(&bytes, 0x14)).and_then(|(place, length)| slice(place, length));
        let name = name.map_or_else(|| alias.key.name.clone(), utf16_exact);
        let Some((mut place, count)) = u32_at(&bytes, 0x28).zip(u32_at(&bytes, 0x30)) else { continue };
        for _ in 0..count.min(MAX_MEMBERS) {
            let Some((sid, length)) = slice(place, 8).and_then(|_| sid(bytes.get(HEAD + place..)?)) else { break };
            groups.entry(sid).or_default().push(name.clone());
            place += length;
        }
    }
    groups
}

/// A SID and the bytes that it takes: MS-DTYP, 2.4.2.
fn sid(bytes: &[u8]) -> Option<(String, usize)> {
    let (&[revision, count], authority) = (bytes.first_chunk()?, bytes_at::<6>(bytes, 2)?);
    let authority = authority.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let parts: Option<Vec<u32>> =
        (0..usize::from(count)).map(|part| bytes_at(bytes, 8 + 4 * part).map(u32::from_le_bytes)).collect();
    let text = parts?.iter().fold(format!("S-{revision}-{authority}"), |sid, part| format!("{sid}-{part}"));
    (revision == 1 && count <= 15).then_some((text, 8 + 4 * usize::from(count)))
}

/// The SID of this machine: the last three numbers of the domain's value `V`.
fn machine_sid(bytes: &[u8]) -> Option<String> {
    let tail: [u8; 12] = bytes.last_chunk().copied()?;
    let [a, b, c] = [0, 4, 8].map(|place| bytes_at(&tail, place).map_or(0, u32::from_le_bytes));
    Some(format!("S-1-5-21-{a}-{b}-{c}"))
}

/// A text of an account's value `V`: place and length stand in its head of 0xcc bytes.
fn text(bytes: &[u8], field: usize) -> Option<String> {
    let (place, length) = u32_at(bytes, field).zip(u32_at(bytes, field + 4))?;
    let text = bytes.get(place.checked_add(0xcc)?..)?.get(..length)?;
    Some(utf16_exact(text)).filter(|text| !text.is_empty())
}
