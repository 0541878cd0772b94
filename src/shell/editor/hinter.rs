//! What stands dim behind the cursor: the rest of the newest line that began so, else the parameter that comes next.

use std::sync::Arc;

use super::Surroundings;
use super::history::History;
use crate::grammar::{Expected, expected_at};
use crate::shell::view::theme;

/// The hints of the editor.
pub(super) struct Hinter {
    history: History,
    around: Arc<dyn Surroundings>,
    /// What the key for it takes over.
    rest: String,
}

impl Hinter {
    pub(super) fn new(history: History, around: Arc<dyn Surroundings>) -> Self {
        Self { history, around, rest: String::new() }
    }

    /// What to show behind a line whose end the cursor stands at.
    fn hint(&mut self, line: &str) -> String {
        self.rest.clear();
        if line.trim().is_empty() || line.contains('\n') {
            return String::new();
        }
        if let Some(rest) = self.history.rest_of(line).filter(|rest| !rest.chars().any(char::is_control)) {
            self.rest.clone_from(&rest);
            return rest;
        }
        next_parameter(line, &expected_at(line, line.len(), self.around.facts().platform)).unwrap_or_default()
    }
}

/// The parameter that would be typed next: behind a blank, or behind the name of a command.
fn next_parameter(line: &str, expected: &Expected) -> Option<String> {
    let at_blank = line.ends_with(' ');
    if !at_blank {
        let is_name = expected.commands.iter().any(|row| row.name.eq_ignore_ascii_case(&expected.typed));
        if !is_name || expected.quote.is_some() {
            return None;
        }
        let more = format!("{line} ");
        return next_parameter(&more, &expected_at(&more, more.len(), None)).map(|hint| format!(" {hint}"));
    }
    if expected.target {
        return Some("<file>".to_owned());
    }
    let value = expected.values.first()?;
    let name = &value.parameter.name;
    // What every answer takes says nothing about this line.
    let is_common = matches!(name.as_str(), "output" | "match" | "columns" | "sort" | "first");
    let shape = match value.choices.as_slice() {
        [] => name.clone(),
        choices => choices.join("|"),
    };
    match (is_common, value.parameter.required) {
        (true, _) => None,
        (false, true) => Some(format!("<{shape}>")),
        (false, false) => Some(format!("[{shape}]")),
    }
}

impl reedline::Hinter for Hinter {
    fn handle(&mut self, line: &str, pos: usize, _: &dyn reedline::History, use_ansi_coloring: bool, _cwd: &str) -> String {
        // Without colour nobody could tell it from what was typed.
        if pos < line.len() || !use_ansi_coloring {
            self.rest.clear();
            return String::new();
        }
        match self.hint(line) {
            hint if hint.is_empty() => hint,
            hint => theme::aside().paint(hint).to_string(),
        }
    }

    fn complete_hint(&self) -> String {
        self.rest.clone()
    }

    fn next_hint_token(&self) -> String {
        let word = self.rest.trim_start();
        let blanks = self.rest.len() - word.len();
        let end = word.find(' ').map_or(self.rest.len(), |end| blanks + end);
        self.rest.get(..end).unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::editor::LineOutcome;
    use crate::shell::editor::aids::tests::Nobody;

    #[test]
    fn the_history_first_else_the_next_parameter() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path().join("history"));
        for line in ["dir /var/log", "dir /var/tmp -full_path", "cat \"a\nb\""] {
            history.write(line, &LineOutcome::default());
        }
        let mut hinter = Hinter::new(history, Arc::new(Nobody::default()));
        let mut check = |line: &str, shown: &str, taken: &str, word: &str| {
            assert_eq!(hinter.hint(line), shown, "{line}");
            assert_eq!(reedline::Hinter::complete_hint(&hinter), taken, "{line}");
            assert_eq!(reedline::Hinter::next_hint_token(&hinter), word, "{line}");
        };
        check("dir ", "/var/tmp -full_path", "/var/tmp -full_path", "/var/tmp");
        check("dir /var/l", "og", "og", "og");
        check("dir /var/tmp", " -full_path", " -full_path", " -full_path");
        check("cat ", "<path>", "", "");
        check("getfile", " <path>", "", "");
        check("findfile evil ", "[path]", "", "");
        check("remediate ", "<file|process|service|registry|scheduledtask|startupfolder|list>", "", "");
        check("remediate file ", "<id>", "", "");
        check("getfile x > ", "<file>", "", "");
        check("jobs ", "", "", "");
        check("nosuch ", "", "", "");
        check("", "", "", "");
    }
}
