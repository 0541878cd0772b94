//! The quote rules of the shell outside: which words a line has, and how a word is written on it.
//!
//! sh: `'…'` takes everything as it is; within `"…"` a backslash holds back `$`, a backquote, `"` and itself; outside it
//! holds back anything. PowerShell: a quote of the same kind is doubled within quotes, a backquote holds back outside `'…'`.

/// The rules of a family of shells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// zsh and bash.
    Sh,
    /// PowerShell.
    PowerShell,
}

/// How a place within a word is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quote {
    /// Not at all.
    Bare,
    /// `'…'`.
    Single,
    /// `"…"`.
    Double,
}

/// A line, cut where the cursor stands.
#[derive(Debug)]
pub(super) struct Typed<'l> {
    pub(super) rules: Rules,
    /// Up to the cursor.
    pub(super) before: &'l str,
    /// What belongs to the word at the cursor and stands behind it.
    pub(super) behind: &'l str,
    /// The words before the one at the cursor, quotes removed; the first names the program.
    pub(super) words: Vec<String>,
    /// The word at the cursor, up to it.
    pub(super) word: Word,
}

/// A word with its quotes removed, and where each piece of it stands on the line.
#[derive(Debug, Clone)]
pub(super) struct Word {
    /// Where it begins on the line.
    pub(super) start: usize,
    pub(super) text: String,
    /// For each character: its place in `text`, that on the line, and how it is quoted.
    places: Vec<(usize, usize, Quote)>,
    /// How its end is quoted, and where that is.
    end: (usize, Quote),
}

impl Word {
    fn at(start: usize) -> Self {
        Self { start, text: String::new(), places: Vec::new(), end: (start, Quote::Bare) }
    }

    fn push(&mut self, c: char, at: usize, quote: Quote) {
        self.places.push((self.text.len(), at, quote));
        self.text.push(c);
    }

    /// Where a byte of the text stands on the line, and how it is quoted there.
    pub(super) fn place(&self, at: usize) -> (usize, Quote) {
        let found = self.places.iter().find(|(place, _, _)| *place >= at);
        found.map_or(self.end, |(_, line, quote)| (*line, *quote))
    }

    /// The quote that is open at its end.
    pub(super) fn open(&self) -> Quote {
        self.end.1
    }
}

/// Reads a line up to the cursor.
pub(super) fn read(line: &str, cursor: usize, rules: Rules) -> Typed<'_> {
    let mut cursor = cursor.min(line.len());
    while !line.is_char_boundary(cursor) {
        cursor -= 1;
    }
    let (before, after) = line.split_at_checked(cursor).unwrap_or((line, ""));
    let (words, word) = words(before, rules);
    // The rest of the word ends where it would if the line were read on.
    let end = words_end(line, cursor, word.start, rules);
    let behind = after.get(..end.saturating_sub(cursor)).unwrap_or_default();
    Typed { rules, before, behind, words, word }
}

/// The words that end before the end of the text, and the one that does not: empty behind a blank.
fn words(text: &str, rules: Rules) -> (Vec<String>, Word) {
    let mut done: Vec<String> = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote = Quote::Bare;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if quote == Quote::Bare && is_break(c) {
            done.extend(word.take().map(|word| word.text));
            continue;
        }
        let here = word.get_or_insert_with(|| Word::at(at));
        let next = chars.peek().map(|(_, next)| *next);
        match step(rules, quote, c, next) {
            Step::Take => here.push(c, at, quote),
            Step::Hold => {
                if let Some((_, held)) = chars.next() {
                    here.push(held, at, quote);
                }
            }
            Step::Quote(other) => quote = other,
        }
        here.end = (text.len(), quote);
    }
    (done, word.unwrap_or_else(|| Word::at(text.len())))
}

/// Where the word that holds the cursor ends.
fn words_end(line: &str, cursor: usize, start: usize, rules: Rules) -> usize {
    let mut quote = Quote::Bare;
    let mut chars = line.char_indices().skip_while(|(at, _)| *at < start).peekable();
    while let Some((at, c)) = chars.next() {
        if at >= cursor && quote == Quote::Bare && is_break(c) {
            return at;
        }
        match step(rules, quote, c, chars.peek().map(|(_, next)| *next)) {
            Step::Take => {}
            Step::Hold => {
                chars.next();
            }
            Step::Quote(other) => quote = other,
        }
    }
    line.len()
}

fn is_break(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

enum Step {
    /// The character is one of the word.
    Take,
    /// It holds the next one back, which is one of the word whatever it is.
    Hold,
    /// It opens or closes a quote.
    Quote(Quote),
}

fn step(rules: Rules, quote: Quote, c: char, next: Option<char>) -> Step {
    match (rules, quote, c) {
        (_, Quote::Bare, '\'') => Step::Quote(Quote::Single),
        (_, Quote::Bare, '"') => Step::Quote(Quote::Double),
        (Rules::PowerShell, Quote::Single, '\'') if next == Some('\'') => Step::Hold,
        (Rules::PowerShell, Quote::Double, '"') if next == Some('"') => Step::Hold,
        (_, Quote::Single, '\'') | (_, Quote::Double, '"') => Step::Quote(Quote::Bare),
        (Rules::Sh, Quote::Bare, '\\') | (Rules::PowerShell, Quote::Bare | Quote::Double, '`') if next.is_some() => Step::Hold,
        (Rules::Sh, Quote::Double, '\\') if matches!(next, Some('$' | '`' | '"' | '\\')) => Step::Hold,
        _ => Step::Take,
    }
}

/// A text as it is written within such a quote, which stays as it is behind it.
pub(super) fn written(text: &str, rules: Rules, quote: Quote) -> String {
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match (rules, quote, c) {
            (Rules::Sh, Quote::Single, '\'') => line.push_str("'\\''"),
            (Rules::PowerShell, Quote::Single, '\'') => line.push_str("''"),
            (Rules::Sh, Quote::Double, '$' | '`' | '"' | '\\') => line.extend(['\\', c]),
            (Rules::PowerShell, Quote::Double, '$' | '`' | '"') => line.extend(['`', c]),
            (Rules::Sh, Quote::Bare, c) if is_special(c) => line.extend(['\\', c]),
            (Rules::PowerShell, Quote::Bare, c) if c == ',' || c == '@' || c != '\\' && is_special(c) => line.extend(['`', c]),
            _ => line.push(c),
        }
    }
    line
}

/// What one of the shells takes for more than itself outside quotes.
fn is_special(c: char) -> bool {
    " \t|&;<>()$`\"'\\*?[]#~!{}^".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_shell() {
        let check = |line: &str, rules: Rules, words: &[&str], word: &str, open: Quote| {
            let typed = read(line, line.len(), rules);
            assert_eq!(typed.words, words, "{line}");
            assert_eq!((typed.word.text.as_str(), typed.word.open()), (word, open), "{line}");
        };
        let (sh, power) = (Rules::Sh, Rules::PowerShell);
        check("lrsh ", sh, &["lrsh"], "", Quote::Bare);
        check("lrsh exp", sh, &["lrsh"], "exp", Quote::Bare);
        check("lrsh -c 'dir \"/a b", sh, &["lrsh", "-c"], "dir \"/a b", Quote::Single);
        check("lrsh -c \"dir \\\"/a b", sh, &["lrsh", "-c"], "dir \"/a b", Quote::Double);
        check("lrsh -c dir\\ /a", sh, &["lrsh", "-c"], "dir /a", Quote::Bare);
        check("lrsh -c 'cd it'\\''s' x", sh, &["lrsh", "-c", "cd it's"], "x", Quote::Bare);
        check("lrsh -c \"cd C:\\Temp", sh, &["lrsh", "-c"], "cd C:\\Temp", Quote::Double);
        check("lrsh -c 'cd ''a b", power, &["lrsh", "-c"], "cd 'a b", Quote::Single);
        check("lrsh -c \"cd `\"a b", power, &["lrsh", "-c"], "cd \"a b", Quote::Double);
        check("lrsh C:\\x` y", power, &["lrsh"], "C:\\x y", Quote::Bare);
    }

    #[test]
    fn the_rest_of_the_word_is_known() {
        let check = |marked: &str, behind: &str| {
            let cursor = marked.find('^').unwrap();
            let line = marked.replacen('^', "", 1);
            assert_eq!(read(&line, cursor, Rules::PowerShell).behind, behind, "{marked}");
        };
        check("lrsh -c 'proc^' -x", "'");
        check("lrsh exp^lain x", "lain");
        check("lrsh ^ x", "");
        check("lrsh -c 'a^ b' c", " b'");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["a b", "it's", "\"q\" $x `y` \\z", "a*?[b]#~!{}", "C:\\Program Files\\x", "größe & <co>"] {
            for rules in [Rules::Sh, Rules::PowerShell] {
                for (quote, mark) in [(Quote::Bare, ""), (Quote::Single, "'"), (Quote::Double, "\"")] {
                    let line = format!("lrsh {mark}{}", written(text, rules, quote));
                    assert_eq!(read(&line, line.len(), rules).word.text, text, "{rules:?}: {line}");
                }
            }
        }
    }
}
