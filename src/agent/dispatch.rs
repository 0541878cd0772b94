//! From the link to the verb and back: starts commands, stops them, and ends each with exactly one `completed`.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};

use super::context::{Context, Stop, VerbError, VerbResult};
use super::effects::Effects;
use super::journal::{Disk, RealDisk};
use super::platform::{Accounts, Platform, Root, platform_of, thread_cpu_since, thread_cpu_time};
use super::verbs;
use super::walk::WalkPool;
use super::working::Working;
use crate::grammar;
use crate::protocol::link::{AgentLink, Delivery, DeviceCommand, FileRefusal, FileRequest, FileStream, Running, StopReason};
use crate::protocol::{AgentEvent, Body, CommandId, Completed, Cost, Effect, Hello, Problem, Receipt, Status, TIME_LIMIT};

/// How many events may wait for the service before a verb has to.
const EVENTS: usize = 64;

/// What an agent is started with.
pub struct AgentOptions {
    /// The device's files.
    pub root: Root,
    /// Whether commands may change them.
    pub writable: bool,
    /// The agent's own folder: journal, quarantine, working folder. Made when something is kept there.
    pub folder: PathBuf,
    /// The program that scripts are supervised by: this one.
    pub program: PathBuf,
}

/// What all commands of an agent share.
pub struct Shared {
    /// The device's files.
    pub root: Arc<Root>,
    /// Whether commands may change them.
    pub writable: bool,
    /// The names of its users and groups.
    pub accounts: Accounts,
    /// The threads that walk its folders.
    pub walkers: WalkPool,
    /// The device's kind.
    pub platform: Box<dyn Platform>,
    /// What the agent said when it joined.
    pub hello: Hello,
    /// The agent's own folder.
    pub folder: PathBuf,
    /// What was changed on the device.
    pub effects: Effects,
    /// The program that scripts are supervised by.
    pub program: PathBuf,
    /// Where analysts put files.
    pub working: Working,
}

/// An agent in this process.
pub struct Agent {
    shared: Arc<Shared>,
    running: Arc<Mutex<HashMap<CommandId, Entry>>>,
    /// Told of a command whose limit comes before all others.
    limits: Arc<Notify>,
    runtime: Handle,
}

struct Entry {
    stop: Stop,
    desk: mpsc::Sender<ReadRequest>,
    limit: tokio::time::Instant,
}

/// Somebody asks for the bytes of a command's file.
pub struct ReadRequest {
    /// What is asked.
    pub request: FileRequest,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<FileStream, FileRefusal>>,
}

impl Agent {
    /// An agent whose commands run on that runtime's threads for blocking work. What an earlier one left running is ended
    /// before this returns.
    #[must_use]
    pub fn new(options: AgentOptions, runtime: Handle) -> Self {
        Self::with_disk(options, runtime, Arc::new(RealDisk))
    }

    /// One whose journal and quarantine write through that disk. Before it accepts anything it looks what became of changes
    /// that were under way when the last one died.
    #[must_use]
    pub fn with_disk(options: AgentOptions, runtime: Handle, disk: Arc<dyn Disk>) -> Self {
        super::script::end_remains(&options.folder);
        let root = Arc::new(options.root);
        let platform = platform_of(&root);
        let hello = platform.hello();
        super::collect::tidy(&options.folder, &root);
        let working = Working::open(&options.folder, hello.boot_id.clone());
        let effects = Effects::new(options.folder.clone(), disk);
        effects.recover(&root, platform.as_ref(), hello.boot_id.as_deref());
        // What is over but for its remains is taken away; what lasts goes on, whoever began it.
        if platform.isolation().is_ok_and(|isolation| isolation.is_some_and(|isolation| isolation.left.is_none())) {
            let _ = platform.release();
        }
        let shared = Arc::new(Shared {
            root,
            writable: options.writable,
            accounts: Accounts::default(),
            walkers: WalkPool::default(),
            platform,
            hello,
            folder: options.folder,
            effects,
            program: options.program,
            working,
        });
        let (running, limits) = (Arc::default(), Arc::new(Notify::new()));
        runtime.spawn(end_at_limits(Arc::downgrade(&running), Arc::clone(&limits)));
        Self { shared, running, limits, runtime }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Who watches the limits finds that there is nothing left.
        self.limits.notify_one();
    }
}

/// Ends commands at their limits, for as long as the agent is there: the service does it too, and the device does not rely on
/// that. One task for all, so that a command which ends long before need not be waited for.
async fn end_at_limits(running: Weak<Mutex<HashMap<CommandId, Entry>>>, earlier: Arc<Notify>) {
    loop {
        let Some(running) = running.upgrade() else { return };
        let next = {
            let now = tokio::time::Instant::now();
            let running = locked(&running);
            let (over, left): (Vec<&Entry>, Vec<&Entry>) = running.values().partition(|entry| entry.limit <= now);
            over.iter().for_each(|entry| entry.stop.ask(StopReason::Expired));
            left.iter().map(|entry| entry.limit).min()
        };
        drop(running);
        match next {
            Some(limit) => _ = tokio::time::timeout_at(limit, earlier.notified()).await,
            None => earlier.notified().await,
        }
    }
}

#[cfg(test)]
impl Agent {
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}

impl AgentLink for Agent {
    fn hello(&self) -> &Hello {
        &self.shared.hello
    }

    fn start(&self, command: DeviceCommand, delivery: Option<Delivery>) -> Running {
        let (sender, events) = mpsc::channel(EVENTS);
        let (desk, requests) = mpsc::channel(1);
        let stop = Stop::default();
        let id = command.command_id;
        let limit = tokio::time::Instant::now() + Duration::from_millis(command.time_limit_ms);
        let is_earliest = {
            let mut running = locked(&self.running);
            let is_earliest = running.values().all(|entry| limit < entry.limit);
            running.insert(id, Entry { stop: stop.clone(), desk, limit });
            is_earliest
        };
        if is_earliest {
            self.limits.notify_one();
        }
        // There are more threads than commands may run at once: from here on it runs. There is room for the first event.
        let _ = sender.try_send(AgentEvent::Read(Box::new(Body::Started)));

        let shared = Arc::clone(&self.shared);
        let running = Arc::clone(&self.running);
        self.runtime.spawn_blocking(move || {
            let ctx = Context::new(command, shared, stop, sender, delivery, requests);
            carry_out(ctx, || {
                locked(&running).remove(&id);
            });
        });
        Running { events }
    }

    fn complaints(&self, name: &str, content: &[u8]) -> Vec<String> {
        super::engines::complaints(name, content)
    }

    fn stop(&self, command: CommandId, reason: StopReason) {
        if let Some(entry) = locked(&self.running).get(&command) {
            entry.stop.ask(reason);
        }
    }

    fn read_file(&self, command: CommandId, request: FileRequest) -> oneshot::Receiver<Result<FileStream, FileRefusal>> {
        let (answer, answered) = oneshot::channel();
        let desk = locked(&self.running).get(&command).map(|entry| entry.desk.clone());
        let refused = match desk.map(|desk| desk.try_send(ReadRequest { request, answer })) {
            Some(Ok(())) => return answered,
            Some(Err(mpsc::error::TrySendError::Full(asked))) => Some((asked, FileRefusal::Busy)),
            Some(Err(mpsc::error::TrySendError::Closed(asked))) => Some((asked, FileRefusal::Ended)),
            // Dropping the asker's channel reads as `Ended` on the other side.
            None => None,
        };
        if let Some((asked, refusal)) = refused {
            // Nobody waits any more when this fails.
            let _ = asked.answer.send(Err(refusal));
        }
        answered
    }

    fn recovered(&self) -> Vec<(CommandId, Effect)> {
        self.shared.effects.recovered()
    }

    fn isolation_left(&self) -> Option<Duration> {
        // Where it cannot be asked nothing is known of one.
        self.shared.platform.isolation().ok().flatten()?.left
    }
}

/// Runs a verb to its end and tells that end, whatever it is. `ended` is called before the end is told, so that whoever
/// hears it finds the command gone.
fn carry_out(mut ctx: Context, ended: impl FnOnce()) {
    let begun = Instant::now();
    let cpu = thread_cpu_time();
    // What nobody listens to any more does not begin.
    let result = if ctx.is_heard() { guarded(&mut ctx) } else { Err(VerbError::stopped()) };
    let result = result.and_then(|()| ctx.flush());
    let reason = ctx.stop.reason();

    let mut errors = ctx.take_problems();
    let (status, receipt) = match (result, reason) {
        (Ok(()), Some(StopReason::Cancel { by })) => (
            Status::Completed,
            Some(Receipt {
                confirmed: true,
                done: vec!["all of it, before the word to stop came".into()],
                not_done: vec![],
                by,
            }),
        ),
        (Ok(()), _) | (Err(VerbError::Stopped { .. }), Some(StopReason::Enough)) => (Status::Completed, None),
        (Err(VerbError::Stopped { done, not_done }), Some(StopReason::Cancel { by })) => {
            (Status::Cancelled, Some(Receipt { confirmed: true, done, not_done, by }))
        }
        (Err(VerbError::Stopped { done, not_done }), Some(StopReason::Expired)) => {
            let limit = jiff::SignedDuration::from_millis(i64::try_from(ctx.command.time_limit_ms).unwrap_or(i64::MAX));
            errors.push(Problem::new("time_limit", format!("the time limit of {limit:#} was reached")));
            (Status::Expired, Some(Receipt { confirmed: true, done, not_done, by: TIME_LIMIT.into() }))
        }
        (Err(VerbError::Stopped { .. }), None) => (Status::Interrupted, None),
        (Err(VerbError::Failed(problem)), _) => {
            errors.insert(0, problem);
            (Status::Failed, None)
        }
    };
    if let Some(receipt) = receipt {
        // When nobody listens any more there is nobody to tell.
        let _ = ctx.tell(&Body::Receipt(receipt));
    }
    let micros = thread_cpu_since(cpu).as_micros() + u128::from(ctx.meter.cpu_us.load(Ordering::Relaxed));
    let cost = Cost {
        cpu_ms: u64::try_from(micros / 1000).unwrap_or(u64::MAX),
        read_bytes: ctx.meter.read_bytes.load(Ordering::Relaxed),
        sent_bytes: ctx.meter.sent_bytes.load(Ordering::Relaxed),
    };
    let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    ended();
    let _ = ctx.tell(&Body::Completed(Completed { status, duration_ms, cost, errors }));
}

/// A verb that panics is a defect of the verb, never the end of the agent.
fn guarded(ctx: &mut Context) -> VerbResult {
    let name = ctx.command.command_definition_id.clone();
    let Some(verb) = verbs::find(&name) else {
        return Err(super::platform::not_on_platform(ctx.agent.platform.name(), &name));
    };
    if let Some(lost) = ctx.agent.root.lost() {
        return Err(lost.into());
    }
    let row = grammar::table().find(&name).filter(|row| row.changes(&ctx.command.params, &ctx.command.flags));
    if row.is_some() && ctx.agent.root.is_windows() {
        return Err(VerbError::failed(
            "read_only",
            format!("{name} changes the device, and nothing changes a Windows disk yet"),
        ));
    }
    if row.is_some() && !ctx.agent.writable {
        let sentence =
            format!("{name} changes the device, and this root was opened for looking; start lrsh with --root-writable");
        return Err(VerbError::failed("read_only", sentence));
    }
    std::panic::catch_unwind(AssertUnwindSafe(|| verb(ctx))).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
        tracing::error!(command = name, panic = said.as_deref().unwrap_or("?"), "a verb panicked");
        Err(VerbError::failed("internal", format!("{name} failed inside the agent; its log says more")))
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
