//! The prompt: who, where, and how many jobs; on the right how the last line went. Jobs and the time left are those of the
//! moment it is drawn.

use std::borrow::Cow;
use std::sync::Arc;

use reedline::{Color, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, PromptViMode};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{PromptFacts, Surroundings};
use crate::shell::view::{clean, duration};

/// A directory always gets this many columns.
const ROOM: usize = 20;

/// The prompt of one line.
pub(super) struct Prompt {
    facts: PromptFacts,
    around: Option<Arc<dyn Surroundings>>,
}

impl Prompt {
    pub(super) fn new(facts: &PromptFacts, around: Arc<dyn Surroundings>) -> Self {
        Self { facts: facts.clone(), around: Some(around) }
    }

    /// What is left of a prompt in the scrollback.
    pub(super) fn transient() -> Self {
        Self { facts: PromptFacts::default(), around: None }
    }

    fn now(&self, around: &Arc<dyn Surroundings>) -> PromptFacts {
        PromptFacts { jobs: around.jobs(), idle_left: around.idle_left(), ..self.facts.clone() }
    }
}

/// `analyst@device /dir (role) [2 jobs] > `, on one line.
pub(crate) fn left(facts: &PromptFacts) -> String {
    let mut text = clean::line(&facts.analyst).into_owned();
    if let Some(device) = &facts.device {
        text.push('@');
        text.push_str(&clean::line(device));
        text.push(' ');
        let directory = clean::line(&facts.directory);
        text.push_str(&match facts.width {
            0 => directory.into_owned(),
            width => shortened(&directory, ROOM.max(width / 3)),
        });
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

/// A directory in so many columns: its last parts, whole as far as that goes.
fn shortened(directory: &str, room: usize) -> String {
    if directory.width() <= room {
        return directory.to_owned();
    }
    let fits = |text: &str| text.width() < room;
    let parts = directory.char_indices().filter(|(_, c)| matches!(c, '/' | '\\')).filter_map(|(at, _)| directory.get(at..));
    let tail = parts.into_iter().find(|tail| fits(tail) && tail.len() > 1).map(str::to_owned);
    let tail = tail.unwrap_or_else(|| {
        let mut left = room - 1;
        let fits = |c: &char| {
            let wide = c.width().unwrap_or(0);
            let fits = wide <= left;
            left = left.saturating_sub(wide);
            fits
        };
        let end: Vec<char> = directory.chars().rev().take_while(fits).collect();
        end.into_iter().rev().collect()
    });
    format!("…{tail}")
}

fn right(facts: &PromptFacts) -> String {
    let mut parts = Vec::new();
    if let Some(last) = &facts.last {
        if let Some(failure) = &last.failure {
            parts.push(clean::line(failure).into_owned());
        }
        if last.duration.as_secs() >= 1 {
            parts.push(duration(u64::try_from(last.duration.as_millis()).unwrap_or(u64::MAX)));
        }
    }
    if let Some(left) = facts.idle_left {
        parts.push(format!("idle: {} min left", left.as_secs().div_ceil(60)));
    }
    parts.join("  ")
}

/// A question, as the prompt of its answer.
pub(super) struct Question(pub(super) String);

impl reedline::Prompt for Question {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_history_search_indicator(&self, _search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn get_prompt_color(&self) -> Color {
        Color::Default
    }
}

impl reedline::Prompt for Prompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        match &self.around {
            Some(around) => Cow::Owned(left(&self.now(around))),
            None => Cow::Borrowed("> "),
        }
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        match &self.around {
            Some(around) => Cow::Owned(right(&self.now(around))),
            None => Cow::Borrowed(""),
        }
    }

    fn render_prompt_indicator(&self, mode: PromptEditMode) -> Cow<'_, str> {
        let is_modal = matches!(mode, PromptEditMode::Vi(PromptViMode::Normal | PromptViMode::Visual));
        Cow::Borrowed(if is_modal && self.around.is_some() { ": " } else { "" })
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
        assert_eq!(right(&facts), "not_found  2.50s");
        facts.isolation_left = None;
        facts.role = Some("basic".into());
        facts.idle_left = Some(std::time::Duration::from_secs(61));
        assert_eq!(left(&facts), "eve@web01 /tmp/a\\x1b[2J (basic) [2 jobs] > ");
        assert_eq!(right(&facts), "not_found  2.50s  idle: 2 min left");
    }

    #[test]
    fn a_long_directory_is_shortened_to_its_last_parts() {
        let check = |directory: &str, room, wanted: &str| {
            let short = shortened(directory, room);
            assert_eq!(short, wanted);
            assert!(short.width() <= room, "{short}");
        };
        check("/etc", 20, "/etc");
        check("/var/lib/docker/overlay2/abcdef/merged", 20, "…/abcdef/merged");
        check("C:\\Windows\\System32\\drivers\\etc", 20, "…\\drivers\\etc");
        check("/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 10, "…aaaaaaaaa");
        check("/日本語日本語日本語日本語", 9, "…語日本語");
    }
}
