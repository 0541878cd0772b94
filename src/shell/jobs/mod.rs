//! Jobs: commands of this shell that have not ended, or whose end nobody has looked at yet.
//!
//! A job is a task that owns the command's event stream. Foreground and background differ only in who reads what the
//! task hears: a foreground job has a reader, a background one has none. Without a reader the task keeps the facts and
//! lets go of rows and text, so that memory does not grow; whoever attaches later is given them again by the service's
//! replay. Work that must go on without a reader (a redirect, a file on its way) is done by the task itself.

mod foreground;
mod group;
mod prior;
mod replay;
mod sending;
mod task;
mod words;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use foreground::{Attention, Seen, Sight};
pub(super) use foreground::{GROUP, written};
pub use group::Group;
pub(super) use sending::Sending;
pub use task::Start;
use words::say_left;
pub(super) use words::{goes_on, line_of, state_of};

use super::client::Client;
use super::view::{Rendering, Screen};
use crate::error::{Exit, Failure};
use crate::grammar::Invocation;
use crate::protocol::{Body, CommandId, Completed, Event, Progress, SessionId, Status};

/// What is known of a job without having read its output.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The command that carries it: another one than at first, when that was interrupted and the work goes on.
    pub command: CommandId,
    /// Its number within the session, once the service has accepted it.
    pub number: Option<u64>,
    /// How it stands.
    pub status: Status,
    /// Its place in the device's queue, while it waits there.
    pub place: Option<u32>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// Whether its cancellation was asked for.
    pub cancelled: bool,
    /// How it ended.
    pub end: Option<End>,
}

/// How a job ended.
#[derive(Debug, Clone)]
pub enum End {
    /// The command's own end, and what became of it here: a redirect or a file may fail when the command did not.
    Completed(Completed, Exit),
    /// The shell lost it.
    Lost(Failure),
}

impl End {
    /// What it means for the exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Completed(_, exit) => *exit,
            Self::Lost(failure) => failure.exit,
        }
    }
}

/// What a job's reader hears.
#[derive(Debug)]
pub enum Heard {
    /// An event of the command.
    Event(Box<Event>),
    /// A sentence for the analyst from the work that the task does itself.
    Note(String),
    /// The end: nothing more comes.
    End(Box<End>),
}

/// An answer that is half shown.
struct Parked {
    rendering: Rendering,
    /// The last event in it.
    last: u64,
    /// The command that had to look first, where that is what was shown.
    prior: Option<prior::Prior>,
}

/// A reader that wants everything behind event `after`.
struct Reader {
    after: u64,
    to: mpsc::Sender<Heard>,
}

/// A reader may be this far behind; then the stream waits, and with it the device.
const HEARD: usize = 8;

/// How long a receipt is waited for.
const RECEIPT: Duration = Duration::from_secs(5);
/// How long the files of jobs that were given up may take.
const GIVING_UP: Duration = Duration::from_secs(1);

/// A job of this shell.
pub struct Job {
    /// Its session.
    pub session: SessionId,
    /// What was typed.
    pub line: String,
    /// What it was read as.
    pub invocation: Arc<Invocation>,
    /// When it was sent.
    pub sent: Timestamp,
    /// What was shown of a job that went to the background half shown.
    parked: Mutex<Option<Parked>>,
    /// What the reader of a command that began in the foreground hears, until it begins to read.
    first: Mutex<Option<mpsc::Receiver<Heard>>>,
    /// What the work that the task does itself had to say while nobody read.
    notes: Mutex<Vec<String>>,
    /// Nobody waits for the command's end any more: what came is kept.
    given_up: Notify,
    /// What the task made of the answer, where it is not shown as the device said it.
    result: Mutex<Option<Body>>,
    /// The answer is not for the screen: it goes into a file.
    has_redirect: bool,
    /// What the task made of the answer is shown by whoever began it, together with others.
    is_kept: AtomicBool,
    client: Client,
    facts: watch::Sender<Facts>,
    readers: mpsc::Sender<Reader>,
    background: AtomicBool,
    own: bool,
}

impl Job {
    /// What is known of it now.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.facts.borrow().clone()
    }

    /// The command that carries it.
    #[must_use]
    pub fn command(&self) -> CommandId {
        self.facts.borrow().command
    }

    /// Its number; 0 before the service has accepted it.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.facts.borrow().number.unwrap_or(0)
    }

    /// Whether this shell typed it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.own
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.facts.borrow().end.is_some()
    }

    /// Waits until it has a number, or has ended without one.
    pub async fn numbered(&self) -> Facts {
        self.until(|facts| facts.number.is_some() || facts.end.is_some()).await
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> Facts {
        self.until(|facts| facts.end.is_some()).await
    }

    /// Waits until its cancellation was asked for.
    async fn cancelled(&self) {
        self.until(|facts| facts.cancelled).await;
    }

    async fn until(&self, is_so: impl FnMut(&Facts) -> bool) -> Facts {
        let mut facts = self.facts.subscribe();
        match facts.wait_for(is_so).await {
            Ok(facts) => facts.clone(),
            // The sender is a field of this very job.
            Err(_) => self.facts(),
        }
    }

    /// Says whether nobody looks at it, so that its end is to be announced.
    pub fn set_background(&self, background: bool) {
        self.background.store(background, Ordering::SeqCst);
    }

    /// Takes over the telling of its end, once: by announcing it, or by having looked at it.
    #[must_use]
    pub fn claim(&self) -> bool {
        self.background.swap(false, Ordering::SeqCst)
    }

    /// Says whether what becomes of it is shown together with others, by whoever began it.
    pub fn set_kept(&self, kept: bool) {
        self.is_kept.store(kept, Ordering::SeqCst);
        if !kept {
            // What was shown so far was without it.
            self.unpark();
        }
    }

    /// Forgets what was shown so far: whoever looks next begins anew.
    pub fn unpark(&self) {
        drop(self.parked.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Goes on without a reader, until somebody begins to read.
    pub fn let_go(&self) {
        drop(self.first.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// What the task made of the answer: the row of a fetched file.
    pub fn result(&self) -> Option<Body> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep_result(&self, body: Body) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    /// What its work had to say while nobody read, once.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep_note(&self, note: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// Asks the device to stop it.
    ///
    /// # Errors
    /// When the service refuses or cannot be reached.
    pub async fn cancel(&self) -> Result<(), Failure> {
        self.facts.send_modify(|facts| facts.cancelled = true);
        self.client.cancel(&self.session, self.command()).await
    }
}

impl Job {
    /// Tells the device that the rows so far are all that is wanted.
    ///
    /// # Errors
    /// When the service refuses or cannot be reached.
    pub async fn enough(&self) -> Result<(), Failure> {
        self.client.enough(&self.session, self.command()).await
    }
}

/// A task that sends jobs one after the other.
type SendingTask = (Sending, JoinHandle<()>);

/// The jobs of this shell, in the order they were sent.
#[derive(Clone, Default)]
pub struct Jobs {
    list: Arc<Mutex<Vec<Arc<Job>>>>,
    /// What looks after several jobs in the background, up to the last one's end.
    answers: Arc<Mutex<Vec<JoinHandle<Exit>>>>,
    /// Jobs that are still to be sent.
    sendings: Arc<Mutex<Vec<SendingTask>>>,
    /// Commands whose end the analyst was told of here.
    told: Arc<Mutex<HashSet<CommandId>>>,
}

impl Jobs {
    /// Every job, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Job>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The oldest one.
    #[must_use]
    pub fn first(&self) -> Option<Arc<Job>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).first().cloned()
    }

    /// Those that have not ended.
    #[must_use]
    pub fn running(&self) -> Vec<Arc<Job>> {
        self.all().into_iter().filter(|job| !job.has_ended()).collect()
    }

    /// The one that was sent last, of those that run; else the last of all.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Job>> {
        self.running().pop().or_else(|| self.all().pop())
    }

    /// The job behind a command.
    #[must_use]
    pub fn of(&self, command: CommandId) -> Option<Arc<Job>> {
        self.all().into_iter().find(|job| job.command() == command)
    }

    /// Takes a job in.
    pub fn add(&self, job: &Arc<Job>) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(job.clone());
    }

    /// Takes in what looks after several jobs in the background, and may write their answer into a file.
    pub fn add_answer(&self, writing: JoinHandle<Exit>) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(writing);
    }

    /// Waits until all that is written; what went wrong with it first.
    pub async fn answered(&self) -> Exit {
        let answers = std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut exit = Exit::Done;
        for answer in answers {
            exit = exit.or(answer.await.unwrap_or(Exit::Internal));
        }
        exit
    }

    /// Takes in a task that sends further jobs.
    pub(super) fn add_sending(&self, sending: Sending, task: JoinHandle<()>) {
        self.sendings.lock().unwrap_or_else(PoisonError::into_inner).push((sending, task));
    }

    /// Waits until such a task has ended; `false` when there is none.
    pub(super) async fn sent(&self) -> bool {
        let sending = self.sendings.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some((_, task)) = sending else { return false };
        // One that panicked sends nothing more either.
        let _ = task.await;
        true
    }

    /// How many jobs are still to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.sendings.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(sending, _)| sending.left()).sum()
    }

    /// Sends none of those any more.
    pub(super) fn send_no_more(&self) {
        for (sending, _) in self.sendings.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sending.stop();
        }
    }

    /// Cancels what runs and waits for its end, so that what came into files is kept, and says of those that `tells` what became of
    /// them. What the device has not confirmed in time is given up.
    pub async fn end(&self, screen: &Screen, tells: impl Fn(&Job) -> bool) {
        self.send_no_more();
        // Who claims a job tells its end: the one that looks at it, if there is one.
        let running: Vec<(Arc<Job>, bool)> = self.running().into_iter().map(|job| (job.clone(), job.claim())).collect();
        let ends = running.iter().map(|(job, _)| async {
            // What the service refuses or cannot be told is told by the job's own end.
            let _ = timeout(RECEIPT, async { (job.cancel().await, job.ended().await) }).await;
        });
        join_all(ends).await;
        self.give_up().await;
        for (job, claimed) in running {
            if claimed && tells(&job) {
                say_left(screen, &job);
            }
        }
    }

    /// Ends the tasks of what still runs: the commands go on, what came of them into files is kept.
    pub async fn give_up(&self) {
        let running = self.running();
        for job in &running {
            job.given_up.notify_one();
        }
        // It is only a file that is closed.
        let _ = timeout(GIVING_UP, join_all(running.iter().map(|job| job.ended()))).await;
    }

    /// Says that the analyst is told of a command's end; whether for the first time.
    pub(super) fn tell_end(&self, command: CommandId) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(command)
    }

    /// Lets go of a job whose end was seen.
    pub fn remove(&self, job: &Job) {
        self.tell_end(job.command());
        self.list.lock().unwrap_or_else(PoisonError::into_inner).retain(|kept| !std::ptr::eq(Arc::as_ptr(kept), job));
    }
}
