//! The device's own `nft`, as its man page libnftables-json(5) describes what it reads.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::agent::context::Stop;
use crate::agent::path::key;
use crate::agent::platform::Platform;
use crate::protocol::Problem;
use crate::protocol::text::visible;

/// Where it is looked for: never in a folder that a variable of the environment names.
const PLACES: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much of what it tells is read.
const MAX_TOLD: u64 = 64 * 1024 * 1024;
/// How much of what it complains of is read.
const MAX_WORDS: u64 = 64 * 1024;

/// Where it is.
///
/// # Errors
/// When it is not there, or not what its package shipped.
pub(super) fn find(device: &dyn Platform, stop: &Stop) -> Result<PathBuf, Problem> {
    let found = PLACES.iter().map(Path::new).find(|path| path.is_file());
    let nft = found.ok_or_else(|| {
        Problem::new("not_installed", "nft is not there, which sets the network's filters: install the package nftables")
    })?;
    let origin = device.origin(nft, stop);
    if origin.shipped == Some(false) {
        let message = format!("{}: it is not what its package shipped, so that it is not trusted with this", key(nft));
        return Err(Problem::new("altered", message).at(key(nft)));
    }
    Ok(nft.to_owned())
}

/// Has it load rules: all of them, or none.
///
/// # Errors
/// When it refuses, with what it says.
pub(super) fn load(nft: &Path, rules: &Value) -> Result<(), Problem> {
    run(nft, &["-j", "-f", "-"], rules.to_string()).map(drop)
}

/// What filters there are, as it tells them in JSON.
///
/// # Errors
/// When it refuses, with what it says.
pub(super) fn list(nft: &Path) -> Result<Vec<u8>, Problem> {
    run(nft, &["-j", "list", "ruleset"], String::new())
}

fn run(nft: &Path, arguments: &[&str], input: String) -> Result<Vec<u8>, Problem> {
    let failed = |what: &str| Problem::new("nft", format!("{}: {what}", key(nft)));
    let started = Command::new(nft)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|error| failed(&error.to_string()))?;
    let said = talk(&mut child, input);
    if said.is_none() {
        // What does not answer is not waited for.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| failed(&error.to_string()))?;
    match said {
        Some((told, _)) if status.success() => Ok(told),
        Some((_, said)) => {
            let said = String::from_utf8_lossy(&said);
            let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it refused without a word");
            Err(failed(&visible(first)))
        }
        None => Err(failed(&format!("it did not end within {} seconds", PATIENCE.as_secs()))),
    }
}

/// Gives it its input; what it tells and what it complains of, up to its end; `None` when that does not come.
fn talk(child: &mut Child, input: String) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut stdin, stdout, stderr) = (child.stdin.take()?, child.stdout.take()?, child.stderr.take()?);
    let (tell, heard) = mpsc::channel();
    let complain = tell.clone();
    std::thread::spawn(move || {
        // One that ends early says why.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let mut told = Vec::new();
        let _ = stdout.take(MAX_TOLD).read_to_end(&mut told);
        let _ = tell.send((true, told));
    });
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let _ = stderr.take(MAX_WORDS).read_to_end(&mut said);
        let _ = complain.send((false, said));
    });
    let until = std::time::Instant::now() + PATIENCE;
    let next = || heard.recv_timeout(until.saturating_duration_since(std::time::Instant::now())).ok();
    let (first, second) = (next()?, next()?);
    Some(if first.0 { (first.1, second.1) } else { (second.1, first.1) })
}
