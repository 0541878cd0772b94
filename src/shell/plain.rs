//! Lines from a terminal without an editor: for when standard output goes elsewhere. The prompt is on standard error.

use std::io::BufRead;

use super::editor::{Line, LineOutcome, LineSource, PromptFacts, prompt_text};
use super::view::Screen;
use crate::grammar::has_open_quote;

/// A line is read up to this.
const MAX_LINE: usize = 1 << 20;

/// Reads lines as the terminal hands them out.
pub(super) struct Plain {
    screen: Screen,
}

impl Plain {
    pub(super) fn new(screen: Screen) -> Self {
        Self { screen }
    }

    /// The next line, without its end; `None` at the end of the input.
    fn next(prompt: &str, screen: &Screen) -> Option<String> {
        // A prompt that cannot be written is not worth ending for.
        let _ = screen.write_error(prompt.as_bytes());
        let mut bytes = Vec::new();
        let mut input = std::io::Read::take(std::io::stdin().lock(), MAX_LINE as u64);
        match input.read_until(b'\n', &mut bytes) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return None,
        }
        let text = String::from_utf8_lossy(&bytes);
        Some(text.trim_end_matches(['\n', '\r']).to_owned())
    }
}

impl LineSource for Plain {
    fn read(&mut self, prompt: &PromptFacts) -> Line {
        for text in self.screen.above().take() {
            self.screen.message(&text);
        }
        let Some(mut text) = Self::next(&prompt_text(prompt), &self.screen) else { return Line::End };
        while has_open_quote(&text) {
            let Some(more) = Self::next("> ", &self.screen) else { break };
            text.push('\n');
            text.push_str(&more);
        }
        Line::Text(text)
    }

    fn ended(&mut self, _outcome: &LineOutcome) {}
}
