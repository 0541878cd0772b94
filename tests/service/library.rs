//! The library, through the shell and over the socket: what goes in comes out, one name has one file, and nothing half is kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::kit::need::rounds;
use crate::kit::shell::Home;

const MIB: usize = 1 << 20;
/// A guard against hanging, nothing else.
const PATIENCE: Duration = Duration::from_mins(1);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn content(size: usize) -> Vec<u8> {
    let mut number = 7_u32;
    let next = |_| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        number.to_le_bytes()[3]
    };
    (0..size).map(next).collect()
}

/// The files that the service holds content in.
fn contents(home: &Home) -> Vec<String> {
    let folder = std::fs::read_dir(home.path().join("service/library")).unwrap();
    folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A connection that keeps the service from ending by itself.
struct Service {
    socket: PathBuf,
    _kept: UnixStream,
}

impl Service {
    fn of(home: &Home) -> Self {
        let begun = Instant::now();
        loop {
            let output = home.command().args(["paths", "--start", "socket"]).output().unwrap();
            let socket = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
            // One that was killed this moment may still have taken the starter's connection.
            if let Ok(kept) = UnixStream::connect(&socket) {
                return Self { socket, _kept: kept };
            }
            assert!(begun.elapsed() < PATIENCE, "no service: {}", String::from_utf8_lossy(&output.stderr));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Begins a call whose body is sent by hand.
    fn begin(&self, method: &str, path: &str, headers: &str) -> UnixStream {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        write!(stream, "{method} /api/v1{path} HTTP/1.1\r\nhost: lrsh\r\nconnection: close\r\n{headers}\r\n").unwrap();
        stream
    }

    fn call(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, Value) {
        let mut stream = self.begin(method, path, &format!("content-length: {}\r\n{headers}", body.len()));
        // Who is refused early does not read the rest.
        let _ = stream.write_all(body);
        answer(stream)
    }
}

/// An answer's status and JSON.
fn answer(mut stream: UnixStream) -> (u16, Value) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn what_goes_in_comes_out_and_is_kept_once() {
    let home = Home::new();
    let bytes = content(5 * MIB + 3);
    std::fs::write(home.work().join("tool"), &bytes).unwrap();
    std::fs::write(home.work().join("empty"), b"").unwrap();
    let lines = "library add tool -description \"a 'tool'\" -parameters_description \"-v\"\nlibrary add tool -name again\n\
                 library add empty -parameters_description \"\"\nlibrary show tool > out\nlibrary show empty > none\n";
    home.batch(lines).run().code(0);
    assert!(std::fs::read(home.work().join("out")).unwrap() == bytes);
    assert_eq!(std::fs::read(home.work().join("none")).unwrap(), b"");
    let mut hashes = [hex(&Sha256::digest(&bytes)), hex(&Sha256::digest(b""))];
    let rows = home.line("library -output json").code(0).json();
    let row = |at: usize, field: &str| rows[at][field].clone();
    assert_eq!(
        (row(0, "file_name"), row(1, "file_name"), row(2, "file_name")),
        ("again".into(), "empty".into(), "tool".into())
    );
    assert_eq!(
        (row(2, "description"), row(2, "size"), row(2, "sha256")),
        ("a 'tool'".into(), bytes.len().into(), hashes[0].clone().into())
    );
    assert_eq!(
        (row(2, "has_parameters"), row(2, "parameters_description"), row(0, "has_parameters"), row(1, "has_parameters")),
        (true.into(), "-v".into(), false.into(), false.into()),
        "no text, no parameters: an empty one is none"
    );
    assert!(row(2, "created_by").is_string() && row(2, "updated").as_str().unwrap().ends_with('Z'));
    let mut kept = contents(&home);
    kept.sort();
    hashes.sort();
    assert_eq!(kept, hashes, "the same content under two names is kept once");
    home.line("library delete tool").code(0);
    assert_eq!(contents(&home).len(), 2, "the other name still stands for it");
    home.line("library delete again").code(0);
    assert_eq!(contents(&home).len(), 1);
}

#[test]
fn a_text_is_shown_as_it_is_and_as_a_field() {
    let home = Home::new();
    std::fs::write(home.work().join("a.sh"), "echo \u{1b}[31m größe\n").unwrap();
    let shown = home.batch("library add a.sh -output jsonl\nlibrary show a.sh\n").run().code(0);
    assert!(shown.out().ends_with("echo \u{1b}[31m größe\n"), "{}", shown.out());
    assert_eq!(home.line("library show a.sh -output json").code(0).json()["content"], "echo \u{1b}[31m größe\n");
}

/// Everything that the service keeps of commands, in bytes.
fn spooled(home: &Home) -> u64 {
    fn below(folder: &std::path::Path) -> u64 {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| if entry.path().is_dir() { below(&entry.path()) } else { entry.metadata().unwrap().len() }).sum()
    }
    below(&home.path().join("service/spool"))
}

#[test]
fn what_is_shown_is_not_kept_a_second_time_and_can_be_shown_again() {
    let home = Home::new();
    let bytes = content(5 * MIB + 3);
    std::fs::write(home.work().join("tool"), &bytes).unwrap();
    home.line("library add tool").code(0);
    // In the background, shown later; shown twice; by another shell of the session.
    let lines = "library show tool &\nlibrary show tool > out &\nfg 2 > /dev/null\nfg 2\nfg 2\n";
    let ran = home.batch(lines).run().code(0);
    assert!(ran.stdout == [bytes.clone(), bytes.clone()].concat(), "{} bytes", ran.stdout.len());
    assert!(std::fs::read(home.work().join("out")).unwrap() == bytes);
    let log = home.line("log -match show -output json").code(0).json();
    assert_eq!((&log[0]["command_line"], &log[0]["status"]), (&"library show tool &".into(), &"completed".into()));
    assert!(spooled(&home) < 1 << 20, "{}", spooled(&home));
}

#[test]
fn what_was_overwritten_meanwhile_is_not_shown_for_what_it_was() {
    let home = Home::new();
    std::fs::write(home.work().join("a"), "one").unwrap();
    std::fs::write(home.work().join("b"), "two").unwrap();
    home.line("library add a").code(0);
    let ran = home.batch("library show a &\nlibrary add b -name a -overwrite > /dev/null\nfg 2\n").run().code(1);
    assert!(ran.out().is_empty() && ran.err().contains("a was overwritten since"), "{}{}", ran.out(), ran.err());
    home.batch("library show a &\nlibrary delete a > /dev/null\nfg 2\n").run().code(1);
}

#[test]
fn content_is_served_from_any_byte_on_in_one_state() {
    let home = Home::new();
    std::fs::write(home.work().join("a"), "0123456789").unwrap();
    home.line("library add a").code(0);
    let service = Service::of(&home);
    let get = |headers: &str| {
        let mut stream = service.begin("GET", "/library/a", headers);
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let whole = get("");
    let etag = whole.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    assert!(whole.ends_with("\r\n\r\n0123456789") && whole.contains("repr-digest: sha-256=:"), "{whole}");
    let rest = get(&format!("range: bytes=4-\r\nif-match: {etag}\r\n"));
    assert!(rest.starts_with("HTTP/1.1 206") && rest.contains("content-range: bytes 4-9/10\r\n"), "{rest}");
    assert!(rest.ends_with("\r\n\r\n456789"), "{rest}");
    assert!(get("range: bytes=10-\r\n").ends_with("\r\n\r\n"));
    for (headers, status) in [("range: bytes=11-\r\n", 416), ("range: bytes=1-2\r\n", 416), ("if-match: \"1-0\"\r\n", 412)] {
        assert!(get(headers).starts_with(&format!("HTTP/1.1 {status}")), "{headers}: {}", get(headers));
    }
}

#[test]
fn what_overwrites_keeps_the_words_that_are_not_said_anew() {
    let home = Home::new();
    std::fs::write(home.work().join("a"), "one").unwrap();
    std::fs::write(home.work().join("b"), "two").unwrap();
    let texts = || {
        let row = home.line("library -match a -output json").code(0).json()[0].clone();
        [row["description"].clone(), row["parameters_description"].clone(), row["has_parameters"].clone()]
    };
    home.line("library add a -description first -parameters_description \"-v\"").code(0);
    home.line("library add b -name a -overwrite").code(0);
    assert_eq!(texts(), ["first".into(), "-v".into(), Value::from(true)]);
    home.line("library add a -overwrite -description second").code(0);
    assert_eq!(texts(), ["second".into(), "-v".into(), Value::from(true)]);
    home.line("library add a -overwrite -parameters_description \"\"").code(0);
    assert_eq!(texts(), ["second".into(), Value::Null, Value::from(false)]);
}

#[test]
fn what_cannot_be_sent_as_it_was_read_says_so() {
    let home = Home::new();
    let refused = home.line("library add /proc/self/environ").code(1);
    assert!(refused.err().contains("/proc/self/environ") && refused.err().contains("copy it to a file"), "{}", refused.err());
    for odd in ["/dev/zero", "/tmp", "/nonexistent/x"] {
        assert!(home.line(&format!("library add {odd}")).code(1).err().contains(odd));
    }
    assert_eq!(home.line("library -output json").code(0).json(), serde_json::json!([]));
    assert!(contents(&home).is_empty());
}

#[test]
fn names_are_refused_with_the_rule() {
    let home = Home::new();
    std::fs::write(home.work().join("a"), "x").unwrap();
    let long = "x".repeat(300);
    for name in ["../x", "x/y", "\"\"", "naïve.sh", "..", &long] {
        for line in [format!("library add a -name {name}"), format!("library show {name}"), format!("library delete {name}")] {
            let ran = home.line(&line).code(2);
            assert!(ran.err().contains("letters a-z and A-Z, digits, '-', '_' and '.'"), "{line}: {}", ran.err());
        }
    }
    let service = Service::of(&home);
    for name in ["..%2Fx", "x%2Fy", "na%C3%AFve", "%00", &long] {
        let (status, told) = service.call("PUT", &format!("/library/{name}"), "", b"x");
        assert_eq!((status, told["error"]["code"].as_str()), (400, Some("bad_name")), "{name}");
    }
    assert!(contents(&home).is_empty());
    assert_eq!(home.line("library -output json").code(0).json(), serde_json::json!([]));
}

#[test]
fn a_name_is_taken_over_only_where_that_is_said_and_nobody_was_faster() {
    let home = Home::new();
    std::fs::write(home.work().join("a"), "one").unwrap();
    std::fs::write(home.work().join("b"), "two").unwrap();
    home.line("library add a").code(0);
    let refused = home.line("library add b -name a").code(1);
    assert!(refused.err().contains("-overwrite"), "{}", refused.err());
    home.line("library add b -name a -overwrite").code(0);
    assert_eq!(home.line("library show a").code(0).out(), "two");
    assert_eq!(contents(&home), [hex(&Sha256::digest(b"two"))], "what was overwritten is gone");

    let service = Service::of(&home);
    let (_, put) = service.call("PUT", "/library/a?overwrite=true", "", b"three");
    assert_eq!(put["sha256"], hex(&Sha256::digest(b"three")));
    let stale = "if-match: \"1-0000000000000000\"\r\n";
    assert_eq!(service.call("PUT", "/library/a", stale, b"four").1["error"]["code"], "changed");
    assert_eq!(service.call("DELETE", "/library/a", stale, b"").1["error"]["code"], "changed");
    assert_eq!(service.call("DELETE", "/library/a", "", b"").0, 428, "whoever deletes says what");
    assert_eq!(service.call("DELETE", "/library/a", "if-match: *\r\n", b"").0, 204);
    assert_eq!(service.call("DELETE", "/library/a", "if-match: *\r\n", b"").0, 404);
    assert!(contents(&home).is_empty());
}

#[test]
fn of_two_uploads_of_one_name_one_wins() {
    let home = Home::new();
    let service = Service::of(&home);
    let mut first = service.begin("PUT", "/library/a", "content-length: 10\r\nexpect: 100-continue\r\n");
    // The word to go on says that the name is taken.
    let mut said = String::new();
    BufReader::new(first.try_clone().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("100"), "{said}");
    first.write_all(b"01234").unwrap();
    let (status, told) = service.call("PUT", "/library/a?overwrite=true", "", b"other");
    assert_eq!((status, told["error"]["code"].as_str()), (409, Some("busy")));
    assert!(told["error"]["message"].as_str().unwrap().contains("right now"), "{told}");
    std::fs::write(home.work().join("a"), "x").unwrap();
    let refused = home.line("library add a -overwrite").code(1);
    assert!(refused.err().contains("is being uploaded"), "{}", refused.err());
    first.write_all(b"56789").unwrap();
    let mut rest = String::new();
    first.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("200 OK"), "{rest}");
    assert_eq!(home.line("library show a").code(0).out(), "0123456789");
}

#[test]
fn a_cut_off_upload_leaves_nothing() {
    let home = Home::new();
    let service = Service::of(&home);
    for headers in
        ["content-length: 1000\r\nexpect: 100-continue\r\n", "transfer-encoding: chunked\r\nexpect: 100-continue\r\n"]
    {
        let mut stream = service.begin("PUT", "/library/a", headers);
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut String::new()).unwrap();
        stream.write_all(b"5\r\n01234\r\n").unwrap();
        drop(stream);
        // Once the name is free again, all of it is over.
        while service.call("PUT", "/library/a?sha256=00", "", b"x").1["error"]["code"] == "busy" {
            std::thread::yield_now();
        }
        assert!(contents(&home).is_empty(), "{:?}", contents(&home));
    }
    let (status, told) = service.call("PUT", "/library/a?sha256=00", "", b"x");
    assert_eq!((status, told["error"]["code"].as_str()), (400, Some("hash_differs")));
    assert!(contents(&home).is_empty());
    assert_eq!(home.line("library -output json").code(0).json(), serde_json::json!([]));
}

#[test]
fn roles_and_limits_are_those_of_service_toml() {
    let home = Home::new();
    let write = |roles: &str| {
        std::fs::create_dir_all(home.path().join("service")).unwrap();
        let me = String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let text = format!("[[analyst]]\nname = \"{}\"\nroles = [{roles}]\n[limits]\nlibrary_bytes = 4\n", me.trim());
        std::fs::write(home.path().join("service/service.toml"), text).unwrap();
        // A service that runs has read the old one.
        while !home.processes().is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    std::fs::write(home.work().join("a"), "x").unwrap();
    std::fs::write(home.work().join("large"), "12345").unwrap();
    write("\"basic\"");
    assert!(home.line("library").code(3).err().contains("`advanced`"));
    write("\"advanced\"");
    home.line("library").code(0);
    assert!(home.line("library add a").code(3).err().contains("`library`"));
    assert!(home.line("library delete a").code(3).err().contains("`library`"));
    write("\"advanced\", \"library\"");
    home.line("library add a").code(0);
    assert!(home.line("library add large").code(3).err().contains("at most 4"));
    let service = Service::of(&home);
    assert_eq!(service.call("PUT", "/library/large", "", b"12345").1["error"]["target"], "library_bytes");
    assert_eq!(contents(&home).len(), 1);
}

#[test]
fn content_that_was_altered_in_the_folder_is_not_handed_out() {
    let home = Home::new();
    std::fs::write(home.work().join("a"), "echo one").unwrap();
    home.line("library add a").code(0);
    let kept = home.path().join("service/library").join(&contents(&home)[0]);
    std::fs::write(&kept, "echo two").unwrap();
    let refused = home.line("library show a > out").code(1);
    assert!(refused.err().contains("not what was uploaded"), "{}", refused.err());
    assert!(!home.work().join("out").exists());
    home.line("library add a -overwrite").code(0);
    assert_eq!(home.line("library show a").code(0).out(), "echo one");
}

/// The process of the service of a home.
fn service_pid(home: &Home) -> u32 {
    let is_service = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().ends_with(b"\0embedded\0");
    home.processes().into_iter().find(is_service).unwrap()
}

#[test]
fn an_upload_that_its_service_does_not_live_to_see_leaves_nothing() {
    let home = Home::new();
    for round in 0..rounds().div_ceil(5) {
        let service = Service::of(&home);
        let mut stream = service.begin("PUT", "/library/a", "content-length: 100000\r\nexpect: 100-continue\r\n");
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut String::new()).unwrap();
        stream.write_all(&content((1000 + 7000 * round as usize).min(90_000))).unwrap();
        // What is kept under a name that the store does not know: killed between the two.
        std::fs::write(home.path().join("service/library").join("0".repeat(64)), "x").unwrap();
        let killed = service_pid(&home);
        std::process::Command::new("kill").args(["-9", &killed.to_string()]).status().unwrap();
        // The socket's end says that it is gone.
        let _ = stream.read_to_end(&mut Vec::new());
        drop(service);
        // One that is still dying takes connections, and tidies nothing: its lock says when it is gone.
        let at = lrsh::host::Home::at(home.path()).unwrap();
        while lrsh::host::start::running(&at).unwrap().is_some() {
            std::thread::yield_now();
        }
        drop(Service::of(&home));
        assert!(contents(&home).is_empty(), "{:?}", contents(&home));
    }
    assert_eq!(home.line("library -output json").code(0).json(), serde_json::json!([]));
}

#[test]
fn an_upload_whose_shell_is_killed_leaves_nothing() {
    let home = Home::new();
    let service = Service::of(&home);
    std::fs::write(home.work().join("large"), vec![7; 100 * MIB]).unwrap();
    let mut shell =
        home.command().args(["-c", "library add large"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Its first bytes have come, or all of them on a machine that is faster than this.
    while contents(&home).is_empty() {
        std::thread::yield_now();
    }
    shell.kill().unwrap();
    shell.wait().unwrap();
    while service.call("PUT", "/library/large?sha256=00", "", b"x").1["error"]["code"] == "busy" {
        std::thread::yield_now();
    }
    let rows = home.line("library -output json").code(0).json();
    assert_eq!(contents(&home).len(), rows.as_array().unwrap().len(), "{:?} {rows}", contents(&home));
    assert!(contents(&home).iter().all(|name| name.len() == 64), "{:?}", contents(&home));
}

#[test]
fn an_upload_that_nobody_sends_is_cancelled_like_any_command() {
    let home = Home::new();
    let service = Service::of(&home);
    let json = "content-type: application/json\r\n";
    let (_, session) = service.call("POST", "/sessions", json, b"{}");
    let sid = session["session_id"].as_str().unwrap();
    let id = "0198d0a0-0000-7000-8000-000000000001";
    let post = serde_json::json!({"command_id": id, "raw_command_line": "library add /x/a", "command_definition_id": "library",
        "params": [{"param_id": "action", "value": "add"}, {"param_id": "file", "value": "/x/a"}], "flags": [],
        "current_directory": "/", "background_mode": false})
    .to_string();
    let commands = format!("/sessions/{sid}/commands");
    let mut stream = service.begin("POST", &commands, &format!("{json}content-length: {}\r\n", post.len()));
    stream.write_all(post.as_bytes()).unwrap();
    let mut events = BufReader::new(stream);
    let mut line = String::new();
    // The first progress says that the name is taken.
    while !line.contains("\"progress\"") {
        line.clear();
        assert!(events.read_line(&mut line).unwrap() > 0, "no progress");
    }
    assert_eq!(service.call("PUT", "/library/a", "", b"x").1["error"]["code"], "busy");
    let other = "/library/b?command_id=0198d0a0-0000-7000-8000-000000000001";
    assert_eq!(service.call("PUT", other, "", b"x").1["error"]["code"], "ended", "it waits for another name");
    assert_eq!(service.call("POST", &format!("{commands}/{id}/cancel"), json, b"{}").0, 200);
    let mut rest = String::new();
    events.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("nothing was added") && rest.contains("\"status\":\"cancelled\""), "{rest}");
    assert_eq!(service.call("PUT", "/library/a", "", b"x").0, 200, "the name is free again");
}

#[test]
fn rules_that_are_none_are_added_and_said() {
    let home = Home::new();
    std::fs::write(home.work().join("syn.yar"), "rule a {\n condition: tru }").unwrap();
    std::fs::write(home.work().join("good.yar"), "rule a { condition: true }").unwrap();
    std::fs::write(home.work().join("list.md5"), "no hash\n").unwrap();
    let ran = home.line("library add syn.yar");
    assert!(ran.err().contains("syn.yar:2:13: "), "{}", ran.err());
    let ran = home.line("library add list.md5");
    assert!(ran.err().contains("list.md5: line 1 is no hash"), "{}", ran.err());
    let ran = home.line("library add good.yar").code(0);
    assert!(!ran.err().contains("good.yar"), "{}", ran.err());
    let all = home.line("library -output json").code(0).json();
    assert_eq!(all.as_array().unwrap().len(), 3, "{all}");
}
