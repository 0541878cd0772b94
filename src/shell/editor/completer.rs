//! What Tab offers, from what the parser would accept at the cursor. Also takes announcements to the printer: reedline asks a
//! completer at each turn of its loop, and never while no line is being typed.

use std::sync::mpsc::SyncSender;

use reedline::{CompletionResult, CompletionStatus, Span, Suggestion};

use crate::grammar::{Expected, expected_at, quoted};
use crate::shell::view::Above;

/// The completer of the editor.
pub(super) struct Completer {
    above: Above,
    printer: SyncSender<String>,
}

impl Completer {
    pub(super) fn new(above: Above, printer: SyncSender<String>) -> Self {
        Self { above, printer }
    }
}

impl reedline::Completer for Completer {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        CompletionResult::fresh(suggestions(&expected_at(line, pos, None)))
    }

    fn poll_completion(&mut self) -> CompletionStatus {
        let waiting = self.above.take();
        if !waiting.is_empty() {
            // One piece a turn: the printer's places are never all taken.
            if let Err(refused) = self.printer.try_send(waiting.join("\n")) {
                let (std::sync::mpsc::TrySendError::Full(text) | std::sync::mpsc::TrySendError::Disconnected(text)) = refused;
                // It waits for the next turn.
                let _ = self.above.offer(text);
            }
        }
        CompletionStatus::Idle
    }
}

fn suggestions(expected: &Expected) -> Vec<Suggestion> {
    let typed = expected.typed.to_ascii_lowercase();
    let mut found: Vec<(String, String)> = Vec::new();
    for row in &expected.commands {
        found.push((row.name.clone(), row.summary.clone()));
    }
    for value in &expected.values {
        for choice in &value.choices {
            found.push(((*choice).to_owned(), value.parameter.summary.clone()));
        }
        for field in value.fields {
            found.push((field.key.clone(), value.parameter.summary.clone()));
        }
    }
    if typed.is_empty() || typed.starts_with('-') {
        for flag in &expected.flags {
            found.push((format!("-{}", flag.name), flag.summary.clone()));
        }
        for name in &expected.names {
            found.push((format!("-{}", name.name), name.summary.clone()));
        }
    }
    found.retain(|(value, _)| value.to_ascii_lowercase().starts_with(&typed));
    let span = Span::new(expected.span.start, expected.span.end);
    let suggest = |(value, description): (String, String)| Suggestion {
        value: if value.starts_with('-') { value } else { quoted(&value) },
        description: Some(description),
        span,
        append_whitespace: true,
        ..Suggestion::default()
    };
    found.into_iter().map(suggest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tab_offers() {
        let check = |line: &str, wanted: &[&str]| {
            let offered = suggestions(&expected_at(line, line.len(), None));
            let values: Vec<&str> = offered.iter().map(|one| one.value.as_str()).collect();
            assert_eq!(values, wanted, "{line}");
        };
        check("proc", &["processes"]);
        check("processes -output j", &["json", "jsonl"]);
        check("dir -full", &["-full_path"]);
        check("processes -sort -mem", &["memory_k", "memory_usage"]);
    }
}
