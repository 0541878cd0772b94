//! The prompt: who, where, and how many jobs; on the right how the last line went.

use std::borrow::Cow;

use reedline::{Color, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus};

use super::PromptFacts;
use crate::shell::view::clean;

/// The prompt of one line.
pub(super) struct Prompt {
    left: String,
    right: String,
}

impl Prompt {
    pub(super) fn new(facts: &PromptFacts) -> Self {
        Self { left: left(facts), right: right(facts) }
    }

    /// What is left of a prompt in the scrollback.
    pub(super) fn transient() -> Self {
        Self { left: "> ".to_owned(), right: String::new() }
    }
}

/// `analyst@device /dir [2 jobs] > `, on one line.
pub(crate) fn left(facts: &PromptFacts) -> String {
    let mut text = clean::line(&facts.analyst).into_owned();
    if let Some(device) = &facts.device {
        text.push('@');
        text.push_str(&clean::line(device));
        text.push(' ');
        text.push_str(&clean::line(&facts.directory));
    }
    if let Some(role) = &facts.role {
        text.push_str(&format!(" ({role})"));
    }
    if let Some(left) = facts.isolation_left {
        text.push_str(&format!(" [isolated, {} left]", in_short(left)));
    }
    match facts.jobs {
        0 => {}
        1 => text.push_str(" [1 job]"),
        jobs => text.push_str(&format!(" [{jobs} jobs]")),
    }
    text.push_str(" > ");
    text
}

/// A duration in its largest two units or one: `23h 59m`, `4m`, `12s`.
fn in_short(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m"),
        (hours, 0) => format!("{hours}h"),
        (hours, minutes) => format!("{hours}h {minutes}m"),
    }
}

fn right(facts: &PromptFacts) -> String {
    let mut parts = Vec::new();
    if let Some(last) = &facts.last {
        if let Some(failure) = &last.failure {
            parts.push(clean::line(failure).into_owned());
        }
        if last.duration.as_secs() >= 1 {
            parts.push(format!("{:.1}s", last.duration.as_secs_f64()));
        }
    }
    if let Some(left) = facts.idle_left {
        parts.push(format!("idle: {} min left", left.as_secs().div_ceil(60)));
    }
    parts.join("  ")
}

impl reedline::Prompt for Prompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.left)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.right)
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failing = matches!(search.status, PromptHistorySearchStatus::Failing);
        Cow::Owned(format!("({}search: {}) ", if failing { "failing " } else { "" }, clean::line(&search.term)))
    }

    fn get_prompt_color(&self) -> Color {
        Color::Default
    }

    fn get_prompt_right_color(&self) -> Color {
        Color::Default
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::editor::LineOutcome;

    #[test]
    fn the_prompt_says_where_one_is() {
        let mut facts = PromptFacts { analyst: "eve".into(), directory: "/".into(), ..PromptFacts::default() };
        assert_eq!(left(&facts), "eve > ");
        facts.device = Some("web01".into());
        facts.directory = "/tmp/a\x1b[2J".into();
        facts.jobs = 2;
        assert_eq!(left(&facts), "eve@web01 /tmp/a\\x1b[2J [2 jobs] > ");
        facts.isolation_left = Some(std::time::Duration::from_secs(7199));
        assert_eq!(left(&facts), "eve@web01 /tmp/a\\x1b[2J [isolated, 1h 59m left] [2 jobs] > ");
        assert_eq!(right(&facts), "");
        facts.last = Some(LineOutcome {
            duration: std::time::Duration::from_millis(2500),
            failure: Some("not_found".into()),
            ..LineOutcome::default()
        });
        assert_eq!(right(&facts), "not_found  2.5s");
    }
}
