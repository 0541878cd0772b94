//! A file on its way through connections that break.

use std::sync::Arc;

use lrsh::error::Exit;
use lrsh::grammar::read;
use lrsh::protocol::{Body, CommandId, FileFacts, SessionId, Status};
use lrsh::shell::client::fetch::{Destination, Fetch};
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

/// Fetches what the service sends; the row that is shown, or how it failed.
fn fetch(service: &Scripted, line: &str, told: &[u8]) -> Result<Value, Exit> {
    let screen = Screen::new(ScreenOptions::default());
    let client = Client::new(service.starter(), screen.clone(), Trace::new(std::env::temp_dir(), screen));
    let invocation = read(line, None).invocation.unwrap();
    let mut fetch = Fetch::new(Destination::of(&invocation, None).unwrap(), "device".into());
    let offer = r#"{"name":"a.bin","path":"/a.bin","size":1200000,"etag":"1-2-3-4","sparse":false,"notes":[]}"#;
    let sha256 = Sha256::digest(told).iter().map(|byte| format!("{byte:02x}")).collect();
    let facts = FileFacts { name: "a.bin".into(), size: told.len() as u64, sha256, changed: false };
    let (session, command) = (SessionId::new(), CommandId::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let finished = runtime.block_on(async {
        let value = RawValue::from_string(offer.into()).unwrap();
        for body in [Body::Object { value }, Body::File(facts)] {
            fetch.hear(&client, &session, command, &body)?;
        }
        fetch.finish(Status::Completed, 1).await
    });
    match finished {
        Ok(row) => Ok(serde_json::from_str(row.unwrap().get()).unwrap()),
        Err(failure) => Err(failure.exit),
    }
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
