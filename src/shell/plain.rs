//! Lines from a terminal without an editor: for one that can only print, and for when standard output goes elsewhere. The
//! prompt is on standard error. What is typed is in the same history as with the editor.

use std::io::BufRead;

use super::editor::{History, Line, LineOutcome, LineSource, PromptFacts, prompt_text};
use super::view::Screen;
use crate::grammar::has_open_quote;
use crate::host::{Home, terminal};

/// A line is read up to this.
const MAX_LINE: usize = 1 << 20;

/// Reads lines as the terminal hands them out.
pub(super) struct Plain {
    screen: Screen,
    history: History,
    /// The line last read, whose outcome is not known yet.
    line: Option<String>,
}

impl Plain {
    pub(super) fn new(screen: Screen, home: &Home) -> Self {
        Self { screen, history: History::open(home.history_file()), line: None }
    }

    /// The next line, without its end; `None` at the end of the input.
    fn next(prompt: &str, screen: &Screen) -> Option<String> {
        // A line that was typed while nothing was echoed stands nowhere yet.
        let is_ahead = terminal::has_input();
        // A prompt that cannot be written is not worth ending for.
        let _ = screen.write_error(prompt.as_bytes());
        let mut bytes = Vec::new();
        let mut input = std::io::Read::take(std::io::stdin().lock(), MAX_LINE as u64);
        match input.read_until(b'\n', &mut bytes) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return None,
        }
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches(['\n', '\r']);
        if is_ahead {
            screen.typed(text);
        }
        Some(text.to_owned())
    }

    /// The next line, and those that a quote spans.
    fn whole(&self, prompt: &PromptFacts) -> Option<String> {
        let mut text = Self::next(&prompt_text(prompt), &self.screen)?;
        while has_open_quote(&text) {
            let Some(more) = Self::next("> ", &self.screen) else { break };
            text.push('\n');
            text.push_str(&more);
        }
        Some(text)
    }
}

impl LineSource for Plain {
    fn read(&mut self, prompt: &PromptFacts) -> Line {
        // What is to be announced cannot be put above the line here: it waits until the line is done.
        self.screen.above().begin();
        let text = self.whole(prompt);
        for text in self.screen.above().end() {
            self.screen.message(&text);
        }
        let Some(text) = text else { return Line::End };
        self.line = Some(text.clone());
        Line::Text(text)
    }

    fn ask(&mut self, question: &str) -> Line {
        Self::next(question, &self.screen).map_or(Line::End, Line::Text)
    }

    fn ended(&mut self, outcome: &LineOutcome) {
        if let Some(line) = self.line.take() {
            self.history.write(&line, outcome);
        }
    }
}
