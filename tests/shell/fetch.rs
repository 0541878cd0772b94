//! A file on its way through connections that break.

use std::sync::Arc;

use lrsh::error::Exit;
use lrsh::grammar::read;
use lrsh::protocol::{Body, CommandId, FileFacts, SessionId, Status};
use lrsh::shell::client::fetch::{Destination, Fetch, Fetched, Word};
use lrsh::shell::client::{Client, Trace};
use lrsh::shell::view::{Screen, ScreenOptions};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::kit::scripted::{Scripted, answer};

const TAG: &str = "etag: \"1-2-3-4\"\r\n";

fn content() -> Vec<u8> {
    (0..300_000u32).flat_map(u32::to_le_bytes).collect()
}

fn from(content: &[u8], offset: usize, sent: usize) -> Vec<u8> {
    if offset == 0 {
        return answer("200 OK", TAG, content, sent);
    }
    let range = format!("{TAG}content-range: bytes {offset}-{}/{}\r\n", content.len() - 1, content.len());
    answer("206 Partial Content", &range, &content[offset..], sent)
}

/// A fetch that a test tells of its command.
struct Told {
    client: Client,
    fetch: Fetch,
    runtime: tokio::runtime::Runtime,
}

impl Told {
    fn new(service: &Scripted, line: &str) -> Self {
        let screen = Screen::new(ScreenOptions::default());
        let client = Client::new(service.starter(), screen.clone(), Trace::new(std::env::temp_dir(), screen));
        let invocation = read(line, None).invocation.unwrap();
        let fetch = Fetch::new(Destination::of(&invocation, None).unwrap(), "device".into());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { client, fetch, runtime }
    }

    /// The device's offer of a file in this state; what the analyst is told.
    fn offer(&mut self, etag: &str) -> Vec<String> {
        let offer = format!(r#"{{"name":"a.bin","path":"/a.bin","size":1200000,"etag":"{etag}","sparse":false,"notes":[]}}"#);
        self.hear(&Body::Object { value: RawValue::from_string(offer).unwrap() })
    }

    fn hear(&mut self, body: &Body) -> Vec<String> {
        let _inside = self.runtime.enter();
        self.fetch.hear(&self.client, &SessionId::new(), CommandId::new(), body).unwrap()
    }

    /// What the device says that it sent.
    fn sent(&mut self, content: &[u8]) {
        let sha256 = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        self.hear(&Body::File(FileFacts { name: "a.bin".into(), size: content.len() as u64, sha256, changed: false }));
    }

    fn finish(&mut self, status: Status) -> Result<Fetched, Exit> {
        self.runtime.block_on(self.fetch.finish(status, 1)).map_err(|failure| failure.exit)
    }

    fn word(&mut self) -> Word {
        self.runtime.block_on(self.fetch.word())
    }
}

/// Fetches what the service sends; the row that is shown, or how it failed.
fn fetch(service: &Scripted, line: &str, told: &[u8]) -> Result<Value, Exit> {
    let mut fetch = Told::new(service, line);
    fetch.offer("1-2-3-4");
    fetch.sent(told);
    match fetch.finish(Status::Completed)? {
        Fetched::Row(row) => Ok(serde_json::from_str(row.unwrap().get()).unwrap()),
        Fetched::Again => panic!("the command did not end early"),
    }
}

#[test]
fn a_refusal_of_the_device_is_told_at_once() {
    let body = br#"{"error":{"code":"limit","message":"/a.bin: larger than may be fetched"}}"#;
    let service = Scripted::new(vec![answer("502 Bad Gateway", "", body, body.len())]);
    let folder = tempfile::tempdir().unwrap();
    let mut fetch = Told::new(&service, &format!("getfile /a.bin -to {}/", folder.path().display()));
    fetch.offer("1-2-3-4");
    let Word::Broke(failure) = fetch.word() else { panic!("it goes on") };
    assert_eq!(failure.problem.message, "/a.bin: larger than may be fetched");
    assert_eq!(service.requests().len(), 1, "{:?}", service.requests());
}

#[test]
fn a_command_that_ended_early_is_sent_again_and_goes_on() {
    let content = content();
    let ended = br#"{"error":{"code":"ended","message":"[2] has ended"}}"#;
    let service = Scripted::new(vec![
        from(&content, 0, 400_000),
        answer("409 Conflict", "", ended, ended.len()),
        from(&content, 400_000, content.len() - 400_000),
        from(&content, 0, 300_000),
        answer("409 Conflict", "", ended, ended.len()),
        answer("200 OK", "etag: \"1-9-3-4\"\r\n", &content, content.len()),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let line = format!("getfile /a.bin -to {}/", folder.path().display());
    let mut fetch = Told::new(&service, &line);
    assert_eq!(fetch.offer("1-2-3-4"), Vec::<String>::new());
    assert!(matches!(fetch.finish(Status::Completed), Ok(Fetched::Again)));
    let told = fetch.offer("1-2-3-4").concat();
    assert!(told.contains("goes on behind the 400000 bytes in"), "{told}");
    fetch.sent(&content);
    let Ok(Fetched::Row(Some(row))) = fetch.finish(Status::Completed) else { panic!("it did not arrive") };
    assert_eq!(serde_json::from_str::<Value>(row.get()).unwrap()["resumed_from"], 400_000);
    assert!(std::fs::read(folder.path().join("a.bin")).unwrap() == content);
    assert!(service.requests()[2].ends_with("bytes=400000-"), "{:?}", service.requests());

    // Another file stands there when the next command looks.
    let mut fetch = Told::new(&service, &line);
    fetch.offer("1-2-3-4");
    assert!(matches!(fetch.finish(Status::Completed), Ok(Fetched::Again)));
    let told = fetch.offer("1-9-3-4").concat();
    assert!(told.contains("is another file now, or was changed, since 300000 bytes of it came: begins again"), "{told}");
    fetch.sent(&content);
    assert!(matches!(fetch.finish(Status::Completed), Ok(Fetched::Row(Some(_)))));
    assert!(std::fs::read(folder.path().join("a (1).bin")).unwrap() == content);
}

#[test]
fn it_goes_on_from_the_last_byte() {
    let content = content();
    let folder = tempfile::tempdir().unwrap();
    let service = Scripted::new(vec![from(&content, 0, 500_000), Vec::new(), from(&content, 500_000, content.len() - 500_000)]);
    let row = fetch(&service, &format!("getfile /a.bin -to {}/", folder.path().display()), &content).unwrap();
    assert_eq!(row["size"], content.len());
    assert!(std::fs::read(folder.path().join("a.bin")).unwrap() == content);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the part is gone");
    let asked = service.requests();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[2].ends_with("bytes=500000-"), "{asked:?}");
}

#[test]
fn a_later_try_sends_no_byte_again() {
    let content = content();
    let folder = tempfile::tempdir().unwrap();
    let line = format!("getfile /a.bin -to {}/", folder.path().display());
    assert_eq!(fetch(&Scripted::new(vec![from(&content, 0, 700_000)]), &line, &content), Err(Exit::Unreachable));
    assert_eq!(std::fs::metadata(folder.path().join("a.bin.part")).unwrap().len(), 700_000);
    let service = Scripted::new(vec![from(&content, 700_000, content.len() - 700_000)]);
    let row = fetch(&service, &line, &content).unwrap();
    assert_eq!(row["resumed_from"], 700_000);
    assert!(std::fs::read(folder.path().join("a.bin")).unwrap() == content);
}

#[test]
fn what_differs_from_what_the_device_read_is_not_kept() {
    let content = content();
    let folder = tempfile::tempdir().unwrap();
    let mut bent = content.clone();
    bent[1000] ^= 1;
    let service = Scripted::new(vec![from(&bent, 0, bent.len())]);
    let line = format!("getfile /a.bin -to {}/", folder.path().display());
    assert_eq!(fetch(&service, &line, &content), Err(Exit::Failed));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_was_replaced_is_fetched_from_its_beginning() {
    let (old, new) = (content(), vec![7; 1_200_000]);
    let folder = tempfile::tempdir().unwrap();
    let changed = br#"{"error":{"code":"changed","message":"another file"}}"#;
    let again = |sent| answer("200 OK", "etag: \"1-9-3-4\"\r\n", &new, sent);
    let service = Scripted::new(vec![
        from(&old, 0, 400_000),
        answer("412 Precondition Failed", "", changed, changed.len()),
        again(0),
        again(new.len()),
    ]);
    let line = format!("getfile /a.bin -to {}/", folder.path().display());
    let row = fetch(&service, &line, &new).unwrap();
    assert_eq!(row["size"], new.len());
    assert!(std::fs::read(folder.path().join("a.bin")).unwrap() == new);
}

#[test]
fn the_plain_file_is_never_here_when_it_goes_into_an_archive() {
    let content = content();
    let folder = tempfile::tempdir().unwrap();
    let service = Arc::new(Scripted::new(vec![from(&content, 0, content.len())]));
    let row = fetch(&service, &format!("getfile /a.bin -zip -to {}/", folder.path().display()), &content).unwrap();
    assert!(row["saved_as"].as_str().unwrap().ends_with("/a.bin.zip"));
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a.bin.zip"]);
    let archive = std::fs::read(folder.path().join("a.bin.zip")).unwrap();
    assert!(!archive.windows(64).any(|window| window == &content[4096..4160]));
}
