//! Has systemd start and stop units, over the connection that tells their state, and runs System V's scripts where it does not run.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::bus::Bus;
use super::message::{first_text, variant_job, variant_text};
use crate::agent::platform::linux::ending::wait_for_one;
use crate::agent::platform::linux::root::Root;

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const OBJECT: &str = "/org/freedesktop/systemd1";
/// How long a unit may take to stop or start; systemd's own limit is 90 seconds.
const PATIENCE: Duration = Duration::from_secs(100);
/// How often it is asked meanwhile: mostly a signal says when, but a job may have been over before it could.
const PACE: Duration = Duration::from_secs(1);
/// The same where it gives no signals.
const PACE_UNTOLD: Duration = Duration::from_millis(50);
/// How long a script may take.
const SCRIPT_PATIENCE: Duration = Duration::from_mins(1);

/// Whether systemd runs and answers.
#[must_use]
pub fn is_managed(root: &Root) -> bool {
    let booted = root.is_live() && root.link_facts(Path::new("/run/systemd/system")).is_ok_and(|facts| facts.is_folder());
    booted && Bus::connect().is_ok()
}

/// What a unit does: `active`, `inactive`, `failed`, `activating`, …; `inactive` for one that systemd does not have loaded.
///
/// # Errors
/// When systemd does not answer.
pub fn active_state(unit: &str) -> io::Result<String> {
    state(&mut Bus::connect_for(PATIENCE)?, unit).map(|(state, _)| state)
}

/// What a unit does, and whether something is still to be done to it.
fn state(bus: &mut Bus, unit: &str) -> io::Result<(String, bool)> {
    const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
    const UNIT: &str = "org.freedesktop.systemd1.Unit";
    let serial = bus.call(OBJECT, MANAGER, "GetUnit", &[unit])?;
    let Some(path) = bus.reply(serial)?.and_then(|body| first_text(&body)) else {
        return Ok(("inactive".to_owned(), false));
    };
    // The job first: one that ends between the two questions has left its mark in the state.
    let serial = bus.call(&path, PROPERTIES, "Get", &[UNIT, "Job"])?;
    let job = bus.reply(serial)?.and_then(|body| variant_job(&body)).is_some_and(|job| job != 0);
    let serial = bus.call(&path, PROPERTIES, "Get", &[UNIT, "ActiveState"])?;
    let state = bus.reply(serial)?.and_then(|body| variant_text(&body));
    let untold = || io::Error::new(io::ErrorKind::InvalidData, format!("systemd does not tell the state of {unit}"));
    Ok((state.ok_or_else(untold)?, job))
}

/// Stops a unit and waits until it has.
///
/// # Errors
/// When systemd refuses or does not answer, or it takes too long.
pub fn stop(unit: &str) -> io::Result<()> {
    ask("StopUnit", &[unit, "replace"])?;
    wait(unit, |state| matches!(state, "inactive" | "failed")).map(drop)
}

/// Starts a unit and waits until it has.
///
/// # Errors
/// When systemd refuses or does not answer, or it takes too long, or it fails.
pub fn start(unit: &str) -> io::Result<()> {
    ask("StartUnit", &[unit, "replace"])?;
    // What runs once and is over is inactive again.
    match wait(unit, |state| matches!(state, "active" | "inactive" | "failed"))?.as_str() {
        "failed" => Err(io::Error::other(format!("{unit} failed when it was started"))),
        _ => Ok(()),
    }
}

/// Has systemd read its files anew.
///
/// # Errors
/// When systemd refuses or does not answer.
pub fn reload() -> io::Result<()> {
    ask("Reload", &[])
}

fn ask(member: &str, arguments: &[&str]) -> io::Result<()> {
    let mut bus = Bus::connect_for(PATIENCE)?;
    let serial = bus.call(OBJECT, MANAGER, member, arguments)?;
    let refused = || io::Error::other(format!("systemd refused {member} {}", arguments.first().copied().unwrap_or_default()));
    bus.reply(serial)?.map(drop).ok_or_else(refused)
}

/// Waits until nothing is to be done to a unit any more and its state is one of those; which.
fn wait(unit: &str, over: impl Fn(&str) -> bool) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut bus = Bus::connect_for(PATIENCE)?;
    let pace = if bus.listen().is_ok() { PACE } else { PACE_UNTOLD };
    loop {
        // One that comes while the state is asked for may say that it is an old one.
        let heard = bus.signals();
        let (state, job) = state(&mut bus, unit)?;
        if !job && over(&state) {
            return Ok(state);
        }
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{unit} is still {state}")));
        }
        bus.wait_behind(heard, pace)?;
    }
}

/// Runs a script of System V's init with one argument.
///
/// # Errors
/// When it cannot be run, fails, or takes too long.
pub fn script(name: &str, argument: &str) -> io::Result<()> {
    let path = Path::new("/etc/init.d").join(name);
    let mut child = Command::new(&path)
        .arg(argument)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let until = Instant::now() + SCRIPT_PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return if status.success() {
                Ok(())
            } else {
                Err(io::Error::other(format!("{} {argument} ended with {status}", path.display())))
            };
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{} {argument} did not end", path.display())));
        }
        wait_for_one([child.id()], until);
    }
}
