//! Who reads a job makes no difference to what it says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lrsh::grammar::read;
use lrsh::protocol::{CommandId, NewCommand, SessionId, Status};
use lrsh::shell::client::{Client, Trace};
use lrsh::shell::jobs::{Heard, Job, Start};
use lrsh::shell::view::{Screen, ScreenOptions};

use crate::kit::scripted::{Scripted, events};

const WHOLE: [(u64, &str); 5] = [
    (1, r#""kind":"created","number":7"#),
    (2, r#""kind":"started""#),
    (3, r#""kind":"context","current_directory":"/tmp""#),
    (4, r#""kind":"rows","rows":[{"a":1}]"#),
    (5, r#""kind":"completed","status":"completed","duration_ms":1"#),
];

struct Sent {
    start: Start,
    command: NewCommand,
    directory: Arc<Mutex<String>>,
    announced: Arc<AtomicUsize>,
}

fn sent(service: &Scripted, background_mode: bool) -> Sent {
    let screen = Screen::new(ScreenOptions::default());
    let client = Client::new(service.starter(), screen.clone(), Trace::new(std::env::temp_dir(), screen));
    let (directory, announced) = (Arc::new(Mutex::new("/".to_owned())), Arc::new(AtomicUsize::new(0)));
    let counted = announced.clone();
    let start = Start {
        client,
        session: SessionId::new(),
        line: "dir".into(),
        invocation: Arc::new(read("dir", None).invocation.unwrap()),
        directory: Some(directory.clone()),
        redirect: None,
        fetch: None,
        upload: None,
        kept: false,
        announce: Arc::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        }),
    };
    let command = NewCommand {
        command_id: CommandId::new(),
        raw_command_line: "dir".into(),
        command_definition_id: "dir".into(),
        params: Vec::new(),
        flags: Vec::new(),
        current_directory: "/".into(),
        background_mode,
        continues: None,
        confirmed: false,
    };
    Sent { start, command, directory, announced }
}

/// What a reader hears: the numbers of the events, and that the end comes behind them.
async fn heard(job: &Job, after: u64) -> Vec<u64> {
    let mut reader = job.read(after).await;
    let mut numbers = Vec::new();
    loop {
        match reader.recv().await.unwrap() {
            Heard::Event(event) => numbers.push(event.n),
            Heard::Note(note) => panic!("{note}"),
            Heard::End(_) => return numbers,
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_foreground_job_is_read_as_it_comes_and_asked_for_once() {
    let service = Scripted::new(vec![events(&WHOLE, true)]);
    let Sent { start, command, directory, announced } = sent(&service, false);
    block_on(async {
        let job = start.post(command).await.unwrap();
        assert_eq!(heard(&job, 0).await, [1, 2, 3, 4, 5]);
        assert_eq!((job.number(), job.facts().status), (7, Status::Completed));
    });
    assert_eq!(service.requests().len(), 1);
    assert_eq!(*directory.lock().unwrap(), "/tmp");
    assert_eq!(announced.load(Ordering::SeqCst), 0, "who looked needs no announcement");
}

#[test]
fn a_background_job_is_announced_once_and_heard_whole_afterwards() {
    let service = Scripted::new(vec![events(&WHOLE, true), events(&WHOLE, true), events(&WHOLE[3..], true)]);
    let Sent { start, command, directory, announced } = sent(&service, true);
    block_on(async {
        let job = start.post(command).await.unwrap();
        assert!(job.ended().await.end.is_some());
        assert_eq!(heard(&job, 0).await, [1, 2, 3, 4, 5]);
        directory.lock().unwrap().clear();
        assert_eq!(heard(&job, 3).await, [4, 5], "a rendering that was half shown goes on");
        assert!(!job.claim(), "its end was told");
    });
    assert_eq!(announced.load(Ordering::SeqCst), 1);
    assert_eq!(*directory.lock().unwrap(), "", "a replay changes no directory");
    assert!(service.requests()[2].ends_with("events?after=3"), "{:?}", service.requests());
}

#[test]
fn a_job_that_is_lost_says_so() {
    let service = Scripted::new(vec![events(&WHOLE[..2], false)]);
    let Sent { start, command, .. } = sent(&service, true);
    let facts = block_on(async { start.post(command).await.unwrap().ended().await });
    assert_eq!((facts.number, facts.status), (Some(7), Status::Interrupted));
    assert_eq!(facts.end.unwrap().exit(), lrsh::error::Exit::Unreachable);
}
