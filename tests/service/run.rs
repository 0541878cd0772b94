//! `run` and `putfile` from the shell to the device and back.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lrsh::grammar::quoted;

use crate::kit::need::{need, rounds};
use crate::kit::shell::Home;

/// A guard against hanging, nothing else.
const PATIENCE: Duration = Duration::from_mins(1);

fn add(home: &Home, name: &str, content: &str) {
    std::fs::write(home.work().join(name), content).unwrap();
    home.line(&format!("library add {name}")).code(0);
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// The words by the rules of a line's quotes, each in the quotes that `quote` is.
fn words(all: &[String], quote: char) -> String {
    let one = |word: &String| format!("{quote}{}{quote}", word.replace(quote, &quote.to_string().repeat(2)));
    all.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn parameters_arrive_exactly_both_ways() {
    let home = Home::new();
    add(&home, "args.sh", "printf '%s\\0' \"$@\"\n");
    let all: String = (' '..='~').chain(['\n', 'ü']).collect();
    let mut wanted: Vec<String> = all.chars().map(String::from).collect();
    wanted.extend([all, "a b".into(), String::new(), "--".into(), "-parameters".into()]);
    let told = wanted.iter().map(|word| format!("{word}\0")).collect::<String>();
    for quote in ['"', '\''] {
        let text = words(&wanted, quote);
        let as_value = format!("run args.sh -parameters {}\n", quoted(&text));
        let behind = format!("run args.sh -- {text}\n");
        for line in [as_value, behind] {
            assert_eq!(home.batch(&line).run().code(0).out(), told, "{line}");
        }
    }
}

#[test]
fn what_a_line_leaves_out_of_answers_is_left_out_beside_a_script_too() {
    let home = Home::new();
    add(&home, "three.sh", "echo said\nexit 3\n");
    let check = |options: &str, shown: &[&str], left_out: &[&str]| {
        let ran = home.line(&format!("run three.sh {options}")).code(0);
        let beside = ran.err();
        assert_eq!(ran.out(), "said\n", "{options}");
        assert!(shown.iter().all(|field| beside.contains(field)), "{options}: {beside}");
        assert!(!left_out.iter().any(|field| beside.contains(field)), "{options}: {beside}");
    };
    check("", &["script_name", "exit_code", "started"], &[]);
    check("-columns exit_code,ended", &["exit_code", "ended"], &["script_name", "started"]);
    check("-match three", &["script_name", "exit_code"], &[]);
    check("-match four", &[], &["script_name", "exit_code"]);
    check("-sort exit_code -first 1", &["exit_code"], &[]);
    check("-first 0", &[], &["exit_code"]);
}

#[test]
fn what_a_script_says_is_exact_in_a_pipe_and_whole_as_json() {
    let home = Home::new();
    add(&home, "a.sh", "printf '\\033[31mred\\nno line end'; echo wrong >&2; exit 3\n");
    let ran = home.line("run a.sh").code(0);
    assert_eq!(ran.out(), "\u{1b}[31mred\nno line end");
    assert!(ran.err().contains("wrong\n") && ran.err().contains("exit_code    3"), "{}", ran.err());
    let json = home.line("run a.sh -output json").code(0).json();
    let keys: Vec<&str> = json.as_object().unwrap().keys().take(4).map(String::as_str).collect();
    assert_eq!(keys, ["script_name", "exit_code", "script_output", "script_errors"]);
    assert_eq!((&json["script_output"], &json["script_errors"]), (&"\u{1b}[31mred\nno line end".into(), &"wrong\n".into()));
    home.line("run a.sh > out").code(0);
    assert_eq!(std::fs::read(home.work().join("out")).unwrap(), b"\x1b[31mred\nno line end");
    let rows = home.line("run a.sh -output csv -columns script_name,exit_code").code(0).out();
    assert_eq!(rows.lines().collect::<Vec<_>>(), ["script_name,exit_code", "a.sh,3"]);
    assert!(home.line("run b.sh").code(1).err().contains("no library file b.sh"));
    assert!(home.line("run ../a.sh").code(2).err().contains("letters"));
}

#[test]
fn powershell_gets_its_scripts_and_their_parameters() {
    let home = Home::new();
    let folder = home.path().join("bin");
    std::fs::create_dir(&folder).unwrap();
    let pwsh = folder.join("pwsh");
    std::fs::write(&pwsh, "#!/bin/sh\nprintf '%s\\0' \"$@\"\n").unwrap();
    std::fs::set_permissions(&pwsh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    std::fs::write(home.work().join("a.ps1"), "Write-Output $args\r\n").unwrap();
    let ran =
        home.batch("library add a.ps1 > /dev/null\nrun a.ps1 -- -Name 'a  b' \"x\"\"y\" $z\n").env("PATH", &path).run().code(0);
    let said = ran.out();
    let mut told: Vec<&str> = said.split_terminator('\0').collect();
    let file = told.remove(told.iter().position(|word| word.ends_with("/a.ps1")).unwrap());
    assert!(file.starts_with(home.path().join("agent/run").to_str().unwrap()), "{file}");
    assert_eq!(
        told,
        ["-NoLogo", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File", "-Name", "a  b", "x\"y", "$z"]
    );
}

#[test]
fn nothing_goes_on_when_the_process_behind_it_is_killed() {
    let home = Home::new();
    let file = home.work().join("pid");
    let script = format!(
        "(setsid sh -c 'trap \"\" TERM HUP; echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000' >/dev/null 2>&1 &)\nsleep 1001\n",
        file.display()
    );
    add(&home, "family.sh", &script);
    for _ in 0..rounds().div_ceil(5) {
        let mut shell = home.command();
        let shell = shell.args(["-c", "run family.sh"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until("the script's child", || file.exists());
        let pid = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let of_home = |name: &[u8]| {
            let has = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().ends_with(name);
            home.processes().into_iter().find(has)
        };
        let service = of_home(b"\0embedded\0").unwrap();
        std::process::Command::new("kill").args(["-9", &service.to_string()]).status().unwrap();
        until("the end of the child", || !is_alive(&pid));
        let output = shell.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains("its processes were ended"), "{said}");
        assert_eq!(std::fs::read_dir(home.path().join("agent/run")).unwrap().count(), 0);
    }
}

#[test]
fn content_that_was_altered_in_the_library_is_not_run() {
    let home = Home::new();
    let mark = home.work().join("ran");
    add(&home, "a.sh", "true\n");
    let content = std::fs::read_dir(home.path().join("service/library")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&content, format!("touch {}\n", mark.display())).unwrap();
    let refused = home.line("run a.sh").code(1);
    assert!(refused.err().contains("not what was uploaded"), "{}", refused.err());
    assert!(home.line("putfile a.sh").code(1).err().contains("not what was uploaded"));
    assert!(!mark.exists());
}

#[test]
fn a_file_is_put_on_the_device() {
    let home = Home::new();
    add(&home, "tool", "#!/bin/sh\necho it works\n");
    let path = home.path().canonicalize().unwrap().join("agent/working/tool");
    let put = home.line("putfile tool").code(0);
    assert_eq!(put.out().lines().next(), Some("The file was uploaded to the device."));
    let told = put.out().lines().nth(1).unwrap().strip_prefix("Path: ").unwrap().to_owned();
    assert_eq!(std::path::Path::new(&told).canonicalize().unwrap(), path);
    assert!(home.line("putfile tool").code(1).err().contains("-overwrite"));
    let json = home.line("putfile tool -overwrite -keep -output json").code(0).json();
    assert_eq!((&json["message"], &json["path"]), (&"The file was uploaded to the device.".into(), &told.into()));
    assert_eq!(json["sha256"].as_str().unwrap().len(), 64);
    std::fs::write(home.work().join("large"), vec![0; (10 << 20) + 1]).unwrap();
    home.line("library add large").code(0);
    assert!(home.line("putfile large").code(3).err().contains("at most 10485760"));
}

#[test]
fn a_script_goes_on_in_the_background_and_is_cancelled() {
    if !need(&["bash"]) {
        return;
    }
    let home = Home::new();
    add(&home, "wait.sh", "echo begun; trap '' TERM; while :; do sleep 0.1; done\n");
    let ran = home.batch("run wait.sh &\nrun wait.sh &\ncancel 2\ncancel 3\n").args(&["--keep-going"]).run().code(130);
    assert_eq!(ran.err().matches("(Just created)").count(), 2, "{}", ran.err());
    assert_eq!(std::fs::read_dir(home.path().join("agent/run")).unwrap().count(), 0);
}

#[test]
fn unsigned_scripts_are_refused_where_that_is_switched_off() {
    if !need(&["minisign"]) {
        return;
    }
    let home = Home::new();
    let work = home.work();
    let minisign = |arguments: &[&str]| {
        let ran =
            std::process::Command::new("minisign").args(arguments).current_dir(&work).stdin(Stdio::null()).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    };
    let key = |name: &str| {
        minisign(&["-G", "-W", "-p", &format!("{name}.pub"), "-s", &format!("{name}.key")]);
        std::fs::read_to_string(work.join(format!("{name}.pub"))).unwrap().lines().nth(1).unwrap().to_owned()
    };
    let known = key("known");
    key("other");
    std::fs::create_dir_all(home.path().join("service")).unwrap();
    std::fs::write(home.path().join("service/service.toml"), format!("signing_keys = [\"{known}\"]\n")).unwrap();
    std::fs::write(work.join("a.sh"), "echo signed\n").unwrap();
    std::fs::write(work.join("b.sh"), "echo another\n").unwrap();
    minisign(&["-S", "-s", "known.key", "-m", "a.sh", "-x", "a.sig"]);
    minisign(&["-S", "-s", "other.key", "-m", "b.sh", "-x", "b.sig"]);
    minisign(&["-S", "-l", "-s", "known.key", "-m", "a.sh", "-x", "old.sig"]);
    home.line("library add a.sh -signature a.sig").code(0);
    home.line("library add a.sh -name plain.sh").code(0);
    for (line, says) in [
        ("library add b.sh -signature b.sig", "a key that service.toml does not name"),
        ("library add b.sh -signature a.sig", "not one of this content"),
        ("library add b.sh -signature b.sh", "none of minisign's"),
        ("library add a.sh -name old.sh -signature old.sig", "old kind"),
    ] {
        let refused = home.line(line);
        assert!(!matches!(refused.code, Some(0)) && refused.err().contains(says), "{line}: {}", refused.err());
    }
    assert_eq!(home.line("library -match a.sh -output json").code(0).json()[0]["signed"], true);
    assert_eq!(home.line("run plain.sh").code(0).out(), "signed\n");
    home.line("settings unsigned_scripts off").code(0);
    assert!(home.line("run plain.sh").code(3).err().contains("has no signature"));
    assert_eq!(home.line("run a.sh").code(0).out(), "signed\n");
    home.line("putfile plain.sh").code(0);
    home.line("settings unsigned_scripts on").code(0);
    assert_eq!(home.line("run plain.sh").code(0).out(), "signed\n");
}

#[test]
fn rule_files_of_the_library_go_to_the_device_with_analyze_and_scan() {
    let home = Home::new();
    add(&home, "own.yar", "rule mine { strings: $a = \"needle\" condition: $a }");
    add(&home, "note.txt", "rule none");
    let folder = home.work().join("files");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("hay"), "hay needle").unwrap();
    let told = home.line(&format!("analyze file {}/hay -output json", folder.display())).code(0).json();
    assert_eq!((&told["verdict"], &told["evidence"][0]["rule"]), (&"suspicious".into(), &"own.yar:mine".into()), "{told}");
    let ran = home.line(&format!("scan {} -columns verdict,engine,rule", folder.display())).code(0);
    assert_eq!(ran.out(), "verdict     engine  rule\nsuspicious  yara    own.yar:mine\n");
    assert!(ran.err().contains("1 file looked at: 0 malicious, 1 suspicious, 0 unknown"), "{}", ran.err());
    home.line("library delete own.yar").code(0);
    let told = home.line(&format!("analyze file {}/hay -output json", folder.display())).code(0).json();
    assert_eq!(told["verdict"], "clean", "{told}");
}
