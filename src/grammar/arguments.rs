//! The text of `run -parameters` → the arguments of a program.
//!
//! Split by the quote rules of a line alone: blanks and line ends outside quotes separate, `"…"` and `'…'` delimit and may
//! begin inside a word, a doubled quote inside quotes of its kind is one, `""` is an empty argument. Nothing else means
//! anything: a backslash, `>`, `&`, `#` and dash words are ordinary, so that what was typed arrives exactly.

use super::lexer::is_blank;

/// The arguments that a text of parameters stands for, in order.
///
/// # Errors
/// The byte offset of a quote that is never closed.
pub fn split_arguments(text: &str) -> Result<Vec<String>, usize> {
    let mut arguments = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        match c {
            '"' | '\'' => {
                let built = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(start),
                        Some((_, inner)) if inner != c => built.push(inner),
                        // The quote doubled is one quote; alone it ends the part.
                        Some(_) if chars.next_if(|&(_, next)| next == c).is_some() => built.push(c),
                        Some(_) => break,
                    }
                }
            }
            _ if is_blank(c) => arguments.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    arguments.extend(word);
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::super::quoted;
    use super::*;

    #[test]
    fn quotes_delimit_and_nothing_else_means_anything() {
        let split = |text| split_arguments(text).unwrap();
        assert_eq!(split("  a  b\tc\nd "), ["a", "b", "c", "d"]);
        assert_eq!(split(r#"a "b c" d"e f"g 'h "i'"#), ["a", "b c", "de fg", "h \"i"]);
        assert_eq!(split(r#""" '' x"""#), ["", "", "x"]);
        assert_eq!(split(r#""a ""b""" 'it''s'"#), ["a \"b\"", "it's"]);
        assert_eq!(
            split(r#""C:\Program Files\" \ > & # -- -x $(y) *"#),
            [r"C:\Program Files\", r"\", ">", "&", "#", "--", "-x", "$(y)", "*"]
        );
        assert!(split(" \n ").is_empty());
    }

    #[test]
    fn an_open_quote_is_told_with_its_place() {
        assert_eq!(split_arguments("ü 'x"), Err(3));
        assert_eq!(split_arguments(r#"a "b"""#), Err(2));
    }

    #[test]
    fn every_printable_character_arrives() {
        let all: String = (' '..='~').chain(['\n', '\t', 'ü']).collect();
        for argument in all.chars().map(String::from).chain([all.clone(), String::new()]) {
            let double = format!("\"{}\"", argument.replace('"', "\"\""));
            let single = format!("'{}'", argument.replace('\'', "''"));
            let text = format!("{double} {single} {}", quoted(&argument));
            assert_eq!(split_arguments(&text).unwrap(), [argument.clone(), argument.clone(), argument]);
        }
    }
}
