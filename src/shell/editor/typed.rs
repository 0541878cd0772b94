//! Lines typed into reedline: the terminal's own [`LineSource`].

use reedline::{
    ColumnarMenu, EditCommand, Emacs, ExternalPrinter, KeyCode, KeyModifiers, MenuBuilder, Reedline, ReedlineEvent,
    ReedlineMenu, Signal, default_emacs_keybindings,
};

use super::completer::Completer;
use super::highlighter::Highlighter;
use super::history::History;
use super::prompt::Prompt;
use super::validator::Validator;
use super::{Line, LineOutcome, LineSource, PromptFacts};
use crate::host::Home;
use crate::shell::view::Screen;

/// What the key for `fg` sends to the loop.
const FOREGROUND: &str = "\u{0}fg";
/// The menu that Tab opens.
const MENU: &str = "completion";
/// How often a terminal that does not answer is asked again.
const TRIES: u32 = 3;
/// Announcements that reedline holds at most; the rest waits in the screen's own queue.
const PRINTER: usize = 20;

/// The editor.
pub struct Editor {
    reedline: Reedline,
    history: History,
    screen: Screen,
    /// The line last read, whose outcome is not known yet.
    line: Option<String>,
}

impl Editor {
    /// An editor that keeps its history in a home.
    #[must_use]
    pub fn new(screen: Screen, home: &Home) -> Self {
        let history = History::open(home.history_file());
        let printer = ExternalPrinter::new(PRINTER);
        let completer = Completer::new(screen.above().clone(), printer.sender());
        let mut keys = default_emacs_keybindings();
        // Reedline's own Ctrl+Z undoes.
        let foreground = ReedlineEvent::ExecuteHostCommand(FOREGROUND.to_owned());
        keys.add_binding(KeyModifiers::CONTROL, KeyCode::Char('z'), foreground);
        let menu = ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext]);
        keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, menu);
        keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
        keys.add_binding(KeyModifiers::CONTROL, KeyCode::Char('u'), ReedlineEvent::Edit(vec![EditCommand::CutFromStart]));
        let reedline = Reedline::create()
            .with_history(Box::new(history.clone()))
            .with_highlighter(Box::new(Highlighter))
            .with_validator(Box::new(Validator))
            .with_completer(Box::new(completer))
            .with_menu(ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU))))
            .with_quick_completions(true)
            .with_edit_mode(Box::new(Emacs::new(keys)))
            .with_external_printer(printer)
            .with_transient_prompt(Box::new(Prompt::transient()))
            .with_ansi_colors(screen.color());
        Self { reedline, history, screen, line: None }
    }

    fn read_line(&mut self, prompt: &Prompt) -> std::io::Result<Signal> {
        let mut tries = 1;
        loop {
            match self.reedline.read_line(prompt) {
                Err(_) if tries < TRIES => tries += 1,
                other => return other.map_err(std::io::Error::other),
            }
        }
    }
}

impl LineSource for Editor {
    fn read(&mut self, facts: &PromptFacts) -> Line {
        self.history.catch_up();
        let prompt = Prompt::new(facts);
        self.screen.above().begin();
        let read = self.read_line(&prompt);
        for text in self.screen.above().end() {
            self.screen.message(&text);
        }
        match read {
            Ok(Signal::Success(text)) => {
                self.line = Some(text.clone());
                Line::Text(text)
            }
            Ok(Signal::HostCommand(command)) if command == FOREGROUND => {
                if self.reedline.current_buffer_contents().is_empty() {
                    // Reedline takes the rows of the prompt for free as long as the cursor stands on them.
                    self.screen.message("fg");
                    Line::Foreground
                } else {
                    Line::Interrupted
                }
            }
            Ok(Signal::CtrlD) => Line::End,
            Ok(_) => Line::Interrupted,
            Err(error) => {
                self.screen.message(&format!("the terminal cannot be read: {error}"));
                Line::End
            }
        }
    }

    fn ended(&mut self, outcome: &LineOutcome) {
        if let Some(line) = self.line.take() {
            self.history.write(&line, outcome);
        }
    }
}
