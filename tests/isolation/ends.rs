//! How an isolation ends when nobody ends it in order: by the kernel, by hand, and across the death of the agent.

use std::process::Stdio;

use super::{echo, lines, reaches};
use crate::kit::need::need;
use crate::kit::network::{DEVICE, Network};
use crate::kit::shell::Home;
use crate::kit::talking::{Talking, until};

fn kill(pids: &[u32]) {
    for pid in pids {
        let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
    }
}

#[test]
fn the_kernel_ends_it_though_the_agent_is_dead() {
    if !need(&["socat"]) {
        return;
    }
    let Some(network) = Network::new() else { return };
    let home = Home::new();
    let device = format!("{DEVICE}:7");
    let _echo = echo(&network);
    let before = network.filters();
    let mut command = home.command();
    command.arg("--stream");
    let mut shell = Talking::start(network.on_device(&command));
    shell.say("isolate -for 5s");
    let said = shell.line().unwrap();
    assert!(said.contains("cut off"), "{said}");
    kill(&home.processes());
    until("the end of everything", || home.processes().is_empty());
    let _ = shell.end();
    assert!(network.filters().contains("lrsh_isolation"), "it holds though nobody is there");
    until("traffic again", || reaches(&network, None, &device));
    // What is left of it does nothing, and goes when the next agent starts.
    lines(&network, &home, &["session"]).code(0);
    assert_eq!(network.filters(), before);
}

#[test]
fn it_is_ended_without_any_service() {
    let Some(network) = Network::new() else { return };
    let home = Home::new();
    lines(&network, &home, &["isolate"]).code(0);
    until("the end of the service", || home.processes().is_empty());
    let mut command = home.command();
    command.args(["agent", "release"]);
    for said in ["the isolation of this machine has ended\n", "this machine is not isolated\n"] {
        let ran = network.on_device(&command).output().unwrap();
        assert_eq!((ran.status.code(), String::from_utf8_lossy(&ran.stdout).as_ref()), (Some(0), said));
        assert_eq!(network.filters(), "");
    }
    assert!(home.processes().is_empty(), "it has started a service");
}

#[test]
fn what_was_under_way_is_read_from_the_kernel() {
    let Some(network) = Network::new() else { return };
    let home = Home::new();
    let isolated = |expected: bool| {
        let session = lines(&network, &home, &["session -output json"]).code(0).json();
        assert_eq!(session["isolated_until"].is_string(), expected, "{session}");
    };
    let abort = |point: &str, line: &str| {
        until("the end of the one before", || home.processes().is_empty());
        let mut command = home.command();
        command.args(["-c", line]).env("LRSH_FAULT", format!("{point}:1:abort"));
        let ran = network.on_device(&command).stdin(Stdio::null()).output().unwrap();
        assert_eq!(ran.status.code(), Some(4), "{}", String::from_utf8_lossy(&ran.stderr));
        until("the end of it all", || home.processes().is_empty());
    };
    let newest = || lines(&network, &home, &["remediate list -output jsonl"]).code(0).jsonl().pop().unwrap();

    abort("journal.intent.after_fsync", "isolate -for 1h");
    assert_eq!((newest()["state"].as_str(), network.filters().as_str()), (Some("not_done"), ""));
    isolated(false);
    abort("journal.close.before_fsync", "isolate -for 1h");
    isolated(true);
    assert_eq!((newest()["state"].as_str(), newest()["action"].as_str()), (Some("done"), Some("isolated")));
    // It was another one that ended here.
    abort("journal.intent.after_fsync", "isolate -for 2h");
    assert_eq!(newest()["state"], "not_done");
    isolated(true);
    abort("journal.close.before_fsync", "release");
    assert_eq!((newest()["state"].as_str(), newest()["action"].as_str()), (Some("done"), Some("released")));
    isolated(false);
    assert_eq!(network.filters(), "");
}
