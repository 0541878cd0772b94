//! `getfile` from the device to the analyst's disk, whatever dies on the way.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::kit::home::Home;
use crate::kit::mount::Mount;
use crate::kit::need::{need, rounds};

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

/// Runs one getfile into a folder; its row.
fn fetched(home: &Home, path: &str, to: &Path, flags: &str) -> Value {
    let line = format!("getfile {path} -to {}/ {flags} -output json", to.display());
    let ran = home.lrsh(&["-c", &line]).output().unwrap();
    let err = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{path}: {err}");
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {err}"))
}

fn saved(row: &Value) -> std::path::PathBuf {
    row["saved_as"].as_str().unwrap().into()
}

#[test]
fn whatever_can_be_read_to_its_end_arrives() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let to = folder.path().join("to");
    std::fs::create_dir(&to).unwrap();

    std::fs::write(at("empty"), "").unwrap();
    let row = fetched(&home, &at("empty"), &to, "");
    assert_eq!((&row["size"], length(&saved(&row))), (&0.into(), 0));

    // Holes stay holes.
    let sparse = std::fs::File::create(at("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"island", 5 << 20).unwrap();
    let row = fetched(&home, &at("sparse"), &to, "");
    assert_eq!(sha256(&std::fs::read(saved(&row)).unwrap()), sha256(&std::fs::read(at("sparse")).unwrap()));
    let blocks = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(saved(&row)).unwrap());
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks");

    std::os::unix::fs::symlink(at("sparse"), at("link")).unwrap();
    let row = fetched(&home, &at("link"), &to, "");
    assert!(row["notes"].to_string().contains("a link to"), "{row}");

    let row = fetched(&home, "/proc/version", &to, "");
    assert!(!row["notes"].to_string().contains("sparse"), "{row}");
    let row = fetched(&home, "/sys/kernel/mm/transparent_hugepage/enabled", &to, "");
    assert!(!row["notes"].to_string().contains("sparse"), "{row}");
    let row = fetched(&home, "/proc/version", &to, "");
    assert_eq!(std::fs::read(saved(&row)).unwrap(), std::fs::read("/proc/version").unwrap());

    // What runs is fetched though its file is gone.
    std::fs::copy("/bin/sleep", at("gone")).unwrap();
    let mut runs = Command::new(at("gone")).arg("600").spawn().unwrap();
    let image = std::fs::read(at("gone")).unwrap();
    std::fs::remove_file(at("gone")).unwrap();
    let row = fetched(&home, &format!("/proc/{}/exe", runs.id()), &to, "");
    runs.kill().unwrap();
    runs.wait().unwrap();
    assert_eq!(sha256(&std::fs::read(saved(&row)).unwrap()), sha256(&image));
    assert!(row["notes"].to_string().contains("which is no longer there"), "{row}");
}

#[test]
fn what_cannot_be_fetched_is_refused_with_its_reason() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
    std::fs::File::create(at("large")).unwrap().set_len((3 << 30) + 1).unwrap();
    let check = |path: &str, why: &str| {
        let ran = home.lrsh(&["-c", &format!("getfile {path}")]).output().unwrap();
        let err = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.code().is_some_and(|code| code == 1 || code == 3) && err.contains(why), "{path}: {ran:?}");
    };
    check(&at(""), "it is a folder");
    check(&at("fifo"), "it is a FIFO");
    check(&at("socket"), "it is a socket");
    check("/dev/zero", "it is a character device");
    check(&at("large"), "larger than the 3221225472 bytes");
    check(&at("none"), "there is no such file");
}

#[test]
fn a_file_that_was_replaced_between_two_tries_begins_again_and_is_told() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let (source, to) = (folder.path().join("source"), folder.path().join("to"));
    std::fs::create_dir(&to).unwrap();
    let mut seed = 7;
    std::fs::write(&source, noise(80 << 20, &mut seed)).unwrap();
    let line = format!("getfile {} -to {}/", source.display(), to.display());
    let mut shell = home.lrsh(&["-c", &line]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(grows_to(&to.join("source.part"), 1 << 20, &mut shell), "it ended too early");
    shell.kill().unwrap();
    shell.wait().unwrap();
    let other = noise(1 << 20, &mut seed);
    std::fs::write(folder.path().join("other"), &other).unwrap();
    std::fs::rename(folder.path().join("other"), &source).unwrap();
    let ran = home.lrsh(&["-c", &line]).output().unwrap();
    let err = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && err.contains("is another file now, or was changed, since"), "{err}");
    assert!(std::fs::read(to.join("source")).unwrap() == other);
}

#[test]
fn a_full_disk_here_is_named_and_what_came_is_gone_on_with() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let Some(mount) = Mount::new(&small, 1024) else { return };
    let source = folder.path().join("source");
    let content = noise(3 << 20, &mut 5);
    std::fs::write(&source, &content).unwrap();
    let get = |flags: &str| {
        let line = format!("getfile {} -to {}/ {flags}", source.display(), small.display());
        let ran = home.lrsh(&["-c", &line]).output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    };
    let (code, err) = get("-zip");
    assert!(code == Some(1) && err.contains("small/source.zip.part: the disk here is full"), "{err}");
    assert_eq!(std::fs::read_dir(&small).unwrap().count(), 0, "an archive cannot be gone on with");
    let (code, err) = get("");
    assert!(code == Some(1) && err.contains("small/source.part: the disk here is full"), "{err}");
    mount.remount("size=4096k");
    let (code, err) = get("");
    assert!(code == Some(0) && err.contains("goes on behind the"), "{err}");
    assert!(std::fs::read(small.join("source")).unwrap() == content);
}

#[test]
fn an_archive_opens_elsewhere_with_the_known_password() {
    if !need(&["7z"]) {
        return;
    }
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let (source, to) = (folder.path().join("evil.bin"), folder.path().join("to"));
    std::fs::create_dir(&to).unwrap();
    let content = noise(3 << 20, &mut 99);
    std::fs::write(&source, &content).unwrap();
    let row = fetched(&home, &source.display().to_string(), &to, "-zip");
    let open = |password: &str| {
        let mut command = Command::new("7z");
        command.args(["x", "-y", &format!("-p{password}"), &format!("-o{}", to.display())]).arg(saved(&row));
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    };
    assert!(!open("guessed"));
    std::fs::remove_file(to.join("evil.bin")).unwrap_or_default();
    assert!(open("infected"));
    assert!(std::fs::read(to.join("evil.bin")).unwrap() == content);
}
