//! The program's own arguments: what `clap` would take at the cursor.

use clap::{Arg, ArgAction, Command, CommandFactory, ValueHint};

use super::quoting::Typed;
use super::{Offer, Offers, line, places};
use crate::cli::Cli;
use crate::grammar::table;
use crate::host::Home;
use crate::protocol::PlatformName;

/// What may stand at the cursor.
pub(super) fn offers(typed: &Typed<'_>, home: Option<&Home>) -> Offers {
    let mut program = Cli::command();
    program.build();
    let mut at = At { command: &program, seen: Vec::new(), positional: 0, waiting: None, only_values: false, platform: None };
    for word in typed.words.iter().skip(1) {
        at.pass(word);
    }
    at.offers(&typed.word.text, home)
}

/// How far the words before the cursor lead.
struct At<'c> {
    command: &'c Command,
    /// The options given.
    seen: Vec<&'c str>,
    /// How many bare values were given.
    positional: usize,
    /// The option whose value comes next.
    waiting: Option<&'c Arg>,
    /// `--` was given.
    only_values: bool,
    /// What `--platform` says.
    platform: Option<PlatformName>,
}

impl<'c> At<'c> {
    /// Goes on behind a word.
    fn pass(&mut self, word: &str) {
        if let Some(option) = self.waiting.take() {
            self.given(option, word);
        } else if self.only_values || !word.starts_with('-') || word == "-" {
            match self.command.find_subcommand(word).filter(|_| self.may_be_subcommand()) {
                Some(command) => (self.command, self.positional) = (command, 0),
                None => self.positional += 1,
            }
        } else if word == "--" {
            self.only_values = true;
        } else if let Some((option, value)) = self.option(word) {
            self.seen.push(option.get_id().as_str());
            match value {
                Some(value) => self.given(option, value),
                None if takes_value(option) => self.waiting = Some(option),
                None => {}
            }
        }
    }

    fn given(&mut self, option: &Arg, value: &str) {
        if option.get_id() == "platform" {
            self.platform = value.parse().ok();
        }
    }

    /// A subcommand comes first of all, and an option of the shell rules it out.
    fn may_be_subcommand(&self) -> bool {
        self.positional == 0 && !self.only_values && self.seen.is_empty()
    }

    /// The option that a word names, and the value that it carries.
    fn option<'w>(&self, word: &'w str) -> Option<(&'c Arg, Option<&'w str>)> {
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let option = self.command.get_arguments().find(|option| option.get_long() == Some(name))?;
            return Some((option, value));
        }
        let mut chars = word.strip_prefix('-')?.chars();
        while let Some(short) = chars.next() {
            let option = self.command.get_arguments().find(|option| option.get_short() == Some(short))?;
            let rest = chars.as_str();
            if takes_value(option) || rest.is_empty() {
                return Some((option, Some(rest).filter(|rest| !rest.is_empty())));
            }
        }
        None
    }

    fn offers(&self, word: &str, home: Option<&Home>) -> Offers {
        if let Some(option) = self.waiting {
            return self.values(option, word, 0, home);
        }
        let bare = self.only_values || !word.starts_with('-');
        if !bare && let Some((option, Some(value))) = self.option(word) {
            return self.values(option, value, word.len() - value.len(), home);
        }
        let takes_dashes = |value: &Arg| value.is_allow_hyphen_values_set();
        let value = self.command.get_positionals().nth(self.positional.min(self.last_positional()));
        let value = value.filter(|value| self.positional == 0 || many(value));
        let mut offers = match value.filter(|value| bare || takes_dashes(value) && word.contains(' ')) {
            Some(value) => self.values(value, word, 0, home),
            None => Offers::default(),
        };
        let mut more = Vec::new();
        if bare && self.may_be_subcommand() {
            let commands = self.command.get_subcommands().filter(|command| !command.is_hide_set());
            more.extend(commands.map(|command| Offer::new(command.get_name(), about(command.get_about()))));
        }
        if !self.only_values && word.starts_with('-') {
            more.extend(self.options());
        }
        more.retain(|offer| offer.text.starts_with(word));
        offers.list.splice(0..0, more);
        offers
    }

    fn last_positional(&self) -> usize {
        self.command.get_positionals().count().saturating_sub(1)
    }

    /// The options that are not given yet, or may be given again.
    fn options(&self) -> impl Iterator<Item = Offer> {
        let open = |option: &&Arg| !option.is_hide_set() && (many(option) || !self.seen.contains(&option.get_id().as_str()));
        let named = |option: &Arg| {
            let name = match (option.get_long(), option.get_short()) {
                (Some(long), _) => format!("--{long}"),
                (None, Some(short)) => format!("-{short}"),
                (None, None) => return None,
            };
            Some(Offer::new(name, about(option.get_help())))
        };
        self.command.get_arguments().filter(open).filter_map(named)
    }

    /// What an option or a positional argument takes; `from` is where its value begins in the word.
    fn values(&self, arg: &Arg, typed: &str, from: usize, home: Option<&Home>) -> Offers {
        let name = arg.get_value_names().and_then(<[_]>::first).map_or("", |name| name.as_str());
        let mut offers = match name {
            "LINE" => line::offers(typed, self.platform, home),
            "COMMAND" => Offers { list: commands(), ..Offers::default() },
            "DEVICE" => Offers { list: places::devices(home), ..Offers::default() },
            _ => Offers::default(),
        };
        if matches!(arg.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath) {
            offers.list = places::files(typed);
        }
        for value in arg.get_possible_values().iter().filter(|value| !value.is_hide_set()) {
            offers.list.push(Offer::new(value.get_name(), about(value.get_help())));
        }
        if name != "LINE" {
            offers.list.retain(|offer| offer.text.starts_with(typed));
            offers.message = Some(about(arg.get_help()));
        }
        offers.from += from;
        offers
    }
}

/// The commands of the shell.
fn commands() -> Vec<Offer> {
    table().rows().iter().map(|row| Offer::new(row.name.as_str(), row.summary.as_str())).collect()
}

fn takes_value(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::Set | ArgAction::Append)
}

fn many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}
