//! What a shell does when connections break: no event twice, none lost, nothing run twice.

use lrsh::error::Exit;
use lrsh::protocol::{CommandId, Event, NewCommand, SessionId};
use lrsh::shell::client::{Client, CommandEvents, Trace};
use lrsh::shell::view::{Screen, ScreenOptions};

use crate::kit::scripted::{Scripted, answer, events};

const CREATED: (u64, &str) = (1, r#""kind":"created","number":2"#);
const STARTED: (u64, &str) = (2, r#""kind":"started""#);
const TABLE: (u64, &str) = (3, r#""kind":"table","keys":["a"]"#);
const COMPLETED: (u64, &str) = (4, r#""kind":"completed","status":"completed","duration_ms":1"#);

fn client(service: &Scripted) -> Client {
    let screen = Screen::new(ScreenOptions::default());
    let trace = Trace::new(std::env::temp_dir(), screen.clone());
    Client::new(service.starter(), screen, trace)
}

fn command() -> NewCommand {
    NewCommand {
        command_id: CommandId::new(),
        raw_command_line: "dir".into(),
        command_definition_id: "dir".into(),
        params: Vec::new(),
        flags: Vec::new(),
        current_directory: "/".into(),
        background_mode: false,
        continues: None,
        confirmed: false,
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The numbers of the events that a posted command tells, and how its stream ends.
fn run(service: &Scripted, command: NewCommand) -> (Vec<u64>, Result<(), Exit>) {
    let client = client(service);
    block_on(async {
        let mut heard = Vec::new();
        let mut stream = match CommandEvents::post(&client, &SessionId::new(), command).await {
            Ok(stream) => stream,
            Err(failure) => return (heard, Err(failure.exit)),
        };
        loop {
            match stream.next().await {
                Ok(Some(Event { n, .. })) => heard.push(n),
                Ok(None) => return (heard, Ok(())),
                Err(failure) => return (heard, Err(failure.exit)),
            }
        }
    })
}

#[test]
fn a_broken_stream_is_read_on_from_the_last_event() {
    let service = Scripted::new(vec![
        events(&[CREATED, STARTED], false),
        Vec::new(),
        // Again what is known already: told once all the same.
        events(&[STARTED, TABLE, COMPLETED], true),
    ]);
    let command = command();
    assert_eq!(run(&service, command.clone()), (vec![1, 2, 3, 4], Ok(())));
    let asked = service.requests();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[0].starts_with("POST /sessions/"), "{asked:?}");
    for again in &asked[1..] {
        assert!(again.ends_with(&format!("/commands/{}/events?after=2", command.command_id)), "{asked:?}");
    }
}

#[test]
fn a_post_without_an_answer_is_sent_again_with_the_same_id() {
    let service = Scripted::new(vec![Vec::new(), events(&[CREATED, STARTED, TABLE, COMPLETED], true)]);
    assert_eq!(run(&service, command()), (vec![1, 2, 3, 4], Ok(())));
    let asked = service.requests();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0], asked[1]);
}

#[test]
fn a_command_that_was_never_committed_is_posted_anew() {
    let unknown = br#"{"error":{"code":"not_found","message":"no such command"}}"#;
    let service = Scripted::new(vec![
        events(&[], false),
        answer("404 Not Found", "", unknown, unknown.len()),
        events(&[CREATED, STARTED, TABLE, COMPLETED], true),
    ]);
    assert_eq!(run(&service, command()), (vec![1, 2, 3, 4], Ok(())));
    let calls: Vec<String> = service.requests().iter().map(|asked| asked.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(calls, ["POST", "GET", "POST"]);
}

#[test]
fn a_service_that_never_answers_is_given_up() {
    let service = Scripted::new(Vec::new());
    assert_eq!(run(&service, command()), (vec![], Err(Exit::Unreachable)));
}

#[test]
fn a_refusal_is_told_with_its_exit_code() {
    let check = |status: &str, code: &str, exit: Exit| {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"no"}}}}"#);
        let service = Scripted::new(vec![answer(status, "", body.as_bytes(), body.len())]);
        assert_eq!(run(&service, command()), (vec![], Err(exit)), "{status} {code}");
        assert_eq!(service.requests().len(), 1, "{status}: a refusal is not tried again");
    };
    check("403 Forbidden", "role", Exit::Refused);
    check("409 Conflict", "limit", Exit::Refused);
    check("400 Bad Request", "bad_value", Exit::NotUnderstood);
    check("400 Bad Request", "not_on_platform", Exit::NotUnderstood);
    check("404 Not Found", "not_found", Exit::Failed);
    check("503 Service Unavailable", "device_offline", Exit::Unreachable);
    check("500 Internal Server Error", "internal", Exit::Internal);
}

#[test]
fn garbage_is_an_error_and_not_the_end_of_the_shell() {
    let nonsense = b"data: {\"n\":\n\n";
    let service = Scripted::new(vec![answer("200 OK", "", nonsense, nonsense.len())]);
    assert_eq!(run(&service, command()), (vec![], Err(Exit::Internal)));
}
