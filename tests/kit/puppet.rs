//! A service within the test, on a socket of its own, with devices that say what the test has them say.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lrsh::grammar;
use lrsh::protocol::link::{AgentLink, Delivery, DeviceCommand, FileRefusal, FileRequest, FileStream, Running, StopReason};
use lrsh::protocol::{AgentEvent, Body, CommandId, Completed, Cost, Effect, Hello, PROTOCOL_VERSION, PlatformName, Status};
use lrsh::service::{self, Activity, Analyst, Limits, Policy, Service, ServiceOptions};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::wire;

/// What a device says to a command before its end.
pub type Play = dyn Fn(&DeviceCommand, &mpsc::Sender<AgentEvent>) -> Status + Send + Sync;

/// A device whose answers are the test's.
pub struct Puppet {
    hello: Hello,
    play: Arc<Play>,
}

impl Puppet {
    /// A Linux device of this name. `connect` succeeds by itself; everything else is played.
    pub fn new(
        name: &str,
        play: impl Fn(&DeviceCommand, &mpsc::Sender<AgentEvent>) -> Status + Send + Sync + 'static,
    ) -> Arc<Self> {
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            device_id: format!("{:0>40}", name.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()),
            name: name.to_owned(),
            platform: PlatformName::Linux,
            version: "0".into(),
            os: None,
            boot_id: None,
            server: false,
            root: None,
        };
        Arc::new(Self { hello, play: Arc::new(play) })
    }
}

impl AgentLink for Puppet {
    fn hello(&self) -> &Hello {
        &self.hello
    }

    fn start(&self, command: DeviceCommand, _delivery: Option<Delivery>) -> Running {
        let (to, events) = mpsc::channel(4);
        let play = self.play.clone();
        std::thread::spawn(move || {
            let _ = to.blocking_send(AgentEvent::Read(Box::new(Body::Started)));
            let status = if command.command_definition_id == "connect" { Status::Completed } else { play(&command, &to) };
            let completed = Completed { status, duration_ms: 1, cost: Cost::default(), errors: Vec::new() };
            let _ = to.blocking_send(AgentEvent::Read(Box::new(Body::Completed(completed))));
        });
        Running { events }
    }

    fn stop(&self, _command: CommandId, _reason: StopReason) {}

    fn read_file(&self, _command: CommandId, _request: FileRequest) -> oneshot::Receiver<Result<FileStream, FileRefusal>> {
        let (to, answer) = oneshot::channel();
        let _ = to.send(Err(FileRefusal::Ended));
        answer
    }

    fn recovered(&self) -> Vec<(CommandId, Effect)> {
        Vec::new()
    }
}

/// An event of rows, as an agent hands it over.
pub fn rows(rows: &[Value]) -> AgentEvent {
    let json = json!({"kind": "rows", "rows": rows}).to_string();
    AgentEvent::Pass { json: json.into(), rows: u32::try_from(rows.len()).unwrap() }
}

/// A service that runs until it is dropped.
pub struct Served {
    /// Where it listens.
    pub socket: PathBuf,
    stop: CancellationToken,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Served {
    /// A service in a folder. Its one analyst has every role.
    pub fn start(folder: &Path, limits: Limits, devices: Vec<Arc<dyn AgentLink>>) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let socket = folder.join("s");
        let _ = std::fs::remove_file(&socket);
        let stop = CancellationToken::new();
        let policy = Policy { limits, ..Policy::default() };
        let roles = policy.roles("tester", true).unwrap();
        let who = move |_: &tokio::net::unix::UCred| Some(Analyst { name: "tester".into(), roles: roles.clone(), pid: None });
        let activity = Arc::new(Activity::default());
        let options =
            ServiceOptions { folder: folder.join("service"), policy, links: devices, activity: Arc::clone(&activity) };
        let stopped = stop.clone().cancelled_owned();
        runtime.block_on(async {
            let service = Service::start(options).await.map_err(|error| error.to_string())?;
            let listener = tokio::net::UnixListener::bind(&socket).unwrap();
            tokio::spawn(service::serve(listener, service::router(service), Arc::new(who), activity, stopped));
            Ok::<(), String>(())
        })?;
        Ok(Self { socket, stop, runtime: Some(runtime) })
    }

    /// Opens a session on the only device.
    pub fn session(&self) -> String {
        let session = wire::json(&self.socket, "POST", "/sessions", Some(&json!({}))).value();
        session["session_id"].as_str().unwrap_or_else(|| panic!("{session}")).to_owned()
    }

    /// Posts a line; its events are the answer.
    pub fn post(&self, session: &str, line: &str) -> wire::Answer {
        wire::json(&self.socket, "POST", &format!("/sessions/{session}/commands"), Some(&command(line)))
    }

    /// A call that is answered with JSON.
    pub fn get(&self, path: &str) -> Value {
        wire::json(&self.socket, "GET", path, None).value()
    }

    /// The events of a command from the beginning.
    pub fn replay(&self, session: &str, number: u64) -> Vec<Value> {
        wire::json(&self.socket, "GET", &format!("/sessions/{session}/commands/{number}/events"), None).events()
    }
}

impl Drop for Served {
    /// As a process that is killed: nothing is waited for.
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The body that a shell posts for a line.
pub fn command(line: &str) -> Value {
    let read = grammar::read(line, None).invocation.unwrap();
    let params: Vec<Value> = read.params.iter().map(|(id, value)| json!({"param_id": id, "value": value})).collect();
    json!({"command_id": CommandId::new(), "raw_command_line": line, "command_definition_id": read.row.name, "params": params,
        "flags": read.flags, "current_directory": "/", "background_mode": read.background})
}
