//! `lrsh --help`, as a newcomer reads it, and the shell's own `help`.

use lrsh::cli::page;

use crate::kit::home::Home;
use crate::kit::shell;

#[test]
fn a_newcomer_is_told_what_it_is_and_what_to_type() {
    let help = Home::new().lrsh(&["--help"]).output().unwrap();
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.starts_with("The live response shell: investigate and repair machines"), "{help}");
    for (title, entries) in page::SECTIONS {
        assert!(help.contains(&format!("\n{title}:\n")), "{help}");
        for (name, about) in *entries {
            assert!(help.lines().any(|line| line.contains(name) && line.contains(about)), "{name}: {help}");
        }
    }
    // Short and hidden things stay out.
    assert!(!help.contains("embedded") && !help.contains("complete "), "{help}");
    let short = Home::new().lrsh(&["-h"]).output().unwrap();
    let short = String::from_utf8(short.stdout).unwrap();
    assert!(short.lines().count() <= 32 && short.contains("lrsh --help"), "{short}");
}

#[test]
fn what_the_page_says_to_type_is_understood() {
    let home = Home::new();
    let section = |wanted: &str| page::SECTIONS.iter().find(|(title, _)| *title == wanted).unwrap().1;
    for (line, _) in section("First commands").iter().filter(|(line, _)| !line.is_empty()) {
        assert!(lrsh::grammar::read(line, None).diagnostics.is_empty(), "{line}");
    }
    std::fs::write(home.path().join("triage.lrsh"), "jobs\n").unwrap();
    for (line, _) in section("Scripts").iter().filter(|(line, _)| !line.is_empty()) {
        let program = env!("CARGO_BIN_EXE_lrsh");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &line.replacen("lrsh", program, 1)]).current_dir(home.path()).env("LRSH_HOME", home.path());
        let ran = shell.output().unwrap();
        assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn the_shells_own_help_is_had_without_it() {
    let home = shell::Home::new();
    let run = |arguments: &[&str]| {
        let ran = home.command().args(arguments).output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap())
    };
    for (asked, line) in [(&["help"][..], "help"), (&["help", "analyze"], "help analyze"), (&["help", "LS"], "help ls")] {
        let (code, page, _) = run(asked);
        assert!(home.processes().is_empty(), "it has started a service");
        assert_eq!((code, page), (Some(0), run(&["-c", line]).1), "{line}");
    }
    let (code, page, said) = run(&["help", "analyse"]);
    assert_eq!((code, page.as_str()), (Some(2), ""), "{said}");
    assert!(said.contains("did you mean") && said.contains("analyze"), "{said}");
}

/// The README has the same exit codes.
#[test]
fn exit_codes_are_told_alike() {
    let readme = include_str!("../../README.md");
    let (_, codes) = page::SECTIONS.iter().find(|(title, _)| *title == "Exit codes").unwrap();
    for (code, about) in *codes {
        assert!(readme.contains(&format!("| {code} | {about} |")), "{code} is not in the README");
    }
}

#[test]
fn help_is_for_this_role_and_device() {
    let home = shell::Home::new();
    let name = std::process::Command::new("id").arg("-un").output().unwrap();
    let name = String::from_utf8(name.stdout).unwrap();
    let service = home.path().join("service");
    std::fs::create_dir(&service).unwrap();
    let analyst = format!("[[analyst]]\nname = \"{}\"\nroles = [\"basic\"]\n", name.trim());
    std::fs::write(service.join("service.toml"), analyst).unwrap();
    let before = home.batch("help\n").run().code(0).out();
    assert!(before.contains("  remediate "), "{before}");
    let said = home.batch("connect\nhelp\nhelp remediate\nhelp -output json\n").run().code(0).out();
    assert!(said.starts_with(&format!("What {} may run on ", name.trim())), "{said}");
    assert!(said.contains("(linux), as basic:") && said.contains("  processes "), "{said}");
    assert!(!said.contains("  remediate  ") && !said.contains("\"name\": \"remediate\""), "{said}");
    assert!(said.contains("(needs the role advanced)"), "{said}");
}

#[test]
fn wrong_lines_suggest_the_right_one() {
    let home = shell::Home::new();
    let cases = [
        ("proceses", "did you mean processes?"),
        ("fileinof /etc/passwd", "did you mean fileinfo?"),
        ("get file /etc/passwd", "it is one word here: `getfile`"),
        ("ps aux", "here it is `processes`"),
        ("watch_dog", "`help` lists the commands"),
        ("dir -fulpath", "did you mean -full_path"),
        ("processes | grep ssh", "write `processes -match ssh`"),
        ("findfile", "for example: findfile evil.sh"),
        ("connections -output xml", "expected table, json, csv or jsonl"),
        ("cat a b c d", "a value with blanks is written in quotes"),
        ("dir ; cd /etc", "write one command a line"),
    ];
    for (line, hint) in cases {
        let said = home.line(line).code(2).err();
        assert!(said.contains(hint), "{line}: {said}");
    }
}
