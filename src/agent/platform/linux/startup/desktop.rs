//! Desktop entries: `.desktop` files of the Desktop Entry Specification 1.5 as XDG autostart reads them.
//!
//! Pure.

/// The most keys that are read of one file.
const MAX_LINES: usize = 10_000;

/// What an entry says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesktopEntry {
    /// Whether there is a group `[Desktop Entry]` at all.
    pub is_entry: bool,
    /// The command line.
    pub exec: Option<String>,
    /// Whether it hides itself.
    pub hidden: bool,
    /// Whether GNOME's own switch is off.
    pub switched_off: bool,
    /// The desktops that it is for.
    pub only_show_in: Vec<String>,
    /// Whether a message on the bus starts it instead.
    pub by_message: bool,
}

impl DesktopEntry {
    /// Whether a session that it is for starts it.
    #[must_use]
    pub fn starts(&self) -> bool {
        self.is_entry && !self.hidden && !self.switched_off && (self.exec.is_some() || self.by_message)
    }

    /// The program of its command line.
    #[must_use]
    pub fn program(&self) -> Option<String> {
        let exec = self.exec.as_deref()?.trim_start();
        let Some(quoted) = exec.strip_prefix('"') else { return exec.split_whitespace().next().map(ToOwned::to_owned) };
        let mut program = String::new();
        let mut letters = quoted.chars();
        while let Some(letter) = letters.next().filter(|&letter| letter != '"') {
            match letter {
                '\\' => program.extend(letters.next()),
                _ => program.push(letter),
            }
        }
        Some(program)
    }

    /// What is wrong with it.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        if !self.is_entry {
            Some("it has no group [Desktop Entry]".to_owned())
        } else if self.exec.is_none() && !self.hidden && !self.by_message {
            Some("it names no program".to_owned())
        } else {
            None
        }
    }
}

/// Reads a `.desktop` file.
#[must_use]
pub fn parse(text: &[u8]) -> DesktopEntry {
    let text = String::from_utf8_lossy(text);
    let mut entry = DesktopEntry::default();
    let mut inside = false;
    for line in text.lines().take(MAX_LINES) {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line == "[Desktop Entry]";
            entry.is_entry |= inside;
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| inside && !line.starts_with('#')) else { continue };
        let value = value.trim_start();
        match key.trim_end() {
            "Exec" if !value.is_empty() => entry.exec = Some(value.to_owned()),
            "Hidden" => entry.hidden = value == "true",
            "X-GNOME-Autostart-enabled" => entry.switched_off = value == "false",
            "DBusActivatable" => entry.by_message = value == "true",
            "OnlyShowIn" => {
                entry.only_show_in = value.split(';').filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect();
            }
            _ => {}
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_sessions_read_them() {
        let entry = parse(b"# c\n[Desktop Entry]\nName=x\nExec = \"/opt/a \\\"b\" --x %U\nOnlyShowIn=GNOME;KDE;\n[Desktop Action y]\nExec=other\nHidden=true\n");
        assert_eq!(entry.program().as_deref(), Some("/opt/a \"b"));
        assert_eq!(entry.only_show_in, ["GNOME", "KDE"]);
        assert!(entry.starts() && entry.wrong().is_none());
        let starts = |text: &str| parse(text.as_bytes()).starts();
        assert!(!starts("[Desktop Entry]\nExec=x\nHidden=true\n"));
        assert!(!starts("[Desktop Entry]\nExec=x\nX-GNOME-Autostart-enabled=false\n"));
        assert!(!starts("Exec=x\n"));
        assert!(!starts("[Desktop Entry]\nExec=\n"));
        assert_eq!(parse(b"\xff\0\n[").wrong().as_deref(), Some("it has no group [Desktop Entry]"));
        assert_eq!(parse(b"[Desktop Entry]\nExec=\"").program().as_deref(), Some(""));
    }
}
