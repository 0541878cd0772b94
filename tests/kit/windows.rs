//! A Windows disk made of files: hives, task definitions, shortcuts, and what an intruder left on it.

use std::path::{Path, PathBuf};

use super::hive::Key;

/// The SID of the user `max`.
pub const MAX: &str = "S-1-5-21-1004336348-1177238915-682003330-1001";
/// What tasks are described in.
const TASK: &str = r#"<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.4" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">"#;

/// A file of the disk.
pub fn put(disk: &Path, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let file = disk.join(path.replace('\\', "/"));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, content).unwrap();
    file
}

/// UTF-16 with its mark, as the task scheduler writes it.
pub fn utf16(text: &str) -> Vec<u8> {
    [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// A shortcut to a program: MS-SHLLINK, with a `LinkInfo` and arguments.
pub fn shortcut(target: &str, arguments: &str) -> Vec<u8> {
    let mut link = Vec::new();
    link.extend(0x4c_u32.to_le_bytes());
    link.extend([1, 0x14, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46]);
    // HasLinkTargetIDList, HasLinkInfo, HasArguments, IsUnicode.
    let flags = 1_u32 | 1 << 1 | if arguments.is_empty() { 0 } else { 1 << 5 } | 1 << 7;
    link.extend(flags.to_le_bytes());
    link.resize(0x4c, 0);
    // A list of ids: one of four bytes, and the end.
    link.extend([8, 0, 6, 0, 0x1f, 0x50, 0xe0, 0x4f, 0, 0]);
    let path: Vec<u8> = target.bytes().chain([0]).collect();
    let head = 0x1c_u32;
    let volume = 0x11_u32;
    let base = head + volume;
    let suffix = base + u32::try_from(path.len()).unwrap();
    for number in [suffix + 1, head, 1, head, base, 0, suffix] {
        link.extend(number.to_le_bytes());
    }
    // The volume: its size, kind, number, and an empty label.
    for number in [volume, 3, 0, 0x10] {
        link.extend(number.to_le_bytes());
    }
    link.push(0);
    link.extend(path);
    link.push(0);
    if !arguments.is_empty() {
        link.extend(u16::try_from(arguments.encode_utf16().count()).unwrap().to_le_bytes());
        link.extend(arguments.encode_utf16().flat_map(u16::to_le_bytes));
    }
    link.extend([0; 4]);
    link
}

/// A shortcut that names its program by a list of ids alone, each name short and long, and whatever stands behind its strings.
pub fn shortcut_of_ids(names: &[&str], arguments: &str, blocks: &[u8]) -> Vec<u8> {
    let mut link = Vec::new();
    link.extend(0x4c_u32.to_le_bytes());
    link.extend([1, 0x14, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46]);
    // HasLinkTargetIDList, HasArguments, IsUnicode, HasExpString where there are blocks.
    let flags = 1_u32 | 1 << 5 | 1 << 7 | if blocks.is_empty() { 0 } else { 1 << 9 };
    link.extend(flags.to_le_bytes());
    link.resize(0x4c, 0);
    let ids = ids(names);
    link.extend(u16::try_from(ids.len()).unwrap().to_le_bytes());
    link.extend(ids);
    link.extend(u16::try_from(arguments.encode_utf16().count()).unwrap().to_le_bytes());
    link.extend(arguments.encode_utf16().flat_map(u16::to_le_bytes));
    link.extend(blocks);
    link.extend([0; 4]);
    link
}

/// A list of ids as Explorer writes it: this computer, the drive, and an entry a name.
fn ids(names: &[&str]) -> Vec<u8> {
    let computer = [0x1f, 0x50, 0xe0, 0x4f, 0xd0, 0x20, 0xea, 0x3a, 0x69, 0x10, 0xa2, 0xd8, 0x08, 0, 0x2b, 0x30, 0x30, 0x9d];
    let mut drive = vec![0x2f];
    drive.extend(br"C:\");
    drive.resize(23, 0);
    let mut ids: Vec<Vec<u8>> = vec![computer.to_vec(), drive];
    for (place, name) in names.iter().enumerate() {
        let mut id = vec![if place + 1 == names.len() { 0x32 } else { 0x31 }, 0];
        // Size, date and attributes; then the short name.
        id.resize(12, 0);
        id.extend(b"SHORT~1\0");
        let mut extension = vec![0, 0];
        extension.extend(9_u16.to_le_bytes());
        extension.extend(0xbeef_0004_u32.to_le_bytes());
        // Times, the record of NTFS, and lengths.
        extension.resize(46, 0);
        extension.extend(name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        let size = u16::try_from(extension.len() + 2).unwrap();
        extension[..2].copy_from_slice(&size.to_le_bytes());
        let at = u16::try_from(id.len() + 2).unwrap();
        extension.extend(at.to_le_bytes());
        id.extend(extension);
        ids.push(id);
    }
    let sized = |id: Vec<u8>| [u16::try_from(id.len() + 2).unwrap().to_le_bytes().to_vec(), id].concat();
    ids.into_iter().flat_map(sized).chain([0, 0]).collect()
}

/// The block of a shortcut that holds its target with variables.
pub fn variables(target: &str) -> Vec<u8> {
    let mut block = 0x314_u32.to_le_bytes().to_vec();
    block.extend(0xa000_0001_u32.to_le_bytes());
    block.resize(8 + 260, 0);
    block.extend(target.encode_utf16().flat_map(u16::to_le_bytes));
    block.resize(0x314, 0);
    block
}

/// A task as Windows kept it before Vista: FIXDLEN_DATA of MS-TSCH, texts, and one trigger.
pub fn job(program: &str, arguments: &str, author: &str, disabled: bool) -> Vec<u8> {
    let mut job = vec![0; 68];
    job[..4].copy_from_slice(&[0, 6, 1, 0]);
    job[20..22].copy_from_slice(&70_u16.to_le_bytes());
    job[48..52].copy_from_slice(&(if disabled { 4_u32 } else { 0 }).to_le_bytes());
    job.extend([0, 0]);
    for text in [program, arguments, r"C:\Windows", author, "keeps things tidy"] {
        let units: Vec<u16> = text.encode_utf16().chain([0]).collect();
        job.extend(u16::try_from(units.len()).unwrap().to_le_bytes());
        job.extend(units.into_iter().flat_map(u16::to_le_bytes));
    }
    job.extend([0, 0, 0, 0]);
    let at = u16::try_from(job.len()).unwrap();
    job[22..24].copy_from_slice(&at.to_le_bytes());
    job.extend(1_u16.to_le_bytes());
    let mut trigger = vec![0; 48];
    for (place, number) in [(0, 48_u16), (4, 2026), (6, 1), (8, 2), (16, 3), (18, 30), (32, 1), (36, 1)] {
        trigger[place..place + 2].copy_from_slice(&number.to_le_bytes());
    }
    job.extend(trigger);
    job
}

/// The disk: a server with a service, a driver, tasks, start-up items and implants.
pub fn disk(folder: &Path) -> PathBuf {
    let disk = folder.join("disk");
    let at = |path: &str| disk.join(path);
    for program in ["System32/spoolsv.exe", "System32/svchost.exe", "System32/drivers/tcpip.sys", "explorer.exe"] {
        put(&disk, &format!("Windows/{program}"), "MZ");
    }
    put(&disk, "Users/max/Documents/report.txt", "first line\r\nsecond line\r\n");
    put(&disk, "Users/max/AppData/Local/Temp/up.exe", "MZ up");
    put(&disk, "Program Files/Some App/run.exe", "MZ run");
    software().write(&at("Windows/System32/config/SOFTWARE"));
    system().write(&at("Windows/System32/config/SYSTEM"));
    let mut sam = Key::new("ROOT");
    sam.at(r"SAM\Domains\Account\Users\Names\max").value("", 0x3e9, &[]);
    sam.write(&at("Windows/System32/config/SAM"));
    user().write(&at("Users/max/NTUSER.DAT"));
    let mut classes = Key::new("ROOT");
    classes
        .at(r"CLSID\{b5f8350b-0548-48b1-a6ee-88bd00b4a5e7}\InprocServer32")
        .text("", r"C:\Users\max\AppData\Roaming\shim.dll")
        .text("ThreadingModel", "Both");
    classes.write(&at("Users/max/AppData/Local/Microsoft/Windows/UsrClass.dat"));
    tasks(&disk);
    startup(&disk);
    disk
}

/// The hive SOFTWARE of it.
pub fn software() -> Key {
    let mut key = Key::new("ROOT");
    key.at(r"Microsoft\Windows NT\CurrentVersion")
        .text("ProductName", "Windows Server 2022 Standard")
        .text("CurrentBuild", "20348")
        .text("DisplayVersion", "21H2")
        .text("SystemRoot", r"C:\Windows");
    key.at(r"Microsoft\Cryptography").text("MachineGuid", "5d3ae8f4-6f4c-4c80-8c30-5f1f4a1f2f10");
    let list = r"Microsoft\Windows NT\CurrentVersion\ProfileList";
    for (sid, folder) in [
        ("S-1-5-18", r"%systemroot%\system32\config\systemprofile"),
        ("S-1-5-19", r"%systemroot%\ServiceProfiles\LocalService"),
        (MAX, r"C:\Users\max"),
    ] {
        key.at(list).at(sid).expanded("ProfileImagePath", folder);
    }
    key.at(r"Microsoft\Windows\CurrentVersion\Run")
        .text("SecurityHealth", r"%windir%\system32\SecurityHealthSystray.exe")
        .text("Updater", r"C:\Users\max\AppData\Local\Temp\up.exe -q");
    key.at(r"Wow6432Node\Microsoft\Windows\CurrentVersion\Run").text("App", r#""C:\Program Files\Some App\run.exe" /tray"#);
    key.at(r"Microsoft\Windows NT\CurrentVersion\Winlogon")
        .text("Userinit", r"C:\Windows\system32\userinit.exe,C:\ProgramData\x.exe")
        .text("Shell", "explorer.exe");
    key.at(r"Microsoft\Windows NT\CurrentVersion\Image File Execution Options\sethc.exe")
        .text("Debugger", r"C:\Windows\System32\cmd.exe");
    key.at(r"Microsoft\Windows NT\CurrentVersion\Image File Execution Options\notepad.exe").number("UseFilter", 1);
    key.at(r"Microsoft\Windows NT\CurrentVersion\Windows").text("AppInit_DLLs", r"C:\ProgramData\hook.dll");
    key.at(r"Classes\.txt").text("", "txtfile");
    key.at(r"Classes\Wow6432Node").link(r"\REGISTRY\MACHINE\SOFTWARE\Wow6432Node\Classes");
    key.at(r"Wow6432Node\Classes\.x86").text("", "narrow");
    let cache = r"Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache";
    for (path, id) in [("Maintain", "{1}"), (r"Microsoft\Windows\Update\Check", "{2}"), ("Ghost", "{3}")] {
        key.at(&format!(r"{cache}\Tree\{path}")).text("Id", id);
        let mut info = vec![3, 0, 0, 0];
        info.extend(super::hive::WRITTEN.to_le_bytes());
        info.extend((super::hive::WRITTEN + 864_000_000_000).to_le_bytes());
        info.resize(0x24, 0);
        key.at(&format!(r"{cache}\Tasks\{id}")).text("Path", &format!(r"\{path}")).value("DynamicInfo", 3, &info);
    }
    // The intruder took away what makes the scheduler show it.
    for path in ["Maintain", r"Microsoft\Windows\Update\Check"] {
        key.at(&format!(r"{cache}\Tree\{path}")).value("SD", 3, &[1, 0, 4, 0x80, 0]);
    }
    key
}

/// The hive SYSTEM of it.
pub fn system() -> Key {
    let mut key = Key::new("ROOT");
    key.at("Select").number("Current", 1).number("Default", 1);
    let control = r"ControlSet001\Control";
    key.at(&format!(r"{control}\ComputerName\ComputerName")).text("ComputerName", "FILES01");
    key.at(&format!(r"{control}\ProductOptions")).text("ProductType", "ServerNT");
    key.at(&format!(r"{control}\Session Manager")).texts("BootExecute", &["autocheck autochk *"]);
    key.at(&format!(r"{control}\Lsa"))
        .texts("Authentication Packages", &["msv1_0", "mimilib"])
        .texts("Security Packages", &["\"\""])
        .texts("Notification Packages", &["scecli"]);
    key.at(&format!(r"{control}\Print\Monitors\Local Port")).text("Driver", "localspl.dll");
    let services = r"ControlSet001\Services";
    let mut service = |name: &str, kind: u32, start: u32, image: &str| {
        key.at(&format!(r"{services}\{name}")).number("Type", kind).number("Start", start).expanded("ImagePath", image);
    };
    service("Spooler", 0x110, 2, r"%SystemRoot%\System32\spoolsv.exe");
    service("Tcpip", 1, 0, r"System32\drivers\tcpip.sys");
    service("WinUpdate", 0x20, 2, r"%SystemRoot%\system32\svchost.exe -k netsvcs");
    service("App", 0x10, 3, r"C:\Program Files\Some App\run.exe --service");
    service("Old", 0x10, 4, r"C:\old\old.exe");
    service("rk", 1, 1, r"\??\C:\Windows\Temp\rk.sys");
    key.at(&format!(r"{services}\Spooler"))
        .text("DisplayName", "Print Spooler")
        .text("ObjectName", "LocalSystem")
        .texts("DependOnService", &["RPCSS", "http"]);
    key.at(&format!(r"{services}\WinUpdate")).text("ObjectName", "LocalSystem").number("DelayedAutostart", 1);
    key.at(&format!(r"{services}\WinUpdate\Parameters")).expanded("ServiceDll", r"%SystemRoot%\system32\wuauserv32.dll");
    key.at(&format!(r"{services}\App\TriggerInfo\0")).number("Type", 1);
    key.at(&format!(r"{services}\.NET Data")).number("Other", 1);
    key.at(&format!(r"{services}\W32Time\TimeProviders\NtpClient")).expanded("DllName", r"%systemroot%\system32\w32time.dll");
    key
}

/// The hive of the user `max`.
pub fn user() -> Key {
    let mut key = Key::new("ROOT");
    key.at(r"Console").number("ScreenBufferSize", 0x0129_0050).number("FontSize", 0x0010_0000);
    key.at(r"Software\Microsoft\Windows\CurrentVersion\Run")
        .text("OneDrive", r"%LOCALAPPDATA%\OneDrive\OneDrive.exe /background");
    key.at(r"Software\Microsoft\Windows\CurrentVersion\RunOnce").text("", "cmd /c del x");
    key.at("Environment").expanded("UserInitMprLogonScript", r"%APPDATA%\logon.bat");
    key.at(r"Control Panel\Desktop").text("SCRNSAVE.EXE", r"C:\Users\max\saver.scr");
    key
}

fn tasks(disk: &Path) {
    let maintain = format!(
        r#"{TASK}
  <RegistrationInfo><Author>FILES01\Administrator</Author><Description>Keeps things tidy &amp; small</Description><URI>\Maintain</URI></RegistrationInfo>
  <Triggers>
    <CalendarTrigger><StartBoundary>2026-01-01T03:00:00</StartBoundary><Enabled>true</Enabled><ScheduleByDay><DaysInterval>1</DaysInterval></ScheduleByDay></CalendarTrigger>
    <LogonTrigger><Enabled>true</Enabled><UserId>FILES01\max</UserId></LogonTrigger>
  </Triggers>
  <Principals><Principal id="Author"><UserId>S-1-5-18</UserId><RunLevel>HighestAvailable</RunLevel></Principal></Principals>
  <Settings><Enabled>true</Enabled><Hidden>false</Hidden></Settings>
  <Actions Context="Author"><Exec><Command>C:\Users\max\AppData\Local\Temp\up.exe</Command><Arguments>-q "a b"</Arguments></Exec></Actions>
</Task>"#
    );
    put(disk, "Windows/System32/Tasks/Maintain", utf16(&maintain));
    let check = format!(
        r#"{TASK}
  <RegistrationInfo><URI>\Microsoft\Windows\Update\Check</URI></RegistrationInfo>
  <Triggers><BootTrigger/></Triggers>
  <Principals><Principal id="LocalSystem"><GroupId>S-1-5-32-545</GroupId></Principal></Principals>
  <Settings><Enabled>false</Enabled></Settings>
  <Actions Context="LocalSystem"><ComHandler><ClassId>{{A6BA00FE-40E8-477C-B713-C64A14F18ADB}}</ClassId><Data>x</Data></ComHandler></Actions>
</Task>"#
    );
    put(disk, "Windows/System32/Tasks/Microsoft/Windows/Update/Check", utf16(&check));
    let ghost =
        format!("{TASK}<Actions><Exec><Command>powershell</Command><Arguments>-enc AAAA</Arguments></Exec></Actions></Task>");
    put(disk, "Windows/System32/Tasks/Ghost", utf16(&ghost));
    put(disk, "Windows/System32/Tasks/Broken", utf16("<Task><Actions>"));
}

fn startup(disk: &Path) {
    let programs = "Microsoft/Windows/Start Menu/Programs/Startup";
    put(disk, &format!("ProgramData/{programs}/Monitor.lnk"), shortcut(r"C:\Program Files\Some App\run.exe", "/monitor"));
    put(disk, &format!("ProgramData/{programs}/desktop.ini"), "[.ShellClassInfo]\r\n");
    let own = format!("Users/max/AppData/Roaming/{programs}");
    put(disk, &format!("{own}/fix.vbs"), "CreateObject(\"WScript.Shell\").Run \"calc\"");
    put(disk, &format!("{own}/bad.lnk"), "L");
}
