//! What holds for every line, whatever is in it.

use lrsh::grammar::{self, Class, Span};
use lrsh::protocol::PlatformName;
use proptest::prelude::*;

/// Lines that get far into the parser: pieces of the language and of other shells, and anything between them.
fn lines() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "dir",
        "remediate",
        "undo",
        "library",
        "run",
        "findfile",
        "log",
        "file",
        "list",
        "add",
        "-auto",
        "- auto",
        "-sort",
        "-size",
        "-columns",
        "-session",
        "-output",
        "json",
        "-",
        "--",
        "3",
        "\"",
        "'",
        "\"\"",
        ">",
        ">>",
        "&",
        "&&",
        "|",
        "2>",
        "#",
        "\\",
        "/tmp/größe",
        "日本",
        "\u{202e}",
        "\u{0}",
        "\n",
        "\r\n",
        " ",
        "  ",
        "\t",
    ]);
    let piece = prop_oneof![4 => pieces.prop_map(str::to_owned), 1 => any::<String>()];
    (prop::collection::vec((piece, any::<bool>()), 0..12))
        .prop_map(|pieces| pieces.into_iter().map(|(piece, gap)| if gap { format!("{piece} ") } else { piece }).collect())
}

fn is_within(line: &str, span: Span) -> bool {
    span.start <= span.end && line.get(span.start..span.end).is_some()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spans_stand_within_the_line(line in lines()) {
        let reading = grammar::read(&line, Some(PlatformName::Linux));
        for found in &reading.diagnostics {
            prop_assert!(is_within(&line, found.span), "{:?}", found);
        }
        prop_assert!(reading.diagnostics.is_sorted_by_key(|found| found.span.start));
        prop_assert!(reading.invocation.is_some() || !reading.diagnostics.is_empty());
    }

    #[test]
    fn every_line_is_explained(line in lines()) {
        let reading = grammar::read(&line, None);
        let explained = reading.explained();
        let object = explained.as_object().expect("an object");
        prop_assert_eq!(object.contains_key("error"), !reading.diagnostics.is_empty());
        prop_assert_eq!(object.contains_key("command"), reading.diagnostics.is_empty());
    }

    #[test]
    fn colours_cover_the_line_once(line in lines()) {
        let mut at = 0;
        for (span, class) in grammar::highlight(&line) {
            prop_assert_eq!(span.start, at);
            prop_assert!(span.end > span.start && is_within(&line, span));
            prop_assert!(class != Class::Blank || line.get(span.start..span.end).unwrap().chars().all(|c| " \t\r\n".contains(c)), "{:?}", span);
            at = span.end;
        }
        prop_assert_eq!(at, line.len());
    }

    #[test]
    fn the_menu_is_asked_anywhere(line in lines(), cursor in 0usize..200) {
        let expected = grammar::expected_at(&line, cursor, Some(PlatformName::Linux));
        prop_assert!(is_within(&line, expected.span), "{:?}", expected);
    }

    #[test]
    fn a_quoted_value_reads_as_itself(value in any::<String>(), odd in lines()) {
        // No path has a NUL in it.
        for value in [value, odd].map(|value| value.replace('\0', "")) {
            let line = format!("cd {}", grammar::quoted(&value));
            let reading = grammar::read(&line, None);
            prop_assert!(reading.diagnostics.is_empty(), "{line:?}: {:?}", reading.diagnostics);
            let invocation = reading.invocation.expect("a line that is understood");
            prop_assert_eq!(&invocation.params["id"], &value);
            prop_assert!(!invocation.background && invocation.redirect.is_none());
        }
    }

    #[test]
    fn no_line_of_a_script_is_lost(parts in prop::collection::vec(lines(), 0..6)) {
        let text = parts.join("\n");
        let lines = grammar::script_lines(&text);
        let taken: Vec<String> = lines.iter().flat_map(|line| line.text.split('\n')).map(str::to_owned).collect();
        let mut wanted: Vec<String> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned()).collect();
        if wanted.last().is_some_and(String::is_empty) {
            wanted.pop();
        }
        prop_assert_eq!(taken, wanted);
        let mut number = 1;
        for line in &lines {
            prop_assert_eq!(line.number, number);
            number += 1 + line.text.matches('\n').count();
        }
    }
}
