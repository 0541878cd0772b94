//! Ctrl+R: the lines typed before that have what is typed in them, in that order if not side by side; the best first, of
//! equals the newest, each with its device, how it went, and how long ago.

use jiff::Timestamp;
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use reedline::{CompletionResult, Span, Suggestion};

use super::completer::Note;
use super::history::{Entry, History};
use crate::shell::view::{clean, duration};

/// More are not looked through.
const MOST: usize = 200;
/// A line is shown up to this; it is taken whole.
const SHOWN: usize = 60;

/// What the menu of the history asks.
pub(super) struct Past {
    history: History,
    note: Note,
    matcher: Matcher,
}

impl Past {
    pub(super) fn new(history: History, note: Note) -> Self {
        Self { history, note, matcher: Matcher::new(Config::DEFAULT) }
    }

    fn fitting(&mut self, typed: &str) -> Vec<(Entry, Vec<usize>)> {
        let pattern = Pattern::parse(typed, CaseMatching::Smart, Normalization::Smart);
        let matcher = &mut self.matcher;
        self.history.newest_first(|entries| {
            let mut seen = std::collections::HashSet::new();
            let mut buffer = Vec::new();
            let mut scored: Vec<(u32, &Entry)> = entries
                .filter(|entry| seen.insert(entry.line.as_str()))
                .filter_map(|entry| Some((pattern.score(Utf32Str::new(&entry.line, &mut buffer), matcher)?, entry)))
                .collect();
            // Stable: of equals the newest stays first.
            scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
            scored.truncate(MOST);
            let places = |entry: &Entry| {
                let (mut buffer, mut places) = (Vec::new(), Vec::new());
                pattern.indices(Utf32Str::new(&entry.line, &mut buffer), &mut Matcher::new(Config::DEFAULT), &mut places);
                places.sort_unstable();
                places.dedup();
                places.into_iter().map(|place| place as usize).collect()
            };
            scored.into_iter().map(|(_, entry)| (entry.clone(), places(entry))).collect()
        })
    }
}

impl reedline::Completer for Past {
    fn complete(&mut self, line: &str, _pos: usize) -> CompletionResult {
        let typed = line.trim();
        self.note.set("nothing was typed before".to_owned());
        let suggest = |(entry, places): (Entry, Vec<usize>)| {
            let shown = clean::line(&entry.line).into_owned();
            // Where something hostile is shown in its stead, places do not fit.
            let places = if shown == entry.line { places } else { Vec::new() };
            let cut = if shown.chars().count() > SHOWN { shown.chars().take(SHOWN).chain(['…']).collect() } else { shown };
            Suggestion {
                description: Some(about(&entry)),
                match_indices: Some(places.into_iter().filter(|place| *place < SHOWN).collect()),
                display_override: Some(cut),
                span: Span::new(0, line.len()),
                value: entry.line,
                ..Suggestion::default()
            }
        };
        let found: Vec<Suggestion> = self.fitting(typed).into_iter().map(suggest).collect();
        if !found.is_empty() || typed.is_empty() {
            return CompletionResult::fresh(found);
        }
        // What is looked for is no line to run: the return key takes it as it is, and only closes the menu.
        CompletionResult::fresh(vec![Suggestion {
            value: line.to_owned(),
            display_override: Some(format!("no line typed before has {} in it", clean::line(typed))),
            match_indices: Some(Vec::new()),
            span: Span::new(0, line.len()),
            ..Suggestion::default()
        }])
    }
}

/// Where it ran, how it went, and how long ago.
fn about(entry: &Entry) -> String {
    let mut parts = Vec::new();
    parts.extend(entry.device.as_deref().map(|device| clean::line(device).into_owned()));
    parts.extend(entry.outcome.as_deref().map(|outcome| clean::line(outcome).into_owned()));
    let time = entry.time.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
    let millis = time.and_then(|time| u64::try_from(Timestamp::now().duration_since(time).as_millis()).ok());
    parts.extend(millis.map(|millis| match millis {
        0..60_000 => "just now".to_owned(),
        millis => format!("{} ago", duration(millis)),
    }));
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::editor::LineOutcome;
    use reedline::Completer;

    #[test]
    fn lines_are_found_by_what_is_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path().join("history"));
        let outcome = |device: &str, failure: Option<&str>| LineOutcome {
            device: Some(device.into()),
            failure: failure.map(str::to_owned),
            ..LineOutcome::default()
        };
        history.write("processes -sort -cpu_time_ms", &outcome("web01", None));
        history.write("dir /var/log", &outcome("web01", Some("not_found")));
        history.write("findfile evil.dll", &outcome("db\x1b[2J", None));
        history.write("dir /var/log", &outcome("web02", None));
        let mut past = Past::new(history, Note::default());
        let mut check = |typed: &str, wanted: &[(&str, &str)]| {
            let result = past.complete(typed, typed.len());
            let found: Vec<(&str, &str)> =
                result.suggestions().iter().map(|one| (one.value.as_str(), one.description.as_deref().unwrap())).collect();
            assert_eq!(found, wanted, "{typed}");
        };
        check(
            "",
            &[
                ("dir /var/log", "web02  done  just now"),
                ("findfile evil.dll", "db\\x1b[2J  done  just now"),
                ("processes -sort -cpu_time_ms", "web01  done  just now"),
            ],
        );
        check("cpu", &[("processes -sort -cpu_time_ms", "web01  done  just now")]);
        check("dvlog", &[("dir /var/log", "web02  done  just now")]);
        let result = past.complete("nothing", 7);
        assert_eq!((result.suggestions().len(), result.suggestions()[0].value.as_str()), (1, "nothing"));
    }
}
