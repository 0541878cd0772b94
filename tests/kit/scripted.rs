//! A service that answers as a test has written down, byte by byte: for what a real one does only when it dies.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use lrsh::protocol::Problem;
use lrsh::shell::Starter;

/// A service whose every connection takes one request, gets the next answer, and is closed.
pub struct Scripted {
    folder: tempfile::TempDir,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// A service that gives these answers, in order; behind the last one it closes connections without a word.
    pub fn new(answers: Vec<Vec<u8>>) -> Self {
        let mut answers = answers.into_iter();
        Self::answering(move |_| answers.next().unwrap_or_default())
    }

    /// A service whose answer hangs on what is asked: method, path, range and body.
    pub fn answering(mut answers: impl FnMut(&str) -> Vec<u8> + Send + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = requests.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(mut connection) = connection else { return };
                let mut reader = BufReader::new(connection.try_clone().unwrap());
                let mut first = String::new();
                if reader.read_line(&mut first).unwrap_or(0) == 0 {
                    continue;
                }
                let (mut length, mut range) = (0, String::new());
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                        break;
                    }
                    let line = line.to_ascii_lowercase();
                    if let Some(value) = line.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if let Some(value) = line.strip_prefix("range:") {
                        range = format!(" {}", value.trim());
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let call = first.split(" HTTP").next().unwrap().replace("/api/v1", "");
                let asked = format!("{call}{range}{}", String::from_utf8_lossy(&body));
                heard.lock().unwrap().push(asked.clone());
                let _ = connection.write_all(&answers(&asked));
            }
        });
        Self { folder, requests }
    }

    /// How a shell finds it.
    pub fn starter(&self) -> Arc<dyn Starter> {
        Arc::new(There(self.folder.path().join("s")))
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// What was asked so far: method, path, range and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

struct There(PathBuf);

impl Starter for There {
    fn ensure(&self) -> Result<PathBuf, Problem> {
        Ok(self.0.clone())
    }
}

/// An answer with a body of known length, of which only so much is sent before the connection is closed.
pub fn answer(status: &str, headers: &str, body: &[u8], sent: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
    [head.as_bytes(), &body[..sent]].concat()
}

/// An event stream of these events, ended in order or not.
pub fn events(list: &[(u64, &str)], is_whole: bool) -> Vec<u8> {
    let mut body = String::new();
    for (n, rest) in list {
        body.push_str(&format!("id: {n}\ndata: {{\"n\":{n},\"t\":\"2026-01-01T00:00:00Z\",{rest}}}\n\n"));
    }
    let bytes = body.as_bytes();
    let promised = if is_whole { bytes.to_vec() } else { [bytes, b"more"].concat() };
    answer("200 OK", "content-type: text/event-stream\r\n", &promised, bytes.len())
}
