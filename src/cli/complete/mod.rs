//! Completion in the analyst's own shell (zsh, bash, PowerShell): its script hands over the line typed so far and gets back
//! what may stand at the cursor, quoted as that shell quotes. Inside `-c '…'` and `explain '…'` the live response language is
//! completed, from the same [`crate::grammar::expected_at`] that the shell's own menu asks.
//!
//! Nothing is started for it: devices and library files are told by a service that runs already, or not at all.

mod arguments;
mod line;
mod places;
mod quoting;
mod written;

use clap::{Args, ValueEnum};

use self::quoting::Rules;
use crate::host::Home;

/// The shells that are completed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OuterShell {
    /// The Z shell
    Zsh,
    /// The GNU Bourne-Again shell, from 3.2 on
    Bash,
    /// PowerShell, Windows' own and 7
    Powershell,
}

/// What a completion script asks.
#[derive(Debug, Args)]
pub struct Question {
    /// The shell that asks
    shell: OuterShell,
    /// Its line, from the command's name on
    #[arg(long, default_value = "")]
    line: String,
    /// Where the cursor stands in it, in UTF-16 units; at its end without it
    #[arg(long)]
    cursor: Option<usize>,
    /// The part of the line before the cursor that the shell replaces by an answer
    #[arg(long, default_value = "")]
    word: String,
    /// The width of the terminal, where answers are shown with what they mean (in bash they are not inserted then)
    #[arg(long)]
    list: Option<usize>,
    /// Line and word are UTF-8 in Base64
    #[arg(long)]
    encoded: bool,
}

/// Something that may stand at the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Offer {
    /// What is inserted, before any quoting of the outer shell.
    text: String,
    /// One line that says what it is.
    about: String,
    /// Whether it is whole: a blank follows. Not so a folder, or a field that a comma may follow.
    whole: bool,
}

/// Everything that may stand at the cursor.
#[derive(Debug, Default)]
struct Offers {
    /// Where, in the word at the cursor with its quotes removed, an offer begins.
    from: usize,
    list: Vec<Offer>,
    /// The word is a line of the live response language: its quote stays open behind an offer.
    within_line: bool,
    /// What is expected where nothing can be offered.
    message: Option<String>,
}

impl Offer {
    fn new(text: impl Into<String>, about: impl Into<String>) -> Self {
        Self { text: text.into(), about: about.into(), whole: true }
    }
}

/// Answers a completion script. What cannot be answered is no error: then nothing is offered.
#[must_use]
pub fn answer(question: &Question, home: Option<&Home>) -> String {
    let Some((mut line, word)) = question.decoded() else { return String::new() };
    let rules = match question.shell {
        OuterShell::Zsh | OuterShell::Bash => Rules::Sh,
        OuterShell::Powershell => Rules::PowerShell,
    };
    if question.cursor.is_some_and(|cursor| cursor > line.encode_utf16().count()) {
        // PowerShell's syntax tree ends before the blanks behind the last word.
        line.push(' ');
    }
    let cursor = question.cursor.map_or(line.len(), |units| byte_of(&line, units));
    let typed = quoting::read(&line, cursor, rules);
    let mut offers = arguments::offers(&typed, home);
    // What a terminal would obey cannot be typed either.
    offers.list.retain(|offer| crate::protocol::text::is_plain(offer.text.as_bytes()));
    written::answer(question, &typed, &word, &offers)
}

impl Question {
    fn decoded(&self) -> Option<(String, String)> {
        if !self.encoded {
            return Some((self.line.clone(), self.word.clone()));
        }
        let plain = |text: &str| {
            use base64::Engine as _;
            String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).ok()?).ok()
        };
        Some((plain(&self.line)?, plain(&self.word)?))
    }
}

/// The byte at which so many UTF-16 units of a text end; its end where it has fewer.
fn byte_of(text: &str, units: usize) -> usize {
    let mut left = units;
    for (at, c) in text.char_indices() {
        match left.checked_sub(c.len_utf16()) {
            Some(fewer) if left > 0 => left = fewer,
            _ => return at,
        }
    }
    text.len()
}
