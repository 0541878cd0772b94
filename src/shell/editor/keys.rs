//! Keys: what each does, by the edit mode and the `keys` of `config.toml`; and what is typed behind a key that ends the line.
//!
//! Reedline takes in all keys that have come, and forgets those behind one that ends its line (Ctrl+C, Ctrl+D, Ctrl+Z, a key
//! that runs a command). Those are held back here and handed on when it reads again: it is woken as by a new size of the
//! terminal, the one thing beside keys that it hears.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossterm::event::{Event, KeyEvent};
use reedline::{
    EditCommand, EditMode, Emacs, KeyCode, KeyModifiers, Keybindings, PromptEditMode, PromptViMode, ReedlineEvent,
    ReedlineRawEvent, Vi, default_emacs_keybindings, default_vi_insert_keybindings, default_vi_normal_keybindings,
    default_vi_visual_keybindings,
};

use crate::config::{Config, EditMode as Mode};
use crate::error::{Exit, Failure, Outcome};
use crate::grammar::read;
use crate::host::terminal;
use crate::protocol::text::is_hostile;

/// The menu that Tab opens.
pub(super) const OFFERS: &str = "offers";
/// The menu that Ctrl+R opens.
pub(super) const LINES: &str = "lines";
/// What the key for `fg` sends to the editor.
pub(super) const FOREGROUND: &str = "\u{0}fg";
/// What the key for help sends to the editor.
pub(super) const HELP: &str = "\u{0}help";

/// What stands on the line for a character that reorders it or cannot be seen: names with such have a `file:///` form.
const UNSEEN: char = char::REPLACEMENT_CHARACTER;
/// Vi's insert mode; nothing to the other.
const INSERT: ReedlineEvent = ReedlineEvent::SwitchMode(PromptEditMode::Vi(PromptViMode::Insert));

/// A name, and what it stands for.
type Action = (&'static str, fn() -> ReedlineEvent);

/// What a key may do beside running a line.
const ACTIONS: [Action; 20] = [
    ("accept-hint", || ReedlineEvent::UntilFound(vec![ReedlineEvent::HistoryHintComplete, ReedlineEvent::Right])),
    ("accept-hint-word", || ReedlineEvent::HistoryHintWordComplete),
    ("clear-screen", || ReedlineEvent::ClearScreen),
    ("complete", || menu(OFFERS)),
    ("cut-to-end", || edit(EditCommand::CutToEnd)),
    ("cut-to-start", || edit(EditCommand::CutFromStart)),
    ("cut-word-left", || edit(EditCommand::CutWordLeft)),
    ("cut-word-right", || edit(EditCommand::CutWordRight)),
    ("foreground", || ReedlineEvent::ExecuteHostCommand(FOREGROUND.to_owned())),
    ("help-at-cursor", || ReedlineEvent::ExecuteHostCommand(HELP.to_owned())),
    ("line-end", || edit(EditCommand::MoveToLineEnd { select: false })),
    ("line-start", || edit(EditCommand::MoveToLineStart { select: false })),
    ("next-line", || ReedlineEvent::UntilFound(vec![ReedlineEvent::MenuDown, ReedlineEvent::Down])),
    ("nothing", || ReedlineEvent::None),
    ("paste-cut", || edit(EditCommand::PasteCutBufferBefore)),
    ("previous-line", || ReedlineEvent::UntilFound(vec![ReedlineEvent::MenuUp, ReedlineEvent::Up])),
    ("redo", || edit(EditCommand::Redo)),
    ("search-history", || menu(LINES)),
    ("undo", || edit(EditCommand::Undo)),
    ("word-left", || edit(EditCommand::MoveWordLeft { select: false })),
];

fn edit(command: EditCommand) -> ReedlineEvent {
    ReedlineEvent::Edit(vec![command])
}

fn menu(name: &str) -> ReedlineEvent {
    ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(name.to_owned()), ReedlineEvent::MenuNext])
}

/// The edit mode that the configuration asks for.
///
/// # Errors
/// When a key or what it is to do is not understood; the message names it.
pub(super) fn mode(config: &Config, held: Held) -> Outcome<Box<dyn EditMode>> {
    let own = config.keys.iter().map(|(chord, does)| binding(chord, does)).collect::<Outcome<Vec<_>>>()?;
    let with_own = |mut keys: Keybindings| {
        bind_common(&mut keys);
        for (modifiers, code, event) in &own {
            keys.add_binding(*modifiers, *code, event.clone());
        }
        keys
    };
    let inner: Box<dyn EditMode> = match config.edit_mode {
        Mode::Emacs => Box::new(Emacs::new(with_own(default_emacs_keybindings()))),
        Mode::Vi => {
            let (insert, normal) = (default_vi_insert_keybindings(), default_vi_normal_keybindings());
            Box::new(Vi::new(with_own(insert), with_own(normal), default_vi_visual_keybindings()))
        }
    };
    Ok(Box::new(Keys { inner, held }))
}

/// Holds the keys of a configuration to be understood, as [`mode`] does.
///
/// # Errors
/// As [`mode`].
pub fn check(keys: &BTreeMap<String, String>) -> Outcome<()> {
    keys.iter().try_for_each(|(chord, does)| binding(chord, does).map(|_| ()))
}

/// What this shell's keys do in every mode.
fn bind_common(keys: &mut Keybindings) {
    let host = |command: &str| ReedlineEvent::ExecuteHostCommand(command.to_owned());
    // Reedline's own Ctrl+Z undoes.
    keys.add_binding(KeyModifiers::CONTROL, KeyCode::Char('z'), host(FOREGROUND));
    keys.add_binding(KeyModifiers::NONE, KeyCode::F(1), host(HELP));
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, menu(OFFERS));
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    keys.add_binding(KeyModifiers::NONE, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    keys.add_binding(KeyModifiers::CONTROL, KeyCode::Char('r'), menu(LINES));
    keys.add_binding(KeyModifiers::CONTROL, KeyCode::Char('u'), edit(EditCommand::CutFromStart));
    // A line feed ends a line as the return key does.
    keys.add_binding(KeyModifiers::CONTROL, KeyCode::Char('j'), ReedlineEvent::Enter);
    // There is no program to edit a line in.
    keys.add_binding(KeyModifiers::CONTROL, KeyCode::Char('o'), ReedlineEvent::None);
}

fn binding(chord: &str, does: &str) -> Outcome<(KeyModifiers, KeyCode, ReedlineEvent)> {
    let wrong = |why: String| Failure::new(Exit::NotUnderstood, "config", format!("keys in config.toml: {why}"));
    let (modifiers, code) = key(chord).ok_or_else(|| {
        wrong(format!(
            "`{chord}` is no key that can be set: write ctrl+t, alt+f, shift+tab, f5, ctrl+left; a letter alone cannot"
        ))
    })?;
    if let Some((_, event)) = ACTIONS.iter().find(|(name, _)| *name == does) {
        return Ok((modifiers, code, event()));
    }
    let reading = read(does, None);
    if let Some(error) = reading.error() {
        let names: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
        let message = format!("{chord} = `{does}` is neither a line ({}) nor one of {}", error.message, names.join(", "));
        return Err(wrong(message));
    }
    Ok((modifiers, code, ReedlineEvent::ExecuteHostCommand(does.to_owned())))
}

/// A chord as it is written: `ctrl+t`, `alt+shift+left`, `f5`.
fn key(chord: &str) -> Option<(KeyModifiers, KeyCode)> {
    let chord = chord.to_ascii_lowercase();
    let mut parts: Vec<&str> = chord.split('+').map(str::trim).collect();
    let name = parts.pop()?;
    let mut modifiers = KeyModifiers::NONE;
    for part in parts {
        modifiers |= match part {
            "ctrl" | "control" => KeyModifiers::CONTROL,
            "alt" | "meta" => KeyModifiers::ALT,
            "shift" => KeyModifiers::SHIFT,
            _ => return None,
        };
    }
    let mut chars = name.chars();
    let code = match (chars.next(), chars.next()) {
        (Some(c), None) if modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => KeyCode::Char(c),
        (Some('f'), Some(_)) => KeyCode::F(name.strip_prefix('f')?.parse().ok().filter(|n| (1..=24).contains(n))?),
        _ => match name {
            "tab" if modifiers.contains(KeyModifiers::SHIFT) => KeyCode::BackTab,
            "tab" => KeyCode::Tab,
            "space" if modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => KeyCode::Char(' '),
            "up" => KeyCode::Up,
            "down" => KeyCode::Down,
            "left" => KeyCode::Left,
            "right" => KeyCode::Right,
            "home" => KeyCode::Home,
            "end" => KeyCode::End,
            "pageup" => KeyCode::PageUp,
            "pagedown" => KeyCode::PageDown,
            "insert" => KeyCode::Insert,
            "delete" => KeyCode::Delete,
            _ => return None,
        },
    };
    // Without these nobody could clear a line, or leave.
    let is_kept = modifiers == KeyModifiers::CONTROL && matches!(code, KeyCode::Char('c' | 'd'));
    (!is_kept).then_some((modifiers, code))
}

/// The keys that are held back. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Held(Arc<Mutex<HeldKeys>>);

#[derive(Default)]
struct HeldKeys {
    keys: VecDeque<ReedlineRawEvent>,
    /// A key has come that may end the line: what comes behind it is held.
    may_end: bool,
    /// How many events were handed on of those that reedline took in together.
    passed: usize,
    /// What was held back is among them.
    is_released: bool,
}

impl Held {
    /// A line is read from now on.
    pub(super) fn begin(&self) {
        let mut held = self.locked();
        *held = HeldKeys { keys: std::mem::take(&mut held.keys), ..HeldKeys::default() };
    }

    /// Wakes reedline where there is something to hand on. Called at each of its turns: one that it hears together with a key
    /// may be lost.
    pub(super) fn nudge(&self) {
        if !self.locked().keys.is_empty() {
            terminal::wake();
        }
    }

    fn locked(&self) -> MutexGuard<'_, HeldKeys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldKeys {
    /// Whether a key has to wait until those before it are done with.
    fn waits(&self, event: &Event, mode: &PromptEditMode) -> bool {
        // Reedline takes what was inserted before the end of vi's insert mode for typed behind it.
        let is_insert = matches!(mode, PromptEditMode::Vi(PromptViMode::Insert));
        let is_escape = matches!(event, Event::Key(key) if key.code == KeyCode::Esc);
        self.may_end || is_insert && is_escape && self.passed > 0
    }
}

struct Keys {
    inner: Box<dyn EditMode>,
    held: Held,
}

impl Keys {
    /// What was held back, up to the next key that may end the line.
    fn released(&mut self, first: ReedlineEvent) -> ReedlineEvent {
        let held = self.held.clone();
        let mut held = held.locked();
        held.is_released = true;
        held.may_end = false;
        let mut events = vec![first];
        while let Some(key) = held.keys.pop_front() {
            let event = Event::from(key);
            let waits = held.waits(&event, &self.inner.edit_mode());
            let Ok(key) = ReedlineRawEvent::try_from(event) else { continue };
            if waits {
                held.keys.push_front(key);
                break;
            }
            let event = self.inner.parse_event(key);
            if matches!(event, ReedlineEvent::CtrlC) {
                self.inner.handle_mode_specific_event(INSERT);
            }
            held.passed += 1;
            held.may_end = may_end(&event);
            events.push(event);
        }
        ReedlineEvent::Multiple(events)
    }
}

impl EditMode for Keys {
    fn parse_event(&mut self, event: ReedlineRawEvent) -> ReedlineEvent {
        let event = match Event::from(event) {
            Event::Paste(text) => Event::Paste(pasted(&text)),
            Event::Key(KeyEvent { code: KeyCode::Char(c), modifiers, kind, state }) if is_hostile(c) => {
                Event::Key(KeyEvent { code: KeyCode::Char(UNSEEN), modifiers, kind, state })
            }
            other => other,
        };
        let is_wake = matches!(event, Event::Resize(..));
        let (waits, releases) = {
            let held = self.held.locked();
            let waits = !is_wake && (!held.keys.is_empty() || held.waits(&event, &self.inner.edit_mode()));
            (waits, is_wake && !held.is_released && !held.keys.is_empty())
        };
        let Ok(event) = ReedlineRawEvent::try_from(event) else { return ReedlineEvent::None };
        if waits {
            self.held.locked().keys.push_back(event);
            return ReedlineEvent::None;
        }
        let event = self.inner.parse_event(event);
        if matches!(event, ReedlineEvent::CtrlC) {
            // The next line begins as every line does: where letters are letters.
            self.inner.handle_mode_specific_event(INSERT);
        }
        if releases {
            return self.released(event);
        }
        let mut held = self.held.locked();
        held.passed += usize::from(!is_wake);
        held.may_end |= may_end(&event);
        event
    }

    /// Asked by reedline behind the last of the events that it took in together, and before the next.
    fn edit_mode(&self) -> PromptEditMode {
        let mut held = self.held.locked();
        (held.passed, held.is_released, held.may_end) = (0, false, false);
        self.inner.edit_mode()
    }
}

/// Whether what comes behind an event has to wait until it is done with: reedline may stop reading there.
fn may_end(event: &ReedlineEvent) -> bool {
    match event {
        ReedlineEvent::CtrlC
        | ReedlineEvent::CtrlD
        | ReedlineEvent::ExecuteHostCommand(_)
        | ReedlineEvent::Enter
        | ReedlineEvent::Submit
        | ReedlineEvent::SubmitOrNewline
        // A menu moves only once it is drawn.
        | ReedlineEvent::MenuNext
        | ReedlineEvent::MenuPrevious
        | ReedlineEvent::MenuUp
        | ReedlineEvent::MenuDown => true,
        ReedlineEvent::Multiple(events) | ReedlineEvent::UntilFound(events) => events.iter().any(may_end),
        _ => false,
    }
}

/// A pasted text as it is put on the line: line ends as line feeds, none at its end (the return key runs it), tabs as blanks,
/// and nothing in it that a terminal would obey, or that shows another line than the one that runs.
fn pasted(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\t', " ");
    let text = text.chars().filter(|c| *c == '\n' || !c.is_control());
    let text: String = text.map(|c| if c != '\n' && is_hostile(c) { UNSEEN } else { c }).collect();
    text.trim_end_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chords_are_read_as_they_are_written() {
        let check = |chord: &str, wanted| assert_eq!(key(chord), wanted, "{chord}");
        check("ctrl+t", Some((KeyModifiers::CONTROL, KeyCode::Char('t'))));
        check("Alt+F", Some((KeyModifiers::ALT, KeyCode::Char('f'))));
        check("shift+tab", Some((KeyModifiers::SHIFT, KeyCode::BackTab)));
        check("f12", Some((KeyModifiers::NONE, KeyCode::F(12))));
        check("ctrl+shift+left", Some((KeyModifiers::CONTROL | KeyModifiers::SHIFT, KeyCode::Left)));
        for none in ["x", "ctrl+c", "ctrl+d", "hyper+x", "f0", "f99", "", "ctrl+", "shift+x", "enter"] {
            check(none, None);
        }
    }

    #[test]
    fn what_a_key_is_to_do_is_an_action_or_a_line() {
        let check = |chord: &str, does: &str| check(&BTreeMap::from([(chord.to_owned(), does.to_owned())]));
        check("ctrl+t", "jobs").unwrap();
        check("alt+p", "processes -sort -cpu_time_ms -first 10").unwrap();
        check("ctrl+o", "search-history").unwrap();
        let wrong = |chord, does| check(chord, does).unwrap_err().problem.message;
        assert!(wrong("ctrl+t", "jbos").contains("`jbos` is neither a line"), "{}", wrong("ctrl+t", "jbos"));
        assert!(wrong("t", "jobs").contains("`t` is no key"), "{}", wrong("t", "jobs"));
    }

    #[test]
    fn a_paste_holds_nothing_that_a_terminal_obeys() {
        assert_eq!(pasted("dir\r\njobs\rstatus\t2\n\x1b[2J\u{9b}x\n\n"), "dir\njobs\nstatus 2\n[2Jx");
        assert_eq!(pasted("cat /tmp/a\u{202e}b \u{200b}\u{feff}größe 文件"), "cat /tmp/a\u{fffd}b \u{fffd}\u{fffd}größe 文件");
    }
}
