//! What a diagnostic says of quotes, redirects, `&` and other shells' operators, and what to write instead.

use super::hints::found;
use super::invocation::{Diagnostic, ErrorKind, Span};
use super::lexer::{Token, TokenKind};
use super::line::Word;
use super::row::Row;

/// A redirect of a command that has nothing to put into a file.
pub(super) fn no_answer(row: &Row, span: Span) -> Diagnostic {
    let message = format!("{} has no answer that a file could take", row.name);
    found(ErrorKind::UnsupportedSyntax, span, message, Some("leave the redirect out".into()))
}

/// `&` behind a command that the shell serves itself.
pub(super) fn no_background(row: &Row, span: Span) -> Diagnostic {
    let message = format!("{} is served by the shell at once, and runs in no background", row.name);
    found(ErrorKind::UnsupportedSyntax, span, message, Some("leave the `&` out".into()))
}

pub(super) fn open_quote(span: Span) -> Diagnostic {
    let hint = "close it; a quote within quotes is doubled, or write the other kind around it".to_owned();
    found(ErrorKind::OpenQuote, span, "the quote that begins here is not closed".into(), Some(hint))
}

pub(super) fn missing_redirect_target(span: Span) -> Diagnostic {
    let hint = "write `> file`; a name with `>` in it is written in quotes".to_owned();
    found(ErrorKind::MissingRedirectTarget, span, "there is no file behind the redirect".into(), Some(hint))
}

/// What is wrong with the file of a redirect, the redirect standing there.
pub(super) fn bad_target(target: &Word<'_>, redirect: Span) -> Option<Diagnostic> {
    if target.text.is_empty() {
        let hint = "write `> file`; `> /dev/null` drops an answer".to_owned();
        let message = "the file behind the redirect has no name".to_owned();
        return Some(found(ErrorKind::MissingRedirectTarget, redirect, message, Some(hint)));
    }
    let nul = target.text.contains('\0');
    nul.then(|| found(ErrorKind::BadValue, target.span, "no file has a NUL in its name".to_owned(), None))
}

pub(super) fn second_redirect(span: Span) -> Diagnostic {
    let hint = "an answer goes to one file; a name with `>` in it is written in quotes".to_owned();
    found(ErrorKind::UnsupportedSyntax, span, "there is a second redirect".into(), Some(hint))
}

pub(super) fn word_behind_target(span: Span, typed: &str) -> Diagnostic {
    let hint = "the redirect comes last, only `&` may follow; a file name with blanks is written in quotes".to_owned();
    found(ErrorKind::UnsupportedSyntax, span, format!("`{typed}` stands behind the file of the redirect"), Some(hint))
}

/// What another shell's operator is, and what to write instead.
pub(super) fn foreign(sign: &str, span: Span, command: Option<&str>, next: &[Token<'_>]) -> Diagnostic {
    let mut words = next.iter().take(16).filter_map(|token| match &token.kind {
        TokenKind::Word { text, .. } => Some(text.as_ref()),
        _ => None,
    });
    let command = command.unwrap_or("processes");
    let (message, hint) = match sign {
        "|" | "||" if sign == "|" => {
            let filter = words.next().unwrap_or_default().to_ascii_lowercase();
            let wanted = words.find(|word| !word.starts_with(['-', '/'])).unwrap_or("TEXT");
            ("there are no pipes".to_owned(), pipe_hint(command, &filter, wanted))
        }
        "||" | "&&" | ";" | "&" => {
            let hint = "write one command a line; `&` alone at the end runs a command in the background".to_owned();
            (format!("`{sign}` does not chain commands"), hint)
        }
        "<" | "<<" => ("commands read no input".to_owned(), "put lines into a file and run `lrsh < file`".to_owned()),
        _ if sign.ends_with("&&") => {
            let hint = "write one command a line; one `&` at the end runs a command in the background".to_owned();
            ("`&&` does not chain commands".to_owned(), hint)
        }
        _ if sign.ends_with('&') => {
            let hint = "one `&` at the end runs a command in the background".to_owned();
            ("there is a second `&`".to_owned(), hint)
        }
        _ => {
            let hint = "`> file` takes the answer; errors stay on the screen and are kept in `log`".to_owned();
            (format!("`{sign}` does not redirect"), hint)
        }
    };
    found(ErrorKind::UnsupportedSyntax, span, message, Some(hint))
}

fn pipe_hint(command: &str, filter: &str, wanted: &str) -> String {
    match filter {
        "findstr" | "find" | "grep" | "egrep" | "fgrep" | "rg" | "select-string" | "where" | "where-object" | "awk" | "sed" => {
            format!("write `{command} -match {wanted}`")
        }
        "head" | "select" | "select-object" => format!("write `{command} -first 10`"),
        "tail" => format!("write `{command} -sort -FIELD -first 10`"),
        "sort" | "sort-object" => format!("write `{command} -sort FIELD`, or `-sort -FIELD` for largest first"),
        "cut" => format!("write `{command} -columns a,b`"),
        "more" | "less" => format!("write `{command} -first 20`, or `{command} > file`; a pager can be set in config.toml"),
        "tee" | "out-file" => format!("write `{command} > {wanted}`"),
        "jq" | "convertfrom-json" => format!("write `{command} -output json > file`"),
        "wc" | "measure" | "measure-object" => {
            format!("a table ends with the number of its rows; or `{command} -output jsonl > file`")
        }
        _ => format!("use `{command} -match TEXT`, `-sort FIELD`, `-first N` or `> file`"),
    }
}
