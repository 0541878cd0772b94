//! What was asked while a line is typed, and what came back: kept per question with its age, so that a key never waits. What
//! is a little old is offered at once, with its age, and asked for anew beside it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Found, Surroundings, Wanted};

/// Questions whose answers are kept; the oldest goes first.
const KEPT: usize = 256;
/// An answer older than this is no answer any more.
const TOO_OLD: Duration = Duration::from_mins(5);
/// A question that goes unanswered for so long may be asked again.
const LOST: Duration = Duration::from_secs(20);
/// A device that has not answered within this is said to be asked.
const SLOW: Duration = Duration::from_millis(300);

/// The answers so far. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Answers(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    kept: HashMap<Wanted, Kept>,
    /// The device that the answers are of.
    device: Option<String>,
    /// An answer has come that changes what is offered.
    arrived: bool,
    /// The wait for the last question was said to be long.
    slow_told: bool,
}

#[derive(Default)]
struct Kept {
    /// Since when it is asked.
    asked: Option<Instant>,
    /// The answer and when it came.
    answer: Option<(Result<Arc<Found>, String>, Instant)>,
    /// A command has run since: what it was may have changed.
    is_outdated: bool,
}

/// What is known of a question now.
#[derive(Clone)]
pub(super) enum Known {
    /// This, so old; the age is told where it matters.
    Found(Arc<Found>, Option<Duration>),
    /// That there is no answer, and why.
    Not(String),
    /// It was asked.
    Asked,
}

/// How the questions stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// None is open.
    Idle,
    /// One is open.
    Open,
    /// There is something new to show.
    News,
}

impl Answers {
    /// What is known; asks where that is nothing, or not fresh.
    pub(super) fn of(&self, wanted: &Wanted, surroundings: &dyn Surroundings) -> Known {
        let (known, ask) = self.state().look(wanted);
        if ask {
            let (answers, of) = (self.clone(), wanted.clone());
            surroundings.ask(wanted, Box::new(move |answer| answers.take(&of, answer)));
            // A disk or a test may have answered at once.
            return self.state().look(wanted).0;
        }
        known
    }

    /// A command has run: what is known may have changed. Another device has other answers.
    pub(super) fn outdate(&self, device: Option<&str>) {
        let mut state = self.state();
        if state.device.as_deref() != device {
            state.device = device.map(str::to_owned);
            state.kept.clear();
        }
        state.kept.values_mut().for_each(|kept| kept.is_outdated = true);
    }

    /// How the questions stand; news are told once.
    pub(super) fn standing(&self) -> Standing {
        let mut state = self.state();
        if std::mem::take(&mut state.arrived) {
            return Standing::News;
        }
        let longest = state.kept.values().filter_map(Kept::waits).max();
        match longest {
            None => Standing::Idle,
            Some(waits) if waits > SLOW && !state.slow_told => {
                state.slow_told = true;
                Standing::News
            }
            Some(_) => Standing::Open,
        }
    }

    /// Whether somebody is asked for longer than a person takes for no time.
    pub(super) fn is_slow(&self) -> bool {
        self.state().kept.values().filter_map(Kept::waits).any(|waits| waits > SLOW)
    }

    fn take(&self, wanted: &Wanted, answer: Result<Found, String>) {
        let mut state = self.state();
        let Some(kept) = state.kept.get_mut(wanted) else { return };
        kept.asked = None;
        kept.is_outdated = false;
        let answer = answer.map(Arc::new);
        let is_news = kept.answer.as_ref().is_none_or(|(before, _)| *before != answer);
        kept.answer = Some((answer, Instant::now()));
        state.arrived |= is_news;
        state.slow_told = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What is known, and whether it is to be asked: if so, it counts as asked from now on.
    fn look(&mut self, wanted: &Wanted) -> (Known, bool) {
        if !self.kept.contains_key(wanted) && self.kept.len() >= KEPT {
            let age = |kept: &Kept| kept.answer.as_ref().map(|(_, at)| *at);
            let oldest = self.kept.iter().filter(|(_, kept)| kept.asked.is_none()).min_by_key(|(_, kept)| age(kept));
            if let Some(oldest) = oldest.map(|(wanted, _)| wanted.clone()) {
                self.kept.remove(&oldest);
            }
        }
        let kept = self.kept.entry(wanted.clone()).or_default();
        let age = kept.answer.as_ref().map(|(_, at)| at.elapsed());
        let is_fresh = age.is_some_and(|age| age < fresh(wanted)) && !kept.is_outdated;
        let is_asked = kept.waits().is_some();
        let ask = !is_fresh && !is_asked;
        if ask {
            kept.asked = Some(Instant::now());
        }
        let known = match (&kept.answer, age) {
            (Some((Ok(found), _)), Some(age)) if age < TOO_OLD => {
                Known::Found(found.clone(), Some(age).filter(|age| !is_fresh && age.as_secs() > 0))
            }
            (Some((Err(why), _)), _) if is_fresh => Known::Not(why.clone()),
            _ => Known::Asked,
        };
        (known, ask)
    }
}

impl Kept {
    /// How long it is asked for, while there is hope.
    fn waits(&self) -> Option<Duration> {
        self.asked.map(|since| since.elapsed()).filter(|waits| *waits < LOST)
    }
}

/// How long an answer is as good as a new one.
fn fresh(wanted: &Wanted) -> Duration {
    Duration::from_secs(match wanted {
        Wanted::LocalFolder(_) | Wanted::Commands => 1,
        Wanted::Processes | Wanted::ProcessNames => 3,
        Wanted::Folder { .. } | Wanted::Library | Wanted::Effects | Wanted::Targets(_) => 5,
        Wanted::Devices => 10,
        Wanted::Services | Wanted::Tasks | Wanted::StartupItems | Wanted::Registry(_) => 30,
    })
}
