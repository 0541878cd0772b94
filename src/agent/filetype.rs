//! What a file is, told by its first bytes: its media type, and what kind of program it is.

use rustix::fs::FileType;

use super::platform::base_name;

/// The media type of a file that is no regular one, as `file --mime-type` names it.
#[must_use]
pub fn special(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "inode/directory",
        FileType::Symlink => "inode/symlink",
        FileType::Fifo => "inode/fifo",
        FileType::Socket => "inode/socket",
        FileType::CharacterDevice => "inode/chardevice",
        FileType::BlockDevice => "inode/blockdevice",
        FileType::RegularFile | FileType::Unknown => "application/octet-stream",
    }
}

/// The media type that a file's first bytes tell.
#[must_use]
pub fn mime_type(head: &[u8]) -> &'static str {
    if head.is_empty() {
        return "inode/x-empty";
    }
    // Of an ELF file the header says more than the library does.
    if head.starts_with(b"\x7fELF") {
        return match Elf::of(head).map(|elf| elf.kind) {
            Some(1) => "application/x-object",
            Some(2) => "application/x-executable",
            Some(3) if Elf::of(head).is_some_and(|elf| elf.interpreter) => "application/x-pie-executable",
            Some(3) => "application/x-sharedlib",
            Some(4) => "application/x-coredump",
            _ => "application/x-elf",
        };
    }
    if head.starts_with(b"#!") {
        return script(head);
    }
    match infer::get(head) {
        Some(known) => known.mime_type(),
        None if is_text(head) => "text/plain",
        None => "application/octet-stream",
    }
}

fn script(head: &[u8]) -> &'static str {
    let interpreter = String::from_utf8_lossy(interpreter(head)).into_owned();
    let is = |name: &str| interpreter.starts_with(name);
    match () {
        () if is("python") => "text/x-script.python",
        () if is("perl") => "text/x-perl",
        () if is("ruby") => "text/x-ruby",
        () if is("php") => "text/x-php",
        () if is("node") => "application/javascript",
        () if is("lua") => "text/x-lua",
        () if ["sh", "bash", "dash", "zsh", "ksh", "ash"].contains(&interpreter.as_str()) => "text/x-shellscript",
        () => "text/plain",
    }
}

/// The base name of the program in a script's first line; behind `env`, that of what it starts.
fn interpreter(head: &[u8]) -> &[u8] {
    let line = head.strip_prefix(b"#!").unwrap_or_default();
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let first = words.next().map(base_name).unwrap_or_default();
    if first == b"env" { words.find(|word| !word.starts_with(b"-")).map(base_name).unwrap_or_default() } else { first }
}

/// Whether bytes are text: UTF-8 (cut anywhere) without control characters that no text has.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            return head.get(..error.valid_up_to()).is_some_and(is_text);
        }
        Err(_) => return false,
    };
    !text.chars().any(|c| matches!(c, '\0'..='\u{6}' | '\u{e}'..='\u{1a}' | '\u{1c}'..='\u{1f}' | '\u{7f}'))
}

/// What kind of program a file is, e.g. `ELF 64-bit x86-64 pie executable`, `PE32+`, `script bash`; `None` for anything that
/// is no program.
#[must_use]
pub fn executable_type(head: &[u8]) -> Option<String> {
    if let Some(elf) = Elf::of(head) {
        return Some(elf.describe());
    }
    if head.starts_with(b"#!") {
        let name = String::from_utf8_lossy(interpreter(head)).into_owned();
        return (!name.is_empty()).then(|| format!("script {name}"));
    }
    if head.starts_with(b"MZ") {
        let at = little(head, 0x3c, 4).and_then(|at| usize::try_from(at).ok())?;
        if head.get(at..at.checked_add(4)?) != Some(b"PE\0\0") {
            return Some("DOS executable".into());
        }
        let flags = little(head, at.checked_add(22)?, 2).unwrap_or(0);
        let what = if flags & 0x2000 == 0 { "executable" } else { "DLL" };
        let format = if little(head, at.checked_add(24)?, 2) == Some(0x20b) { "PE32+" } else { "PE32" };
        return Some(format!("{format} {what}"));
    }
    match head.get(..4)? {
        [0xcf | 0xce, 0xfa, 0xed, 0xfe] | [0xfe, 0xed, 0xfa, 0xcf | 0xce] => Some("Mach-O".into()),
        // The same first bytes as a Java class, whose version stands where the number of architectures does.
        [0xca, 0xfe, 0xba, 0xbe] if head.get(7).is_some_and(|&count| count < 20) => Some("Mach-O universal".into()),
        _ => None,
    }
}

/// Whether a program's first bytes bear the mark of a known packer.
#[must_use]
pub fn has_packer_mark(head: &[u8]) -> bool {
    head.windows(4).any(|mark| mark == b"UPX!" || mark == b"UPX0")
}

struct Elf {
    wide: bool,
    kind: u64,
    machine: u64,
    interpreter: bool,
}

impl Elf {
    /// Reads the header and looks for a program header that names an interpreter (elf(5)).
    fn of(head: &[u8]) -> Option<Self> {
        if !head.starts_with(b"\x7fELF") {
            return None;
        }
        let wide = *head.get(4)? == 2;
        let big = *head.get(5)? == 2;
        let number = |at: usize, length: usize| {
            let bytes = head.get(at..at.checked_add(length)?)?;
            let fold = |value: u64, &byte: &u8| (value << 8) | u64::from(byte);
            Some(if big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
        };
        let (table, size, count) = if wide {
            (number(32, 8)?, number(54, 2)?, number(56, 2)?)
        } else {
            (number(28, 4)?, number(42, 2)?, number(44, 2)?)
        };
        let mut headers = (0..count).filter_map(|place| number(usize::try_from(table.checked_add(place * size)?).ok()?, 4));
        Some(Self { wide, kind: number(16, 2)?, machine: number(18, 2)?, interpreter: headers.any(|kind| kind == 3) })
    }

    fn describe(&self) -> String {
        let bits = if self.wide { "64-bit" } else { "32-bit" };
        let machine = match self.machine {
            3 => "x86",
            8 => "MIPS",
            20 => "PowerPC",
            21 => "PowerPC64",
            22 => "S/390",
            40 => "ARM",
            62 => "x86-64",
            183 => "AArch64",
            243 => "RISC-V",
            247 => "BPF",
            258 => "LoongArch",
            _ => "other",
        };
        let kind = match (self.kind, self.interpreter) {
            (1, _) => "relocatable",
            (2, _) => "executable",
            (3, true) => "pie executable",
            (3, false) => "shared object",
            (4, _) => "core dump",
            _ => "unknown",
        };
        format!("ELF {bits} {machine} {kind}")
    }
}

fn little(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |value, &byte| (value << 8) | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_type() {
        let check = |head: &[u8], mime: &str, program: Option<&str>| {
            assert_eq!((mime_type(head), executable_type(head).as_deref()), (mime, program), "{head:?}");
        };
        check(b"", "inode/x-empty", None);
        check(b"hello\n", "text/plain", None);
        check("caf\u{e9}".as_bytes(), "text/plain", None);
        check(b"caf\xc3", "text/plain", None);
        check(b"\xff\x00\x01", "application/octet-stream", None);
        check(b"#!/bin/sh\nexit", "text/x-shellscript", Some("script sh"));
        check(b"#! /usr/bin/env -S python3 -u\n", "text/x-script.python", Some("script python3"));
        check(b"#!", "text/plain", None);
        check(b"\x7fELF", "application/x-elf", None);
        check(b"MZ", "application/vnd.microsoft.portable-executable", None);
        check(b"\x89PNG\r\n\x1a\n", "image/png", None);
        check(b"PK\x03\x04", "application/zip", None);
    }

    #[test]
    fn broken_headers_never_panic() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let head = own.get(..4096).unwrap();
        assert_eq!(mime_type(head), "application/x-pie-executable");
        for at in 0..head.len() {
            let mut broken = head.to_vec();
            broken[at] = 0xff;
            let _ = executable_type(&broken);
            let _ = executable_type(&broken[..at]);
            let _ = mime_type(&broken[..at]);
        }
    }
}
