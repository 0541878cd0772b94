//! Announcements while a line is being typed: they wait here, without bound, until the editor puts them above its line.
//!
//! Reedline's own printer holds few lines and blocks whoever comes next, and nobody drains it outside `read_line`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The queue in front of the editor's printer. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Above(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Whether a line is being typed.
    typing: bool,
    waiting: Vec<String>,
}

impl Above {
    /// Says that a line is being typed from now on.
    pub fn begin(&self) {
        self.state().typing = true;
    }

    /// Says that the line is done, and hands over what was not yet shown.
    #[must_use]
    pub fn end(&self) -> Vec<String> {
        let mut state = self.state();
        state.typing = false;
        std::mem::take(&mut state.waiting)
    }

    /// What waits to be put above the line.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.state().waiting)
    }

    /// Queues a text while a line is being typed; hands it back when none is.
    #[must_use]
    pub fn offer(&self, text: String) -> Option<String> {
        let mut state = self.state();
        if !state.typing {
            return Some(text);
        }
        state.waiting.push(text);
        None
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_between_two_lines() {
        let above = Above::default();
        assert_eq!(above.offer("now".into()), Some("now".into()));
        above.begin();
        for n in 0..1000 {
            assert_eq!(above.offer(n.to_string()), None);
        }
        assert_eq!(above.take().len(), 1000);
        assert_eq!(above.offer("late".into()), None);
        assert_eq!(above.end(), ["late"]);
        assert_eq!(above.offer("after".into()), Some("after".into()));
    }
}
