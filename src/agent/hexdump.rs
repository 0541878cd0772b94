//! Bytes as `hexdump -C` shows them: place, sixteen bytes, the same as characters; lines that repeat are a `*`.

use std::fmt::Write as _;

const LINE: usize = 16;

/// Makes a dump of bytes that come in pieces of any size.
#[derive(Debug)]
pub struct HexDump {
    at: u64,
    held: Vec<u8>,
    last: Option<[u8; LINE]>,
    starred: bool,
    any: bool,
}

impl HexDump {
    /// A dump of bytes that stand at a place of their file.
    #[must_use]
    pub fn new(at: u64) -> Self {
        Self { at, held: Vec::new(), last: None, starred: false, any: false }
    }

    /// The lines that are complete with these bytes.
    #[must_use]
    pub fn lines(&mut self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len() * 5);
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let mut lines = held.chunks_exact(LINE);
        for line in &mut lines {
            self.any = true;
            if self.last.as_ref().is_some_and(|last| last == line) {
                if !self.starred {
                    text.push_str("*\n");
                }
                self.starred = true;
            } else {
                self.starred = false;
                self.last = line.try_into().ok();
                write_line(&mut text, self.at, line);
            }
            self.at += LINE as u64;
        }
        self.held = lines.remainder().to_vec();
        text
    }

    /// The lines that are left, and the place behind the last byte.
    #[must_use]
    pub fn end(self) -> String {
        let mut text = String::new();
        if !self.held.is_empty() {
            write_line(&mut text, self.at, &self.held);
        }
        if self.any || !self.held.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:08x}", self.at + self.held.len() as u64);
        }
        text
    }
}

fn write_line(text: &mut String, at: u64, line: &[u8]) {
    let _ = write!(text, "{at:08x} ");
    for place in 0..LINE {
        if place == LINE / 2 {
            text.push(' ');
        }
        match line.get(place) {
            Some(byte) => {
                let _ = write!(text, " {byte:02x}");
            }
            None => text.push_str("   "),
        }
    }
    text.push_str("  |");
    text.extend(line.iter().map(|&byte| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' }));
    text.push_str("|\n");
}
