//! What Tab offers, with a device that says what the test has it say: now, or never.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lrsh::grammar::Row;
use lrsh::protocol::PlatformName;
use lrsh::shell::editor::{Aids, Answer, Candidate, Facts, Found, Surroundings, Wanted};

/// A device that answers at once, and keeps count of what it was asked.
struct Around {
    facts: Facts,
    asked: Mutex<Vec<Wanted>>,
    is_silent: bool,
}

fn entry(value: &str, is_folder: bool) -> Candidate {
    Candidate { value: value.into(), is_folder, is_open: is_folder, ..Candidate::default() }
}

fn told(value: &str, description: &str) -> Candidate {
    Candidate { value: value.into(), description: description.into(), ..Candidate::default() }
}

fn answer_to(wanted: &Wanted) -> Result<Found, String> {
    let running = |one: Candidate| Candidate { is_running: true, ..one };
    let candidates = match wanted {
        Wanted::Folder { path, .. } if path == "/gone/" => return Err("/gone: there is no such file or folder".into()),
        Wanted::Folder { path, begins, .. } if path == "/huge/" => {
            let some = if begins.is_empty() { vec![entry("a", false)] } else { vec![entry("zebra", false)] };
            return Ok(Found { candidates: some, more: begins.is_empty() });
        }
        Wanted::Folder { path, .. } if path.starts_with("C:") => {
            vec![entry("Program Files", true), entry("pagefile.sys", false)]
        }
        Wanted::Folder { .. } => vec![
            entry(".hidden", false),
            entry("a b", true),
            entry("größe.log", false),
            entry("it's \"x\"", false),
            entry("Log", true),
            Candidate { exact: Some("file:///tmp/red%1B".into()), ..entry("red\u{1b}", false) },
            Candidate { is_open: true, ..entry("symbolic", false) },
            entry("with>sign", false),
        ],
        Wanted::LocalFolder(_) => vec![entry("cases", true), entry("out.json", false)],
        Wanted::Processes => vec![told("17", "sshd  root"), told("4711", "evil  www  /tmp/evil -x")],
        Wanted::ProcessNames => vec![told("evil", "www"), told("my daemon", "root"), told("sshd", "root")],
        Wanted::Registry(key) if key.ends_with("Run") => vec![told("Updater", "REG_SZ  up.exe"), entry("Sub Key", true)],
        Wanted::Registry(_) => vec![entry("SOFTWARE", true), entry("SYSTEM", true)],
        Wanted::Services => vec![told("ssh.service", "running  OpenSSH")],
        Wanted::Tasks => vec![told("cron /etc/cron.d/evil:3", "* * * * *  /tmp/evil")],
        Wanted::StartupItems => vec![told("/etc/profile.d/evil.sh", "profile")],
        Wanted::Library => vec![
            Candidate { usage: Some("--dry-run: only says what it would do".into()), ..told("clean.sh", "cleans") },
            told("collect.ps1", ""),
        ],
        Wanted::Devices => vec![told("web01", "linux"), told("web02", "windows")],
        Wanted::Commands => vec![running(told("7", "run clean.sh &  running")), told("2", "processes  completed")],
        Wanted::Effects => vec![told("3", "file  /tmp/evil  quarantined")],
        Wanted::Targets(entity) => vec![told("/tmp/evil", entity)],
    };
    Ok(Found { candidates, more: false })
}

impl Surroundings for Around {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn ask(&self, wanted: &Wanted, answer: Answer) {
        self.asked.lock().unwrap().push(wanted.clone());
        if !self.is_silent {
            answer(answer_to(wanted));
        }
    }

    fn jobs(&self) -> usize {
        0
    }

    fn idle_left(&self) -> Option<Duration> {
        None
    }

    fn help(&self, _: Option<&'static Row>) -> String {
        String::new()
    }
}

struct Bench {
    aids: Aids,
    around: Arc<Around>,
    _folder: tempfile::TempDir,
}

fn on(platform: PlatformName, roles: &[&str], is_silent: bool) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let facts = Facts {
        platform: Some(platform),
        device: Some("web01".into()),
        directory: platform.start_directory().into(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    };
    let around = Arc::new(Around { facts, asked: Mutex::default(), is_silent });
    Bench { aids: Aids::new(folder.path().join("history"), around.clone()), around, _folder: folder }
}

/// The lines that the offers at `^` would make, `^` being where the blank or the end would be.
fn offered(bench: &mut Bench, marked: &str) -> Vec<String> {
    let cursor = marked.find('^').unwrap();
    let shown = bench.aids.at(&marked.replacen('^', "", 1), cursor);
    shown.offers.unwrap_or_default().into_iter().map(|(line, _)| line).collect()
}

#[test]
fn what_is_offered_where() {
    let mut bench = on(PlatformName::Linux, &["basic", "advanced", "library", "settings"], false);
    let cases: &[(&str, &[&str])] = &[
        ("proc^", &["processes "]),
        ("ls^", &["ls "]),
        ("netstat^", &["connections "]),
        ("help ps^", &["help processes "]),
        ("processes -output j^", &["processes -output json ", "processes -output jsonl "]),
        ("processes -sort -mem^", &["processes -sort -memory_k ", "processes -sort -memory_usage "]),
        ("dir -columns path,si^", &["dir -columns path,size"]),
        ("dir -columns size,si^", &[]),
        ("dir -columns path,pa^", &["dir -columns path,path_uri"]),
        ("dir -full^", &["dir -full_path "]),
        ("help fileinf^", &["help fileinfo "]),
        // Paths of the device: quoted where needed, folders open, hidden names only when they are begun.
        ("dir /tmp/a^", &["dir \"/tmp/a b/\""]),
        ("dir \"/tmp/a^", &["dir \"/tmp/a b/\""]),
        ("dir '/tmp/a^", &["dir '/tmp/a b/'"]),
        ("cat /tmp/gr^", &["cat /tmp/größe.log "]),
        ("cat /tmp/it^", &["cat \"/tmp/it's \"\"x\"\"\" "]),
        ("cat '/tmp/it^", &["cat '/tmp/it''s \"x\"' "]),
        ("cat /tmp/w^", &["cat \"/tmp/with>sign\" "]),
        ("cat /tmp/red^", &["cat file:///tmp/red%1B "]),
        ("cat \"/tmp/red^", &["cat file:///tmp/red%1B "]),
        ("cat file:///tmp/a^", &["cat file:///tmp/a%20b/"]),
        ("cat /tmp/sym^", &["cat /tmp/symbolic"]),
        ("cat /tmp/LO^", &["cat /tmp/Log/"]),
        ("cat /tmp/.^", &["cat /tmp/.hidden "]),
        ("cat /tmp/lo^/x -hex", &["cat /tmp/Log/ -hex"]),
        ("cat /huge/z^", &["cat /huge/zebra "]),
        ("cd a^", &["cd \"a b/\""]),
        ("remediate file /tmp/gr^", &["remediate file /tmp/größe.log "]),
        // Paths of this machine.
        ("dir > c^", &["dir > cases/"]),
        ("dir >> logs/o^", &["dir >> logs/out.json "]),
        ("library add ca^", &["library add cases/"]),
        ("library add x -signature o^", &["library add x -signature out.json "]),
        ("getfile /x -to ca^", &["getfile /x -to cases/"]),
        // What only device and service know.
        ("processes 4^", &["processes 4711 "]),
        ("processes evil^", &["processes 4711 "]),
        ("processes -name ssh^", &["processes -name sshd "]),
        ("processes -name my^", &["processes -name \"my daemon\" "]),
        ("devices web^", &["devices web01 ", "devices web02 "]),
        ("library add cases/fix.sh -name ^", &["library add cases/fix.sh -name fix.sh "]),
        ("remediate process ssh^", &["remediate process 17 "]),
        ("remediate service open^", &["remediate service ssh.service "]),
        ("remediate scheduledtask ^", &["remediate scheduledtask \"cron /etc/cron.d/evil:3\" "]),
        ("scheduledtasks cron^", &["scheduledtasks \"cron /etc/cron.d/evil:3\" "]),
        ("remediate startupfolder /^", &["remediate startupfolder /etc/profile.d/evil.sh "]),
        ("undo file /t^", &["undo file /tmp/evil "]),
        ("undo 3^", &["undo 3 "]),
        ("run cl^", &["run clean.sh "]),
        ("putfile cl^", &["putfile clean.sh "]),
        ("library delete co^", &["library delete collect.ps1 "]),
        ("connect web0^", &["connect web01 ", "connect web02 "]),
        ("fg ^7", &["fg 7 "]),
        ("cancel clean^", &["cancel 7 "]),
        ("status 2^", &["status 2 "]),
        ("settings uns^", &["settings unsigned_scripts "]),
        ("settings unsigned_scripts o^", &["settings unsigned_scripts on ", "settings unsigned_scripts off "]),
    ];
    let mut wrong = Vec::new();
    for (marked, wanted) in cases {
        let mut found = offered(&mut bench, marked);
        // Parameters by name may stand in most places too.
        found.retain(|line| {
            !line.split(' ').any(|word| word.starts_with('-') && !marked.contains(word.trim_end())) || marked.contains(" -")
        });
        if found != *wanted {
            wrong.push(format!("{marked}\n  wanted {wanted:?}\n  found  {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn windows_paths_are_windows_paths() {
    let mut bench = on(PlatformName::Windows, &[], false);
    assert_eq!(offered(&mut bench, r"dir C:\P^"), [r#"dir "C:\Program Files\""#]);
    assert_eq!(offered(&mut bench, r"cat C:\pa^"), [r"cat C:\pagefile.sys "]);
    assert_eq!(offered(&mut bench, "cat C:/P^"), [r#"cat "C:/Program Files/""#]);
    for (typed, wanted) in [
        (r"registry hkey_l^", vec![r"registry HKEY_LOCAL_MACHINE\"]),
        (r"registry HKL^", vec![r"registry HKLM\"]),
        (r"registry HKLM\so^", vec![r"registry HKLM\SOFTWARE\"]),
        (r"registry HKLM\Run\^", vec![r"registry HKLM\Run\\Updater ", r#"registry "HKLM\Run\Sub Key\""#]),
        (r"registry HKLM\Run\\up^", vec![r"registry HKLM\Run\\Updater "]),
    ] {
        assert_eq!(offered(&mut bench, typed), wanted, "{typed}");
    }
    let asked = bench.around.asked.lock().unwrap().clone();
    assert!(asked.contains(&Wanted::Folder { directory: "/".into(), path: "C:\\".into(), begins: String::new() }), "{asked:?}");
}

#[test]
fn a_folder_is_asked_for_once_and_again_behind_a_command() {
    let mut bench = on(PlatformName::Linux, &[], false);
    for line in ["dir /tmp/^", "dir /tmp/a^", "dir /tmp/gr^"] {
        offered(&mut bench, line);
    }
    assert_eq!(bench.around.asked.lock().unwrap().len(), 1);
    bench.aids.outdate(Some("web01"));
    offered(&mut bench, "dir /tmp/a^");
    assert_eq!(bench.around.asked.lock().unwrap().len(), 2);
}

#[test]
fn what_a_script_says_of_its_parameters_is_shown() {
    let mut bench = on(PlatformName::Linux, &[], false);
    let line = "run clean.sh -parameters x";
    let shown = bench.aids.at(line, line.len());
    assert_eq!(shown.note, "clean.sh: --dry-run: only says what it would do");
}

#[test]
fn a_device_that_says_nothing_is_waited_for_by_nobody() {
    let mut bench = on(PlatformName::Linux, &[], true);
    let shown = bench.aids.at("dir /tmp/a", 10);
    assert_eq!((shown.offers, shown.note.as_str()), (None, "asking web01 …"));
    // What needs nobody is there.
    assert_eq!(offered(&mut bench, "proc^"), ["processes "]);
}

#[test]
fn where_nothing_is_offered_it_is_said_why() {
    let mut bench = on(PlatformName::Linux, &[], false);
    let mut check = |line: &str, wanted: &str| {
        let shown = bench.aids.at(line, line.len());
        assert_eq!(shown.offers, Some(Vec::new()), "{line}");
        assert!(shown.note.contains(wanted), "{line}: {}", shown.note);
    };
    check("dir /gone/x", "/gone: there is no such file or folder");
    check("dir /tmp/nothing", "nothing known begins with /tmp/nothing");
    check("findfile x -size 1", "10M");
    check("nosuch x", "nothing known begins with x");
}

#[test]
fn what_a_role_may_not_run_is_not_offered() {
    let mut basic = on(PlatformName::Linux, &["basic"], false);
    assert!(offered(&mut basic, "reme^").is_empty());
    let mut advanced = on(PlatformName::Linux, &["advanced"], false);
    assert_eq!(offered(&mut advanced, "reme^"), ["remediate "]);
}
