//! An analyst who came in over a real sshd is never cut off.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{Beside, reaches};
use crate::kit::need::{find, need, skip};
use crate::kit::network::{DEVICE, Network, PEER, words};
use crate::kit::shell::Home;
use crate::kit::talking::{Talking, until};

fn run(command: &mut Command) {
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// A shell on the device that an analyst on the peer has come in to over ssh.
struct Visit {
    keys: tempfile::TempDir,
    port: String,
    shell: Talking,
    server: Beside,
}

impl Visit {
    /// Over that address of the device; `None` where there is no ssh.
    fn new(network: &Network, home: &Home, address: &str) -> Option<Self> {
        if !need(&["sshd", "ssh", "ssh-keygen"]) {
            return None;
        }
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
            format!("ListenAddress={address}"),
            "StrictModes=no".to_owned(),
            "UsePAM=no".to_owned(),
            "PermitRootLogin=yes".to_owned(),
        ];
        let mut server: Vec<String> =
            vec![sshd, "-D".into(), "-e".into(), "-f".into(), "/dev/null".into(), "-p".into(), "22".into()];
        server.extend(options.iter().flat_map(|option| ["-o".to_owned(), option.clone()]));
        let log = std::fs::File::create(at("log")).unwrap();
        let server = Beside::new(network.on_device(&words(&server)).stderr(log));
        let port = format!("{address}:22");
        until("sshd", || network.as_peer(|| super::connect(None, &port)).is_some());

        let program = home.path().join("shell");
        let lrsh = env!("CARGO_BIN_EXE_lrsh");
        let script = format!("#!/bin/sh\nLRSH_HOME='{}' TERM=dumb exec '{lrsh}' --stream\n", home.path().display());
        std::fs::File::create(&program).unwrap().write_all(script.as_bytes()).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let target = format!("root@{address}");
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
        let shell = Talking::start(network.on_peer(&words(&client)));
        Some(Self { keys, port, shell, server })
    }

    fn line(&mut self) -> String {
        let log = self.keys.path().join("log");
        self.shell.line().unwrap_or_else(|| panic!("{}", std::fs::read_to_string(log).unwrap()))
    }

    /// Lines up to the last note, which is always the same.
    fn notes(&mut self) -> Vec<String> {
        let mut notes = Vec::new();
        loop {
            let line = self.line();
            if line.starts_with("Note: not reached: ") {
                return notes;
            }
            notes.push(line);
        }
    }

    /// Much goes both ways, and back.
    fn talks(&mut self) {
        self.shell.say("processes -columns pid -output jsonl");
        self.shell.say("session -output jsonl");
        let session = loop {
            let row = self.shell.hear();
            if row.get("session_id").is_some() {
                break row;
            }
        };
        assert!(session["isolated_until"].is_string(), "{session}");
    }

    fn leaves(mut self) {
        self.shell.say("release");
        assert!(self.line().contains("back on the network"));
        self.shell.leave();
    }
}

#[test]
fn the_analysts_own_connection_survives() {
    let Some(network) = Network::new() else { return };
    let home = Home::new();
    let Some(mut visit) = Visit::new(&network, &home, DEVICE) else { return };
    visit.shell.say("isolate -for 1h");
    let said = visit.notes();
    assert!(said[0].contains("cut off the network"), "{said:?}");
    assert!(said[1].contains("the ssh connection 10.9.0.2:") && said[1].contains("-> 10.9.0.1:22 of the shell"), "{said:?}");
    assert!(said[2].starts_with("Note: an interface that appears"), "{said:?}");
    assert!(!reaches(&network, None, &visit.port), "others come in");
    visit.talks();
    visit.leaves();
    assert_eq!(network.filters(), "");
}

#[test]
fn a_connection_through_a_tunnel_needs_the_tunnels_end() {
    let Some(network) = Network::new() else { return };
    let home = Home::new();
    let tunnel = |other: &str, address: &str| {
        let made = format!("ip link add vpn type vxlan id 7 dev cable remote {other} dstport 4789");
        format!("{made} && ip addr add {address}/24 dev vpn && ip link set vpn up")
    };
    let made = network.on_device(&words(&["sh", "-c", &tunnel(PEER, "10.8.0.1")])).output().unwrap();
    if !made.status.success() {
        skip("this kernel has no vxlan");
        return;
    }
    run(&mut network.on_peer(&words(&["sh", "-c", &tunnel(DEVICE, "10.8.0.2")])));
    let Some(mut visit) = Visit::new(&network, &home, "10.8.0.1") else { return };
    visit.shell.say("isolate -for 1h");
    assert_eq!((visit.shell.end(), network.filters().as_str()), (Some(1), ""), "it was not refused");
    drop(visit.server);
    let Some(mut visit) = Visit::new(&network, &home, "10.8.0.1") else { return };
    visit.shell.say(&format!("isolate -for 1h -allow {PEER}"));
    let said = visit.notes();
    assert!(said[0].contains("cut off the network"), "{said:?}");
    assert!(said.iter().any(|line| line.contains("comes through the tunnel vpn, and lasts only if")), "{said:?}");
    visit.talks();
    visit.leaves();
    assert_eq!(network.filters(), "");
}
