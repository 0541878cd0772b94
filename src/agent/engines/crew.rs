//! Several judges at work on very many things: threads that take what was fetched from one queue and put what they made of it into
//! another. All queues are bounded, so that memory is whatever the number of files.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use super::fetch::{Fetched, Opened, fetchers};
use super::judge::Room;
use super::{Bounds, Judge, Judgement, KnownParts, Rules};
use crate::agent::context::{Meter, Stop, VerbError};
use crate::agent::dispatch::Shared;
use crate::agent::platform::{Origin, Process, thread_cpu_since, thread_cpu_time};
use crate::protocol::Problem;

/// Targets that may wait.
const WAITING: usize = 256;
/// The most judges.
const MAX_JUDGES: usize = 8;

/// What is to be judged.
pub enum Target {
    /// A file.
    File {
        /// Where it is.
        path: PathBuf,
        /// The process that runs it, if one does.
        pid: Option<u32>,
        /// Whether it starts by itself.
        autostart: bool,
        /// Where it comes from, where that is known already.
        origin: Option<Origin>,
    },
    /// A process, beside its image where that is a file with a name.
    Process(Box<Process>),
}

/// What became of a target.
pub struct Judged {
    /// Its path, links resolved where it has one.
    pub path: PathBuf,
    /// The process, if one runs it.
    pub pid: Option<u32>,
    /// Whether the process was judged, not a file.
    pub is_process: bool,
    /// What was made of it; or why nothing.
    pub judgement: Result<Judgement, Problem>,
}

/// Judges at work.
pub struct Crew<'s> {
    targets: Option<SyncSender<Target>>,
    judged: Receiver<Judged>,
    open: u64,
    /// Bytes that were looked at.
    pub done: Arc<AtomicU64>,
    hands: Vec<ScopedJoinHandle<'s, ()>>,
    /// Engines that were given up, and why.
    pub gone: Arc<Mutex<HashMap<&'static str, String>>>,
}

impl<'s> Crew<'s> {
    /// Starts one judge a processor.
    pub fn start<'e>(
        scope: &'s Scope<'s, 'e>,
        agent: &Arc<Shared>,
        rules: &Rules,
        bounds: Bounds,
        stop: &Stop,
        meter: &Arc<Meter>,
    ) -> Self {
        let (targets, todo) = sync_channel(WAITING);
        let (mut hands, fetched) = fetchers(scope, agent, stop, meter, todo);
        let (put, judged) = sync_channel(WAITING);
        let fetched = Arc::new(Mutex::new(fetched));
        let done = Arc::new(AtomicU64::new(0));
        let gone = Arc::default();
        let room = Room::default();
        let count = std::thread::available_parallelism().map_or(1, |count| count.get().clamp(1, MAX_JUDGES));
        hands.extend((0..count).map(|_| {
            let judge = Judge::new(agent, rules, bounds, stop, meter, Arc::clone(&done)).sharing(&room);
            let (agent, meter, gone) = (Arc::clone(agent), Arc::clone(meter), Arc::clone(&gone));
            let hand = Hand { judge, known: KnownParts::default(), agent, meter, gone };
            let (fetched, put) = (Arc::clone(&fetched), put.clone());
            scope.spawn(move || hand.work(&fetched, &put))
        }));
        Self { targets: Some(targets), judged, open: 0, done, hands, gone }
    }

    /// Gives one more to do; gives it back where too many wait.
    pub fn give(&mut self, target: Target) -> Option<Target> {
        match self.targets.as_ref().map(|targets| targets.try_send(target)) {
            Some(Err(TrySendError::Full(target) | TrySendError::Disconnected(target))) => Some(target),
            Some(Ok(())) => {
                self.open += 1;
                None
            }
            None => None,
        }
    }

    /// What was judged, waited for a moment.
    ///
    /// # Errors
    /// When every judge is gone, which only a stop or a defect makes.
    pub fn take(&mut self, patience: Duration) -> Result<Option<Judged>, VerbError> {
        match self.judged.recv_timeout(patience) {
            Ok(judged) => {
                self.open = self.open.saturating_sub(1);
                Ok(Some(judged))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(VerbError::stopped()),
        }
    }

    /// How many are not judged yet.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open
    }

    /// No more comes.
    pub fn end(mut self) {
        self.targets = None;
        drop(self.judged);
        for hand in self.hands {
            // One that failed has said so in the agent's log.
            let _ = hand.join();
        }
    }
}

struct Hand {
    judge: Judge,
    known: KnownParts,
    agent: Arc<Shared>,
    meter: Arc<Meter>,
    gone: Arc<Mutex<HashMap<&'static str, String>>>,
}

impl Hand {
    fn work(mut self, todo: &Mutex<Receiver<Fetched>>, put: &SyncSender<Judged>) {
        let begun = thread_cpu_time();
        loop {
            let next = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(fetched) = next else { break };
            let Some(judged) = self.judge(fetched) else { break };
            if put.send(judged).is_err() {
                break;
            }
        }
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        for (engine, why) in self.judge.engines() {
            if let Some(why) = why {
                gone.insert(engine, why.to_owned());
            }
        }
        let micros = thread_cpu_since(begun).as_micros();
        self.meter.cpu_us.fetch_add(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// `None` when the command was asked to stop.
    fn judge(&mut self, fetched: Fetched) -> Option<Judged> {
        let (path, pid, is_process, judgement) = match fetched {
            Fetched::File { opened, pid, autostart, origin } => {
                let Opened { content, path, named, first } = opened;
                let judgement = self.judge.file(&content, &first, &path, named, origin.as_ref(), autostart);
                (path, pid, false, judgement)
            }
            Fetched::None { path, pid, problem } => (path, pid, false, Err(problem.into())),
            Fetched::Process(process) => {
                let path = process.image.as_ref().map(|image| image.path.clone()).unwrap_or_default();
                (path, Some(process.pid), true, self.judge.process(&self.agent, &process, &mut self.known))
            }
        };
        let judgement = match judgement {
            Ok(judgement) => Ok(judgement),
            Err(VerbError::Failed(problem)) => Err(problem),
            Err(VerbError::Stopped { .. }) => return None,
        };
        Some(Judged { path, pid, is_process, judgement })
    }
}
