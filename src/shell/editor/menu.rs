//! The menus: reedline's own, but that they say why there is nothing in them, and are painted in what reads on dark and on
//! light ground.

use nu_ansi_term::Style;
use reedline::{
    ColumnarMenu, Completer, Editor, InputMode, Menu, MenuBuilder, MenuEvent, MenuSettings, OutputMode, Painter, Suggestion,
};
use unicode_width::UnicodeWidthChar;

use super::answers::Answers;
use super::completer::Note;
use crate::shell::view::theme;

/// What may stand in a word beside letters and digits: a menu closes behind it.
const WORD: &str = "_-./\\:~+,@=%*?[]{}()$!^";

/// A menu that is never empty.
pub(super) struct OurMenu {
    menu: ColumnarMenu,
    note: Note,
    answers: Answers,
    /// Accepts what is left alone in it, closes behind a word, and follows what is typed by itself.
    completes: bool,
    width: usize,
}

impl OurMenu {
    /// What may stand at the cursor.
    pub(super) fn of_offers(name: &str, color: bool, note: Note, answers: Answers) -> Self {
        let menu = styled(ColumnarMenu::default().with_name(name), color).with_input_mode(InputMode::FullBuffer);
        Self { menu: menu.with_word_chars(WORD), note, answers, completes: true, width: 80 }
    }

    /// Lines typed before; the whole line is looked for, and replaced.
    pub(super) fn of_lines(name: &str, color: bool, note: Note) -> Self {
        let menu = styled(ColumnarMenu::default().with_name(name), color).with_marker("? ");
        let menu = menu.with_input_mode(InputMode::FullBuffer).with_output_mode(OutputMode::FullBuffer);
        Self { menu, note, answers: Answers::default(), completes: false, width: 80 }
    }

    fn is_empty(&self) -> bool {
        self.menu.get_values().is_empty()
    }
}

/// Without colour the chosen line is told by being reversed, the rest by nothing.
fn styled(menu: ColumnarMenu, color: bool) -> ColumnarMenu {
    let (chosen, matched) = (Style::new().reverse(), Style::new().bold());
    let menu = menu.with_marker("").with_text_style(Style::new()).with_match_text_style(matched);
    let menu = menu.with_selected_match_text_style(chosen.bold());
    let about = if color { theme::advice() } else { Style::new() };
    menu.with_selected_text_style(chosen).with_description_text_style(about)
}

impl Menu for OurMenu {
    fn settings(&self) -> &MenuSettings {
        self.menu.settings()
    }

    fn is_active(&self) -> bool {
        self.menu.is_active()
    }

    fn set_active(&mut self, active: bool) {
        self.menu.set_active(active);
    }

    fn clear_input(&mut self) {
        self.menu.clear_input();
    }

    fn on_activate(&mut self) {
        self.menu.on_activate();
    }

    fn on_deactivate(&mut self) {
        self.menu.on_deactivate();
    }

    fn menu_event(&mut self, event: MenuEvent) {
        // Reedline takes values for updated that only a menu of completions updates by itself.
        let event = match event {
            MenuEvent::Activate(_) if !self.completes => MenuEvent::Activate(false),
            MenuEvent::Edit(_) if !self.completes => MenuEvent::Edit(false),
            other => other,
        };
        self.menu.menu_event(event);
    }

    fn can_quick_complete(&self) -> bool {
        self.completes
    }

    fn can_partially_complete(&mut self, updated: bool, editor: &mut Editor, completer: &mut dyn Completer) -> bool {
        self.menu.can_partially_complete(updated, editor, completer)
    }

    fn update_values(&mut self, editor: &mut Editor, completer: &mut dyn Completer) {
        self.menu.update_values(editor, completer);
    }

    fn reset_position(&mut self) {
        self.menu.reset_position();
    }

    fn update_working_details(&mut self, editor: &mut Editor, completer: &mut dyn Completer, painter: &Painter) {
        self.width = usize::from(painter.screen_width());
        self.menu.update_working_details(editor, completer, painter);
    }

    fn replace_in_buffer(&self, editor: &mut Editor) {
        self.menu.replace_in_buffer(editor);
    }

    fn menu_required_lines(&self, terminal_columns: u16) -> u16 {
        if self.is_empty() { 1 } else { self.menu.menu_required_lines(terminal_columns) }
    }

    fn menu_string(&self, available_lines: u16, _use_ansi_coloring: bool) -> String {
        if !self.is_empty() {
            // Without "ansi" reedline marks the chosen line by writing it in capitals.
            return self.menu.menu_string(available_lines, true);
        }
        let mut left = self.width.saturating_sub(1);
        let fits = |c: &char| {
            let wide = c.width().unwrap_or(0);
            let fits = wide <= left;
            left = left.saturating_sub(wide);
            fits
        };
        let text: String = self.note.get().chars().take_while(fits).collect();
        theme::aside().paint(text).to_string()
    }

    fn min_rows(&self) -> u16 {
        if self.is_empty() { 1 } else { self.menu.min_rows() }
    }

    fn get_values(&self) -> &[Suggestion] {
        self.menu.get_values()
    }

    fn results_are_provisional(&self) -> bool {
        self.menu.results_are_provisional()
    }

    fn is_awaiting_first_answer(&self) -> bool {
        self.menu.is_awaiting_first_answer() && !self.answers.is_slow()
    }

    fn set_cursor_pos(&mut self, pos: (u16, u16)) {
        self.menu.set_cursor_pos(pos);
    }
}
