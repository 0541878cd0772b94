//! HTTP by hand over a Unix socket: for calls that no client makes, and readers that stop reading.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// A guard against hanging, nothing else.
const PATIENCE: Duration = Duration::from_mins(1);

/// An answer; its body is read as it is asked for.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Lower-case names, with their values.
    pub headers: Vec<(String, String)>,
    reader: BufReader<UnixStream>,
}

/// Sends a call and reads the head of its answer.
pub fn call(socket: &Path, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: lrsh\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    send(socket, &[head.as_bytes(), b"\r\n", body].concat())
}

/// A call with a JSON body, or none.
pub fn json(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let body = body.map(ToString::to_string).unwrap_or_default();
    let headers: &[(&str, &str)] = if body.is_empty() { &[] } else { &[("content-type", "application/json")] };
    call(socket, method, &format!("/api/v1{path}"), headers, body.as_bytes())
}

/// Sends bytes and reads the head of what is answered.
pub fn send(socket: &Path, bytes: &[u8]) -> Answer {
    let stream = UnixStream::connect(socket).unwrap();
    // A service that refuses a call need not read it whole.
    let _ = (&stream).write_all(bytes);
    of(stream)
}

/// The head of an answer to what was sent before.
pub fn of(stream: UnixStream) -> Answer {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no answer but {line:?}")).parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => return Answer { status, headers, reader },
        }
    }
}

impl Answer {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The next piece of a body that comes in pieces; `None` at its end.
    pub fn piece(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        let length = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
        let mut piece = vec![0; length + 2];
        self.reader.read_exact(&mut piece).ok()?;
        piece.truncate(length);
        (length > 0).then_some(piece)
    }

    /// The whole body.
    pub fn body(mut self) -> Vec<u8> {
        let mut body = Vec::new();
        if self.header("transfer-encoding") == Some("chunked") {
            while let Some(piece) = self.piece() {
                body.extend(piece);
            }
        } else if let Some(length) = self.header("content-length") {
            body = vec![0; length.parse().unwrap()];
            self.reader.read_exact(&mut body).unwrap();
        } else {
            self.reader.read_to_end(&mut body).unwrap();
        }
        body
    }

    /// The body as JSON.
    pub fn value(self) -> Value {
        let status = self.status;
        let body = self.body();
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{status}: {error}: {}", String::from_utf8_lossy(&body)))
    }

    /// The events of the whole body.
    pub fn events(self) -> Vec<Value> {
        let text = String::from_utf8(self.body()).unwrap();
        text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|json| serde_json::from_str(json).unwrap()).collect()
    }
}
