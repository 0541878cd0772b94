//! The whole way of a `getfile`, device to analyst's disk, against `cp` followed by `sha256sum` of the same file in the same run.
//!
//! `cargo bench --bench files -- [--rounds N] [--mib SIZE] FOLDER`, e.g. `-- --rounds 3 --mib 3072 /var/tmp`. Prints each round's
//! times with fsync included, the medians, their ratio, and the peak memory of shell and service.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let mut option = |name: &str| {
        let given = words.first().is_some_and(|word| word == name);
        given.then(|| words.drain(..2).nth(1).unwrap().parse::<u64>().unwrap())
    };
    let rounds = option("--rounds").unwrap_or(3);
    let mib = option("--mib").unwrap_or(3072);
    let [folder] = words.as_slice() else {
        println!("usage: files [--rounds N] [--mib SIZE] FOLDER");
        return;
    };
    let folder = tempfile::tempdir_in(folder).unwrap();
    let source = folder.path().join("source");
    fill(&source, mib);
    let home = folder.path().join("home");
    // The service is there already, as in any session.
    lrsh(&home, folder.path(), &["-c", "devices"]);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begun = Instant::now();
        let copy = folder.path().join("copy");
        run(Command::new("cp").arg(&source).arg(&copy));
        run(Command::new("sync").arg(&copy));
        run(Command::new("sha256sum").arg(&copy));
        theirs.push(begun.elapsed());
        std::fs::remove_file(&copy).unwrap();

        let to = folder.path().join("to");
        std::fs::create_dir(&to).unwrap();
        let line = format!("getfile {} -to {}/", source.display(), to.display());
        let begun = Instant::now();
        let (shell, service) = lrsh(&home, folder.path(), &["-c", &line]);
        ours.push(begun.elapsed());
        std::fs::remove_dir_all(&to).unwrap();
        println!(
            "cp+sync+sha256sum {:?}, getfile {:?}; peak memory: shell {shell} MB, service {service} MB",
            theirs.last().unwrap(),
            ours.last().unwrap()
        );
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("medians {theirs:?} and {ours:?}: {:.2}", ours.as_secs_f64() / theirs.as_secs_f64());
}

/// Bytes that no file system stores in less room, and that are in the page cache afterwards.
fn fill(path: &Path, mib: u64) {
    let mut file = std::fs::File::create(path).unwrap();
    let mut block = Vec::with_capacity(1 << 20);
    let mut seed = Sha256::digest(b"files");
    for _ in 0..mib {
        block.clear();
        while block.len() < 1 << 20 {
            seed = Sha256::digest(seed);
            block.extend_from_slice(&seed);
        }
        file.write_all(&block).unwrap();
    }
    file.sync_all().unwrap();
}

fn run(command: &mut Command) {
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
}

/// Runs the shell; the peak memory of it and of its service, in MB.
fn lrsh(home: &Path, folder: &Path, arguments: &[&str]) -> (u64, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lrsh"));
    command.args(arguments).current_dir(folder).env("LRSH_HOME", home).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (mut shell, mut service) = (0, 0);
    loop {
        shell = peak(child.id()).unwrap_or(shell).max(shell);
        service = services(home).filter_map(peak).max().unwrap_or(0).max(service);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return (shell, service);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes of a home.
fn services(home: &Path) -> impl Iterator<Item = u32> {
    let mark = format!("LRSH_HOME={}", home.display());
    let folders = std::fs::read_dir("/proc").unwrap().flatten();
    folders.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(move |pid: &u32| {
        let of = |name: &str| std::fs::read(PathBuf::from(format!("/proc/{pid}/{name}"))).unwrap_or_default();
        of("cmdline").ends_with(b"\0embedded\0") && of("environ").split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
    })
}

fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
