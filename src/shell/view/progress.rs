//! Bars for long work: bytes, rate and time left, or what was counted so far. None in batch; a line now and then where the
//! terminal cannot redraw.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::protocol::{Progress, ProgressUnit};

use super::clean;
use super::width::cut;

/// How long a dumb terminal goes without a line.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A terminal of fewer columns has no room for a bar beside the numbers.
const NARROW: usize = 78;
/// The columns that the numbers of such a line take.
const NUMBERS: usize = 42;

/// All bars of a screen.
#[derive(Debug)]
pub(super) struct Bars {
    mode: Mode,
    multi: MultiProgress,
    bars: Mutex<HashMap<u64, Bar>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    None,
    Lines,
    Bars,
}

#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    look: Look,
    said: Instant,
}

impl Bars {
    pub(super) fn new(wanted: bool, dumb: bool) -> Self {
        let mode = match (wanted, dumb) {
            (false, _) => Mode::None,
            (true, true) => Mode::Lines,
            (true, false) => Mode::Bars,
        };
        let target = if mode == Mode::Bars { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        Self { mode, multi: MultiProgress::with_draw_target(target), bars: Mutex::default() }
    }

    /// Shows how far a job is; a line to print where there are no bars.
    pub(super) fn show(&self, job: u64, label: &str, progress: &Progress) -> Option<String> {
        match self.mode {
            Mode::None => None,
            Mode::Lines => self.line(job, label, progress),
            Mode::Bars => {
                self.draw(job, label, progress);
                None
            }
        }
    }

    fn line(&self, job: u64, label: &str, progress: &Progress) -> Option<String> {
        let now = Instant::now();
        let look = Look { unit: progress.unit, sized: false, narrow: false };
        let mut bars = self.lock();
        let bar = bars.entry(job).or_insert_with(|| Bar { bar: ProgressBar::hidden(), look, said: now });
        (now.duration_since(bar.said) >= LINE_EVERY).then(|| {
            bar.said = now;
            // What the line names already is not said twice.
            let text = if label.contains(&progress.text) { String::new() } else { progress.text.clone() };
            format!("{label}: {}", words(&Progress { text, ..progress.clone() }))
        })
    }

    #[expect(clippy::disallowed_methods, reason = "the bars stand on standard error, and must fit it")]
    fn draw(&self, job: u64, label: &str, progress: &Progress) {
        let width = crate::host::terminal_width(std::io::stderr()).unwrap_or(80);
        let look = Look { unit: progress.unit, sized: progress.total.is_some(), narrow: width < NARROW };
        let mut bars = self.lock();
        let bar = bars.entry(job).or_insert_with(|| {
            let bar = self.multi.add(from(progress.done).with_style(look.style()));
            Bar { bar, look, said: Instant::now() }
        });
        if bar.look != look {
            bar.bar.set_style(look.style());
            bar.look = look;
        }
        if let Some(total) = progress.total {
            bar.bar.set_length(total);
        }
        let text = clean::line(&progress.text);
        // What the line names already is not said twice.
        let label = if look.sized && !text.is_empty() && !label.contains(text.as_ref()) {
            format!("{text}: {label}")
        } else {
            label.to_owned()
        };
        bar.bar.set_prefix(cut(&label, look.room_for_label(width)).unwrap_or(label));
        bar.bar.set_message(text.into_owned());
        bar.bar.set_position(progress.done);
    }

    /// Removes a job's bar from the screen.
    pub(super) fn remove(&self, job: u64) {
        if let Some(bar) = self.lock().remove(&job) {
            bar.bar.finish_and_clear();
            self.multi.remove(&bar.bar);
        }
    }

    /// Removes all bars.
    pub(super) fn clear(&self) {
        let jobs: Vec<u64> = self.lock().keys().copied().collect();
        jobs.into_iter().for_each(|job| self.remove(job));
        // A terminal that cannot be cleared shows a bar too many, nothing worse.
        let _ = self.multi.clear();
    }

    /// Does something while no bar is drawn.
    pub(super) fn suspend<T>(&self, act: impl FnOnce() -> T) -> T {
        if self.mode == Mode::Bars && !self.lock().is_empty() { self.multi.suspend(act) } else { act() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Bar>> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bar of work that was so far before anybody looked: its rate is that of what comes from now on.
fn from(done: u64) -> ProgressBar {
    let bar = ProgressBar::hidden();
    bar.set_position(done);
    bar.reset_eta();
    bar
}

/// How long the work still takes; nothing while that cannot be told.
fn left(state: &ProgressState, out: &mut dyn fmt::Write) {
    if state.per_sec() > 0.0 {
        // What cannot be written is not shown.
        let _ = write!(out, "{:#} left", HumanDuration(state.eta()));
    }
}

/// How a bar looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    unit: ProgressUnit,
    /// The total is known.
    sized: bool,
    /// The terminal has no room for all of it: a line that wraps leaves pieces of itself behind.
    narrow: bool,
}

impl Look {
    fn style(self) -> ProgressStyle {
        let template = match (self.unit, self.sized, self.narrow) {
            (ProgressUnit::Bytes, true, true) => "{prefix} {percent}% {bytes}/{total_bytes} {left}",
            (ProgressUnit::Bytes, true, false) => "{prefix} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {left}",
            (ProgressUnit::Bytes, false, _) => "{prefix} {spinner} {bytes} {elapsed} {wide_msg}",
            (_, true, true) => "{prefix} {percent}% {human_pos}/{human_len} {left}",
            (ProgressUnit::Files, true, false) => "{prefix} [{wide_bar}] {human_pos}/{human_len} files {left}",
            (ProgressUnit::Folders, true, false) => "{prefix} [{wide_bar}] {human_pos}/{human_len} folders {left}",
            (ProgressUnit::Entries, true, false) => "{prefix} [{wide_bar}] {human_pos}/{human_len} {left}",
            (ProgressUnit::Files, false, _) => "{prefix} {spinner} {human_pos} files {elapsed} {wide_msg}",
            (ProgressUnit::Folders, false, _) => "{prefix} {spinner} {human_pos} folders {elapsed} {wide_msg}",
            (ProgressUnit::Entries, false, _) => "{prefix} {spinner} {human_pos} entries {elapsed} {wide_msg}",
        };
        // A template that indicatif refuses leaves its plain default, which is a bar too.
        ProgressStyle::with_template(template)
            .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> ").with_key("left", left))
    }

    /// How many columns the line that was typed may take.
    fn room_for_label(self, width: usize) -> usize {
        match (self.sized, self.narrow) {
            (true, true) => width.saturating_sub(NUMBERS).max(8),
            (true, false) => width / 4,
            (false, _) => width / 2,
        }
    }
}

/// How far a job is, in words: `1.5 GiB of 3.0 GiB`, `1200 folders`.
#[must_use]
pub(crate) fn words(progress: &Progress) -> String {
    let count = |n: u64| match progress.unit {
        ProgressUnit::Bytes => HumanBytes(n).to_string(),
        _ => n.to_string(),
    };
    let unit = match progress.unit {
        ProgressUnit::Bytes => "",
        ProgressUnit::Files => " files",
        ProgressUnit::Folders => " folders",
        ProgressUnit::Entries => " entries",
    };
    let mut text = match progress.total {
        Some(total) => format!("{} of {}{unit}", count(progress.done), count(total)),
        None => format!("{}{unit}", count(progress.done)),
    };
    if !progress.text.is_empty() {
        text.push_str(", ");
        text.push_str(&clean::line(&progress.text));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_in_words() {
        let check = |done, total, unit, text: &str, wanted: &str| {
            assert_eq!(words(&Progress { done, total, unit, text: text.into() }), wanted);
        };
        check(1536, Some(3072), ProgressUnit::Bytes, "", "1.50 KiB of 3.00 KiB");
        check(12, None, ProgressUnit::Folders, "/usr\x1b", "12 folders, /usr\\x1b");
    }

    #[test]
    fn what_was_done_before_is_no_rate() {
        let bar = from(300 << 20);
        assert_eq!((bar.position(), bar.per_sec()), (300 << 20, 0.0));
        // A bar that began at nothing would have taken it for what was done just now.
        let bar = ProgressBar::hidden();
        bar.set_position(300 << 20);
        assert!(bar.per_sec() > 0.0);
    }

    #[test]
    fn every_style_is_a_template_that_indicatif_takes() {
        for unit in [ProgressUnit::Bytes, ProgressUnit::Files, ProgressUnit::Folders, ProgressUnit::Entries] {
            for (sized, narrow) in [(true, true), (true, false), (false, true), (false, false)] {
                let bar = ProgressBar::hidden().with_style(Look { unit, sized, narrow }.style());
                bar.set_position(1);
            }
        }
    }
}
