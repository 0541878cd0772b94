//! The text of rules, word by word, as boreal reads it: what has to be known of it before boreal does.
//!
//! boreal bounds how deep a condition may be, but only once it has the whole of it as a tree, which it takes apart step into step:
//! fifty thousand `+` in a row are more steps than any stack has, and end the process. So conditions are measured here first.

use std::iter;

/// What stands for `filesize`: as long, so that complaints name the right place.
pub(super) const SIZE: &str = "filesiz_";
/// How deep a condition may become. boreal itself takes [`boreal::compiler::CompilerParams::max_condition_depth`], which is 40; what
/// is measured here counts more than it does.
const MAX_DEPTH: usize = 1000;
/// Words that stand before or between what they are about, as `+` does.
const OPERATORS: [&str; 10] =
    ["not", "defined", "contains", "icontains", "startswith", "istartswith", "endswith", "iendswith", "iequals", "matches"];

/// The words of a text: names, numbers, texts and regular expressions with their marks, comments, and every other sign alone.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    iter::from_fn(move || {
        let first = rest.chars().next()?;
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n'),
            '/' if rest.starts_with("/*") => rest.find("*/").map(|end| end + 2),
            // boreal knows `/` as nothing else: what divides is `\`.
            '"' | '/' => quoted(rest, first),
            _ if is_name(first) => rest.find(|c| !is_name(c)),
            _ => Some(first.len_utf8()),
        };
        let (word, after) = length.and_then(|length| rest.split_at_checked(length)).unwrap_or((rest, ""));
        rest = after;
        Some(word)
    })
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether boreal passes over it.
fn is_nothing(word: &str) -> bool {
    word.starts_with("//") || word.starts_with("/*") || word.starts_with(char::is_whitespace)
}

/// How long a text or regular expression is, with both of its marks. A regular expression that is not closed ends with its line.
fn quoted(text: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' if mark == '/' => return Some(at),
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == mark => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

/// Whether there is a rule in it.
pub(super) fn has_rule(text: &str) -> bool {
    words(text).any(|word| word == "rule")
}

/// The text of rules with a symbol in place of `filesize`, which is left alone in names, texts, regular expressions and comments.
pub(super) fn with_symbol(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    let mut before = "";
    for word in words(text) {
        let is_size = word == "filesize" && !matches!(before, "$" | "#" | "@" | "!" | ".");
        told.push_str(if is_size { SIZE } else { word });
        if !is_nothing(word) {
            before = word;
        }
    }
    told
}

/// What stands between two brackets.
#[derive(Default)]
struct Level {
    /// How deep what is being read may have become.
    depth: usize,
    /// How deep what was read before may be.
    deepest: usize,
}

/// The line on which a condition is too deep, if one is. Every operator counts as one step down, and what stands in brackets
/// together with what stands beside them; `and` and `or` begin anew.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    let mut levels = vec![Level::default()];
    let mut line = 1;
    let (mut before, mut is_hex) = ("", false);
    for word in words(text) {
        line += word.bytes().filter(|&byte| byte == b'\n').count();
        if is_nothing(word) {
            continue;
        }
        is_hex = (is_hex && word != "}") || (word == "{" && before == "=");
        before = word;
        let closed = match word {
            _ if is_hex => None,
            "(" | "[" | "{" => {
                levels.push(Level::default());
                None
            }
            ")" | "]" | "}" => levels.pop(),
            _ => None,
        };
        if levels.is_empty() {
            levels.push(Level::default());
        }
        let Some(level) = levels.last_mut() else { continue };
        match word {
            _ if is_hex => {}
            // A rule's end: what comes behind has nothing to do with it.
            "}" => *level = Level::default(),
            "and" | "or" => {
                level.deepest = level.deepest.max(level.depth);
                level.depth = 0;
            }
            "+" | "-" | "*" | "\\" | "%" | "&" | "|" | "^" | "~" | "<" | ">" | "=" | "!" => level.depth += 1,
            _ if OPERATORS.contains(&word) => level.depth += 1,
            _ => {}
        }
        level.depth += closed.map_or(0, |closed| closed.deepest.max(closed.depth));
        if level.depth > MAX_DEPTH {
            return Some(line);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_filesize_is_replaced_where_it_is_one() {
        let check = |text: &str, wanted: &str| assert_eq!(with_symbol(text), wanted.replace('~', SIZE));
        check("condition: filesize < 1MB and $filesize", "condition: ~ < 1MB and $filesize");
        check("$a = \"filesize \\\" filesize\" // filesize\n", "$a = \"filesize \\\" filesize\" // filesize\n");
        check("$a = /\\/ filesize \"/ condition: filesize\\2 > filesize", "$a = /\\/ filesize \"/ condition: ~\\2 > ~");
        check("/* filesize */ x.filesize filesize_ my_filesize", "/* filesize */ x.filesize filesize_ my_filesize");
        check("uint32(filesize - 4) == 0x1 and s matches /filesize/", "uint32(~ - 4) == 0x1 and s matches /filesize/");
        check("not /\"/ matches filesize \"filesize\nfilesize\" filesize", "not /\"/ matches ~ \"filesize\nfilesize\" ~");
        check("\"filesize", "\"filesize");
        check("é filesize", "é ~");
        check("{ AA /* filesize */ ?? [2-4] }", "{ AA /* filesize */ ?? [2-4] }");
    }

    #[test]
    fn what_is_too_deep_is_told_by_its_line() {
        let rule = |condition: String| format!("rule n {{\n condition: {condition} }}");
        let check = |text: &str, wanted: Option<usize>| assert_eq!(too_deep(text), wanted, "{}", text.len());
        for (one, two) in
            [("1+", "1"), ("1 == ", "1"), ("not ", "true"), ("~", "1"), ("- /* ; */", "1"), ("\"\n\" iequals\n", "\"\"")]
        {
            check(&rule(format!("{}{two}", one.repeat(400))), None);
            assert!(too_deep(&rule(format!("{}{two}", one.repeat(2000)))).is_some(), "{one}");
        }
        check(&rule(format!("{}1", "1+".repeat(2000))), Some(2));
        // Each pair of brackets holds half of what is allowed, and is beside as much.
        let half = "1+".repeat(600);
        check(&rule(format!("({half} 1) == 1")), None);
        check(&rule(format!("({half} 1) + {half} 1 == 1")), Some(2));
        check(&rule(format!("{half} ({half} 1) == 1")), Some(2));
        check(&rule(format!("({half} 1) == 1 or not ({half} 1) == 1")), None);
        check(&rule(format!("((({half} 1) == 1 or true)) and not (({half} 1) == 1 or true)")), None);
        check(&rule("uint8(0) == 1 or\n".repeat(5000) + "true"), None);
        check(&rule(format!("pe.f(\"{}\") or /{}/", "+".repeat(5000), "+|".repeat(5000))), None);
        check(&format!("rule h {{ strings: $a = {{ {} }} condition: $a }}", "AA [2-4] ~BB ( CC | DD ) ".repeat(3000)), None);
        check(&"rule n { condition: 1 + 2 + 3 == 6 } ".repeat(3000), None);
        check(&")".repeat(5000), None);
    }
}
