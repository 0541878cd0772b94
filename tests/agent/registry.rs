//! `registry`: hives read where they lie, held against another reader; damaged ones are errors, never more.

use std::path::{Path, PathBuf};
use std::process::Command;

use lrsh::agent::platform::windows_root::hive::{Hive, HiveError};
use lrsh::protocol::{Completed, Status};
use serde_json::{Value, json};

use crate::kit::device::Device;
use crate::kit::hive::{Key, List};
use crate::kit::hive_log;
use crate::kit::need::need;
use crate::kit::windows::{self, MAX};

const RUN: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Run";

fn device() -> (tempfile::TempDir, Device) {
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    (folder, Device::at(&disk))
}

fn ask(device: &Device, path: &str) -> (Vec<Value>, Completed) {
    let answer = device.run("registry", &[("path", path)], &[]);
    (answer.rows(), answer.completed)
}

/// The rows as `path name type value`.
fn lines(device: &Device, path: &str) -> Vec<String> {
    let (rows, completed) = ask(device, path);
    assert_eq!(completed.status, Status::Completed, "{path}: {completed:?}");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let line = |row: &Value| ["reg_path", "value_name", "value_type", "value"].map(|field| text(&row[field])).join(" ");
    rows.iter().map(line).collect()
}

#[test]
fn a_key_tells_its_values_and_subkeys_and_one_value_is_itself() {
    let (_folder, device) = device();
    let health = format!(r"{RUN} SecurityHealth REG_SZ %windir%\system32\SecurityHealthSystray.exe");
    let updater = format!(r"{RUN} Updater REG_SZ C:\Users\max\AppData\Local\Temp\up.exe -q");
    assert_eq!(lines(&device, RUN), [health, updater.clone()]);
    for typed in [r"\\Updater", r"\\UPDATER"] {
        assert_eq!(lines(&device, &format!("{RUN}{typed}")), std::slice::from_ref(&updater));
    }
    for typed in [RUN.to_lowercase(), RUN.replace("HKEY_LOCAL_MACHINE", "hklm"), format!(r"Computer\{RUN}\")] {
        assert_eq!(lines(&device, &typed).len(), 2, "{typed}");
    }
    let (rows, _) = ask(&device, r"HKLM\SOFTWARE\Microsoft\Windows");
    assert_eq!(
        rows,
        [json!({
            "reg_path": r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion", "value_name": null, "value_type": "key",
            "value": null, "modified": "2026-01-02T03:04:05Z", "hive": r"C:\Windows\System32\config\SOFTWARE",
        })]
    );
}

#[test]
fn every_part_of_the_registry_is_where_it_is_on_a_running_system() {
    let (_folder, device) = device();
    let check = |path: &str, wanted: &[&str]| assert_eq!(lines(&device, path), wanted, "{path}");
    let keys = |names: &[&str]| names.iter().map(|name| format!("{name} null key null")).collect::<Vec<_>>();
    let machine = [r"HKEY_LOCAL_MACHINE\SAM", r"HKEY_LOCAL_MACHINE\SOFTWARE", r"HKEY_LOCAL_MACHINE\SYSTEM"];
    assert_eq!(lines(&device, "HKLM"), keys(&machine));
    let own = format!(r"HKEY_USERS\{MAX}");
    let users = [r"HKEY_USERS\.DEFAULT", r"HKEY_USERS\S-1-5-18", r"HKEY_USERS\S-1-5-19", &own];
    assert_eq!(
        {
            let mut all = lines(&device, "HKU");
            all.sort();
            all
        },
        keys(&users)
    );
    let control = r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Control";
    check(
        r"HKLM\SYSTEM\CurrentControlSet\Control\ProductOptions",
        &[&format!(r"{control}\ProductOptions ProductType REG_SZ ServerNT")],
    );
    let size = format!(r"HKEY_USERS\{MAX}\Console ScreenBufferSize REG_DWORD 19464272");
    for user in ["HKEY_CURRENT_USER", r"HKEY_USERS\max", r"HKU\MAX", &format!(r"HKU\{MAX}")] {
        check(&format!(r"{user}\Console\\ScreenBufferSize"), &[&size]);
    }
    let class = r"CLSID\{b5f8350b-0548-48b1-a6ee-88bd00b4a5e7}\InprocServer32";
    let shim = format!(r"HKEY_USERS\{MAX}_Classes\{class} (Default) REG_SZ C:\Users\max\AppData\Roaming\shim.dll");
    for path in [format!(r"HKU\max_Classes\{class}\\"), format!(r"HKCU\Software\Classes\{class}\\(default)")] {
        check(&path, &[&shim]);
    }
    check(r"HKCR\.txt", &[r"HKEY_LOCAL_MACHINE\SOFTWARE\Classes\.txt (Default) REG_SZ txtfile"]);
    check(r"HKCR\Wow6432Node\.x86", &[r"HKEY_LOCAL_MACHINE\SOFTWARE\Wow6432Node\Classes\.x86 (Default) REG_SZ narrow"]);
    check(
        r"HKLM\SAM\SAM\Domains\Account\Users\Names\max",
        &[r"HKEY_LOCAL_MACHINE\SAM\SAM\Domains\Account\Users\Names\max (Default) 0x3e9 "],
    );
}

#[test]
fn what_is_not_there_is_said() {
    let (folder, device) = device();
    let check = |path: &str, code: &str, said: &str| {
        let error = ask(&device, path).1.errors.remove(0);
        assert_eq!(error.code, code, "{error:?}");
        assert!(error.message.contains(said), "{error:?}");
    };
    check(
        r"HKLM\SOFTWARE\Microsoft\Nowhere\x",
        "not_found",
        r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft is there, and has no Nowhere",
    );
    check(&format!(r"{RUN}\\None"), "not_found", "has no value None");
    check(r"HKLM\HARDWARE\x", "not_found", "no file of a disk holds it");
    check(r"C:\Windows", "not_found", "begins with one of HKEY_LOCAL_MACHINE");
    check(r"HKU\eve\x", "not_found", "nobody of that name");
    check(r"HKLM\SECURITY\Policy", "not_found", "there is no such file");
    // A second user: who "the current user" is cannot be known.
    let mut other = Key::new("ROOT");
    other.at("Console").number("x", 1);
    other.write(&folder.path().join("disk/Users/eve/NTUSER.DAT"));
    check(r"HKCU\Console", "no_current_user", r"HKEY_USERS\max, HKEY_USERS\eve");
    assert_eq!(lines(&device, r"HKU\eve\Console").len(), 1);
}

/// More than one segment.
fn large() -> Vec<u8> {
    (0..=250).cycle().take(40_000).collect()
}

/// A hive with every kind of value, names of every kind, and many keys.
pub fn wide() -> Key {
    let mut key = Key::new("ROOT");
    key.text("", "default").text("text", "grün €").expanded("expand", "%x%").texts("list", &["a", "b c"]);
    key.number("number", 4_000_000_000).value("big", 5, &[0, 0, 1, 2]).value("quad", 11, &7_u64.to_le_bytes());
    key.value("bytes", 3, &[1, 2, 255]).value("none", 0, &[]).value("short number", 4, &[1, 2]).text("名前", "値");
    key.value("large", 3, &large());
    for number in 0..100 {
        key.at(&format!("Key {number:03}")).number("n", number);
    }
    key.at("Größe").text("x", "1");
    key.at("キー").text("x", "2");
    key
}

#[test]
fn values_and_lists_of_every_kind_are_read() {
    for list in [List::Hashes, List::Hints, List::Plain, List::Lists] {
        let hive = Hive::of_bytes(wide().hive(list)).unwrap();
        assert!(!hive.is_dirty());
        let root = hive.root().unwrap();
        assert_eq!(hive.subkeys(&root).unwrap().len(), 102, "{list:?}");
        for number in [0, 57, 99] {
            let key = hive.open(&format!("KEY {number:03}")).unwrap().unwrap();
            assert_eq!(hive.number_of(&key, "N"), Some(number));
        }
        for (name, value) in [("größe", "1"), ("キー", "2")] {
            assert_eq!(hive.text_of(&hive.open(name).unwrap().unwrap(), "x").as_deref(), Some(value));
        }
        let value = hive.value(&root, "large").unwrap().unwrap();
        let lrsh::agent::platform::windows_root::hive::Data::Bytes(bytes) = hive.data(&value).unwrap() else { panic!() };
        assert!(bytes == large());
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    wide().write(&disk.join("Windows/System32/config/DRIVERS"));
    let rows = ask(&Device::at(&disk), r"HKLM\DRIVERS").0;
    let value =
        |name: &str| rows.iter().find(|row| row["value_name"] == name).unwrap_or_else(|| panic!("{name}"))["value"].clone();
    for (name, wanted) in [
        ("(Default)", json!("default")),
        ("text", json!("grün €")),
        ("list", json!(["a", "b c"])),
        ("number", json!(4_000_000_000_u32)),
        ("big", json!(0x102)),
        ("quad", json!(7)),
        ("bytes", json!("0102ff")),
        ("none", json!("")),
        ("short number", json!("0102")),
        ("名前", json!("値")),
    ] {
        assert_eq!(value(name), wanted, "{name}");
    }
}

/// A file of the test's, and what hivexget reads from it.
fn hivex(file: &Path, path: &str, name: Option<&str>) -> String {
    let mut command = Command::new("hivexget");
    command.arg(file).arg(path).args(name);
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{path}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).trim_end().to_owned()
}

#[test]
fn another_reader_reads_the_same() {
    if !need(&["hivexget"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    let hive = |name: &str| -> PathBuf { disk.join("Windows/System32/config").join(name) };
    let device = Device::at(&disk);
    let ours = |path: &str, name: &str| {
        let (rows, completed) = ask(&device, &format!(r"{path}\\{name}"));
        assert_eq!(completed.status, Status::Completed, "{completed:?}");
        rows[0]["value"].clone()
    };
    let run = r"\Microsoft\Windows\CurrentVersion\Run";
    assert_eq!(ours(RUN, "Updater"), hivex(&hive("SOFTWARE"), run, Some("Updater")));
    let spooler = r"ControlSet001\Services\Spooler";
    let theirs = hivex(&hive("SYSTEM"), &format!(r"\{spooler}"), Some("Start"));
    assert_eq!(ours(&format!(r"HKLM\SYSTEM\{spooler}"), "Start").to_string(), theirs);
    let theirs = hivex(&hive("SYSTEM"), &format!(r"\{spooler}"), Some("DependOnService"));
    assert_eq!(ours(&format!(r"HKLM\SYSTEM\{spooler}"), "DependOnService"), json!(theirs.lines().collect::<Vec<_>>()));
    // Lists of every kind: all values of a key at the end of each.
    for list in [List::Hashes, List::Hints, List::Plain, List::Lists] {
        let file = folder.path().join(format!("{list:?}"));
        std::fs::write(&file, wide().hive(list)).unwrap();
        assert_eq!(hivex(&file, r"\Key 099", Some("n")), "99", "{list:?}");
    }
}

#[test]
fn a_hive_that_was_not_written_to_its_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    let file = disk.join("Windows/System32/config/SOFTWARE");
    let mut bytes = std::fs::read(&file).unwrap();
    hive_log::dirty(&mut bytes, 2, 1);
    std::fs::write(&file, &bytes).unwrap();
    // Logs that are none, that are another hive's, and that have only what the hive has already.
    let old = hive_log::log(&bytes, 0, &[hive_log::entry(0, &bytes, &bytes)]);
    for log in [None, Some(&b"regf"[..]), Some(&[0; 8192][..]), Some(&bytes[..]), Some(&old[..])] {
        if let Some(log) = log {
            std::fs::write(disk.join("Windows/System32/config/SOFTWARE.LOG1"), log).unwrap();
        }
        let (rows, completed) = ask(&Device::at(&disk), RUN);
        assert_eq!((rows.len(), completed.status), (2, Status::Completed));
        assert_eq!(completed.errors[0].code, "hive_dirty");
        let said = &completed.errors[0].message;
        assert!(said.starts_with(r"C:\Windows\System32\config\SOFTWARE: "), "{said}");
    }
    for command in ["scheduledtasks", "startupfolders", "persistence"] {
        let errors = Device::at(&disk).run(command, &[], &[]).completed.errors;
        assert!(errors.iter().any(|error| error.message.contains("its last changes are missing")), "{command}: {errors:?}");
    }
}

/// A hive as it was, as it became, and as it became then: with more bins each time.
fn three() -> [Vec<u8>; 3] {
    let key = |count: u32, text: &str| {
        let mut key = wide();
        key.at("Changed").text("x", text);
        for number in 0..count {
            key.at(&format!(r"More\Key {number:04}")).number("n", number);
        }
        key.hive(List::Hashes)
    };
    [key(0, "one"), key(200, "two"), key(600, "three")]
}

#[test]
fn logs_are_laid_over_a_hive_that_needs_them() {
    let [mut one, two, three] = three();
    hive_log::dirty(&mut one, 8, 7);
    assert!(one.len() < two.len() && two.len() < three.len());
    let entry = hive_log::entry;
    let (first, second) = (entry(7, &one, &two), entry(8, &two, &three));
    let before = entry(6, &two, &one);
    let apart = entry(10, &two, &three);
    let mut broken = second.clone();
    *broken.last_mut().unwrap() ^= 1;
    let log = |entries: &[&Vec<u8>]| hive_log::log(&one, 7, &entries.iter().map(|entry| (*entry).clone()).collect::<Vec<_>>());
    let check = |logs: Vec<Vec<u8>>, wanted: (usize, &str, usize)| {
        let hive = Hive::of_bytes(one.clone()).unwrap().recover_bytes(logs);
        let text = hive.text_of(&hive.open("Changed").unwrap().unwrap(), "x").unwrap();
        let more = hive.open("More").unwrap().map_or(0, |more| hive.subkeys(&more).unwrap().into_iter().flatten().count());
        assert_eq!((hive.recovered(), text.as_str(), more), wanted);
        assert_eq!(hive.is_dirty(), wanted.0 == 0);
    };
    check(vec![log(&[&first, &second])], (2, "three", 600));
    check(vec![log(&[&second]), log(&[&first])], (2, "three", 600));
    check(vec![log(&[&before, &first]), Vec::new(), log(&[&second])], (2, "three", 600));
    check(vec![log(&[&first]), log(&[&apart])], (1, "two", 200));
    check(vec![log(&[&first, &broken])], (1, "two", 200));
    check(vec![log(&[&broken])], (0, "one", 0));
    check(vec![log(&[&before])], (0, "one", 0));
    check(Vec::new(), (0, "one", 0));
    check(vec![hive_log::old_log(7, &one, &three)], (1, "three", 600));
    check(vec![Vec::new(), hive_log::old_log(8, &one, &two)], (1, "two", 200));
    check(vec![hive_log::old_log(5, &one, &two)], (0, "one", 0));
    // A hive that was written to its end needs none.
    let whole = Hive::of_bytes(two.clone()).unwrap().recover_bytes(vec![log(&[&second])]);
    assert_eq!(whole.recovered(), 0);
    // On a disk they lie beside it, in any case.
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    windows::put(&disk, "Windows/System32/config/DRIVERS", &one);
    windows::put(&disk, "Windows/System32/config/drivers.log2", log(&[&first]));
    windows::put(&disk, "Windows/System32/config/DRIVERS.LOG1", log(&[&second]));
    let (rows, completed) = ask(&Device::at(&disk), r"HKLM\DRIVERS\Changed");
    assert_eq!((&rows[0]["value"], completed.errors.len()), (&json!("three"), 0));
}

#[test]
fn damaged_logs_are_passed_over() {
    let [mut one, two, _] = three();
    hive_log::dirty(&mut one, 8, 7);
    let numbered = hive_log::log(&one, 7, &[hive_log::entry(7, &one, &two)]);
    for good in [numbered, hive_log::old_log(7, &one, &two)] {
        let places = (0..600).chain((600..good.len()).step_by(211));
        for at in places {
            for byte in [0, 0xff, good[at] ^ 1] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                read_all(&Hive::of_bytes(one.clone()).unwrap().recover_bytes(vec![bytes]));
            }
        }
        for length in (0..good.len()).step_by(509) {
            read_all(&Hive::of_bytes(one.clone()).unwrap().recover_bytes(vec![good[..length].to_vec()]));
        }
    }
}

/// Reads everything that can be reached, a few levels down; how much that was.
pub fn read_all(hive: &Hive) -> usize {
    let mut count = 0;
    let mut todo = vec![(0, hive.root())];
    while let Some((depth, key)) = todo.pop() {
        let Ok(key) = key else { continue };
        count += 1;
        for value in hive.values(&key).unwrap_or_default().into_iter().flatten() {
            let _ = hive.data(&value);
        }
        if depth < 4 && count < 10_000 {
            todo.extend(hive.subkeys(&key).unwrap_or_default().into_iter().map(|key| (depth + 1, key)));
        }
    }
    count
}

#[test]
fn damage_of_any_kind_is_an_error() {
    let good = wide().hive(List::Lists);
    assert!(matches!(Hive::of_bytes(Vec::new()), Err(HiveError::NoHive)));
    assert!(matches!(Hive::of_bytes(vec![0; 9000]), Err(HiveError::NoHive)));
    for length in (0..good.len()).step_by(97) {
        if let Ok(hive) = Hive::of_bytes(good[..length].to_vec()) {
            read_all(&hive);
        }
    }
    // Every number of the hive as the largest, the smallest, its own place.
    for at in (4096..good.len().min(16 * 1024)).step_by(12) {
        for number in [u32::MAX, 0x8000_0000, 0, u32::try_from(at - 4096).unwrap(), 0x20] {
            let mut bytes = good.clone();
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
            read_all(&Hive::of_bytes(bytes).unwrap());
        }
    }
}

#[test]
fn a_list_whose_entries_are_all_one_large_value_is_bounded() {
    let mut key = Key::new("ROOT");
    key.value(&"n".repeat(16_000), 1, &[0; 8]);
    let mut bytes = key.hive(List::Hashes);
    // A list of values that are all the same one, as many as there can be.
    let value = u32::try_from(bytes.windows(2).position(|pair| pair == b"vk").unwrap() - 4 - 4096).unwrap();
    let list = bytes.len();
    bytes.extend((-800_008_i32).to_le_bytes());
    bytes.extend(value.to_le_bytes().repeat(200_001));
    let size = u32::try_from(bytes.len() - 4096).unwrap();
    bytes[40..44].copy_from_slice(&size.to_le_bytes());
    let root = 4096 + 32 + 4;
    bytes[root + 36..root + 40].copy_from_slice(&200_000_u32.to_le_bytes());
    bytes[root + 40..root + 44].copy_from_slice(&u32::try_from(list - 4096).unwrap().to_le_bytes());
    let hive = Hive::of_bytes(bytes).unwrap();
    let values = hive.values(&hive.root().unwrap()).unwrap();
    let told = values.iter().filter(|value| value.is_ok()).count();
    assert!(values.len() == 200_000 && (100..10_000).contains(&told), "{told}");
}

#[test]
fn a_list_that_leads_to_itself_ends() {
    let mut bytes = wide().hive(List::Lists);
    let list = bytes.windows(2).position(|pair| pair == b"ri").unwrap();
    let own = u32::try_from(list - 4 - 4096).unwrap();
    bytes[list + 4..list + 8].copy_from_slice(&own.to_le_bytes());
    let hive = Hive::of_bytes(bytes).unwrap();
    assert!(matches!(hive.subkeys(&hive.root().unwrap()), Err(HiveError::Damaged { .. })));
    let folder = tempfile::tempdir().unwrap();
    let disk = windows::disk(folder.path());
    std::fs::write(disk.join("Windows/System32/config/SOFTWARE"), "regf, and then nothing").unwrap();
    let error = ask(&Device::at(&disk), RUN).1.errors.remove(0);
    assert_eq!(error.code, "not_a_hive");
}
