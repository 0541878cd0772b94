//! A network of two machines: the device and a peer, each a network namespace of its own, with a cable between them. The real
//! network of this machine is never touched.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, Output, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::need::{need, skip};

/// The device's addresses.
pub const DEVICE: &str = "10.9.0.1";
/// The same over IPv6.
pub const DEVICE6: &str = "fd00:9::1";
/// The peer's addresses.
pub const PEER: &str = "10.9.0.2";
/// Another address of the peer.
pub const ALLOWED: &str = "10.9.0.3";
/// The peer over IPv6.
pub const PEER6: &str = "fd00:9::2";
/// The peer's end of the cable.
pub const PEER_MAC: &str = "02:00:00:00:00:02";

/// Two machines.
pub struct Network {
    device: Machine,
    peer: Machine,
}

/// A namespace, held by a process.
struct Machine(Child);

impl Machine {
    fn new() -> Option<Self> {
        let mut command = Command::new("unshare");
        // What it says first is said in the namespace; then it waits for its end.
        command.args(["-n", "sh", "-c", "ip link set lo up && echo ready && cat"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut word = [0; 6];
        let is_ready = child.stdout.as_mut()?.read_exact(&mut word).is_ok();
        let machine = Self(child);
        is_ready.then_some(machine)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn run(&self, script: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid().to_string(), "-n", "sh", "-e", "-c", script]);
        command.output().unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Network {
    /// Two machines that reach each other; `None` where this machine does not let them be made.
    pub fn new() -> Option<Self> {
        if !need(&["unshare", "nsenter", "ip", "nft"]) {
            return None;
        }
        let (Some(device), Some(peer)) = (Machine::new(), Machine::new()) else {
            skip("this machine forbids network namespaces");
            return None;
        };
        let network = Self { device, peer };
        let there = network.peer.pid();
        let cable = format!("ip link add cable type veth peer name cable netns {there} address {PEER_MAC}");
        let up = |first: &str, second: &str, third: &str| {
            format!(
                "ip addr add {first}/24 dev cable; ip addr add {third}/64 dev cable nodad; ip link set cable up; \
                 if [ {second} != {first} ]; then ip addr add {second}/24 dev cable; fi"
            )
        };
        let made = network.device.run(&format!("{cable}; {}", up(DEVICE, DEVICE, DEVICE6)));
        if !made.status.success() {
            skip(&format!("no cable between two namespaces: {}", String::from_utf8_lossy(&made.stderr)));
            return None;
        }
        let made = network.peer.run(&up(PEER, ALLOWED, PEER6));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Some(network)
    }

    /// One more cable between them, with an address at each end.
    pub fn second_cable(&self, device: &str, peer: &str) {
        let there = self.peer.pid();
        self.device(&format!(
            "ip link add second type veth peer name second netns {there}; ip addr add {device}/24 dev second; ip link set second up"
        ));
        let made = self.peer.run(&format!("ip addr add {peer}/24 dev second; ip link set second up"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// The command, on the device.
    pub fn on_device(&self, command: &Command) -> Command {
        within(&self.device, command)
    }

    /// The command, on the peer.
    pub fn on_peer(&self, command: &Command) -> Command {
        within(&self.peer, command)
    }

    /// Runs a script of sh on the device; what it prints.
    #[track_caller]
    pub fn device(&self, script: &str) -> String {
        let ran = self.device.run(script);
        assert!(ran.status.success(), "{script}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }

    /// The filters of the device.
    pub fn filters(&self) -> String {
        self.device("nft list ruleset")
    }

    /// Does something from the peer: sockets that are made then belong to its network.
    pub fn as_peer<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        inside(&self.peer, act)
    }

    /// Does something from the device.
    pub fn as_device<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        inside(&self.device, act)
    }
}

fn within(machine: &Machine, command: &Command) -> Command {
    let mut wrapped = Command::new("nsenter");
    wrapped.args(["-t", &machine.pid().to_string(), "-n", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}

/// On a thread of its own that has moved over: nothing else of the test does.
fn inside<T: Send>(machine: &Machine, act: impl FnOnce() -> T + Send) -> T {
    let network = std::fs::File::open(format!("/proc/{}/ns/net", machine.pid())).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        });
        thread.join().unwrap()
    })
}

/// A command of these words.
pub fn words<S: AsRef<OsStr>>(words: &[S]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}
