//! `getfile` hands over whatever can be read to its end, from any place on, and says what it was.

use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use lrsh::protocol::link::{AgentLink, FileRefusal, FileRequest, FileStream, Running, StopReason};
use lrsh::protocol::{Body, CommandId, Completed, FileFacts, Problem, Status};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::kit::device::{Device, body};

/// A getfile under way.
struct Fetch<'a> {
    device: &'a Device,
    id: CommandId,
    running: Running,
    offer: Value,
}

/// What was heard after the bytes.
struct End {
    file: Option<FileFacts>,
    completed: Completed,
    receipt: bool,
}

impl<'a> Fetch<'a> {
    fn begin(device: &'a Device, path: &str, flags: &[&str]) -> Self {
        let command = device.command("getfile", &[("path", path)], flags);
        let id = command.command_id;
        let mut running = device.agent.start(command, None);
        let offer = device.runtime.block_on(async {
            loop {
                match body(running.events.recv().await.unwrap()) {
                    Body::Object { value } => return serde_json::from_str(value.get()).unwrap(),
                    Body::Completed(completed) => panic!("{completed:?}"),
                    _ => {}
                }
            }
        });
        Self { device, id, running, offer }
    }

    fn ask(&self, offset: u64, if_match: Option<&str>) -> Result<FileStream, FileRefusal> {
        let request = FileRequest { offset, if_match: if_match.map(ToOwned::to_owned) };
        let answer = self.device.agent.read_file(self.id, request);
        self.device.runtime.block_on(answer).unwrap_or(Err(FileRefusal::Ended))
    }

    fn read(&self, stream: &mut FileStream) -> Result<Vec<u8>, Problem> {
        self.device.runtime.block_on(async {
            let mut bytes = Vec::new();
            while let Some(chunk) = stream.chunks.recv().await {
                bytes.extend_from_slice(&chunk?);
            }
            Ok(bytes)
        })
    }

    fn end(mut self) -> End {
        self.device.runtime.block_on(async {
            let (mut file, mut receipt) = (None, false);
            loop {
                match body(self.running.events.recv().await.unwrap()) {
                    Body::File(facts) => file = Some(facts),
                    Body::Receipt(_) => receipt = true,
                    Body::Completed(completed) => return End { file, completed, receipt },
                    _ => {}
                }
            }
        })
    }
}

fn sha(bytes: &[u8]) -> String {
    lrsh::agent::digest::hex(&Sha256::digest(bytes))
}

/// Bytes of which no two chunks are the same.
fn counted(length: u32) -> Vec<u8> {
    (0..length.div_ceil(4)).flat_map(u32::to_le_bytes).take(length as usize).collect()
}

fn whole(path: &Path, flags: &[&str]) -> (Value, Vec<u8>, FileFacts) {
    let device = Device::live();
    let fetch = Fetch::begin(&device, path.to_str().unwrap(), flags);
    let mut stream = fetch.ask(0, None).unwrap();
    assert_eq!((stream.etag.as_str(), stream.size), (fetch.offer["etag"].as_str().unwrap(), fetch.offer["size"].as_u64()));
    let bytes = fetch.read(&mut stream).unwrap();
    let offer = fetch.offer.clone();
    let end = fetch.end();
    assert_eq!(end.completed.status, Status::Completed, "{:?}", end.completed);
    (offer, bytes, end.file.unwrap())
}

#[test]
fn files_of_every_size_arrive_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for size in [0, 1, 262_143, 262_144, 262_145, 9_000_000] {
        let content = counted(size);
        std::fs::write(&path, &content).unwrap();
        let (offer, bytes, file) = whole(&path, &[]);
        assert!(bytes == content);
        assert_eq!(file, FileFacts { name: "file".into(), size: size.into(), sha256: sha(&content), changed: false });
        assert_eq!((&offer["name"], &offer["notes"]), (&"file".into(), &Value::Array(vec![])));
    }
}

#[test]
fn a_sparse_file_arrives_with_its_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(8_000_000).unwrap();
    file.write_all_at(b"island", 3_000_001).unwrap();
    let (offer, bytes, facts) = whole(&path, &[]);
    let content = std::fs::read(&path).unwrap();
    assert!(bytes == content);
    assert_eq!((facts.sha256, &offer["sparse"]), (sha(&content), &true.into()));
}

#[test]
fn a_reader_goes_on_where_the_last_one_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let content = counted(20_000_000);
    std::fs::write(&path, &content).unwrap();
    let device = Device::live();
    let fetch = Fetch::begin(&device, path.to_str().unwrap(), &[]);
    let mut have = Vec::new();
    for _ in 0..3 {
        let etag = fetch.offer["etag"].as_str().unwrap();
        let mut stream = fetch.ask(have.len() as u64, Some(etag)).unwrap();
        assert_eq!(stream.offset, have.len() as u64);
        for _ in 0..7 {
            have.extend_from_slice(&device.runtime.block_on(stream.chunks.recv()).unwrap().unwrap());
        }
        // A reader that has gone on to write half a chunk is a reader too.
        have.truncate(have.len() - 1000);
    }
    let mut last = fetch.ask(have.len() as u64, None).unwrap();
    have.extend(fetch.read(&mut last).unwrap());
    assert!(have == content);
    assert_eq!(fetch.end().file.unwrap().sha256, sha(&content));
}

#[test]
fn a_later_command_goes_on_and_hashes_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let content = counted(5_000_000);
    std::fs::write(&path, &content).unwrap();
    let device = Device::live();
    let fetch = Fetch::begin(&device, path.to_str().unwrap(), &[]);
    let etag = fetch.offer["etag"].as_str().unwrap().to_owned();
    for from in [4_999_999, 5_000_000] {
        let fetch = Fetch::begin(&device, path.to_str().unwrap(), &[]);
        let mut stream = fetch.ask(from, Some(&etag)).unwrap();
        assert!(fetch.read(&mut stream).unwrap() == content[usize::try_from(from).unwrap()..]);
        assert_eq!(fetch.end().file.unwrap().sha256, sha(&content));
    }
    device.agent.stop(fetch.id, StopReason::Cancel { by: "eve".into() });
    assert!(matches!(fetch.end(), End { receipt: true, file: None, completed } if completed.status == Status::Cancelled));
}

#[test]
fn another_file_or_a_changed_one_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "first").unwrap();
    let device = Device::live();
    let fetch = Fetch::begin(&device, path.to_str().unwrap(), &[]);
    let refused = |result: Result<FileStream, FileRefusal>| match result {
        Err(FileRefusal::Changed { etag }) => etag,
        other => panic!("{other:?}"),
    };
    let etag = fetch.offer["etag"].as_str().unwrap();
    assert_eq!(refused(fetch.ask(0, Some("1-2-3-4"))), etag);
    assert_eq!(refused(fetch.ask(6, None)), etag);
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b" and more").unwrap();
    let now = refused(fetch.ask(2, Some(etag)));
    assert_ne!(now, etag);
    let mut stream = fetch.ask(0, Some(&now)).unwrap();
    assert_eq!(fetch.read(&mut stream).unwrap(), b"first and more");
    assert_eq!(fetch.end().file.unwrap().sha256, sha(b"first and more"));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, counted(6_000_000)).unwrap();
    let device = Device::live();
    let fetch = Fetch::begin(&device, path.to_str().unwrap(), &[]);
    let mut stream = fetch.ask(0, None).unwrap();
    let first = device.runtime.block_on(stream.chunks.recv()).unwrap().unwrap();
    // More than the channel holds is still to come, so the command is still at it.
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"grown").unwrap();
    let rest = fetch.read(&mut stream).unwrap();
    assert_eq!(first.len() + rest.len(), 6_000_000);
    assert!(fetch.end().file.unwrap().changed);

    let fetch = Fetch::begin(&device, path.to_str().unwrap(), &[]);
    let mut stream = fetch.ask(0, None).unwrap();
    device.runtime.block_on(stream.chunks.recv()).unwrap().unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(3_000_000).unwrap();
    assert_eq!(fetch.read(&mut stream).unwrap_err().code, "changed");
    let end = fetch.end();
    assert_eq!((end.completed.status, end.completed.errors[0].code.as_str()), (Status::Failed, "changed"));
}

#[test]
fn one_reads_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, counted(6_000_000)).unwrap();
    let device = Device::live();
    let fetch = Fetch::begin(&device, path.to_str().unwrap(), &[]);
    let mut stream = fetch.ask(0, None).unwrap();
    assert!(matches!(fetch.ask(0, None), Err(FileRefusal::Busy)));
    assert_eq!(fetch.read(&mut stream).unwrap().len(), 6_000_000);
    assert_eq!(fetch.end().completed.status, Status::Completed);
}

#[test]
fn links_images_and_the_kernels_files_are_fetched_and_said() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("target"), "x").unwrap();
    symlink("target", folder.path().join("link")).unwrap();
    let (offer, bytes, file) = whole(&folder.path().join("link"), &[]);
    assert_eq!((bytes.as_slice(), file.name.as_str()), (&b"x"[..], "link"));
    assert_eq!(offer["notes"][0], "a link to target, which was followed");

    let (offer, bytes, file) = whole(Path::new("/proc/version"), &[]);
    assert_eq!((&offer["size"], &bytes), (&Value::Null, &std::fs::read("/proc/version").unwrap()));
    assert_eq!(file.size, bytes.len() as u64);

    let image = folder.path().join("image");
    std::fs::copy("/bin/cat", &image).unwrap();
    let mut child = std::process::Command::new(&image)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    std::fs::remove_file(&image).unwrap();
    let (offer, bytes, file) = whole(Path::new(&format!("/proc/{}/exe", child.id())), &[]);
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(bytes == std::fs::read("/bin/cat").unwrap());
    assert_eq!(file.name, "image");
    assert!(offer["notes"][0].as_str().unwrap().ends_with("/image, which is no longer there"), "{offer}");
}

#[test]
fn what_cannot_be_fetched_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let socket = folder.path().join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::write(folder.path().join("large"), [0; 100]).unwrap();
    let device = Device::live();
    let check = |path: &Path, code: &str, says: &str| {
        let mut command = device.command("getfile", &[("path", path.to_str().unwrap())], &[]);
        command.size_limit = Some(99);
        let completed = device.send(command, None).completed;
        assert_eq!((completed.status, completed.errors[0].code.as_str()), (Status::Failed, code), "{path:?}");
        assert!(completed.errors[0].message.contains(says), "{completed:?}");
    };
    check(folder.path(), "not_a_file", "folder");
    check(&fifo, "not_a_file", "FIFO");
    check(&socket, "not_a_file", "socket");
    check(Path::new("/dev/zero"), "not_a_file", "character device");
    // It is only opened, never read.
    if std::fs::File::open("/proc/kmsg").is_ok() {
        check(Path::new("/proc/kmsg"), "not_a_file", "takes the kernel's messages");
    }
    check(&folder.path().join("none"), "not_found", "no such file");
    check(&folder.path().join("large"), "limit", "larger than the 99 bytes");
}

#[test]
fn what_grows_beyond_the_limit_breaks_off() {
    let device = Device::live();
    let mut command = device.command("getfile", &[("path", "/proc/self/status")], &[]);
    command.size_limit = Some(10);
    let id = command.command_id;
    let mut running = device.agent.start(command, None);
    let asked = device.agent.read_file(id, FileRequest { offset: 0, if_match: None });
    device.runtime.block_on(async {
        let mut stream = asked.await.unwrap().unwrap();
        assert_eq!(stream.chunks.recv().await.unwrap().unwrap_err().code, "limit");
        while let Some(event) = running.events.recv().await {
            if let Body::Completed(completed) = body(event) {
                assert_eq!((completed.status, completed.errors[0].code.as_str()), (Status::Failed, "limit"));
            }
        }
    });
}

#[test]
fn a_pattern_names_its_files_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.log", "b.log", "c.txt"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    std::fs::create_dir(folder.path().join("d.log")).unwrap();
    let device = Device::live();
    let answer = device.run("getfile", &[("path", &format!("{}/*.log", folder.path().display()))], &[]);
    assert_eq!(answer.completed.status, Status::Completed);
    let names: Vec<String> = answer
        .events
        .iter()
        .filter_map(|body| match body {
            Body::Object { value } => {
                serde_json::from_str::<Value>(value.get()).unwrap()["match"]["name"].as_str().map(Into::into)
            }
            _ => None,
        })
        .collect();
    assert_eq!(names, ["a.log", "b.log"]);
    assert_eq!(answer.completed.errors[0].code, "not_a_file");
    let one = Fetch::begin(&device, &format!("{}/*.txt", folder.path().display()), &[]);
    let mut stream = one.ask(0, None).unwrap();
    assert_eq!(one.read(&mut stream).unwrap(), b"c.txt");
}

#[test]
fn a_cancel_ends_a_reader_that_does_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let device = Device::live();
    let fetch = Fetch::begin(&device, path.to_str().unwrap(), &[]);
    let _stalled = fetch.ask(0, None).unwrap();
    device.agent.stop(fetch.id, StopReason::Cancel { by: "eve".into() });
    let end = fetch.end();
    assert_eq!((end.completed.status, end.receipt), (Status::Cancelled, true));
}
