//! ClamAV's daemon: one that says what a test has it say, and a real one with a signature of our own. Whatever `/run` this machine
//! has is not seen: the program runs with another one in its place, in a mount namespace.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::analyze::{eicar, evidence};
use crate::kit::need::{find, need, skip};
use crate::kit::shell::{Home, Ran};
use crate::kit::talking::until;

/// A device whose `/run` is a folder of the test.
struct Clamd {
    home: Home,
    run: tempfile::TempDir,
    /// What stands in the place of `clamscan`.
    program: Option<PathBuf>,
}

impl Clamd {
    fn new() -> Option<Self> {
        let ready = need(&["unshare", "mount"])
            && (Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success())
                || skip("this machine forbids mount namespaces"));
        if !ready {
            return None;
        }
        let run = tempfile::tempdir().unwrap();
        std::fs::create_dir(run.path().join("clamav")).unwrap();
        Some(Self { home: Home::new(), run, program: None })
    }

    fn socket(&self) -> PathBuf {
        self.run.path().join("clamav/clamd.ctl")
    }

    /// Runs lines, each an argument of its own.
    fn lines(&self, lines: &[&str]) -> Ran {
        let plain = self.home.command();
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$1\" /run && if [ -n \"$2\" ]; then mount --bind \"$2\" /usr/bin/clamscan; fi && shift 2 && exec \"$@\"";
        command.args(["-m", "sh", "-c", script, "sh"]).arg(self.run.path());
        command.arg(self.program.as_deref().unwrap_or(Path::new(""))).arg(plain.get_program());
        for line in lines {
            command.args(["-c", line]);
        }
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let ran = command.current_dir(self.home.work()).stdin(Stdio::null()).output().unwrap();
        Ran { code: ran.status.code(), stdout: ran.stdout, stderr: ran.stderr }
    }

    fn analyze(&self, path: &Path) -> Value {
        self.lines(&[&format!("analyze file {} -output json", path.display())]).code(0).json()
    }
}

fn state(told: &Value) -> (&str, String) {
    let state = told["engines"].as_array().unwrap().iter().find(|state| state["engine"] == "clamav").unwrap();
    (state["state"].as_str().unwrap(), state["error"].as_str().unwrap_or_default().to_owned())
}

/// Hears one `INSTREAM` (clamd(8)) to its end: what came.
fn hear(stream: &mut UnixStream) -> Vec<u8> {
    let mut word = [0; 10];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"zINSTREAM\0");
    let mut content = Vec::new();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let length = u32::from_be_bytes(length) as usize;
        if length == 0 {
            return content;
        }
        let from = content.len();
        content.resize(from + length, 0);
        stream.read_exact(&mut content[from..]).unwrap();
    }
}

#[test]
fn what_the_daemon_says_is_taken_and_what_it_does_not_say_is_said() {
    let Some(clamd) = Clamd::new() else { return };
    let path = clamd.home.work().join("file");
    let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&path, &content).unwrap();
    let listener = UnixListener::bind(clamd.socket()).unwrap();
    let say = |answer: Option<&'static [u8]>| {
        std::thread::scope(|scope| {
            let daemon = scope.spawn(|| {
                // The first one only asks whether anybody is there.
                drop(listener.accept().unwrap());
                let (mut stream, _) = listener.accept().unwrap();
                match answer {
                    Some(answer) => {
                        let came = hear(&mut stream);
                        stream.write_all(answer).unwrap();
                        came
                    }
                    None => Vec::new(),
                }
            });
            let told = clamd.analyze(&path);
            (told, daemon.join().unwrap())
        })
    };
    let (told, came) = say(Some(b"stream: OK\0"));
    assert!(came == content, "{} bytes came", came.len());
    assert_eq!((told["verdict"].as_str(), state(&told)), (Some("clean"), ("looked", String::new())), "{told}");
    let (told, _) = say(Some(b"stream: Own.Test.UNOFFICIAL FOUND\0"));
    assert_eq!(evidence(&told), ["clamav Own.Test.UNOFFICIAL 100"], "{told}");
    let (told, _) = say(Some(b"stream: Heuristics.Guess FOUND\0"));
    assert_eq!(
        (told["verdict"].as_str(), evidence(&told)),
        (Some("suspicious"), vec!["clamav Heuristics.Guess 50".to_owned()])
    );
    let (told, _) = say(Some(b"INSTREAM size limit exceeded. ERROR\0"));
    assert_eq!((told["verdict"].as_str(), state(&told).0), (Some("unknown"), "error"), "{told}");
    assert!(state(&told).1.contains("size limit exceeded"), "{told}");
    // Silence, and somebody who hangs up in the middle.
    for answer in [Some(&b""[..]), None] {
        let (told, _) = say(answer);
        assert_eq!((told["verdict"].as_str(), state(&told).0), (Some("unknown"), "error"), "{told}");
    }
}

#[test]
fn a_clamscan_that_fails_is_its_own_error() {
    if !need(&["clamscan"]) {
        return;
    }
    let Some(mut clamd) = Clamd::new() else { return };
    let folder = clamd.home.work();
    std::fs::write(folder.join("own.hdb"), "00112233445566778899aabbccddeeff:5:Own.Test\n").unwrap();
    let path = folder.join("file");
    std::fs::write(&path, eicar()).unwrap();
    let program = folder.join("clamscan");
    let put = |script: &str| {
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    put("");
    // The service that one line starts is there for the next ones, with what it found in its place.
    clamd.program = Some(program.clone());
    clamd.lines(&[&format!("library add {}", folder.join("own.hdb").display())]).code(0);
    for (script, wanted) in [
        ("kill -ABRT $$", Some("clamscan ended with a signal")),
        ("echo bad luck >&2; exit 2", Some("clamscan ended with 2 and said: bad luck")),
        // Very much, which is no finding and is not kept.
        ("exec head -c 300000000 /dev/zero", None),
    ] {
        put(script);
        let told = clamd.analyze(&path);
        let (looked, why) = state(&told);
        assert_eq!(looked == "error", wanted.is_some(), "{told}");
        assert!(wanted.is_none_or(|wanted| why.contains(wanted)), "{told}");
        assert_eq!(evidence(&told), ["builtin eicar_test_file 100"], "{told}");
    }
}

/// The daemon itself, which ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_daemon_finds_a_signature_of_our_own() {
    if !need(&["clamd"]) {
        return;
    }
    let Some(clamd) = Clamd::new() else { return };
    let content = b"what only this test knows";
    let known = clamd.home.work().join("known");
    std::fs::write(&known, content).unwrap();
    let other = clamd.home.work().join("other");
    std::fs::write(&other, "something else").unwrap();
    let signatures = clamd.run.path().join("signatures");
    std::fs::create_dir(&signatures).unwrap();
    let sum = <md5::Md5 as md5::Digest>::digest(content);
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(signatures.join("own.hdb"), format!("{sum}:{}:Own.Test\n", content.len())).unwrap();
    let settings = clamd.run.path().join("clamd.conf");
    let text = format!(
        "LocalSocket {}\nDatabaseDirectory {}\nTemporaryDirectory {}\nForeground yes\nUser root\n",
        clamd.socket().display(),
        signatures.display(),
        clamd.run.path().display()
    );
    std::fs::write(&settings, text).unwrap();
    let mut command = Command::new(find("clamd").unwrap());
    command.arg("-c").arg(&settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _daemon = Daemon(command.spawn().unwrap());
    until("the daemon", || UnixStream::connect(clamd.socket()).is_ok());
    let told = clamd.analyze(&known);
    assert_eq!(
        (told["verdict"].as_str(), evidence(&told)),
        (Some("malicious"), vec!["clamav Own.Test.UNOFFICIAL 100".to_owned()])
    );
    let told = clamd.analyze(&other);
    assert_eq!((told["verdict"].as_str(), state(&told).0), (Some("clean"), "looked"), "{told}");
    let rows = clamd.lines(&[&format!("scan {} -output jsonl", clamd.home.work().display())]).code(0).jsonl();
    assert_eq!(rows.iter().map(|row| &row["rule"]).collect::<Vec<_>>(), ["Own.Test.UNOFFICIAL"], "{rows:?}");
}
