//! `lrsh --help`, as a newcomer reads it.

use lrsh::cli::page;

use crate::kit::home::Home;

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

/// The README has the same exit codes.
#[test]
fn exit_codes_are_told_alike() {
    let readme = include_str!("../../README.md");
    let (_, codes) = page::SECTIONS.iter().find(|(title, _)| *title == "Exit codes").unwrap();
    for (code, about) in *codes {
        assert!(readme.contains(&format!("| {code} | {about} |")), "{code} is not in the README");
    }
}
