//! The whole input is checked before the first line runs.

use lrsh::grammar::table;

use crate::kit::shell::Home;

/// Runs a script that is refused: no line of it ran, and these places (in order) were told.
#[track_caller]
fn refused(home: &Home, script: &str, code: i32, places: &[&str]) -> String {
    let ran = home.batch(script).run().code(code);
    assert_eq!(ran.out(), "", "no line ran");
    let told: Vec<String> = ran.err().lines().filter(|line| line.contains(": error: ")).map(str::to_owned).collect();
    assert_eq!(told.len(), places.len(), "{}", ran.err());
    for (told, place) in told.iter().zip(places) {
        assert!(told.starts_with(place), "{told} is not at {place}");
    }
    assert_eq!(home.line("sessions -output json").json().as_array().map(Vec::len), Some(0), "no session was opened");
    ran.err()
}

#[test]
fn every_slip_of_a_script_is_told_and_nothing_runs() {
    let home = Home::new();
    refused(&home, "help\nproceses\ndir /etc json /var\nprocesses -name\n", 2, &["-:2:1: ", "-:3:15: ", "-:4:11: "]);
}

#[test]
fn what_the_device_does_not_have_is_told_before() {
    let home = Home::new();
    let err = refused(&home, "help\nproceses\nregistry HKLM\\Software\n", 2, &["-:2:1: ", "-:3:1: "]);
    assert!(err.contains("registry is not to be had on linux"), "{err}");
    // Line by line nobody looks ahead.
    let ran = home.batch("devices\nregistry HKLM\n").args(&["--stream"]).run().code(2);
    assert!(ran.out().contains("platform"), "the first line ran: {}", ran.out());
}

#[test]
fn what_has_no_verb_yet_is_told_before() {
    let Some(row) = table().rows().iter().find(|row| row.since.is_some() && row.name != "registry") else { return };
    let home = Home::new();
    let err = refused(&home, &format!("help\n\n  {}\n", row.examples[0].line), 2, &["-:3:3: "]);
    assert!(err.contains("later version"), "{err}");
}

#[test]
fn a_role_that_the_analyst_lacks_is_told_before() {
    let home = Home::new();
    let user = String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    std::fs::create_dir(home.path().join("service")).unwrap();
    let analyst = format!("[[analyst]]\nname = \"{}\"\nroles = [\"basic\"]\n", user.trim());
    std::fs::write(home.path().join("service/service.toml"), analyst).unwrap();
    let err = refused(&home, "help\nsettings live_response off\n", 3, &["-:2:1: "]);
    assert!(err.contains("settings needs the role `settings`"), "{err}");
    refused(&home, "settings live_response off\nproceses\n", 2, &["-:1:1: ", "-:2:1: "]);
    // Without the look ahead the service refuses it, and only that line.
    let ran = home.batch("devices\nsettings live_response off\n").args(&["--stream"]).run().code(3);
    assert!(ran.out().contains("platform") && ran.err().contains("needs the role `settings`"), "{}{}", ran.out(), ran.err());
    home.line("settings").code(0);
}

#[test]
fn check_tells_every_slip_and_touches_nothing() {
    let home = Home::new();
    let script = home.work().join("bad.lrsh");
    std::fs::write(&script, "# three slips\nprocesses\nproceses\ndir 'open\ncat /a | head\n").unwrap();
    let ran = home.batch("").args(&["check", "bad.lrsh"]).run().code(2);
    let told: Vec<String> = ran.out().lines().map(str::to_owned).collect();
    let starts = ["bad.lrsh:3:1: unknown_command: ", "bad.lrsh:4:5: open_quote: ", "bad.lrsh:5:8: unsupported_syntax: "];
    assert_eq!(told.len(), starts.len(), "{told:?}");
    assert!(told.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{told:?}");
    let made: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(made, ["work"], "nothing was made in the home");
    home.batch("processes\n").args(&["check", "-"]).run().code(0);
    home.batch("registry HKLM\n").args(&["check", "--platform", "linux", "-"]).run().code(2);
}
