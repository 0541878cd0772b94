//! What Tab offers, from what the parser would accept at the cursor. Also takes announcements to the printer: reedline asks a
//! completer at each turn of its loop, and never while no line is being typed.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};

use reedline::{CompletionResult, CompletionStatus};

use super::Surroundings;
use super::answers::{Answers, Standing};
use super::keys::Held;
use super::offers::offers;
use crate::grammar::expected_at;
use crate::shell::view::Above;

/// What the menu says where there is nothing to offer.
#[derive(Clone, Default)]
pub(super) struct Note(Arc<Mutex<String>>);

impl Note {
    pub(super) fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    pub(super) fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where announcements go while a line is being typed.
pub(super) struct Printer {
    pub(super) above: Above,
    pub(super) to: SyncSender<String>,
}

/// The completer of the editor.
pub(super) struct Completer {
    around: Arc<dyn Surroundings>,
    answers: Answers,
    note: Note,
    screen: Option<OnScreen>,
}

struct OnScreen {
    printer: Printer,
    repaint: Box<dyn Fn() + Send>,
    held: Held,
    /// What the prompt says of this moment: jobs, and minutes left.
    prompt: (usize, Option<u64>),
}

impl Completer {
    pub(super) fn new(around: Arc<dyn Surroundings>, answers: Answers, note: Note) -> Self {
        Self { around, answers, note, screen: None }
    }

    /// One that also takes announcements to the printer, has held keys handed on, and the prompt drawn anew where it is no
    /// longer true.
    pub(super) fn drawing(mut self, printer: Printer, held: Held, repaint: Box<dyn Fn() + Send>) -> Self {
        self.screen = Some(OnScreen { printer, repaint, held, prompt: (0, None) });
        self
    }
}

/// Offers nothing: for the answer to a question, which keys that were held back may be too.
pub(super) struct Nothing(pub(super) Held);

impl reedline::Completer for Nothing {
    fn complete(&mut self, _line: &str, _pos: usize) -> CompletionResult {
        CompletionResult::fresh(Vec::new())
    }

    fn poll_completion(&mut self) -> CompletionStatus {
        self.0.nudge();
        CompletionStatus::Idle
    }
}

impl reedline::Completer for Completer {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let facts = self.around.facts();
        let expected = expected_at(line, pos, facts.platform);
        let offers = offers(&expected, &facts, &self.answers, self.around.as_ref());
        self.note.set(offers.note);
        // Half of what may stand here is not shown: what is typed next could not mean the other half.
        if offers.is_pending { CompletionResult::Pending } else { CompletionResult::fresh(offers.list) }
    }

    fn poll_completion(&mut self) -> CompletionStatus {
        if let Some(OnScreen { printer: Printer { above, to }, repaint, held, prompt }) = &mut self.screen {
            held.nudge();
            let waiting = above.take();
            // One piece a turn: the printer's places are never all taken.
            if !waiting.is_empty()
                && let Err(TrySendError::Full(text) | TrySendError::Disconnected(text)) = to.try_send(waiting.join("\n"))
            {
                // It waits for the next turn.
                let _ = above.offer(text);
            }
            let now = (self.around.jobs(), self.around.idle_left().map(|left| left.as_secs().div_ceil(60)));
            if std::mem::replace(prompt, now) != now {
                repaint();
            }
        }
        match self.answers.standing() {
            Standing::Idle => CompletionStatus::Idle,
            Standing::Open => CompletionStatus::Pending,
            Standing::News => CompletionStatus::Ready,
        }
    }
}
