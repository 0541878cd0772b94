//! anacrontab(5) and anacron's notes of when each job last ran.
//!
//! Pure.

use jiff::civil::Date;
use jiff::{Span, ToSpan as _};

use super::crontab::{Settings, set};

/// The most lines that are told of one file.
const MAX_LINES: usize = 10_000;

/// A line that is no setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnacronLine {
    /// Which line, from 1.
    pub number: u32,
    /// The whole line, without the blanks around it.
    pub text: Vec<u8>,
    /// What the job is called, and its note in the spool.
    pub name: String,
    /// The period and the delay as written.
    pub schedule: String,
    /// How often, and how many minutes after anacron's start, or what is wrong.
    pub period: Result<(Period, u32), String>,
    /// What is run.
    pub command: String,
    /// The settings that stand above it.
    pub settings: Settings,
}

/// How often a job is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// So many days after its last run.
    Days(u32),
    /// Once a month of the calendar.
    Monthly,
}

impl Period {
    /// The first day on which it is due again.
    #[must_use]
    pub fn due(self, last: Date) -> Option<Date> {
        match self {
            Self::Days(days) => last.checked_add(Span::new().try_days(days).ok()?).ok(),
            Self::Monthly => last.first_of_month().checked_add(1.month()).ok(),
        }
    }
}

/// Reads the day of a job's last run from its note: `YYYYMMDD`.
#[must_use]
pub fn note(text: &[u8]) -> Option<Date> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Date::new(text.get(..4)?.parse().ok()?, text.get(4..6)?.parse().ok()?, text.get(6..)?.parse().ok()?).ok()
}

/// Takes an anacrontab apart. A line that anacron does not understand is told and passed over, as it does.
#[must_use]
pub fn parse(text: &[u8]) -> Vec<AnacronLine> {
    let mut found = Vec::new();
    let mut settings: Settings = Settings::default();
    let mut lines = (1..).zip(text.split(|&byte| byte == b'\n'));
    while let Some((number, line)) = lines.next() {
        let mut whole = line.to_vec();
        while whole.last() == Some(&b'\\') {
            whole.pop();
            let Some((_, more)) = lines.next() else { break };
            whole.extend_from_slice(more);
        }
        let line = whole.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let text = String::from_utf8_lossy(line).into_owned();
        if let Some((name, value)) = setting(&text) {
            set(&mut settings, name, value);
            continue;
        }
        found.push(job(number, line, &text, &settings));
        if found.len() >= MAX_LINES {
            break;
        }
    }
    found
}

fn setting(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim_ascii_end();
    (!name.is_empty() && !name.contains([' ', '\t'])).then(|| (name.to_owned(), value.to_owned()))
}

fn job(number: u32, line: &[u8], text: &str, settings: &Settings) -> AnacronLine {
    let mut words = text.splitn(4, [' ', '\t']).map(str::to_owned).collect::<Vec<_>>();
    if words.iter().any(String::is_empty) {
        // Several blanks between words.
        words.clear();
        let mut rest = text;
        for _ in 0..3 {
            let (word, behind) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
            words.push(word.to_owned());
            rest = behind.trim_start_matches([' ', '\t']);
        }
        words.push(rest.to_owned());
    }
    let mut words = words.into_iter();
    let mut next = || words.next().unwrap_or_default();
    let (period, delay, name, command) = (next(), next(), next(), next());
    let read = match (period.strip_prefix('@'), delay.parse::<u32>()) {
        (_, Err(_)) => Err("the delay is no number of minutes".to_owned()),
        (Some("monthly"), Ok(delay)) => Ok((Period::Monthly, delay)),
        (Some(_), _) => Err("only @monthly is known".to_owned()),
        (None, Ok(delay)) => match period.parse() {
            Ok(days) if days > 0 => Ok((Period::Days(days), delay)),
            _ => Err("the period is no number of days".to_owned()),
        },
    };
    let read = if command.is_empty() || name.contains('/') {
        Err("neither a setting nor `period delay name command`".to_owned())
    } else {
        read
    };
    AnacronLine {
        number,
        text: line.to_vec(),
        name,
        schedule: format!("{period} {delay}"),
        period: read,
        command,
        settings: Settings::clone(settings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_and_settings_are_read() {
        let lines = parse(b"# c\nSHELL=/bin/sh\n1\t5\tcron.daily\trun-parts --report /etc/cron.daily\n@monthly 15  m  a \\\n b\n7 x w c\n0 1 n c\n@weekly 1 n c\nfour words are not\n1 5 a/b c");
        let read: Vec<_> = lines.iter().map(|line| (line.number, line.name.as_str(), line.command.as_str())).collect();
        assert_eq!(read.get(..2).unwrap(), [(3, "cron.daily", "run-parts --report /etc/cron.daily"), (4, "m", "a  b")]);
        assert_eq!(lines[0].period, Ok((Period::Days(1), 5)));
        assert_eq!(lines[0].settings.as_slice(), [("SHELL".to_owned(), "/bin/sh".to_owned())]);
        assert_eq!(lines[1].period, Ok((Period::Monthly, 15)));
        assert!(lines[2..].iter().all(|line| line.period.is_err()), "{lines:?}");
    }

    #[test]
    fn days_are_counted_from_the_last_run() {
        let day = |text: &str| note(text.as_bytes());
        assert_eq!(day("20260131\n").and_then(|last| Period::Days(7).due(last)), Date::new(2026, 2, 7).ok());
        assert_eq!(day("20260131").and_then(|last| Period::Monthly.due(last)), Date::new(2026, 2, 1).ok());
        assert_eq!(day("20261301"), None);
        assert_eq!(day("x"), None);
        assert_eq!(day("99991231").and_then(|last| Period::Days(u32::MAX).due(last)), None);
    }
}
