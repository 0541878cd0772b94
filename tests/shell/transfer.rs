//! `getfile` from the device to the analyst's disk, whatever dies on the way.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::kit::home::Home;
use crate::kit::need::rounds;

/// A guard against hanging, nothing else.
const PATIENCE: Duration = Duration::from_mins(2);

/// Bytes of which no two chunks are the same, and the state to go on with.
fn noise(length: usize, state: &mut u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&next(state).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// xorshift64*
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

fn sha256(bytes: &[u8]) -> String {
    lrsh::agent::digest::hex(&Sha256::digest(bytes))
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |facts| facts.len())
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

/// Waits until the part is so long, or the shell has ended; `false` then.
fn grows_to(part: &Path, bytes: u64, shell: &mut Child) -> bool {
    let begun = Instant::now();
    while length(part) < bytes {
        if shell.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(begun.elapsed() < PATIENCE, "{} stays at {} of {bytes} bytes", part.display(), length(part));
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

fn said(shell: &mut Child) -> (String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    shell.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    shell.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (out, err)
}

/// The places that a shell says it goes on from.
fn places(err: &str) -> Vec<u64> {
    let found = err.split("goes on behind the ").skip(1);
    found.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect()
}

/// Shells and services are killed by turns, at places that a seed chooses: whatever was there is gone on with.
#[test]
fn killed_again_and_again_it_ends_with_the_right_bytes_and_sends_none_twice() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let mut seed = 0x5eed_1234_5678_9abc;
    let content = noise(120 << 20, &mut seed);
    let (source, to) = (folder.path().join("source.bin"), folder.path().join("to"));
    std::fs::write(&source, &content).unwrap();
    std::fs::create_dir(&to).unwrap();
    let hash = sha256(&content);
    drop(content);
    let size = length(&source);
    let line = format!("getfile {} -to {}/ -output json", source.display(), to.display());
    let part = to.join("source.bin.part");
    let (mut kills, mut whole, mut left) = (0, 0, 0);
    while kills < rounds() || whole == 0 || left > 0 {
        let mut shell = home.lrsh(&["-c", &line]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Where this shell must go on, in order.
        let mut goes_on = if left > 0 { vec![left] } else { Vec::new() };
        let mut at = left;
        left = 0;
        let mut is_killed = false;
        while kills < rounds() {
            at += (1 << 20) + next(&mut seed) % (size / 4);
            if at >= size || !grows_to(&part, at, &mut shell) {
                break;
            }
            kills += 1;
            is_killed = kills % 2 == 0;
            if is_killed {
                shell.kill().unwrap();
                shell.wait().unwrap();
                left = length(&part);
                break;
            }
            goes_on.push(length(&part));
            home.service_pid().into_iter().for_each(kill);
        }
        let (out, err) = said(&mut shell);
        let went_on = places(&err);
        // A shell that was killed right after its service had no time to say so.
        assert!(went_on.len() >= goes_on.len() - usize::from(is_killed).min(goes_on.len()), "{goes_on:?}: {err}");
        for (place, least) in went_on.iter().zip(&goes_on) {
            assert!(place >= least, "{least} bytes were there, and it went on from {place}: {err}");
        }
        if is_killed {
            continue;
        }
        assert!(shell.wait().unwrap().success(), "{out}{err}");
        let row: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&row["size"], &row["sha256"]), (&size.into(), &hash.as_str().into()), "{err}");
        let saved = Path::new(row["saved_as"].as_str().unwrap());
        assert_eq!(sha256(&std::fs::read(saved).unwrap()), hash);
        std::fs::remove_file(saved).unwrap();
        whole += 1;
    }
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 0, "no part is left");
}
