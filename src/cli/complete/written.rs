//! An answer as each shell takes it: one offer a line.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::quoting::{Quote, Rules, Typed, written};
use super::{Offer, Offers, OuterShell, Question};

/// The answer to a question.
pub(super) fn answer(question: &Question, typed: &Typed<'_>, word: &str, offers: &Offers) -> String {
    let replaced = match question.shell {
        OuterShell::Powershell => typed.word.start,
        // The shell says which part it replaces; what it says and the line has not would be lost.
        _ if typed.before.ends_with(word) => typed.before.len() - word.len(),
        _ => typed.word.start,
    };
    let kept = typed.before.get(..replaced).unwrap_or_default();
    let inserted = |offer: &Offer| {
        let line = line_with(offer, offers, typed, question.shell);
        line.strip_prefix(kept).map(ToOwned::to_owned)
    };
    let found: Vec<(String, &Offer)> = offers.list.iter().filter_map(|offer| Some((inserted(offer)?, offer))).collect();
    match question.shell {
        OuterShell::Bash => bash(question, typed, offers, &found),
        OuterShell::Zsh => zsh(offers, &found, question.list.unwrap_or(80)),
        OuterShell::Powershell => powershell(typed, &found),
    }
}

/// The line up to the cursor with an offer in place of what was begun.
fn line_with(offer: &Offer, offers: &Offers, typed: &Typed<'_>, shell: OuterShell) -> String {
    let (place, quote) = typed.word.place(offers.from);
    let mut line = typed.before.get(..place).unwrap_or_default().to_owned();
    // A line has blanks: it is quoted from its beginning on.
    let opens = offers.within_line && quote == Quote::Bare && place == typed.word.start;
    let quote = if opens { Quote::Single } else { quote };
    if opens {
        line.push('\'');
    }
    let tilde = quote == Quote::Bare && !offers.within_line && offer.text.starts_with("~/");
    let (home, text) = offer.text.split_at_checked(if tilde { 2 } else { 0 }).unwrap_or(("", &offer.text));
    line.push_str(home);
    line.push_str(&written(text, typed.rules, quote));
    match (offers.within_line, offer.whole) {
        (_, false) => {}
        (true, true) => line.push_str(&written(" ", typed.rules, quote)),
        // PowerShell adds no blank, and readline closes a quote by itself.
        (false, true) if typed.rules == Rules::PowerShell => close(&mut line, quote),
        (false, true) if shell == OuterShell::Bash && quote != Quote::Bare => {}
        (false, true) => {
            close(&mut line, quote);
            line.push(' ');
        }
    }
    line
}

fn close(line: &mut String, quote: Quote) {
    match quote {
        Quote::Bare => {}
        Quote::Single => line.push('\''),
        Quote::Double => line.push('"'),
    }
}

/// The elements of COMPREPLY. readline closes an open quote behind a sole answer: a second one that only adds a blank keeps
/// it open, as what they have in common is the first.
fn bash(question: &Question, typed: &Typed<'_>, offers: &Offers, found: &[(String, &Offer)]) -> String {
    match (found, question.list) {
        ([(sole, _)], _) if offers.within_line && typed.word.open() != Quote::Bare => format!("{sole}\n{sole} \n"),
        ([_, _, ..], Some(width)) => shown(found, width).map(|line| line + "\n").collect(),
        _ => found.iter().map(|(text, _)| format!("{text}\n")).collect(),
    }
}

/// Offers with what they mean, as they are shown one below the other.
fn shown(found: &[(String, &Offer)], width: usize) -> impl Iterator<Item = String> {
    let longest = found.iter().map(|(_, offer)| offer.text.width()).max().unwrap_or(0);
    found.iter().map(move |(_, offer)| {
        if offer.about.is_empty() {
            return offer.text.clone();
        }
        let padded = longest.saturating_sub(offer.text.width());
        let line = format!("{}{:padded$}  -- {}", offer.text, "", offer.about);
        cut(&line, width.saturating_sub(2))
    })
}

/// A text that takes no more columns than that.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |c: &char| {
        let wide = c.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.push('…');
    short
}

/// What is inserted and what is shown, separated by a tab. Without an offer, what is expected.
fn zsh(offers: &Offers, found: &[(String, &Offer)], width: usize) -> String {
    match (&offers.message, found) {
        (Some(message), []) => format!("\t{message}\n"),
        _ => found.iter().zip(shown(found, width)).map(|((text, _), shown)| format!("{text}\t{shown}\n")).collect(),
    }
}

/// What is inserted, what is shown, what it means; the rest of the word behind the cursor is replaced too, so it is part of
/// the answer.
fn powershell(typed: &Typed<'_>, found: &[(String, &Offer)]) -> String {
    let line = |(text, offer): &(String, &Offer)| {
        // A tooltip may not be empty.
        let about = if offer.about.is_empty() { &offer.text } else { &offer.about };
        format!("{text}{}\t{}\t{about}\n", typed.behind, offer.text)
    };
    found.iter().map(line).collect()
}
