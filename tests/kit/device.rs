//! A device whose agent is driven through its link, without a service: for tests of verbs.

use std::path::{Path, PathBuf};

use lrsh::agent::platform::Root;
use lrsh::agent::{Agent, AgentOptions};
use lrsh::protocol::link::{AgentLink, Delivery, DeviceCommand};
use lrsh::protocol::{AgentEvent, Body, Completed, Event, SeenItem, SessionId};
use serde_json::Value;

/// A device with an agent of its own.
pub struct Device {
    /// The agent.
    pub agent: Agent,
    /// What its commands run on.
    pub runtime: tokio::runtime::Runtime,
    /// The agent's folder.
    pub folder: tempfile::TempDir,
    /// What the session has seen, for changing commands.
    pub seen: Vec<SeenItem>,
    /// The folder that is its root, if it is not this machine.
    tree: Option<PathBuf>,
}

fn root_of(tree: Option<&Path>) -> Root {
    tree.map_or_else(Root::live, |tree| Root::at(tree).unwrap())
}

/// Everything that was heard of a command.
pub struct Answer {
    /// The events, `completed` excluded.
    pub events: Vec<Body>,
    /// The end.
    pub completed: Completed,
}

fn options(root: Root, folder: &Path) -> AgentOptions {
    AgentOptions { root, writable: true, folder: folder.to_owned(), program: env!("CARGO_BIN_EXE_lrsh").into() }
}

impl Device {
    /// This machine.
    pub fn live() -> Self {
        Self::with(None)
    }

    /// A folder as a mounted root.
    pub fn at(root: &Path) -> Self {
        Self::with(Some(root.to_path_buf()))
    }

    fn with(tree: Option<PathBuf>) -> Self {
        let root = root_of(tree.as_deref());
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let agent = Agent::new(options(root, &folder.path().join("agent")), runtime.handle().clone());
        Self { agent, runtime, folder, seen: Vec::new(), tree }
    }

    /// The agent anew, as after its process ended.
    pub fn restart(&mut self) {
        let folder = self.folder.path().join("agent");
        self.move_to(&folder);
    }

    /// The agent anew, with another folder.
    pub fn move_to(&mut self, folder: &Path) {
        self.agent = Agent::new(options(root_of(self.tree.as_deref()), folder), self.runtime.handle().clone());
    }

    /// The agent anew, writing through that disk.
    pub fn restart_with(&mut self, disk: std::sync::Arc<dyn lrsh::agent::journal::Disk>) {
        let options = options(root_of(self.tree.as_deref()), &self.folder.path().join("agent"));
        self.agent = Agent::with_disk(options, self.runtime.handle().clone(), disk);
    }

    /// A command as the service would send it.
    pub fn command(&self, name: &str, params: &[(&str, &str)], flags: &[&str]) -> DeviceCommand {
        DeviceCommand {
            number: 2,
            analyst: "tester".into(),
            params: params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            seen: self.seen.clone(),
            ..DeviceCommand::new(SessionId::new(), name, std::time::Duration::from_mins(10))
        }
    }

    /// Runs a command to its end.
    pub fn run(&self, name: &str, params: &[(&str, &str)], flags: &[&str]) -> Answer {
        self.send(self.command(name, params, flags), None)
    }

    /// Sends a command and hears it to its end.
    pub fn send(&self, command: DeviceCommand, delivery: Option<Delivery>) -> Answer {
        let mut running = self.agent.start(command, delivery);
        self.runtime.block_on(async move {
            let mut events = Vec::new();
            while let Some(event) = running.events.recv().await {
                match body(event) {
                    Body::Completed(completed) => return Answer { events, completed },
                    other => events.push(other),
                }
            }
            panic!("the stream ended without `completed`: {events:?}")
        })
    }
}

/// An agent's event as a shell would read it.
pub fn body(event: AgentEvent) -> Body {
    match event {
        AgentEvent::Read(body) => *body,
        AgentEvent::Pass { json, .. } => {
            let text = std::str::from_utf8(&json).unwrap();
            let stamped = format!(r#"{{"n":1,"t":"2026-01-01T00:00:00Z",{}"#, text.strip_prefix('{').unwrap());
            Event::parse(stamped.as_bytes()).unwrap().body
        }
    }
}

impl Answer {
    /// Every row.
    pub fn rows(&self) -> Vec<Value> {
        let batches = self.events.iter().filter_map(|body| match body {
            Body::Rows { rows } => Some(rows),
            _ => None,
        });
        batches.flatten().map(|row| serde_json::from_str(row.get()).unwrap()).collect()
    }

    /// The answer of a command that answers with one object.
    pub fn object(&self) -> Value {
        let found = self.events.iter().find_map(|body| match body {
            Body::Object { value } => Some(serde_json::from_str(value.get()).unwrap()),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no object in {:?}, {:?}", self.events, self.completed))
    }

    /// The bytes of its text.
    pub fn text(&self) -> Vec<u8> {
        let pieces = self.events.iter().filter_map(|body| match body {
            Body::Text(text) => text.data.bytes(),
            _ => None,
        });
        pieces.flatten().collect()
    }

    /// What it says was seen.
    pub fn seen(&self) -> Vec<SeenItem> {
        let seen = self.events.iter().filter_map(|body| match body {
            Body::Seen(seen) => Some(seen.items.clone()),
            _ => None,
        });
        seen.flatten().collect()
    }
}
