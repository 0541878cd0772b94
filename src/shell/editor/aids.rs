//! All that helps while a line is typed, without a terminal: for tests of what is offered, and to measure what a key costs.

use std::path::PathBuf;
use std::sync::Arc;

use reedline::{Completer as _, Highlighter as _, Hinter as _};

use super::Surroundings;
use super::answers::Answers;
use super::completer::{Completer, Note};
use super::highlighter::Highlighter;
use super::hinter::Hinter;
use super::history::History;

/// Colours, hint and menu of an editor.
pub struct Aids {
    history: History,
    hinter: Hinter,
    completer: Completer,
    answers: Answers,
    note: Note,
}

/// What an editor would show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// The line in its colours, with escape sequences.
    pub painted: String,
    /// What stands dim behind the cursor.
    pub hint: String,
    /// What Tab offers: what is inserted, and what it is. `None` while somebody is asked.
    pub offers: Option<Vec<(String, String)>>,
    /// What the menu says where it offers nothing.
    pub note: String,
}

impl Aids {
    /// Those of an editor with that history.
    #[must_use]
    pub fn new(history: PathBuf, around: Arc<dyn Surroundings>) -> Self {
        let (history, answers, note) = (History::open(history), Answers::default(), Note::default());
        let hinter = Hinter::new(history.clone(), around.clone());
        let completer = Completer::new(around, answers.clone(), note.clone());
        Self { history, hinter, completer, answers, note }
    }

    /// All that a key costs at this place of a line: colours, hint, and what Tab offers.
    pub fn at(&mut self, line: &str, cursor: usize) -> Shown {
        let painted = Highlighter.highlight(line, cursor).render_simple();
        let hint = self.hinter.handle(line, cursor, &self.history, true, "");
        let result = self.completer.complete(line, cursor);
        let put = |one: &reedline::Suggestion| {
            let blank = if one.append_whitespace { " " } else { "" };
            let (before, behind) = (line.get(..one.span.start), line.get(one.span.end..));
            let whole = format!("{}{}{blank}{}", before.unwrap_or_default(), one.value, behind.unwrap_or_default());
            (whole, one.description.clone().unwrap_or_default())
        };
        let offers = (!result.is_pending()).then(|| result.suggestions().iter().map(put).collect());
        Shown { painted, hint, offers, note: self.note.get() }
    }

    /// A command has run: what is known may have changed.
    pub fn outdate(&mut self, device: Option<&str>) {
        self.answers.outdate(device);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::super::{Answer, Facts, Wanted};
    use super::*;
    use crate::grammar::Row;

    /// Surroundings where nobody answers.
    #[derive(Default)]
    pub(in crate::shell::editor) struct Nobody(pub(in crate::shell::editor) Facts);

    impl Surroundings for Nobody {
        fn facts(&self) -> Facts {
            self.0.clone()
        }

        fn ask(&self, _: &Wanted, _: Answer) {}

        fn jobs(&self) -> usize {
            0
        }

        fn idle_left(&self) -> Option<Duration> {
            None
        }

        fn help(&self, row: Option<&'static Row>) -> String {
            format!("help of {}", row.map_or("everything", |row| row.name.as_str()))
        }
    }
}
