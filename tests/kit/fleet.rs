//! A service in this process, with devices that real agents serve and a socket for each analyst: for what needs several of
//! either, or limits that are reached.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lrsh::agent::platform::Root;
use lrsh::agent::{Agent, AgentOptions};
use lrsh::grammar::{Role, read};
use lrsh::protocol::link::{AgentLink, Delivery, DeviceCommand, FileRefusal, FileRequest, FileStream, Running, StopReason};
use lrsh::protocol::{
    AgentEvent, Body, CommandId, Completed, Cost, Effect, Hello, NewCommand, Param, Problem, Receipt, SHELL_HEADER, Status,
};
use lrsh::service::{Activity, Analyst, Limits, Policy, Service, ServiceOptions, router, serve};
use lrsh::shell::Starter;
use lrsh::shell::client::{Client, Trace};
use lrsh::shell::view::{Screen, ScreenOptions};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

/// Every role.
pub const ALL: [Role; 4] = [Role::Basic, Role::Advanced, Role::Library, Role::Settings];

/// A service, its devices and its analysts.
pub struct Fleet {
    /// What everything runs on.
    pub runtime: tokio::runtime::Runtime,
    /// The service itself.
    pub service: Service,
    /// Its devices, in order: `device-0`, `device-1`, …
    pub devices: Vec<Arc<TestDevice>>,
    folder: tempfile::TempDir,
    _trees: Vec<tempfile::TempDir>,
}

impl Fleet {
    /// A service with so many devices.
    pub fn new(devices: usize, limits: Limits) -> Self {
        Self::with(devices, limits, |_| {})
    }

    /// The same, with devices that say something else of themselves.
    pub fn with(devices: usize, limits: Limits, change: impl Fn(&mut Hello)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut trees = Vec::new();
        let devices: Vec<Arc<TestDevice>> = (0..devices)
            .map(|number| {
                let tree = tempfile::tempdir().unwrap();
                for file in 0..20 {
                    std::fs::write(tree.path().join(format!("file-{file}")), format!("device {number}\n").repeat(file))
                        .unwrap();
                }
                let options = AgentOptions {
                    root: Root::at(tree.path()).unwrap(),
                    writable: true,
                    folder: folder.path().join("agent"),
                    program: env!("CARGO_BIN_EXE_lrsh").into(),
                };
                let agent = Agent::new(options, runtime.handle().clone());
                let mut hello = agent.hello().clone();
                hello.name = format!("device-{number}");
                hello.device_id = format!("{number:040x}");
                change(&mut hello);
                trees.push(tree);
                let (held, started) = (Arc::default(), AtomicU64::new(0));
                Arc::new(TestDevice { agent, hello, held, started, runtime: runtime.handle().clone() })
            })
            .collect();
        let options = ServiceOptions {
            folder: folder.path().join("service"),
            policy: Policy { limits, ..Policy::default() },
            links: devices.iter().map(|device| Arc::clone(device) as Arc<dyn AgentLink>).collect(),
            activity: Arc::new(Activity::default()),
        };
        let service = runtime.block_on(Service::start(options)).unwrap();
        Self { runtime, service, devices, folder, _trees: trees }
    }

    /// Another service takes over, as after the end of the first one's process; sockets have to be made anew.
    pub fn start_again(&mut self, limits: Limits) {
        let options = ServiceOptions {
            folder: self.folder.path().join("service"),
            policy: Policy { analysts: Vec::new(), limits, signing_keys: Vec::new() },
            links: self.devices.iter().map(|device| Arc::clone(device) as Arc<dyn AgentLink>).collect(),
            activity: Arc::new(Activity::default()),
        };
        self.service = self.runtime.block_on(Service::start(options)).unwrap();
    }

    /// The socket of an analyst with these roles.
    pub fn analyst(&self, name: &str, roles: &[Role]) -> PathBuf {
        let analyst = Analyst { name: name.to_owned(), roles: roles.to_vec(), pid: None };
        self.socket(name, Some(analyst))
    }

    /// A socket at whose other end that one is, or nobody who is known.
    pub fn socket(&self, name: &str, analyst: Option<Analyst>) -> PathBuf {
        let socket = self.folder.path().join(name);
        // That of an earlier service.
        let _ = std::fs::remove_file(&socket);
        let _inside = self.runtime.enter();
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let serving = serve(
            listener,
            router(self.service.clone()),
            Arc::new(move |_| analyst.clone()),
            Arc::new(Activity::default()),
            std::future::pending(),
        );
        self.runtime.spawn(serving);
        socket
    }

    /// A call; the status and the answer, which is JSON.
    pub fn call(&self, socket: &Path, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.call_as(socket, None, method, path, body)
    }

    /// A call of a shell with a name.
    pub fn call_as(&self, socket: &Path, shell: Option<&str>, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let headers: Vec<(&str, &str)> = shell.into_iter().map(|shell| (SHELL_HEADER, shell)).collect();
        self.call_with(socket, &headers, method, path, body)
    }

    /// A call with headers of its own.
    pub fn call_with(
        &self,
        socket: &Path,
        headers: &[(&str, &str)],
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let mut request = http(socket).request(method.parse().unwrap(), format!("http://lrsh/api/v1{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.runtime.block_on(async {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let is_stream = response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
            // A stream is only looked at: it may never end.
            let answer =
                if is_stream { Value::Null } else { serde_json::from_slice(&response.bytes().await.unwrap()).unwrap() };
            (status, answer)
        })
    }

    /// The same post so many times at once; what each was answered, whole.
    pub fn call_at_once(&self, socket: &Path, path: &str, body: &Value, times: usize) -> Vec<String> {
        let post = || {
            let request = http(socket).post(format!("http://lrsh/api/v1{path}")).json(body);
            self.runtime.spawn(async move { request.send().await.unwrap().text().await.unwrap() })
        };
        let posts: Vec<_> = (0..times).map(|_| post()).collect();
        posts.into_iter().map(|post| self.runtime.block_on(post).unwrap()).collect()
    }

    /// Opens a session; its id.
    #[track_caller]
    pub fn open(&self, socket: &Path, device: usize) -> String {
        let (status, session) = self.call(socket, "POST", "/sessions", Some(&json!({"device": format!("device-{device}")})));
        assert_eq!(status, 200, "{session}");
        session["session_id"].as_str().unwrap().to_owned()
    }

    /// Posts a line, without waiting for its end.
    pub fn post(&self, socket: &Path, session: &str, line: &str) -> (u16, Value, CommandId) {
        let command = command(line);
        let body = serde_json::to_value(&command).unwrap();
        let (status, answer) = self.call(socket, "POST", &format!("/sessions/{session}/commands"), Some(&body));
        (status, answer, command.command_id)
    }

    /// A command as the log tells it.
    #[track_caller]
    pub fn record(&self, socket: &Path, session: &str, id: CommandId) -> Value {
        let (status, record) = self.call(socket, "GET", &format!("/sessions/{session}/commands/{id}"), None);
        assert_eq!(status, 200, "{record}");
        record
    }

    /// Everything that is heard of a command, to its end.
    pub fn events(&self, socket: &Path, session: &str, id: CommandId) -> Vec<Value> {
        let url = format!("http://lrsh/api/v1/sessions/{session}/commands/{id}/events");
        let text = self.runtime.block_on(async { http(socket).get(url).send().await.unwrap().text().await.unwrap() });
        text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|json| serde_json::from_str(json).unwrap()).collect()
    }

    /// A shell's way to the service.
    pub fn shell(&self, socket: PathBuf) -> Client {
        let screen = Screen::new(ScreenOptions::default());
        Client::new(Arc::new(There(socket)), screen.clone(), Trace::new(self.folder.path().join("log"), screen))
    }
}

fn http(socket: &Path) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().unix_socket(socket.to_owned()).no_proxy().tls_certs_only([]).build().unwrap()
}

/// A line as a shell would post it.
pub fn command(line: &str) -> NewCommand {
    let invocation = read(line, None).invocation.unwrap();
    let params = invocation.params.iter().map(|(id, value)| Param { param_id: id.clone(), value: value.clone() });
    NewCommand {
        command_id: CommandId::new(),
        raw_command_line: line.to_owned(),
        command_definition_id: invocation.row.name.clone(),
        params: params.collect(),
        flags: invocation.flags.iter().cloned().collect(),
        current_directory: "/".into(),
        background_mode: invocation.background,
        continues: None,
        confirmed: false,
    }
}

struct There(PathBuf);

impl Starter for There {
    fn ensure(&self) -> Result<PathBuf, Problem> {
        Ok(self.0.clone())
    }
}

/// A device whose agent is real; but a command about a path that ends in `held` begins, tells a row, and goes on until it
/// is asked to stop or its time is over.
pub struct TestDevice {
    agent: Agent,
    hello: Hello,
    held: Arc<Mutex<HashMap<CommandId, oneshot::Sender<StopReason>>>>,
    runtime: tokio::runtime::Handle,
    /// How many commands it was given.
    pub started: AtomicU64,
}

impl TestDevice {
    /// How many commands are held now.
    pub fn held(&self) -> usize {
        self.held.lock().unwrap().len()
    }
}

impl AgentLink for TestDevice {
    fn hello(&self) -> &Hello {
        &self.hello
    }

    fn start(&self, command: DeviceCommand, delivery: Option<Delivery>) -> Running {
        self.started.fetch_add(1, Ordering::SeqCst);
        if !command.params.values().any(|value| value.ends_with("held")) {
            return self.agent.start(command, delivery);
        }
        let (sender, events) = mpsc::channel(16);
        let (stop, stopped) = oneshot::channel();
        let (held, id) = (Arc::clone(&self.held), command.command_id);
        held.lock().unwrap().insert(id, stop);
        self.runtime.spawn(async move {
            let tell = |body: Body| sender.send(AgentEvent::Read(Box::new(body)));
            let _ = tell(Body::Started).await;
            let row = br#"{"kind":"rows","rows":[{"path":"held"}]}"#;
            let _ = sender.send(AgentEvent::Pass { json: row.as_slice().into(), rows: 1 }).await;
            let limit = std::time::Duration::from_millis(command.time_limit_ms);
            let (status, by) = match tokio::time::timeout(limit, stopped).await {
                Ok(Ok(StopReason::Cancel { by })) => (Status::Cancelled, by),
                Ok(Ok(StopReason::Enough)) => (Status::Completed, String::new()),
                Ok(Ok(StopReason::Expired)) | Err(_) => (Status::Expired, "the time limit".to_owned()),
                Ok(Err(_)) => (Status::Interrupted, String::new()),
            };
            held.lock().unwrap().remove(&id);
            let receipt = Receipt { confirmed: true, done: vec!["1 row".into()], not_done: vec!["the rest".into()], by };
            let _ = tell(Body::Receipt(receipt)).await;
            let _ =
                tell(Body::Completed(Completed { status, duration_ms: 1, cost: Cost::default(), errors: Vec::new() })).await;
        });
        Running { events }
    }

    fn stop(&self, command: CommandId, reason: StopReason) {
        match self.held.lock().unwrap().remove(&command) {
            Some(held) => drop(held.send(reason)),
            None => self.agent.stop(command, reason),
        }
    }

    fn read_file(&self, command: CommandId, request: FileRequest) -> oneshot::Receiver<Result<FileStream, FileRefusal>> {
        self.agent.read_file(command, request)
    }

    fn recovered(&self) -> Vec<(CommandId, Effect)> {
        Vec::new()
    }
}
