//! What may be inserted at the cursor: from the table what it names itself, and from the device, the service and the disk what
//! only they can tell.

use reedline::{Span, Suggestion};
use unicode_width::UnicodeWidthStr;

use super::answers::{Answers, Known};
use super::path;
use super::{Candidate, Facts, Found, Surroundings, Wanted};
use crate::grammar::{Expected, ExpectedValue, Kind, Row, quoted_in, table};
use crate::protocol::PlatformName;
use crate::protocol::text::{is_hostile, is_plain};
use crate::shell::view::{clean, duration};

/// A menu shows no more than this; more is not looked through but typed on.
const MOST: usize = 1000;
/// A description is cut here.
const MAX_DESCRIPTION: usize = 120;

/// The root keys of a registry and their short names.
const ROOTS: [(&str, &str); 5] = [
    ("HKEY_LOCAL_MACHINE", "HKLM"),
    ("HKEY_CURRENT_USER", "HKCU"),
    ("HKEY_USERS", "HKU"),
    ("HKEY_CLASSES_ROOT", "HKCR"),
    ("HKEY_CURRENT_CONFIG", "HKCC"),
];

/// What may stand at the cursor.
#[derive(Default)]
pub(super) struct Offers {
    pub(super) list: Vec<Suggestion>,
    /// Somebody was asked, and has not answered.
    pub(super) is_pending: bool,
    /// What to say where there is nothing to offer.
    pub(super) note: String,
}

/// What may stand at the place that was asked about.
pub(super) fn offers(expected: &Expected, facts: &Facts, answers: &Answers, around: &dyn Surroundings) -> Offers {
    let mut at = At { expected, facts, answers, around, offers: Offers::default() };
    at.commands();
    for value in &expected.values {
        at.value(value);
    }
    if expected.target {
        at.files();
    }
    at.names();
    at.note();
    at.offers.list.truncate(MOST);
    at.offers
}

struct At<'a> {
    expected: &'a Expected,
    facts: &'a Facts,
    answers: &'a Answers,
    around: &'a dyn Surroundings,
    offers: Offers,
}

impl At<'_> {
    fn suggestion(&self, value: String, shown: &str, description: &str) -> Suggestion {
        let description: String = clean::line(description).chars().take(MAX_DESCRIPTION).collect();
        let typed = path::split(&self.expected.typed, self.facts.platform).1;
        let is_match = !typed.is_empty() && shown.to_lowercase().starts_with(&typed.to_lowercase());
        Suggestion {
            value,
            display_override: Some(clean::line(shown).into_owned()),
            description: Some(description),
            span: Span::new(self.expected.span.start, self.expected.span.end),
            append_whitespace: true,
            match_indices: Some(if is_match { (0..typed.chars().count()).collect() } else { Vec::new() }),
            ..Suggestion::default()
        }
    }

    fn begins_so(&self, text: &str) -> bool {
        text.to_lowercase().starts_with(&self.expected.typed.to_lowercase())
    }

    fn may_run(&self, row: &Row) -> bool {
        self.facts.roles.is_empty() || row.roles().any(|role| role.is_held(&self.facts.roles))
    }

    /// The commands, by their name, or by an alias when that is what was begun.
    fn commands(&mut self) {
        for row in &self.expected.commands {
            self.command(row);
        }
    }

    fn command(&mut self, row: &Row) {
        let mut names = std::iter::once(&row.name).chain(&row.aliases);
        let name = names.find(|name| self.begins_so(name));
        // What another shell calls it, whole, leads to what it is here.
        let is_known_as = || row.known_as.iter().any(|name| name.eq_ignore_ascii_case(&self.expected.typed));
        if let Some(name) = name.or_else(|| is_known_as().then_some(&row.name)).filter(|_| self.may_run(row)) {
            let offer = self.suggestion(name.clone(), name, &row.summary);
            self.offers.list.push(offer);
        }
    }

    /// Parameters and flags by name.
    fn names(&mut self) {
        let expected = self.expected;
        if expected.quote.is_some() || !expected.typed.is_empty() && !expected.typed.starts_with('-') {
            return;
        }
        let flags = expected.flags.iter().map(|flag| (&flag.name, &flag.summary));
        let names = expected.names.iter().map(|name| (&name.name, &name.summary));
        for (name, summary) in flags.chain(names) {
            let text = format!("-{name}");
            if self.begins_so(&text) {
                let mut offer = self.suggestion(text.clone(), &text, summary);
                offer.match_indices = Some((0..expected.typed.chars().count()).collect());
                self.offers.list.push(offer);
            }
        }
    }

    fn value(&mut self, value: &ExpectedValue) {
        for choice in &value.choices {
            if !self.begins_so(choice) {
                continue;
            }
            let offer = self.suggestion(quoted_in(choice, self.expected.quote), choice, &value.parameter.summary);
            self.offers.list.push(offer);
        }
        let named = self.expected.given.get("columns").filter(|_| value.kind == Kind::Fields);
        let is_named = |key: &str| named.is_some_and(|list| list.split(',').any(|named| named == key));
        for field in value.fields {
            if !self.begins_so(&field.key) || is_named(&field.key) {
                continue;
            }
            let about = field.title.as_deref().unwrap_or(if field.shown { "shown by default" } else { "" });
            let mut offer = self.suggestion(quoted_in(&field.key, self.expected.quote), &field.key, about);
            // A comma and another field may follow.
            offer.append_whitespace = value.kind != Kind::Fields;
            self.offers.list.push(offer);
        }
        match value.kind {
            Kind::Command => {
                let there = |row: &&Row| self.facts.platform.is_none_or(|platform| row.platforms.contains(&platform));
                for row in table().rows().iter().filter(there) {
                    self.command(row);
                }
            }
            Kind::Path => self.paths(),
            Kind::LocalPath => self.files(),
            _ => {
                if let Some(wanted) = self.wanted(value) {
                    let only_running = matches!(self.row(), "fg" | "cancel");
                    self.values(&wanted, |candidate| !only_running || candidate.is_running);
                }
            }
        }
    }

    fn row(&self) -> &'static str {
        self.expected.row.map_or("", |row| row.name.as_str())
    }

    /// Where the values of a parameter come from that is no path.
    fn wanted(&mut self, value: &ExpectedValue) -> Option<Wanted> {
        let name = value.parameter.name.as_str();
        let entity = self.expected.given.get("type").map_or("", String::as_str);
        match (self.row(), name) {
            ("undo", "number") => Some(Wanted::Effects),
            ("undo", "id") => Some(Wanted::Targets(entity.to_owned())),
            ("remediate" | "analyze", "id") => match entity {
                "process" => Some(Wanted::Processes),
                "service" => Some(Wanted::Services),
                "scheduledtask" => Some(Wanted::Tasks),
                "startupfolder" => Some(Wanted::StartupItems),
                "file" => {
                    self.paths();
                    None
                }
                _ => None,
            },
            ("scheduledtasks", "task") => Some(Wanted::Tasks),
            ("processes", "name") => Some(Wanted::ProcessNames),
            ("devices", "filter") => Some(Wanted::Devices),
            ("registry", "path") => {
                self.registry();
                None
            }
            ("run", "parameters") => {
                self.usage();
                None
            }
            ("library", "name") => {
                self.new_name();
                None
            }
            ("run", "script") | ("putfile" | "library", "file") => Some(Wanted::Library),
            _ => match value.kind {
                Kind::Pid => Some(Wanted::Processes),
                Kind::CommandId => Some(Wanted::Commands),
                Kind::Device => Some(Wanted::Devices),
                _ => None,
            },
        }
    }

    /// Values that are no paths: those that begin so, else those that have it in them or in what they are.
    fn values(&mut self, wanted: &Wanted, wants: impl Fn(&Candidate) -> bool) {
        let Some((found, age)) = self.known(wanted) else { return };
        let typed = self.expected.typed.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&typed);
        let all = || found.candidates.iter().filter(|one| wants(one) && !one.value.chars().any(is_hostile));
        let mut fitting: Vec<&Candidate> = all().filter(|one| self.begins_so(&one.value)).collect();
        if fitting.is_empty() {
            fitting = all().filter(|one| has(&one.value) || has(&one.description)).collect();
        }
        for one in fitting.into_iter().take(MOST) {
            let value = quoted_in(&one.value, self.expected.quote);
            let offer = self.suggestion(value, &one.value, &aged(&one.description, age));
            self.offers.list.push(offer);
        }
    }

    /// Paths of the device.
    fn paths(&mut self) {
        if self.facts.device.is_none() {
            "paths come from the device, and none is connected: connect, or any command for it"
                .clone_into(&mut self.offers.note);
            return;
        }
        let typed = self.expected.typed.as_str();
        let (folder, name) = path::split(typed, self.facts.platform);
        let directory = if path::is_absolute(folder, self.facts.platform) { "/" } else { &self.facts.directory };
        // Of a folder that is too large to be told, only what begins so.
        let mut begins = String::new();
        let mut rest = name.chars();
        loop {
            let (directory, path) = (directory.to_owned(), folder.to_owned());
            let wanted = Wanted::Folder { directory, path, begins: begins.clone() };
            let Some((found, age)) = self.known(&wanted) else { return };
            match rest.next().filter(|_| found.more && !path::is_uri(folder)) {
                Some(next) => begins.push(next),
                None => return self.entries(&found, age, folder, name, self.facts.platform),
            }
        }
    }

    /// Paths of this machine.
    fn files(&mut self) {
        let typed = self.expected.typed.as_str();
        let (folder, name) = path::split(typed, None);
        if let Some((found, age)) = self.known(&Wanted::LocalFolder(folder.to_owned())) {
            self.entries(&found, age, folder, name, None);
        }
    }

    /// The entries of a folder whose name begins so: as typed, else in any case. Hidden ones when that is what was begun.
    fn entries(&mut self, found: &Found, age: Option<Age>, folder: &str, name: &str, platform: Option<PlatformName>) {
        let lower = name.to_lowercase();
        let shown = |one: &&Candidate| !one.value.starts_with('.') || name.starts_with('.');
        let fits = |one: &&Candidate| {
            one.value.starts_with(name) || path::is_uri(folder) && path::encoded(&one.value).starts_with(name)
        };
        let mut fitting: Vec<&Candidate> = found.candidates.iter().filter(shown).filter(fits).collect();
        if fitting.is_empty() {
            let fits = |one: &&Candidate| one.value.to_lowercase().starts_with(&lower);
            fitting = found.candidates.iter().filter(shown).filter(fits).collect();
        }
        for one in fitting.into_iter().take(MOST) {
            let end = if one.is_folder { String::from(path::separator(folder, platform)) } else { String::new() };
            let is_typable = is_plain(one.value.as_bytes()) && !path::is_uri(folder);
            let value = if is_typable {
                quoted_in(&format!("{folder}{}{end}", one.value), self.expected.quote)
            } else if let Some(exact) = &one.exact {
                format!("{}{}", exact.trim_end_matches('/'), if one.is_folder { "/" } else { "" })
            } else if path::is_uri(folder) {
                format!("{folder}{}{end}", path::encoded(&one.value))
            } else {
                continue;
            };
            let mut offer = self.suggestion(value, &format!("{}{end}", one.value), &aged(&one.description, age));
            offer.append_whitespace = !one.is_open;
            self.offers.list.push(offer);
        }
    }

    /// Keys of the registry, and the values in one: those stand behind two backslashes.
    fn registry(&mut self) {
        let typed = self.expected.typed.clone();
        let Some((key, name)) = typed.rsplit_once('\\') else {
            for (long, short) in ROOTS {
                let root = [(long, short), (short, long)].into_iter().find(|(root, _)| self.begins_so(root));
                let Some((root, about)) = root else { continue };
                let root = format!("{root}\\");
                let mut offer = self.suggestion(quoted_in(&root, self.expected.quote), &root, about);
                offer.append_whitespace = false;
                self.offers.list.push(offer);
            }
            return;
        };
        let (key, is_value) = key.strip_suffix('\\').map_or((key, false), |key| (key, true));
        let Some((found, age)) = self.known(&Wanted::Registry(key.to_owned())) else { return };
        let name = name.to_lowercase();
        let fits = |one: &&Candidate| one.value.to_lowercase().starts_with(&name) && !one.value.chars().any(is_hostile);
        let of_kind = |one: &&Candidate| !(is_value && one.is_folder);
        for one in found.candidates.iter().filter(of_kind).filter(fits).take(MOST) {
            let (value, shown) = if one.is_folder {
                (format!("{key}\\{}\\", one.value), format!("{}\\", one.value))
            } else {
                (format!("{key}\\\\{}", one.value), one.value.clone())
            };
            let mut offer = self.suggestion(quoted_in(&value, self.expected.quote), &shown, &aged(&one.description, age));
            offer.append_whitespace = !one.is_open;
            self.offers.list.push(offer);
        }
    }

    /// What the script that is to run says of its parameters: nothing to insert, but to read.
    fn usage(&mut self) {
        let Some(script) = self.expected.given.get("script").cloned() else { return };
        let Some((found, _)) = self.known(&Wanted::Library) else { return };
        let usage = found.candidates.iter().find(|one| one.value == script).and_then(|one| one.usage.as_deref());
        if let Some(usage) = usage {
            self.offers.note = format!("{}: {}", clean::line(&script), clean::line(usage));
        }
    }

    /// The name that a file has which goes to the library.
    fn new_name(&mut self) {
        let Some(file) = self.expected.given.get("file") else { return };
        let name = file.rsplit('/').next().unwrap_or_default().to_owned();
        if !name.is_empty() && self.begins_so(&name) {
            let offer = self.suggestion(quoted_in(&name, self.expected.quote), &name, "as the file is called");
            self.offers.list.push(offer);
        }
    }

    fn known(&mut self, wanted: &Wanted) -> Option<(std::sync::Arc<Found>, Option<Age>)> {
        match self.answers.of(wanted, self.around) {
            Known::Found(found, age) => Some((found, age)),
            Known::Not(why) => {
                self.offers.note = why;
                None
            }
            Known::Asked => {
                self.offers.is_pending = true;
                let whom = match wanted {
                    Wanted::Library | Wanted::Devices | Wanted::Commands => "the service",
                    Wanted::LocalFolder(_) => "the disk",
                    _ => self.facts.device.as_deref().unwrap_or("the device"),
                };
                self.offers.note = format!("asking {whom} …");
                None
            }
        }
    }

    /// What to say where nothing is offered.
    fn note(&mut self) {
        if !self.offers.list.is_empty() || !self.offers.note.is_empty() {
            return;
        }
        let typed = clean::line(&self.expected.typed);
        let about = self.expected.values.first().map(|value| {
            let shape = match value.kind {
                Kind::Size => ": 10M, +10M for at least, -10M for at most",
                Kind::Age => ": -2d for the last two days, +2d for before, or a time",
                Kind::Duration => ": 30m, 2h, 1d",
                Kind::Count => ": a number",
                _ => "",
            };
            format!("{}: {}{shape}", value.parameter.name, value.parameter.summary)
        });
        self.offers.note = match about {
            Some(about) if typed.is_empty() => about,
            Some(about) => format!("nothing known begins with {typed} ({about})"),
            None if self.expected.target => "the file that the answer goes to".to_owned(),
            None if typed.is_empty() => "nothing more can stand here".to_owned(),
            None => format!("nothing known begins with {typed}"),
        };
    }
}

type Age = std::time::Duration;

/// A description with the age of what it says, where that is not of now.
fn aged(description: &str, age: Option<Age>) -> String {
    let Some(age) = age else { return description.to_owned() };
    let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let gap = if description.width() == 0 { "" } else { "  " };
    format!("{description}{gap}({} ago)", duration(millis - millis % 1000).replace(".00s", "s").replace(".0s", "s"))
}
