//! Crontabs as text: environment lines and jobs, as Debian's cron reads them (crontab(5); load_env and load_entry of cron 3.0pl1).
//!
//! Pure. One line that Debian's cron does not understand, or a last line without its newline, makes it ignore the whole file; all the
//! same every line is told, for other crons are less strict (`dialect`).

use std::sync::Arc;

use super::cron_time::{When, when};

/// The longest line of a setting that cron reads.
const MAX_SETTING: usize = 999;
/// The longest command that cron takes.
const MAX_COMMAND: usize = 998;
/// The most lines that are told of one file, and the most settings that are kept.
pub(super) const MAX_LINES: usize = 10_000;
const MAX_SETTINGS: usize = 64;

/// Settings that stand above a line, shared by the lines below them.
pub type Settings = Arc<Vec<(String, String)>>;

/// Adds a setting, or gives it a new value.
pub(super) fn set(settings: &mut Settings, name: String, value: String) {
    let known = Arc::make_mut(settings);
    let has_room = known.len() < MAX_SETTINGS;
    match known.iter_mut().find(|(known, _)| *known == name) {
        Some((_, old)) => *old = value,
        None if has_room => known.push((name, value)),
        None => {}
    }
}

/// Whose crontab it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A user's: the file is called like the user.
    User,
    /// The system's: each line names a user.
    System,
}

/// A crontab, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Crontab {
    /// Its jobs, and the lines that are none though they should be.
    pub lines: Vec<CronLine>,
    /// Why cron ignores the file.
    pub refused: Option<String>,
}

/// A line that is no setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronLine {
    /// Which line, from 1.
    pub number: u32,
    /// The whole line, without the blanks around it.
    pub text: Vec<u8>,
    /// The time as written.
    pub schedule: String,
    /// The user that a line of the system's crontab names.
    pub user: Option<String>,
    /// What is run, as written.
    pub command: String,
    /// When it is due, or what cron says is wrong.
    pub when: Result<When, String>,
    /// The settings that stand above it.
    pub settings: Settings,
}

impl CronLine {
    /// The value of a setting above it.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What the shell is given: the command up to a `%` without a backslash (what follows is its input), `\%` as `%`.
    #[must_use]
    pub fn shell_command(&self) -> String {
        let mut given = String::with_capacity(self.command.len());
        let mut letters = self.command.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '%' => break,
                '\\' if letters.peek() == Some(&'%') => given.extend(letters.next()),
                _ => given.push(letter),
            }
        }
        given
    }
}

/// Takes a crontab apart.
#[must_use]
pub fn parse(text: &[u8], owner: Owner) -> Crontab {
    let mut crontab = Crontab::default();
    let mut settings: Settings = Arc::default();
    if !text.is_empty() && !text.ends_with(b"\n") {
        crontab.refused = Some("its last line has no newline".to_owned());
    }
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let line = line.trim_ascii_start();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if let Some((name, value)) = setting(line) {
            set(&mut settings, name, value);
            continue;
        }
        if crontab.lines.len() >= MAX_LINES {
            crontab.refused.get_or_insert_with(|| format!("only its first {MAX_LINES} lines were read"));
            break;
        }
        let line = job(number, line, owner, &settings);
        if let (None, Err(wrong)) = (&crontab.refused, &line.when) {
            crontab.refused = Some(format!("line {number}: {wrong}"));
        }
        crontab.lines.push(line);
    }
    crontab
}

fn job(number: u32, line: &[u8], owner: Owner, settings: &Settings) -> CronLine {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
    let mut job = CronLine {
        number,
        text: line.trim_ascii_end().to_vec(),
        schedule: String::new(),
        user: None,
        command: lossy(line),
        when: Err(String::new()),
        settings: Arc::clone(settings),
    };
    let (due, mut rest) = match when(line) {
        Ok(read) => read,
        Err(wrong) => {
            job.when = Err(wrong.to_owned());
            return job;
        }
    };
    let time = line.get(..line.len() - rest.len()).unwrap_or_default();
    job.schedule = lossy(time).split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    job.when = Ok(due);
    if owner == Owner::System {
        let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\t'));
        let (user, command) = rest.split_at(end.unwrap_or(rest.len()));
        job.user = Some(lossy(user));
        rest = command.get(1..).unwrap_or_default();
        if end.is_none() {
            job.when = Err(if user.is_empty() { "bad command" } else { "bad username" }.to_owned());
        }
    } else if rest.starts_with(b"*") {
        job.when = Err("bad command".to_owned());
    }
    job.command = lossy(rest);
    if rest.len() > MAX_COMMAND {
        job.when = Err("command too long".to_owned());
    }
    job
}

/// A line `NAME = value`, either in quotes or not; `None` when it is none.
fn setting(line: &[u8]) -> Option<(String, String)> {
    let line = line.get(..MAX_SETTING).unwrap_or(line);
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let skip = |bytes: &'_ [u8]| bytes.iter().position(|byte| !is_blank(byte)).unwrap_or(bytes.len());
    let quote_of = |bytes: &[u8]| bytes.first().copied().filter(|byte| matches!(byte, b'"' | b'\''));
    let (name, rest) = match quote_of(line) {
        Some(quote) => {
            let inside = line.get(1..)?;
            let end = inside.iter().position(|&byte| byte == quote)?;
            let (name, rest) = inside.split_at(end);
            if name.contains(&b'=') {
                return None;
            }
            (name, rest.get(1..)?)
        }
        None => line.split_at(line.iter().position(|byte| is_blank(byte) || *byte == b'=')?),
    };
    let rest = rest.get(skip(rest)..)?.strip_prefix(b"=")?;
    let rest = rest.get(skip(rest)..)?;
    let value = match quote_of(rest) {
        Some(quote) => {
            let inside = rest.get(1..)?;
            let (value, behind) = inside.split_at(inside.iter().position(|&byte| byte == quote)?);
            if !behind.get(1..)?.iter().all(is_blank) {
                return None;
            }
            value
        }
        // cron takes a name without a value for the start of a job.
        None if rest.is_empty() => return None,
        None => rest.trim_ascii_end(),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((text(name), text(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_hold_for_the_lines_below_them() {
        let text = b"# c\nPATH=/bin\n0 5 * * *  root  run\t-x\n\nPATH = \"/a b\"\nMAILTO=''\n \t@daily www x%y\n";
        let crontab = parse(text, Owner::System);
        assert_eq!((crontab.refused, crontab.lines.len()), (None, 2));
        let [first, second] = crontab.lines.as_slice() else { unreachable!() };
        assert_eq!((first.number, first.schedule.as_str(), first.user.as_deref()), (3, "0 5 * * *", Some("root")));
        assert_eq!((first.command.as_str(), first.setting("PATH")), ("run\t-x", Some("/bin")));
        assert_eq!((second.schedule.as_str(), second.setting("PATH")), ("@daily", Some("/a b")));
        assert_eq!((second.setting("MAILTO"), second.shell_command()), (Some(""), "x".to_owned()));
    }

    #[test]
    fn settings_are_what_cron_takes_for_settings() {
        let check = |line: &str, expected: Option<(&str, &str)>| {
            let found = setting(line.as_bytes());
            let found = found.as_ref().map(|(name, value)| (name.as_str(), value.as_str()));
            assert_eq!(found, expected, "{line}");
        };
        check("A=b", Some(("A", "b")));
        check("A = b c ", Some(("A", "b c")));
        check("'A B' = ' c '  ", Some(("A B", " c ")));
        check("A=\"b\" c", None);
        check("A=\"b", None);
        check("A=", None);
        check("A b=c", None);
        check("=x", Some(("", "x")));
        check("* * * * * A=b", None);
        check("CRON_TZ=UTC", Some(("CRON_TZ", "UTC")));
    }

    #[test]
    fn one_wrong_line_makes_cron_ignore_the_file() {
        let refused = |text: &str, owner| parse(text.as_bytes(), owner).refused;
        assert_eq!(refused("* * * * * a\n61 * * * * b\n", Owner::User).as_deref(), Some("line 2: bad minute"));
        assert_eq!(refused("* * * * * a", Owner::User).as_deref(), Some("its last line has no newline"));
        assert_eq!(refused("* * * * * a\n", Owner::System).as_deref(), Some("line 1: bad username"));
        assert_eq!(refused("* * * * * * a\n", Owner::User).as_deref(), Some("line 1: bad command"));
        assert_eq!(
            refused(&format!("* * * * * {}\n", "x".repeat(999)), Owner::User).as_deref(),
            Some("line 1: command too long")
        );
        assert_eq!(refused("", Owner::User), None);
        let percent = &parse(b"* * * * * a \\% b%c%d\n", Owner::User).lines[0];
        assert_eq!((percent.command.as_str(), percent.shell_command().as_str()), ("a \\% b%c%d", "a % b"));
    }
}
