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
use super::library::{Library, RuleFile};
use super::text::{SIZE, has_rule, too_deep, with_symbol};
use crate::agent::context::Stop;

/// Our own rules.
const BUILTIN: &str = include_str!("../builtin.yar");
/// How long the rules of the library may take to be read.
const COMPILE: Duration = Duration::from_mins(1);
/// The stack of the thread that reads rules: many times what the deepest condition takes that is let through.
const STACK: usize = 16 * 1024 * 1024;

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
pub fn compile(files: Vec<RuleFile>, stop: &Stop) -> Result<(Option<Library>, Vec<String>), Trouble> {
    let (sender, receiver) = sync_channel(1);
    let started = std::thread::Builder::new().name("yara".into()).stack_size(STACK).spawn(move || {
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

fn compile_now(files: Vec<RuleFile>) -> (Option<Library>, Vec<String>) {
    let (mut taken, mut complaints) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        // Tried alone first: what a compiler took before it failed at a file would stay in it.
        match check(&name, &bytes) {
            Ok(()) => taken.push((name, bytes)),
            Err(why) => complaints.push(why),
        }
    }
    let mut all = compiler();
    for (name, bytes) in &taken {
        if let Err(error) = all.add_rules_str_in_namespace(with_symbol(&String::from_utf8_lossy(bytes)), name) {
            complaints.push(placed(name, &error.to_string()));
        }
    }
    ((!taken.is_empty()).then(|| Library::new(all.finalize(), taken)), complaints)
}

/// What is wrong with a file of rules, with its name and the place.
fn check(name: &str, bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("{name}: {error}"))?;
    if !has_rule(text) {
        return Err(format!("{name}: there is no rule in it"));
    }
    if let Some(line) = too_deep(text) {
        return Err(format!(
            "{name}:{line}: the condition is deeper than any that is meant to find something; make several of it"
        ));
    }
    let added = compiler().add_rules_str_in_namespace(with_symbol(text), name).map(|_| ());
    added.map_err(|error| placed(name, &error.to_string()))
}

fn compiler() -> Compiler {
    let mut compiler = Compiler::new();
    // A rule file must not have the agent read files of the device.
    compiler.set_params(CompilerParams::default().disable_includes(true));
    compiler.define_symbol(SIZE, 0_i64);
    compiler
}

/// The first line of a message of boreal's, which calls what it reads from memory `mem`.
fn placed(name: &str, message: &str) -> String {
    let first = message.lines().next().unwrap_or_default().trim();
    first.strip_prefix("mem:").map_or_else(|| format!("{name}: {first}"), |rest| format!("{name}:{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_rules_are_complained_of_and_the_rest_is_taken() {
        let files = [
            ("bad.yar", "rule {"),
            ("include.yar", "include \"/etc/passwd\" rule x { condition: true }"),
            ("empty.yar", "// rule\n"),
            ("good.yar", "rule x { condition: true }"),
        ];
        let files = files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).to_vec();
        let (library, complaints) = compile(files, &Stop::default()).unwrap();
        assert_eq!(library.unwrap().set().scanner.as_ref().unwrap().rules().count(), 1);
        assert_eq!(
            complaints.iter().map(|why| why.split(':').next().unwrap()).collect::<Vec<_>>(),
            ["bad.yar", "include.yar", "empty.yar"]
        );
        assert!(complaints[0].starts_with("bad.yar:1:6: "), "{complaints:?}");
    }

    #[test]
    fn conditions_without_a_bottom_are_refused_and_end_nothing() {
        let rule = |condition: String| format!("rule n {{ condition: {condition} }}").into_bytes();
        let mut files = vec![
            ("plus.yar".to_owned(), rule("1+".repeat(50_000) + "1 == 1")),
            ("not.yar".to_owned(), rule("not ".repeat(100_000) + "true")),
            ("minus.yar".to_owned(), rule("-".repeat(1_000_000) + "1 == 1")),
            ("brackets.yar".to_owned(), rule("(".repeat(100_000) + "true" + &")".repeat(100_000))),
            ("for.yar".to_owned(), rule("for any i in (0..1) : (".repeat(10_000) + "true" + &")".repeat(10_000))),
            ("regex.yar".to_owned(), rule(format!("\"a\" matches /{}a{}/", "(".repeat(100_000), ")".repeat(100_000)))),
            // As deep as is measured to be deep enough, which boreal refuses itself.
            ("most.yar".to_owned(), rule("1+".repeat(998) + "1 == 1")),
        ];
        let refused: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
        files.push(("wide.yar".to_owned(), rule("1 == 1 and ".repeat(50_000) + "true")));
        let deep: String = (0..8).map(|n| format!("for any i{n} in (0..1) : (")).collect();
        files.push(("deep.yar".to_owned(), rule(deep + "i0 == i1" + &")".repeat(8))));
        let (library, complaints) = compile(files, &Stop::default()).unwrap();
        assert_eq!(complaints.iter().map(|why| why.split(':').next().unwrap()).collect::<Vec<_>>(), refused);
        assert!(complaints[0].starts_with("plus.yar:1: the condition is deeper"), "{complaints:?}");
        let set = library.unwrap().set();
        let scanner = set.scanner.as_ref().unwrap();
        let found = scanner.scan_mem(b"x").unwrap();
        assert_eq!(found.rules.iter().map(|rule| rule.namespace).collect::<Vec<_>>(), ["wide.yar", "deep.yar"]);
    }
}
