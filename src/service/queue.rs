//! The queue of one device: how many commands of a weight run there at once, and the places of those that wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::grammar::Weight;
use crate::protocol::CommandId;

/// The lanes of one device.
#[derive(Debug)]
pub(super) struct Queue {
    heavy: Lane,
    light: Lane,
}

#[derive(Debug)]
struct Lane {
    room: usize,
    state: Mutex<LaneState>,
}

#[derive(Debug, Default)]
struct LaneState {
    running: usize,
    waiting: VecDeque<(CommandId, watch::Sender<u32>)>,
}

/// A place in the queue: 0 says that the command may run; dropping the [`Turn`] lets the next one in.
#[derive(Debug)]
pub(super) struct Turn {
    queue: Arc<Queue>,
    weight: Weight,
    command: CommandId,
    /// Its place: 1 is next, 0 is now.
    pub(super) place: watch::Receiver<u32>,
}

impl Queue {
    pub(super) fn new(heavy: usize, light: usize) -> Arc<Self> {
        let lane = |room: usize| Lane { room: room.max(1), state: Mutex::default() };
        Arc::new(Self { heavy: lane(heavy), light: lane(light) })
    }

    fn lane(&self, weight: Weight) -> &Lane {
        match weight {
            Weight::Heavy => &self.heavy,
            Weight::Light => &self.light,
        }
    }

    /// Lines a command up.
    pub(super) fn line_up(self: &Arc<Self>, command: CommandId, weight: Weight) -> Turn {
        let lane = self.lane(weight);
        let mut state = lane.locked();
        let place = if state.running < lane.room && state.waiting.is_empty() {
            state.running += 1;
            watch::channel(0).1
        } else {
            let (sender, place) = watch::channel(u32::try_from(state.waiting.len() + 1).unwrap_or(u32::MAX));
            state.waiting.push_back((command, sender));
            place
        };
        drop(state);
        Turn { queue: Arc::clone(self), weight, command, place }
    }
}

impl Lane {
    fn locked(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LaneState {
    fn tell_places(&self) {
        for (at, (_, place)) in self.waiting.iter().enumerate() {
            place.send_replace(u32::try_from(at + 1).unwrap_or(u32::MAX));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let lane = self.queue.lane(self.weight);
        let mut state = lane.locked();
        if let Some(at) = state.waiting.iter().position(|(command, _)| *command == self.command) {
            state.waiting.remove(at);
        } else {
            state.running -= 1;
            if let Some((_, next)) = state.waiting.pop_front() {
                state.running += 1;
                next.send_replace(0);
            }
        }
        state.tell_places();
    }
}
