//! `ExecStart=` and its kin: what is run, after systemd.service(5), "Command lines".

/// A command line of a unit, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The program.
    pub program: String,
    /// Its arguments as they are written, quotes taken off.
    pub arguments: Vec<String>,
}

impl CommandLine {
    /// The arguments as one text, those with blanks in quotes.
    #[must_use]
    pub fn arguments_text(&self) -> String {
        let quoted = |argument: &String| {
            if argument.is_empty() || argument.contains(char::is_whitespace) {
                format!("\"{}\"", argument.replace('\\', "\\\\").replace('"', "\\\""))
            } else {
                argument.clone()
            }
        };
        self.arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
    }
}

/// Takes a command line apart; `None` when it is empty.
#[must_use]
pub fn command_line(value: &str) -> Option<CommandLine> {
    let bare = value.trim_start();
    let program = bare.trim_start_matches(['@', '-', ':', '+', '!', '|']);
    let renamed = bare.strip_suffix(program).is_some_and(|prefixes| prefixes.contains('@'));
    let mut words = words(program);
    if words.is_empty() {
        return None;
    }
    let program = words.remove(0);
    // With `@` the word behind the program is only what it is called.
    if renamed && !words.is_empty() {
        words.remove(0);
    }
    Some(CommandLine { program, arguments: words })
}

/// Words by systemd's rules: quotes of both kinds delimit, backslash escapes.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (_, '\\') => {
                let word = word.get_or_insert_default();
                match letters.next() {
                    Some('n') => word.push('\n'),
                    Some('t') => word.push('\t'),
                    Some('s') => word.push(' '),
                    Some(quoted @ ('\\' | '"' | '\'' | ' ')) => word.push(quoted),
                    Some(other) => {
                        word.push('\\');
                        word.push(other);
                    }
                    None => word.push('\\'),
                }
            }
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_taken_apart() {
        let check = |value: &str, program: &str, arguments: &[&str]| {
            let line = command_line(value).unwrap();
            assert_eq!(
                (line.program.as_str(), line.arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice()),
                (program, arguments),
                "{value}"
            );
        };
        check("/usr/sbin/sshd -D $SSHD_OPTS", "/usr/sbin/sshd", &["-D", "$SSHD_OPTS"]);
        check("-/bin/sh -c \"echo 'a b' \\\"c\\\"\"", "/bin/sh", &["-c", "echo 'a b' \"c\""]);
        check("@/usr/bin/dbus-daemon @dbus-daemon --system", "/usr/bin/dbus-daemon", &["--system"]);
        check("!!+:-'/opt/a b' ''", "/opt/a b", &[""]);
        check("/x a\\x20 \\", "/x", &["a\\x20", "\\"]);
        assert_eq!(command_line("  "), None);
        assert_eq!(command_line("-"), None);
        assert_eq!(command_line("/x 'a b' c").unwrap().arguments_text(), "\"a b\" c");
    }
}
