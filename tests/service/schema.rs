//! The OpenAPI document against the service, by schemathesis: whatever it makes of the document, no answer is undocumented,
//! and none says that the service failed.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lrsh::agent::Agent;
use lrsh::grammar;
use lrsh::protocol::link::{AgentLink, Delivery, DeviceCommand, FileRefusal, FileRequest, FileStream, Running, StopReason};
use lrsh::protocol::{AgentEvent, Body, CommandId, Completed, Cost, Effect, Hello, Problem, Status};
use lrsh::service::Limits;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::kit::device::Device;
use crate::kit::need::need;
use crate::kit::puppet::{Puppet, Served};
use crate::kit::wire;
use crate::recorded::tree;

/// A device that only looks.
struct Looking(Agent);

impl AgentLink for Looking {
    fn hello(&self) -> &Hello {
        self.0.hello()
    }

    fn start(&self, command: DeviceCommand, delivery: Option<Delivery>) -> Running {
        if grammar::table().find(&command.command_definition_id).is_some_and(|row| !row.changes_state) {
            return self.0.start(command, delivery);
        }
        let (to, events) = mpsc::channel(1);
        let errors = vec![Problem::new("not_on_platform", "this device only looks")];
        let completed = Completed { status: Status::Failed, duration_ms: 0, cost: Cost::default(), errors };
        to.try_send(AgentEvent::Read(Box::new(Body::Completed(completed)))).unwrap();
        Running { events }
    }

    fn stop(&self, command: CommandId, reason: StopReason) {
        self.0.stop(command, reason);
    }

    fn read_file(&self, command: CommandId, request: FileRequest) -> oneshot::Receiver<Result<FileStream, FileRefusal>> {
        self.0.read_file(command, request)
    }

    fn recovered(&self) -> Vec<(CommandId, Effect)> {
        self.0.recovered()
    }
}

/// A program that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn no_answer_is_undocumented_and_none_says_that_the_service_failed() {
    if !need(&["schemathesis", "socat"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    assert!(Command::new("cp").arg("-a").arg(tree("clean-server")).arg(&root).status().unwrap().success());
    let Device { agent, runtime: _runtime, folder: _folder, .. } = Device::at(&root);
    let limits = Limits { stream_seconds: 1, keep_alive_seconds: 1, ..Limits::default() };
    let devices: Vec<Arc<dyn AgentLink>> = vec![Arc::new(Looking(agent)), Puppet::new("closing", |_, _| Status::Completed)];
    let name = devices[0].hello().name.clone();
    let service = Served::start(folder.path(), limits, devices).unwrap();
    let open = |device: &str| {
        let session = wire::json(&service.socket, "POST", "/sessions", Some(&json!({ "device": device }))).value();
        session["session_id"].as_str().unwrap_or_else(|| panic!("{session}")).to_owned()
    };
    let (session, closing) = (open(&name), open("closing"));
    service.post(&session, "services").events();

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr");
    let connect = format!("UNIX-CONNECT:{}", service.socket.display());
    let _socat = Ended(Command::new("socat").args([listen, connect]).stderr(Stdio::null()).spawn().unwrap());
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let config = folder.path().join("schemathesis.toml");
    std::fs::write(&config, configuration(&session, &closing)).unwrap();
    let mut run = Command::new("schemathesis");
    run.arg("--config-file").arg(&config).arg("run").arg(format!("http://127.0.0.1:{port}/openapi.json"));
    run.args(["--url", &format!("http://127.0.0.1:{port}"), "--phases", "examples,coverage,fuzzing"]);
    run.args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"]);
    run.args(["--checks", "response_schema_conformance,response_headers_conformance"]);
    // One worker: Python 3.11 that reads sources in several threads fails with "AST constructor recursion depth mismatch".
    run.args(["--max-examples", "8", "--workers", "1", "--seed", "7", "--no-shrink", "--suppress-health-check", "all"]);
    let output = run.current_dir(folder.path()).env("HOME", folder.path()).env("NO_COLOR", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // `1176 generated, 1176 passed`
    let counts = said.lines().find(|line| line.contains(" generated, ")).unwrap_or_else(|| panic!("{said}"));
    let counts: Vec<u32> = counts.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(counts.len() == 2 && counts[0] == counts[1] && counts[0] > 0, "{said}");
    works(&service, &session);
}

/// Which session is meant; the one that is closed is another.
fn configuration(session: &str, closing: &str) -> String {
    format!(
        "[parameters]\n\"path.sid\" = \"{session}\"\n\
         [[operations]]\ninclude-operation-id = \"close_session\"\nparameters = {{ \"path.sid\" = \"{closing}\" }}\n\
         [[operations]]\ninclude-operation-id = [\"get_command\", \"get_command_events\", \"cancel_command\", \"get_file\"]\n\
         parameters = {{ \"path.cid\" = [\"1\", \"2\", \"3\", \"0\", \"x\"] }}\n"
    )
}

fn works(service: &Served, session: &str) {
    let answer = service.post(session, "services");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.events().last().unwrap()["status"], "completed");
    assert!(Path::new(&service.socket).exists());
}
