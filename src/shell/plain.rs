//! Lines from a terminal without an editor: for when standard output goes elsewhere. The prompt is on standard error.

use std::io::BufRead;

use super::editor::{Line, LineOutcome, LineSource, PromptFacts};
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

/// `analyst@device /dir [2 jobs] > `, on one line.
fn prompt_text(facts: &PromptFacts) -> String {
    let mut text = super::view::clean::line(&facts.analyst).into_owned();
    if let Some(device) = &facts.device {
        text.push('@');
        text.push_str(&super::view::clean::line(device));
        text.push(' ');
        text.push_str(&super::view::clean::line(&facts.directory));
    }
    match facts.jobs {
        0 => {}
        1 => text.push_str(" [1 job]"),
        jobs => text.push_str(&format!(" [{jobs} jobs]")),
    }
    text.push_str(" > ");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_says_where_one_is() {
        let mut facts = PromptFacts { analyst: "eve".into(), directory: "/".into(), ..PromptFacts::default() };
        assert_eq!(prompt_text(&facts), "eve > ");
        facts.device = Some("web01".into());
        facts.directory = "/tmp/a\x1b[2J".into();
        facts.jobs = 2;
        assert_eq!(prompt_text(&facts), "eve@web01 /tmp/a\\x1b[2J [2 jobs] > ");
    }
}
