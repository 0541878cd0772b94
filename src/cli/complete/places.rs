//! What is asked of this machine: its files, and the devices and library of a service that runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Offer;
use crate::error::Outcome;
use crate::host::{Home, start};
use crate::protocol::Problem;
use crate::shell::Starter;
use crate::shell::client::{Client, Trace};
use crate::shell::view::{Screen, ScreenOptions};

/// How long a service may take to name its devices: a key was pressed.
const PATIENCE: Duration = Duration::from_millis(300);
/// More files than that nobody reads.
const MOST: usize = 1000;

/// The files whose path begins so, folders with a slash behind them.
pub(super) fn files(typed: &str) -> Vec<Offer> {
    let (folder, name) = typed.rfind('/').map_or(("", typed), |slash| typed.split_at(slash + 1));
    let Ok(entries) = std::fs::read_dir(real(folder)) else { return Vec::new() };
    let mut found: Vec<Offer> = entries
        .flatten()
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let hidden = file.starts_with('.') && !name.starts_with('.');
            if hidden || !file.starts_with(name) {
                return None;
            }
            let is_folder = entry.path().is_dir();
            let slash = if is_folder { "/" } else { "" };
            Some(Offer { text: format!("{folder}{file}{slash}"), about: String::new(), whole: !is_folder })
        })
        .take(MOST)
        .collect();
    found.sort_by(|one, other| one.text.cmp(&other.text));
    found
}

/// The folder that a typed one means.
fn real(folder: &str) -> PathBuf {
    match folder.strip_prefix("~/").and_then(|rest| Some(dirs::home_dir()?.join(rest))) {
        Some(path) => path,
        None if folder.is_empty() => PathBuf::from("."),
        None => Path::new(folder).to_owned(),
    }
}

/// The devices that a running service knows; none when nothing runs.
pub(super) fn devices(home: Option<&Home>) -> Vec<Offer> {
    let devices = asked(home, async |client: &Client| client.devices().await);
    devices.into_iter().map(|device| Offer::new(device.name, format!("{}, {}", device.platform, device.id))).collect()
}

/// The library's files, as a running service knows them; none when nothing runs.
pub(super) fn library(home: Option<&Home>) -> Vec<Offer> {
    let files = asked(home, async |client: &Client| client.library().await);
    files.into_iter().map(|file| Offer::new(file.file_name, file.description.unwrap_or_default())).collect()
}

/// What a service that runs answers in time.
fn asked<T>(home: Option<&Home>, ask: impl AsyncFnOnce(&Client) -> Outcome<Vec<T>>) -> Vec<T> {
    let answer = || {
        let home = home.filter(|home| matches!(start::running(home), Ok(Some(_))))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let screen = Screen::new(ScreenOptions::default());
        let client = Client::new(Arc::new(Running(home.clone())), screen.clone(), Trace::new(home.log(), screen));
        let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(&client)).await });
        runtime.shutdown_background();
        answer.ok()?.ok()
    };
    answer().unwrap_or_default()
}

/// A service that runs already; none is started.
struct Running(Home);

impl Starter for Running {
    fn ensure(&self) -> Result<PathBuf, Problem> {
        let running = start::running(&self.0).ok().flatten();
        running.map(|running| running.socket).ok_or_else(|| Problem::new("unreachable", "no service runs"))
    }
}
