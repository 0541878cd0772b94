//! An analyst who came in over a real sshd is never cut off.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{Beside, reaches};
use crate::kit::need::{find, need};
use crate::kit::network::{DEVICE, Network, words};
use crate::kit::shell::Home;
use crate::kit::talking::{Talking, until};

fn run(command: &mut Command) {
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn the_analysts_own_connection_survives() {
    if !need(&["sshd", "ssh", "ssh-keygen"]) {
        return;
    }
    let Some(network) = Network::new() else { return };
    let home = Home::new();
    let keys = tempfile::tempdir().unwrap();
    let at = |name: &str| keys.path().join(name).display().to_string();
    for name in ["host", "own"] {
        run(&mut words(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &at(name)]));
    }
    std::fs::copy(at("own.pub"), at("authorized")).unwrap();
    // sshd wants its folder for those who have not said yet who they are.
    std::fs::create_dir_all("/run/sshd").unwrap();
    let sshd = find("sshd").unwrap().display().to_string();
    let options = [
        format!("HostKey={}", at("host")),
        format!("AuthorizedKeysFile={}", at("authorized")),
        format!("PidFile={}", at("pid")),
        format!("ListenAddress={DEVICE}"),
        "StrictModes=no".to_owned(),
        "UsePAM=no".to_owned(),
        "PermitRootLogin=yes".to_owned(),
    ];
    let mut server: Vec<String> =
        vec![sshd, "-D".into(), "-e".into(), "-f".into(), "/dev/null".into(), "-p".into(), "22".into()];
    server.extend(options.iter().flat_map(|option| ["-o".to_owned(), option.clone()]));
    let log = std::fs::File::create(at("log")).unwrap();
    let _server = Beside::new(network.on_device(&words(&server)).stderr(log));
    let port = format!("{DEVICE}:22");
    until("sshd", || network.as_peer(|| super::connect(None, &port)).is_some());

    let program = home.path().join("shell");
    let lrsh = env!("CARGO_BIN_EXE_lrsh");
    let script = format!("#!/bin/sh\nLRSH_HOME='{}' TERM=dumb exec '{lrsh}' --stream\n", home.path().display());
    std::fs::File::create(&program).unwrap().write_all(script.as_bytes()).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let target = format!("root@{DEVICE}");
    let known = format!("UserKnownHostsFile={}", at("known"));
    let program = program.display().to_string();
    let own = at("own");
    let client = [
        "ssh",
        "-F",
        "none",
        "-i",
        &own,
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        &known,
        "-o",
        "BatchMode=yes",
        &target,
        &program,
    ];
    let mut shell = Talking::start(network.on_peer(&words(&client)));
    shell.say("isolate -for 1h");
    let said = shell.line().unwrap_or_else(|| panic!("{}", std::fs::read_to_string(at("log")).unwrap()));
    assert!(said.contains("cut off the network"), "{said}");
    let said = shell.line().unwrap();
    assert!(said.contains("the ssh connection 10.9.0.2:") && said.contains("-> 10.9.0.1:22 of the shell"), "{said}");
    assert!(shell.line().unwrap().starts_with("Note: an interface that appears"));
    assert!(!reaches(&network, None, &port), "others come in");
    // Much goes both ways, and back.
    shell.say("processes -columns pid -output jsonl");
    shell.say("session -output jsonl");
    let session = loop {
        let row = shell.hear();
        if row.get("session_id").is_some() {
            break row;
        }
    };
    assert!(session["isolated_until"].is_string(), "{session}");
    shell.say("release");
    assert!(shell.line().unwrap().contains("back on the network"));
    shell.leave();
    assert_eq!(network.filters(), "");
}
