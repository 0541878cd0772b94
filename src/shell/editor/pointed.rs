//! F1: the help of what the cursor stands on: a parameter, a flag, a choice, else the command.

use super::Surroundings;
use crate::grammar::{Class, Expected, Flag, Parameter, expected_at, highlight, table};

/// The help of what stands at the cursor.
pub(super) fn help(line: &str, cursor: usize, around: &dyn Surroundings) -> String {
    let platform = around.facts().platform;
    let mut expected = expected_at(line, cursor, platform);
    // The cursor on the first character of a word is on that word, though what stands before it decides what it may be.
    let behind: String = line.get(expected.span.start..expected.span.end).unwrap_or_default().to_owned();
    if expected.typed.len() < behind.len() {
        expected = expected_at(line, expected.span.end, platform);
    }
    let on = |class: Class| {
        highlight(line).iter().any(|(span, found)| *found == class && span.start <= cursor && cursor <= span.end)
    };
    if on(Class::Background) {
        return "& at the end runs the command as a job: jobs lists them, fg shows one, cancel ends one".to_owned();
    }
    if on(Class::Comment) {
        return "# begins a comment: the line does nothing".to_owned();
    }
    if expected.target || on(Class::Redirect) {
        return "> FILE puts the answer into a file of this machine, >> FILE adds it to one".to_owned();
    }
    let Some(row) = expected.row else {
        return around.help(table().find(&expected.typed).or_else(|| table().known_as(&expected.typed)));
    };
    match on_it(&expected, line) {
        Some(text) => format!("{}: {text}", row.name),
        None => around.help(Some(row)),
    }
}

fn on_it(expected: &Expected, line: &str) -> Option<String> {
    if let Some(name) = expected.typed.strip_prefix('-').filter(|_| expected.quote.is_none()) {
        // The word itself is given by now: what may stand in its place is asked for as if it were not there.
        let (before, behind) = (line.get(..expected.span.start)?, line.get(expected.span.end..)?);
        let without = format!("{before}-{behind}");
        let open = expected_at(&without, before.len() + 1, None);
        let is_it = |known: &str| known.eq_ignore_ascii_case(name);
        let flag = open.flags.iter().find(|flag| is_it(&flag.name)).map(|flag| of_flag(flag));
        return flag.or_else(|| open.names.iter().find(|named| is_it(&named.name)).map(|named| of_parameter(named)));
    }
    if expected.typed.is_empty() {
        return None;
    }
    expected.values.first().map(|value| of_parameter(value.parameter))
}

fn of_flag(flag: &Flag) -> String {
    format!("-{}: {}", flag.name, flag.summary)
}

fn of_parameter(parameter: &Parameter) -> String {
    let mut text = format!("-{}: {}", parameter.name, parameter.summary);
    if !parameter.choices.is_empty() {
        text.push_str(&format!("\n  one of {}", parameter.choices.join(", ")));
    }
    if let Some(default) = &parameter.default {
        text.push_str(&format!("\n  without it: {default}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::editor::aids::tests::Nobody;

    #[test]
    fn help_is_about_what_the_cursor_is_on() {
        let check = |marked: &str, wanted: &str| {
            let cursor = marked.find('^').unwrap();
            let text = help(&marked.replacen('^', "", 1), cursor, &Nobody::default());
            assert!(text.starts_with(wanted), "{marked}: {text}");
        };
        check("^", "help of everything");
        check("proc^esses", "help of processes");
        check("^processes -tree", "help of processes");
        check("processes ^", "help of processes");
        check("processes -tr^ee", "processes: -tree: ");
        check("processes -tree^", "processes: -tree: ");
        check("findfile x -si^ze +1M", "findfile: -size: ");
        check("findfile x -size +1^M", "findfile: -size: ");
        check("findfile ^x", "findfile: -name: ");
        check("remediate fi^le /x", "remediate: -type: ");
        check("dir > fi^le", "> FILE");
        check("dir ^> file", "> FILE");
        check("dir >^> file", "> FILE");
        check("getfile \"/a b\" &^", "& at the end");
        check("getfile /x ^&", "& at the end");
        check("# not^hing", "# begins a comment");
        check("ps^ aux", "help of processes");
        check("nosuch x^", "help of everything");
    }
}
