//! Colours as one types, from the same reading that decides what runs.

use reedline::StyledText;

use crate::grammar::highlight;
use crate::shell::view::theme;

/// Paints a line; its text stays the same.
pub(super) struct Highlighter;

impl reedline::Highlighter for Highlighter {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        let mut styled = StyledText::new();
        for (span, class) in highlight(line) {
            let text = line.get(span.start..span.end).unwrap_or_default();
            styled.push((theme::typed(class), text.to_owned()));
        }
        styled
    }
}
