//! Lines typed into reedline: the terminal's own [`LineSource`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use reedline::{EditCommand, ExternalPrinter, Reedline, ReedlineMenu, Signal};

use super::answers::Answers;
use super::completer::{Completer, Note, Nothing, Printer};
use super::highlighter::Highlighter;
use super::hinter::Hinter;
use super::history::History;
use super::keys::{self, FOREGROUND, HELP, Held, LINES, OFFERS};
use super::menu::OurMenu;
use super::past::Past;
use super::pointed;
use super::prompt::{Prompt, Question};
use super::validator::Validator;
use super::{Line, LineOutcome, LineSource, PromptFacts, Surroundings};
use crate::config::Config;
use crate::error::{Exit, Outcome};
use crate::grammar::script_lines;
use crate::host::Home;
use crate::shell::view::Screen;

/// How often a terminal that does not answer is asked again.
const TRIES: u32 = 3;
/// Announcements that reedline holds at most; the rest waits in the screen's own queue.
const PRINTER: usize = 20;
/// How soon answers and announcements are seen: soon enough for a person, and nothing to a processor.
const TURN: Duration = Duration::from_millis(50);

/// The editor.
pub struct Editor {
    reedline: Reedline,
    /// Reads the answers to questions.
    answering: Reedline,
    history: History,
    screen: Screen,
    around: Arc<dyn Surroundings>,
    answers: Answers,
    held: Held,
    /// Lines that were pasted at once, and are still to be run.
    pasted: VecDeque<String>,
    /// The line last read, whose outcome is not known yet.
    line: Option<String>,
}

impl Editor {
    /// An editor that keeps its history in a home, with the keys of a configuration.
    ///
    /// # Errors
    /// When a key of the configuration is not understood.
    pub fn new(screen: Screen, home: &Home, config: &Config, around: Arc<dyn Surroundings>) -> Outcome<Self> {
        let (answers, held, note, lines) = (Answers::default(), Held::default(), Note::default(), Note::default());
        let mode = keys::mode(config, held.clone())?;
        let answering = Reedline::create()
            .with_completer(Box::new(Nothing(held.clone())))
            .with_edit_mode(keys::mode(config, held.clone())?)
            .use_bracketed_paste(true)
            .with_poll_interval(TURN)
            .with_ansi_colors(screen.color());
        let history = History::open(home.history_file());
        let printer = ExternalPrinter::new(PRINTER);
        let color = screen.color();
        let mut reedline = Reedline::create();
        let repaint = reedline.repaint_signal();
        let completer = Completer::new(around.clone(), answers.clone(), note.clone()).drawing(
            Printer { above: screen.above().clone(), to: printer.sender() },
            held.clone(),
            Box::new(move || repaint.request_repaint()),
        );
        let offers = OurMenu::of_offers(OFFERS, color, note, answers.clone());
        let past = OurMenu::of_lines(LINES, color, lines.clone());
        let reedline = reedline
            .with_history(Box::new(history.clone()))
            .with_highlighter(Box::new(Highlighter))
            .with_hinter(Box::new(Hinter::new(history.clone(), around.clone())))
            .with_validator(Box::new(Validator))
            .with_completer(Box::new(completer))
            .with_menu(ReedlineMenu::EngineCompleter(Box::new(offers)))
            .with_menu(ReedlineMenu::WithCompleter {
                menu: Box::new(past),
                completer: Box::new(Past::new(history.clone(), lines)),
            })
            .with_quick_completions(true)
            .with_edit_mode(mode)
            .use_bracketed_paste(true)
            .with_external_printer(printer)
            .with_poll_interval(TURN)
            .with_transient_prompt(Box::new(Prompt::transient()))
            .with_ansi_colors(color);
        Ok(Self { reedline, answering, history, screen, around, answers, held, pasted: VecDeque::new(), line: None })
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

    /// The next line that the terminal gives; `None` where the editor served the key itself and goes on with the line.
    fn next(&mut self, prompt: &Prompt) -> Option<Line> {
        self.held.begin();
        self.screen.above().begin();
        let read = self.read_line(prompt);
        for text in self.screen.above().end() {
            self.screen.message(&text);
        }
        Some(match read {
            Ok(Signal::Success(text)) => self.typed(text),
            Ok(Signal::HostCommand(command)) if command == HELP => {
                let (line, cursor) = (self.reedline.current_buffer_contents(), self.reedline.current_insertion_point());
                let help = pointed::help(line, cursor, self.around.as_ref());
                // Above the line, once it is read on.
                self.screen.above().begin();
                let _ = self.screen.above().offer(crate::shell::view::clean::lines(help.trim_end()).into_owned());
                return None;
            }
            Ok(Signal::HostCommand(command)) => {
                let is_empty = self.reedline.current_buffer_contents().is_empty();
                if command == FOREGROUND && !is_empty {
                    return None;
                }
                let line = if command == FOREGROUND { "fg".to_owned() } else { command };
                // Reedline takes the rows of the prompt for free as long as the cursor stands on them.
                self.screen.typed(&if is_empty { line.clone() } else { format!("\n> {line}") });
                if line == "fg" { Line::Foreground } else { Line::Text(line) }
            }
            Ok(Signal::CtrlD) => Line::End,
            Ok(_) => Line::Interrupted,
            Err(error) => {
                self.screen.message(&format!("the terminal cannot be read: {error}"));
                Line::End
            }
        })
    }

    /// What was typed, or pasted: then line by line, as from a script.
    fn typed(&mut self, text: String) -> Line {
        let lines = script_lines(&text).into_iter().map(|line| line.text).filter(|line| !line.trim().is_empty());
        let mut lines: VecDeque<String> = lines.collect();
        if lines.len() > 1 {
            self.pasted.append(&mut lines);
            return self.next_pasted().unwrap_or(Line::Interrupted);
        }
        self.line = Some(text.clone());
        Line::Text(text)
    }

    fn next_pasted(&mut self) -> Option<Line> {
        let line = self.pasted.pop_front()?;
        self.screen.typed(&format!("> {line}"));
        self.line = Some(line.clone());
        Some(Line::Text(line))
    }
}

impl LineSource for Editor {
    fn read(&mut self, facts: &PromptFacts) -> Line {
        self.answers.outdate(facts.device.as_deref());
        self.history.catch_up();
        if let Some(line) = self.next_pasted() {
            return line;
        }
        let prompt = Prompt::new(facts, self.around.clone());
        loop {
            if let Some(line) = self.next(&prompt) {
                return line;
            }
        }
    }

    fn ask(&mut self, question: &str) -> Line {
        if let Some(answer) = self.pasted.pop_front() {
            self.screen.message(&format!("{question}{answer}"));
            return Line::Text(answer);
        }
        let question = Question(question.to_owned());
        self.screen.above().begin();
        let answer = loop {
            self.held.begin();
            match self.answering.read_line(&question) {
                Ok(Signal::HostCommand(_)) => {}
                Ok(Signal::Success(text)) => break Line::Text(text),
                Ok(Signal::CtrlD) | Err(_) => break Line::End,
                Ok(_) => break Line::Interrupted,
            }
        };
        for text in self.screen.above().end() {
            self.screen.message(&text);
        }
        answer
    }

    fn ended(&mut self, outcome: &LineOutcome) {
        if let Some(line) = self.line.take() {
            self.history.write(&line, outcome);
        }
        if outcome.exit == Exit::Cancelled.code() && !self.pasted.is_empty() {
            // Who cancels one of them may not want the next: they are on the line again.
            let rest: Vec<String> = self.pasted.drain(..).collect();
            self.screen.message(&format!("{} pasted lines have not run; they stand on the line again", rest.len()));
            self.reedline.run_edit_commands(&[EditCommand::InsertString(rest.join("\n"))]);
        }
    }
}
