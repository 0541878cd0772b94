//! Rule files become rules.
//!
//! boreal knows no `filesize` of content that it sees in pieces. So the word is replaced by a symbol of our own, which is given the
//! size of the whole before each look.

use std::panic::AssertUnwindSafe;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use boreal::compiler::CompilerParams;
use boreal::{Compiler, Scanner};

use super::super::{Trouble, answer_within};
use crate::agent::context::Stop;

/// Our own rules.
const BUILTIN: &str = include_str!("../builtin.yar");
/// How long the rules of the library may take to be read.
const COMPILE: Duration = Duration::from_mins(1);
/// What stands for `filesize`: as long, so that complaints name the right place.
pub(super) const SIZE: &str = "filesiz_";

/// Our own rules, compiled.
///
/// # Errors
/// Never but for a defect of the rules: the sentence says which.
pub fn builtin() -> Result<Scanner, String> {
    let mut compiler = compiler();
    compiler.add_rules_str(with_symbol(BUILTIN)).map_err(|error| format!("the built-in rules: {error}"))?;
    Ok(compiler.finalize())
}

/// The rules of some files, compiled, with a complaint for each file that is not understood; waited for up to a deadline.
///
/// # Errors
/// When it takes too long, or the command was asked to stop.
pub fn compile(files: Vec<(String, Vec<u8>)>, stop: &Stop) -> Result<(Option<Scanner>, Vec<String>), Trouble> {
    let (sender, receiver) = sync_channel(1);
    let started = std::thread::Builder::new().name("yara".into()).spawn(move || {
        let compiled = std::panic::catch_unwind(AssertUnwindSafe(|| compile_now(files)));
        // Who waits no longer need not know.
        let _ = sender.send(compiled.map_err(|_| ()));
    });
    started.map_err(|error| Trouble::Gone(format!("no thread for the rules: {error}")))?;
    match answer_within(&receiver, COMPILE, stop)? {
        Some(Ok(compiled)) => Ok(compiled),
        Some(Err(())) => Err(Trouble::Gone("the rules of the library cannot be read: boreal failed at them".to_owned())),
        None => Err(Trouble::Gone(format!("the rules of the library took more than {} s to be read", COMPILE.as_secs()))),
    }
}

fn compile_now(files: Vec<(String, Vec<u8>)>) -> (Option<Scanner>, Vec<String>) {
    let (mut taken, mut complaints) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        // Tried alone first: what a compiler took before it failed at a file would stay in it.
        match std::str::from_utf8(&bytes).map_err(|error| error.to_string()).and_then(|text| {
            let mut alone = compiler();
            alone.add_rules_str_in_namespace(with_symbol(text), &name).map(|_| ()).map_err(|error| said(&error.to_string()))
        }) {
            Ok(()) => taken.push((name, bytes)),
            Err(why) => complaints.push(format!("{name}: {why}")),
        }
    }
    let mut all = compiler();
    for (name, bytes) in &taken {
        if let Err(error) = all.add_rules_str_in_namespace(with_symbol(&String::from_utf8_lossy(bytes)), name) {
            complaints.push(format!("{name}: {}", said(&error.to_string())));
        }
    }
    ((!taken.is_empty()).then(|| all.finalize()), complaints)
}

fn compiler() -> Compiler {
    let mut compiler = Compiler::new();
    // A rule file must not have the agent read files of the device.
    compiler.set_params(CompilerParams::default().disable_includes(true));
    compiler.define_symbol(SIZE, 0_i64);
    compiler
}

/// The first line of a message.
fn said(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim().to_owned()
}

/// The text of rules with the symbol in place of `filesize`, which it is left alone in names, texts, regular expressions and
/// comments.
fn with_symbol(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = "";
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_comment = rest.starts_with("//") || rest.starts_with("/*");
        // Elsewhere it divides.
        let begins_regex = matches!(before, "=" | "(" | "," | "matches");
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n'),
            '/' if is_comment => rest.find("*/").map(|end| end + 2),
            '"' => quoted(rest, '"'),
            '/' if begins_regex => quoted(rest, '/'),
            _ if is_name(first) => rest.find(|c| !is_name(c)),
            _ => Some(first.len_utf8()),
        };
        let (token, after) = length.and_then(|length| rest.split_at_checked(length)).unwrap_or((rest, ""));
        let is_size = token == "filesize" && !matches!(before, "$" | "#" | "@" | "!" | ".");
        told.push_str(if is_size { SIZE } else { token });
        if !is_comment && !first.is_whitespace() {
            before = token;
        }
        rest = after;
    }
    told
}

/// How long a text or regular expression is, with both of its marks; what is not closed ends with its line.
fn quoted(text: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' => return Some(at),
            _ if c == mark => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_rules_are_complained_of_and_the_rest_is_taken() {
        let files =
            [("bad.yar", "rule {"), ("include.yar", "include \"/etc/passwd\""), ("good.yar", "rule x { condition: true }")];
        let files = files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).to_vec();
        let (scanner, complaints) = compile(files, &Stop::default()).unwrap();
        assert_eq!(scanner.unwrap().rules().count(), 1);
        assert_eq!(complaints.iter().map(|why| why.split(':').next().unwrap()).collect::<Vec<_>>(), ["bad.yar", "include.yar"]);
    }

    #[test]
    fn the_word_filesize_is_replaced_where_it_is_one() {
        let check = |text: &str, wanted: &str| assert_eq!(with_symbol(text), wanted.replace('~', SIZE));
        check("condition: filesize < 1MB and $filesize", "condition: ~ < 1MB and $filesize");
        check("$a = \"filesize \\\" filesize\" // filesize\n", "$a = \"filesize \\\" filesize\" // filesize\n");
        check("$a = /\\/ filesize \"/ condition: filesize/2 > filesize", "$a = /\\/ filesize \"/ condition: ~/2 > ~");
        check("/* filesize */ x.filesize filesize_ my_filesize", "/* filesize */ x.filesize filesize_ my_filesize");
        check("uint32(filesize - 4) == 0x1 and s matches /filesize/", "uint32(~ - 4) == 0x1 and s matches /filesize/");
        check("\"filesize", "\"filesize");
        check("é filesize", "é ~");
        check("{ AA /* filesize */ ?? [2-4] }", "{ AA /* filesize */ ?? [2-4] }");
    }
}
