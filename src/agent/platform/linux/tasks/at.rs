//! Jobs of at(1): the name of a spool file holds queue, number and time; the file is a script that sets the job's surroundings up
//! again and then runs what was typed (at 3.2's `atd.c` and `at.c`).
//!
//! Pure.

use jiff::Timestamp;

/// What a file's name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtName {
    /// `a` to `z` and `A` to `Z`; `b` waits for a low load; `=` is a job that runs now.
    pub queue: char,
    /// What `atq` calls it.
    pub number: u32,
    /// When it is due.
    pub due: Timestamp,
}

/// What a file's text tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AtScript {
    /// Who gave the job.
    pub uid: Option<u32>,
    /// The folder that it runs in.
    pub folder: Option<String>,
    /// What was typed.
    pub command: String,
}

/// Reads the name of a spool file: one letter, five and eight hexadecimal digits (a number, and minutes since 1970).
#[must_use]
pub fn name(name: &str) -> Option<AtName> {
    let queue = name.chars().next().filter(|&queue| queue.is_ascii_alphabetic() || queue == '=')?;
    let (number, minutes) = (name.get(1..6)?, name.get(6..14)?);
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if name.len() != 14 || !is_hex(number) || !is_hex(minutes) {
        return None;
    }
    let minutes = i64::from_str_radix(minutes, 16).ok()?;
    Some(AtName { queue, number: u32::from_str_radix(number, 16).ok()?, due: Timestamp::from_second(minutes * 60).ok()? })
}

/// Reads the text of a spool file.
#[must_use]
pub fn script(text: &[u8]) -> AtScript {
    let text = String::from_utf8_lossy(text);
    let mut script = AtScript::default();
    let mut typed = None;
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        if let Some(header) = line.strip_prefix("# atrun uid=").filter(|_| number < 4) {
            script.uid = header.split(' ').next().and_then(|uid| uid.parse().ok());
        }
        // The folder is the last thing that at writes before what was typed.
        let Some(folder) = line.strip_prefix("cd ").and_then(|rest| rest.strip_suffix(" || {")) else { continue };
        script.folder = Some(folder.replace('\\', ""));
        let ended = lines.by_ref().take(4).any(|(_, line)| line == "}");
        typed = ended.then(|| lines.map(|(_, line)| line).collect::<Vec<_>>().join("\n"));
        break;
    }
    script.command = match typed {
        Some(typed) => unwrapped(&typed).trim().to_owned(),
        None => text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n").trim().to_owned(),
    };
    script
}

/// What was typed without the here-document that later versions put around it.
fn unwrapped(typed: &str) -> &str {
    let Some((head, body)) = typed.split_once('\n') else { return typed };
    let Some((_, mark)) = head.split_once("<< '") else { return typed };
    let mark = mark.trim_end_matches('\'');
    match body.rfind(&format!("\n{mark}")) {
        Some(end) if head.starts_with("${SHELL:-/bin/sh}") => body.get(..end).unwrap_or(body),
        _ if body.trim_end() == mark => "",
        _ => typed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_queue_number_and_time() {
        let job = name("a0000701c5f2a4").unwrap();
        assert_eq!((job.queue, job.number, job.due.as_second()), ('a', 7, 0x01c5_f2a4 * 60));
        for wrong in [
            "",
            "a",
            ".SEQ",
            "a0000701c5f2a",
            "a0000701c5f2a4x",
            "-0000701c5f2a4",
            "a0000+01c5f2a4",
            "a\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
        ] {
            assert_eq!(name(wrong), None, "{wrong}");
        }
        assert_eq!(name("=ffffffffffffff").map(|job| job.queue), None, "a year that no calendar has");
    }

    #[test]
    fn what_was_typed_is_behind_the_folder() {
        let text = b"#!/bin/sh\n# atrun uid=1000 gid=1000\n# mail alice 0\numask 22\nPATH=/bin; export PATH\ncd /home/a\\ b || {\n\t echo 'Execution directory inaccessible' >&2\n\t exit 1\n}\ncurl x | sh\necho done\n";
        let read = script(text);
        assert_eq!(
            (read.uid, read.folder.as_deref(), read.command.as_str()),
            (Some(1000), Some("/home/a b"), "curl x | sh\necho done")
        );
        let here = b"#!/bin/sh\n# atrun uid=0 gid=0\ncd / || {\n\t exit 1\n}\n${SHELL:-/bin/sh} << 'marcinDELIMITER1'\nid\n\nmarcinDELIMITER1\n";
        assert_eq!(script(here).command, "id");
        assert_eq!(script(b"plain\n").command, "plain");
        assert_eq!(script(b"cd x || {\n\xff").command, "cd x || {\n\u{fffd}");
        assert_eq!(script(b"").command, "");
    }
}
