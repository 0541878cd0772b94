//! A line of the live response language, within a word of the shell outside.

use super::{Offer, Offers, places};
use crate::grammar::{Expected, ExpectedValue, Kind, Row, expected_at, has_open_quote, quoted, table};
use crate::host::Home;
use crate::protocol::PlatformName;

/// What may stand at the end of the line typed so far; of several, of the last.
pub(super) fn offers(lines: &str, platform: Option<PlatformName>, home: Option<&Home>) -> Offers {
    let start = last_line(lines);
    let line = lines.get(start..).unwrap_or_default();
    let expected = expected_at(line, line.len(), platform);
    let mut list = Vec::new();
    for row in &expected.commands {
        list.extend(command(row, &expected.typed));
    }
    for value in &expected.values {
        list.extend(values(value, &expected, platform, home));
    }
    if expected.target {
        list.extend(places::files(&expected.typed).into_iter().map(|file| Offer { text: quoted_so(&file, &expected), ..file }));
    }
    if expected.quote.is_none() {
        let named = |name: &str, about: &str| Offer::new(format!("-{name}"), about);
        let dashed = expected.typed.starts_with('-') || expected.typed.is_empty();
        let flags = expected.flags.iter().map(|flag| named(&flag.name, &flag.summary));
        let names = expected.names.iter().map(|param| named(&param.name, &param.summary));
        list.extend(flags.chain(names).filter(|offer| dashed && offer.text.starts_with(&expected.typed)));
    }
    let message = match expected.values.first() {
        _ if expected.target => Some("the file that the answer goes to".to_owned()),
        Some(value) => Some(format!("{}: {}", value.parameter.name, value.parameter.summary)),
        None => None,
    };
    Offers { from: start + expected.span.start, list, within_line: true, message }
}

/// Where the last line begins: a line end within quotes ends none.
fn last_line(lines: &str) -> usize {
    let ends = lines.match_indices('\n').map(|(at, _)| at);
    ends.fold(0, |start, end| if has_open_quote(lines.get(start..end).unwrap_or_default()) { start } else { end + 1 })
}

/// A command by its name, or by an alias when that is what was begun.
fn command(row: &Row, typed: &str) -> Option<Offer> {
    let typed = typed.to_ascii_lowercase();
    let mut names = std::iter::once(&row.name).chain(&row.aliases);
    let name = names.find(|name| name.starts_with(&typed))?;
    Some(Offer::new(name, row.summary.as_str()))
}

fn values(value: &ExpectedValue, expected: &Expected, platform: Option<PlatformName>, home: Option<&Home>) -> Vec<Offer> {
    let typed = expected.typed.to_ascii_lowercase();
    let about = value.parameter.summary.as_str();
    let mut list: Vec<Offer> = value.choices.iter().map(|choice| Offer::new(*choice, about)).collect();
    for field in value.fields {
        let whole = value.kind != Kind::Fields;
        let about = field.title.as_ref().filter(|title| **title != field.key).map_or(String::new(), ToString::to_string);
        list.push(Offer { text: field.key.clone(), about, whole });
    }
    match value.kind {
        Kind::Command => {
            let there = |row: &&Row| platform.is_none_or(|platform| row.platforms.contains(&platform));
            list.extend(table().rows().iter().filter(there).filter_map(|row| command(row, &typed)));
        }
        Kind::Device => list.extend(places::devices(home)),
        Kind::LocalPath => {
            return places::files(&expected.typed)
                .into_iter()
                .map(|file| Offer { text: quoted_so(&file, expected), ..file })
                .collect();
        }
        _ if matches!(
            (expected.row.map(|row| row.name.as_str()), value.parameter.name.as_str()),
            (Some("run"), "script") | (Some("putfile" | "library"), "file")
        ) =>
        {
            list.extend(places::library(home));
        }
        _ => {}
    }
    list.retain(|offer| offer.text.to_ascii_lowercase().starts_with(&typed));
    for offer in &mut list {
        offer.text = quoted_so(offer, expected);
    }
    list
}

/// An offer as the line takes it: in the quote that is open, or in one where it needs it. What is not whole is left open.
fn quoted_so(offer: &Offer, expected: &Expected) -> String {
    let text = match expected.quote {
        Some(quote) => format!("{quote}{}{quote}", offer.text.replace(quote, &format!("{quote}{quote}"))),
        None => quoted(&offer.text),
    };
    let is_quoted = text != offer.text;
    match text.strip_suffix(['"', '\'']).filter(|_| is_quoted && !offer.whole) {
        Some(open) => open.to_owned(),
        None => text,
    }
}
