//! The threads that walk, shared by all commands of an agent: a session with ten walks gets no more of them than one with a
//! single walk.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Desk, Found, Walk, locked};
use crate::agent::platform::{thread_cpu_since, thread_cpu_time};
use crate::protocol::SessionId;
use crate::protocol::link::StopReason;

/// A thread that is at one walk looks after this long whether it is another's turn.
const SLICE: Duration = Duration::from_millis(5);
/// How long a thread without work waits before it looks again; it is woken when there is some.
const IDLE: Duration = Duration::from_millis(10);

/// The threads and what they have to do.
#[derive(Default)]
pub struct WalkPool {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    /// In the order of their turns.
    sessions: VecDeque<(SessionId, VecDeque<Arc<Walk>>)>,
    threads: usize,
}

/// A walk that the pool is at. Dropped, it is abandoned: no thread is at it any more when the drop returns.
pub struct WalkHandle {
    walk: Arc<Walk>,
    session: SessionId,
    shared: Arc<Shared>,
    alone: bool,
}

impl WalkPool {
    /// Begins a walk for a session.
    #[must_use]
    pub fn start(&self, session: SessionId, walk: Walk) -> WalkHandle {
        let walk = Arc::new(walk);
        let mut state = locked(&self.shared.state);
        match state.sessions.iter_mut().find(|(known, _)| *known == session) {
            Some((_, walks)) => walks.push_back(Arc::clone(&walk)),
            None => state.sessions.push_back((session.clone(), VecDeque::from([Arc::clone(&walk)]))),
        }
        // No fewer than two, so that a slow disk does not stop everybody.
        let wanted = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 16));
        while state.threads < wanted {
            let shared = Arc::clone(&self.shared);
            let started = std::thread::Builder::new().name("walk".into()).spawn(move || work(&shared));
            if started.is_err() {
                break;
            }
            state.threads += 1;
        }
        let alone = state.threads == 0;
        drop(state);
        self.shared.work.notify_all();
        WalkHandle { walk, session, shared: Arc::clone(&self.shared), alone }
    }
}

impl Deref for WalkHandle {
    type Target = Walk;

    fn deref(&self) -> &Walk {
        &self.walk
    }
}

impl WalkHandle {
    /// What was found since the last call; waits up to `patience` for something. Nothing and `over`: that was all.
    #[must_use]
    pub fn take(&self, patience: Duration) -> (VecDeque<Found>, bool) {
        if self.alone {
            // No thread was to be had on this machine: the work is done by the one that asks for it.
            let mut desk = Desk::default();
            while self.walk.step(&mut desk) {}
        }
        let taken = self.walk.take(patience);
        // There is room again.
        self.shared.work.notify_all();
        taken
    }
}

impl Drop for WalkHandle {
    fn drop(&mut self) {
        self.walk.end.ask(StopReason::Enough);
        let mut state = locked(&self.shared.state);
        if let Some((_, walks)) = state.sessions.iter_mut().find(|(session, _)| *session == self.session) {
            walks.retain(|walk| !Arc::ptr_eq(walk, &self.walk));
        }
        state.sessions.retain(|(_, walks)| !walks.is_empty());
        while self.walk.hands.load(Ordering::Acquire) > 0 {
            state = self.shared.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        self.shared.work.notify_all();
    }
}

/// What a thread does: a slice of whichever walk's turn it is, until there are no walks.
fn work(shared: &Shared) {
    let mut desk = Desk::default();
    let mut last: Option<Arc<Walk>> = None;
    let mut state = locked(&shared.state);
    while !state.sessions.is_empty() {
        let Some(walk) = state.next() else {
            state = shared.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        };
        walk.hands.fetch_add(1, Ordering::AcqRel);
        drop(state);
        if !last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &walk)) {
            desk.last = None;
        }
        let cpu = thread_cpu_time();
        let turn_ends = Instant::now() + SLICE;
        desk.turn_ends = Some(turn_ends);
        let mut told = false;
        while walk.step(&mut desk) && Instant::now() < turn_ends {
            // The others wait for the first folders of a tree.
            if !told {
                told = true;
                shared.work.notify_all();
            }
        }
        let micros = thread_cpu_since(cpu).as_micros();
        walk.meter.cpu_us.fetch_add(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
        if walk.is_stopped() || walk.is_over() {
            // A folder that is kept open must not outlive its walk.
            desk.last = None;
        }
        walk.hands.fetch_sub(1, Ordering::AcqRel);
        shared.work.notify_all();
        last = Some(walk);
        state = locked(&shared.state);
    }
    state.threads -= 1;
}

impl State {
    /// The walk whose turn it is, if any has something to do: sessions take turns, and within each its walks do.
    fn next(&mut self) -> Option<Arc<Walk>> {
        for _ in 0..self.sessions.len() {
            let (session, mut walks) = self.sessions.pop_front()?;
            let ready = walks.iter().position(|walk| walk.is_ready());
            let walk = ready.and_then(|place| walks.remove(place));
            if let Some(walk) = &walk {
                walks.push_back(Arc::clone(walk));
            }
            self.sessions.push_back((session, walks));
            if walk.is_some() {
                return walk;
            }
        }
        None
    }
}
