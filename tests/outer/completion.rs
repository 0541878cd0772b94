//! Completion in a real zsh and a real bash, by keystrokes.

use std::path::Path;

use portable_pty::CommandBuilder;

use crate::kit::home::Home;
use crate::kit::need::need;
use crate::kit::pty::Pty;
use crate::outer::fresh;

/// What is typed before Tab, what the line is behind it (a `~` at its end: a blank), and what the menu shows beside it.
type Case = (&'static str, &'static str, &'static [&'static str]);

/// What both shells do in the same way.
const BOTH: &[Case] = &[
    // The program's own arguments.
    ("lrsh expl", "lrsh explain~", &[]),
    ("lrsh comple", "lrsh completions~", &[]),
    ("lrsh completions z", "lrsh completions zsh~", &[]),
    ("lrsh completions ", "lrsh completions ", &["zsh", "bash", "powershell", "The Z shell"]),
    ("lrsh c", "lrsh c", &["check", "config", "completions", "Find every error in a script without running it"]),
    ("lrsh help isol", "lrsh help isolate~", &[]),
    ("lrsh --ke", "lrsh --keep-going~", &[]),
    ("lrsh --", "lrsh --", &["--device", "--keep-going", "--stream", "Go on behind a line that failed"]),
    ("lrsh --color ", "lrsh --color ", &["auto", "always", "never"]),
    ("lrsh --color=n", "lrsh --color=never~", &[]),
    ("lrsh explain --platform w", "lrsh explain --platform windows~", &[]),
    ("lrsh paths so", "lrsh paths socket~", &[]),
    ("lrsh paths --st", "lrsh paths --start~", &[]),
    // Script files, whatever they are called.
    ("lrsh check tri", "lrsh check triage.lrsh~", &[]),
    ("lrsh tria", "lrsh triage.lrsh~", &[]),
    ("lrsh --keep-going tria", "lrsh --keep-going triage.lrsh~", &[]),
    ("lrsh check with", "lrsh check with\\ blank.lrsh~", &[]),
    ("lrsh check it", "lrsh check it\\'s\\ \\$HOME.lrsh~", &[]),
    ("lrsh check cas", "lrsh check cases/", &[]),
    ("lrsh check cases/f", "lrsh check cases/first.lrsh~", &[]),
    ("lrsh check gr", "lrsh check größe.lrsh~", &[]),
    // Devices of the service that runs.
    ("lrsh --device DEV", "lrsh --device DEVICE~", &[]),
    ("lrsh -c 'connect DEV", "lrsh -c 'connect DEVICE~", &[]),
    // The live response language: commands, flags, parameters, choices, fields.
    ("lrsh -c 'proc", "lrsh -c 'processes~", &[]),
    ("lrsh -c \"proc", "lrsh -c \"processes~", &[]),
    ("lrsh -c proc", "lrsh -c 'processes~", &[]),
    ("lrsh -c 'PROC", "lrsh -c 'processes~", &[]),
    ("lrsh -c 'dow", "lrsh -c 'download~", &[]),
    ("lrsh -c 'd", "lrsh -c 'd", &["devices", "dir", "disconnect", "drivers", "List a directory"]),
    ("lrsh -c 'dir -full", "lrsh -c 'dir -full_path~", &[]),
    ("lrsh -c 'dir /etc -rel", "lrsh -c 'dir /etc -relative_path~", &[]),
    ("lrsh -c 'processes -tree -del", "lrsh -c 'processes -tree -deleted~", &[]),
    ("lrsh -c 'processes -output js", "lrsh -c 'processes -output json", &["json", "jsonl"]),
    ("lrsh -c 'processes -sort -creat", "lrsh -c 'processes -sort -creation_time~", &[]),
    ("lrsh -c 'processes -sort mem", "lrsh -c 'processes -sort memory_", &["memory_k", "memory_usage", "memory (K)"]),
    ("lrsh -c 'processes -columns pid,na", "lrsh -c 'processes -columns pid,name", &[]),
    ("lrsh -c 'findfile x -type ", "lrsh -c 'findfile x -type ", &["f", "d", "l"]),
    ("lrsh -c 'help getf", "lrsh -c 'help getfile~", &[]),
    ("lrsh explain 'getf", "lrsh explain 'getfile~", &[]),
    ("lrsh explain 'getfile /tmp/x -z", "lrsh explain 'getfile /tmp/x -zip~", &[]),
    ("lrsh explain --platform linux 'fin", "lrsh explain --platform linux 'findfile~", &[]),
    ("lrsh -c 'cls' -c 'servi", "lrsh -c 'cls' -c 'services~", &[]),
    ("lrsh -c processes\\ -del", "lrsh -c processes\\ -deleted\\ ", &[]),
    // Local files within a line, and quotes within quotes.
    ("lrsh -c 'processes > tri", "lrsh -c 'processes > triage.lrsh~", &[]),
    ("lrsh -c 'processes > cas", "lrsh -c 'processes > cases/", &[]),
    ("lrsh -c 'processes > with", "lrsh -c 'processes > \"with blank.lrsh\"~", &[]),
    ("lrsh -c \"processes > with", "lrsh -c \"processes > \\\"with blank.lrsh\\\"~", &[]),
    ("lrsh -c 'getfile /x -to cases/f", "lrsh -c 'getfile /x -to cases/first.lrsh~", &[]),
    ("lrsh -c 'cd \"/a b\" -x\t", "lrsh -c 'cd \"/a b\" -x", &[]),
    // The library of the service that runs, the switches, and the last of several lines.
    ("lrsh -c 'run coll", "lrsh -c 'run collect-logs.sh~", &[]),
    ("lrsh -c 'putfile ", "lrsh -c 'putfile ", &["clean.sh", "collect-logs.sh"]),
    ("lrsh -c 'settings uns", "lrsh -c 'settings unsigned_scripts~", &[]),
    // Nothing may stand there.
    ("lrsh -c 'cls nonsense", "lrsh -c 'cls nonsense", &[]),
    ("lrsh explain 'processes' tri", "lrsh explain 'processes' tri", &[]),
];

#[test]
fn scripts_are_fresh() {
    for (shell, path) in
        [("zsh", "completions/_lrsh"), ("bash", "completions/lrsh.bash"), ("powershell", "completions/lrsh.ps1")]
    {
        let made = Home::new().lrsh(&["completions", shell]).output().unwrap();
        assert!(made.status.success());
        fresh(path, &String::from_utf8(made.stdout).unwrap());
    }
}

#[test]
fn nothing_is_started_for_completion() {
    let home = Home::new();
    let answer = home.lrsh(&["complete", "bash", "--line=lrsh --device ", "--word="]).output().unwrap();
    assert!(answer.status.success() && answer.stdout.is_empty(), "{answer:?}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    assert_eq!(home.service_pid(), None);
}

#[test]
fn in_bash() {
    if !need(&["bash"]) {
        return;
    }
    let mut bash = CommandBuilder::new("bash");
    bash.args(["--norc", "--noprofile", "-i"]);
    let rules = ["bell-style none", "enable-bracketed-paste off", "page-completions off", "completion-query-items 0"];
    let mut start: Vec<String> = rules.iter().map(|rule| format!("bind 'set {rule}'")).collect();
    start.push(format!("source {}/completions/lrsh.bash", env!("CARGO_MANIFEST_DIR")));
    // The menu comes with the second Tab that adds nothing.
    check(bash, &start, "\t\t\t");
}

#[test]
fn in_zsh() {
    if !need(&["zsh"]) {
        return;
    }
    let mut zsh = CommandBuilder::new("zsh");
    zsh.args(["-f", "-i"]);
    let start = [
        format!("fpath=({}/completions $fpath)", env!("CARGO_MANIFEST_DIR")),
        "unsetopt beep prompt_sp list_ambiguous; LISTMAX=1000; autoload -Uz compinit; compinit -u -D".to_owned(),
    ];
    check(zsh, &start, "\t");
}

/// Types every case into a shell.
fn check(mut shell: CommandBuilder, start: &[String], menu: &str) {
    let home = Home::new();
    let work = tempfile::tempdir().unwrap();
    files(work.path());
    let device = device(&home);
    let program = Path::new(env!("CARGO_BIN_EXE_lrsh")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    shell.env("PATH", format!("{}:{path}", program.display()));
    shell.env("LRSH_HOME", home.path());
    shell.env("LC_ALL", "C.UTF-8");
    shell.env("HISTFILE", "/dev/null");
    shell.cwd(work.path());
    // A shell that stays, so that the device is known.
    let stays = Pty::shell(home.path());
    stays.prompt();
    stays.line("session");
    stays.expect("connected to");
    for name in ["clean.sh", "collect-logs.sh"] {
        stays.line(&format!("library add {} -name {name}", work.path().join("triage.lrsh").display()));
        stays.until("a library file", |screen| screen.contains(&format!("-name {name}\n")) && screen.trim_end().ends_with('>'));
    }
    let typing = Pty::of(shell, 60, 110);
    for line in start {
        typing.line(line);
    }
    typing.line("PS1='=''=> '");
    typing.until("the prompt", |screen| last(screen) == "==>");
    for (typed, line, shown) in BOTH {
        let typed = typed.replace("DEV", device.get(..device.len() - 1).unwrap());
        let line = format!("==> {}", line.replace("DEVICE", &device));
        let (line, blank) = line.strip_suffix('~').map_or((line.as_str(), ""), |line| (line, " "));
        typing.keys(&typed).keys(if shown.is_empty() { "\t" } else { menu });
        let wanted = |screen: &str| {
            let is_there = screen.lines().any(|row| row.trim_end() == line.trim_end());
            is_there && shown.iter().all(|entry| screen.lines().any(|row| row != line && row.contains(entry)))
        };
        typing.until(&format!("{line:?} and {shown:?} behind {typed:?}"), wanted);
        // What is typed next shows whether a blank came with it.
        typing.keys("@");
        let line = format!("{line}{blank}@");
        typing.until(&format!("{line:?} behind {typed:?}"), |screen| screen.lines().any(|row| row.trim_end() == line));
        typing.keys("\u{5}\u{15}\u{c}");
        typing.until("a clear screen", |screen| screen.trim_end() == "==>");
    }
    stays.line("exit");
}

fn last(screen: &str) -> &str {
    screen.trim_end().lines().last().unwrap_or_default().trim_end()
}

fn files(folder: &Path) {
    std::fs::create_dir(folder.join("cases")).unwrap();
    for name in [
        "triage.lrsh",
        "with blank.lrsh",
        "it's $HOME.lrsh",
        "größe.lrsh",
        "cases/first.lrsh",
        "hostile\u{1b}[31m",
        "hostile\nname",
    ] {
        std::fs::write(folder.join(name), "processes\n").unwrap();
    }
}

/// The name of this machine as a device.
fn device(home: &Home) -> String {
    let answer = home.lrsh(&["-c", "devices -output json -columns name"]).output().unwrap();
    let devices: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    devices[0]["name"].as_str().unwrap().to_owned()
}
