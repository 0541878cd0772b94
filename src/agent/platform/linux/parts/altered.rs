//! What of the device's packages is not as it was shipped: every file that has a checksum is read, by as many threads as there are
//! processors, and told in the order of the lists.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::packages::{INFO, MAX};
use crate::agent::collect::{Gathered, Gatherer, Rows};
use crate::agent::context::{Meter, Stop};
use crate::agent::dispatch::Shared;
use crate::agent::path::{lossy, uri};
use crate::agent::platform::{dpkg, thread_cpu_since, thread_cpu_time};
use crate::protocol::Problem;

const MAX_NAMES: usize = 1_000_000;
/// A packaged file that is larger is not read for this.
const MAX_FILE: u64 = 1024 * 1024 * 1024;
/// What small systems are told to leave out (`path-exclude` of dpkg(1)): that it is missing says nothing.
const LEFT_OUT: [&str; 5] =
    ["/usr/share/doc/", "/usr/share/man/", "/usr/share/info/", "/usr/share/locale/", "/usr/share/lintian/"];
/// The most readers.
const MAX_READERS: usize = 8;
/// Files that a reader takes at once.
const BATCH: usize = 64;
/// Batches that may be given and not yet told: what is ahead of a slow one waits in memory.
const AHEAD: u64 = 64;
/// How long a reader is waited for before it is looked whether to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// A file as its package shipped it.
struct Shipped {
    path: PathBuf,
    package: String,
    md5: String,
    configuration: bool,
}

/// Compares what `status` and the lists of checksums say with what is there.
pub(super) fn altered(to: &mut Gatherer, status: &str) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let mut readers = Readers::start(&agent, &to.stop, &to.meter);
    to.rows("altered", |rows| {
        for (path, package, md5) in conffiles(status) {
            readers.give(Shipped { path, package, md5, configuration: true }, rows)?;
        }
        let mut lists = agent.root.names(Path::new(INFO), MAX_NAMES).unwrap_or_default();
        lists.retain(|name| name.as_bytes().ends_with(b".md5sums"));
        lists.sort();
        for list in lists {
            // `NAME.md5sums`, or `NAME:ARCHITECTURE.md5sums`.
            let name = list.to_string_lossy();
            let name = name.strip_suffix(".md5sums").unwrap_or(&name);
            let package = name.split(':').next().unwrap_or_default().to_owned();
            let sums = agent.root.read(&Path::new(INFO).join(&list), MAX).unwrap_or_default();
            for line in sums.split(|&byte| byte == b'\n') {
                // `sum  path`, the path without its first slash.
                let Some((sum, path)) = line.split_at_checked(32) else { continue };
                let path = [b"/", path.get(2..).unwrap_or_default()].concat();
                let path = PathBuf::from(std::ffi::OsStr::from_bytes(&path));
                let md5 = String::from_utf8_lossy(sum).into_owned();
                readers.give(Shipped { path, package: package.clone(), md5, configuration: false }, rows)?;
            }
        }
        readers.end(rows)
    })
}

/// Path, package and sum of each file of configuration.
fn conffiles(status: &str) -> Vec<(PathBuf, String, String)> {
    let mut all = Vec::new();
    for paragraph in status.split("\n\n") {
        let Some(package) = paragraph.lines().find_map(|line| line.strip_prefix("Package: ")) else { continue };
        let behind = paragraph.lines().skip_while(|line| *line != "Conffiles:").skip(1);
        for line in behind.take_while(|line| line.starts_with(' ')) {
            // What is obsolete belongs to nobody any more.
            let Some((path, md5)) = line.trim_start().rsplit_once(' ') else { continue };
            if md5.len() == 32 && path.starts_with('/') {
                all.push((PathBuf::from(path), package.to_owned(), md5.to_owned()));
            }
        }
    }
    all
}

type Batch = (u64, Vec<Shipped>);

/// The threads that read, and what they were given and told. One that hangs in a dead file system holds nobody: nobody joins it.
struct Readers {
    agent: Arc<Shared>,
    stop: Stop,
    batches: Option<SyncSender<Batch>>,
    compared: Receiver<(u64, Vec<Value>)>,
    batch: Vec<Shipped>,
    given: u64,
    told: u64,
    /// Those whose turn has not come.
    early: BTreeMap<u64, Vec<Value>>,
}

impl Readers {
    fn start(agent: &Arc<Shared>, stop: &Stop, meter: &Arc<Meter>) -> Self {
        let (batches, todo) = sync_channel(MAX_READERS);
        let (put, compared) = channel();
        let todo = Arc::new(Mutex::new(todo));
        let count = std::thread::available_parallelism().map_or(1, |count| count.get().clamp(1, MAX_READERS));
        let mut started = false;
        for _ in 0..count {
            let (agent, todo, put) = (Arc::clone(agent), Arc::clone(&todo), put.clone());
            let (stop, meter) = (stop.clone(), Arc::clone(meter));
            let reader = std::thread::Builder::new().name("altered".into());
            started |= reader.spawn(move || read(&agent, &todo, &put, &stop, &meter)).is_ok();
        }
        let (agent, stop) = (Arc::clone(agent), stop.clone());
        let batches = started.then_some(batches);
        Self { agent, stop, batches, compared, batch: Vec::new(), given: 0, told: 0, early: BTreeMap::new() }
    }

    /// Has one more compared; tells what was compared meanwhile.
    fn give(&mut self, shipped: Shipped, rows: &mut Rows<'_>) -> Gathered {
        self.batch.push(shipped);
        if self.batch.len() < BATCH { Ok(()) } else { self.send(rows) }
    }

    fn send(&mut self, rows: &mut Rows<'_>) -> Gathered {
        self.stop.check()?;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let number = self.given;
        self.given += 1;
        let Some(batches) = self.batches.clone() else {
            // No thread was to be had: it is done here.
            let compared = compare_all(&self.agent, &batch, &self.stop, &Meter::default());
            return self.tell(number, compared, rows);
        };
        let mut batch = (number, batch);
        while let Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) = batches.try_send(batch) {
            batch = back;
            self.hear(rows)?;
        }
        while self.given - self.told > AHEAD {
            self.hear(rows)?;
        }
        Ok(())
    }

    /// Waits for what a reader has compared.
    fn hear(&mut self, rows: &mut Rows<'_>) -> Gathered {
        self.stop.check()?;
        match self.compared.recv_timeout(PATIENCE) {
            Ok((number, compared)) => self.tell(number, compared, rows),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(Problem::new("internal", "what compares files ended early").into()),
        }
    }

    /// Tells everything whose turn it is.
    fn tell(&mut self, number: u64, compared: Vec<Value>, rows: &mut Rows<'_>) -> Gathered {
        self.early.insert(number, compared);
        while let Some(compared) = self.early.remove(&self.told) {
            self.told += 1;
            for row in &compared {
                rows.row(row)?;
            }
        }
        Ok(())
    }

    fn end(mut self, rows: &mut Rows<'_>) -> Gathered {
        self.send(rows)?;
        self.batches = None;
        while self.told < self.given {
            self.hear(rows)?;
        }
        Ok(())
    }
}

/// What a reader does, until there is no more.
fn read(agent: &Shared, todo: &Mutex<Receiver<Batch>>, put: &Sender<(u64, Vec<Value>)>, stop: &Stop, meter: &Meter) {
    let cpu = thread_cpu_time();
    loop {
        let next = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, batch)) = next else { break };
        if put.send((number, compare_all(agent, &batch, stop, meter))).is_err() {
            break;
        }
    }
    meter.spent(thread_cpu_since(cpu));
}

fn compare_all(agent: &Shared, batch: &[Shipped], stop: &Stop, meter: &Meter) -> Vec<Value> {
    let going_on = batch.iter().take_while(|_| !stop.asked());
    going_on.filter_map(|shipped| compare(agent, shipped, stop, meter)).collect()
}

/// A row where a file is not what was shipped.
fn compare(agent: &Shared, shipped: &Shipped, stop: &Stop, meter: &Meter) -> Option<Value> {
    let Shipped { path, package, md5, configuration } = shipped;
    let facts = agent.root.link_facts(path);
    let (what, found) = match &facts {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if LEFT_OUT.iter().any(|folder| path.starts_with(folder)) {
                return None;
            }
            ("missing", None)
        }
        Err(_) => ("unreadable", None),
        Ok(facts) => {
            let found = dpkg::md5_of(&agent.root, path, MAX_FILE, stop).map(|sum| dpkg::hex(&sum));
            meter.read(if found.is_some() { facts.size } else { 0 });
            match found {
                Some(found) if found == *md5 => return None,
                Some(found) => ("altered", Some(found)),
                None => ("unreadable", None),
            }
        }
    };
    // Another package may have put its own in that place (dpkg-divert).
    let owner = agent.platform.package(path);
    if !configuration && owner.is_some_and(|owner| owner.name != *package) {
        return None;
    }
    let facts = facts.ok();
    Some(json!({
        "path": lossy(path), "path_uri": uri(path), "package": package, "state": what, "configuration": configuration,
        "shipped_md5": md5, "found_md5": found, "size": facts.as_ref().map(|facts| facts.size),
        "modified": facts.as_ref().map(|facts| facts.modified), "changed": facts.as_ref().map(|facts| facts.changed),
    }))
}
