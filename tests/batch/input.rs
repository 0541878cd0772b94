//! Where lines come from, and how a script is cut into them.

use crate::kit::shell::{Home, Ran};

/// The names of the files that were listed, in order: which lines ran.
fn listed(ran: &Ran) -> Vec<String> {
    ran.jsonl().iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect()
}

/// A home with folders that each hold one file of the folder's name; the line that lists one.
fn folders() -> (Home, impl Fn(&str) -> String) {
    let home = Home::new();
    let work = home.work();
    for name in ["a", "b", "c"] {
        std::fs::create_dir(work.join(name)).unwrap();
        std::fs::write(work.join(name).join(name), name).unwrap();
    }
    (home, move |name: &str| format!("dir {} -output jsonl", work.join(name).display()))
}

#[test]
fn lines_come_from_standard_input_the_command_line_or_files() {
    let (home, dir) = folders();
    let (a, b, c) = (dir("a"), dir("b"), dir("c"));
    assert_eq!(listed(&home.batch(&format!("{a}\n{b}\n")).run().code(0)), ["a", "b"]);
    // The last line needs no end.
    assert_eq!(listed(&home.batch(&format!("{a}\n{b}")).run().code(0)), ["a", "b"]);
    assert_eq!(listed(&home.batch("").args(&["-c", &a, "-c", &b, "-c", &c]).run().code(0)), ["a", "b", "c"]);
    let ran = home.batch("").args(&["-c", &a, "-c", "proceses"]).run().code(2);
    assert!(ran.out().is_empty() && ran.err().starts_with("-c 2:1:1: "), "{}", ran.err());
    std::fs::write(home.work().join("one.lrsh"), format!("{a}\n{b}\n")).unwrap();
    std::fs::write(home.work().join("two.lrsh"), format!("# last\n{c}\n")).unwrap();
    let ran = home.batch("this is not read\n").args(&["one.lrsh", "two.lrsh"]).run().code(0);
    assert_eq!(listed(&ran), ["a", "b", "c"]);
    assert_eq!(ran.err().matches("connected to").count(), 1, "one session: {}", ran.err());
    assert_eq!(home.batch("").run().code(0).out(), "");
    let ran = home.batch("").args(&["one.lrsh", "missing.lrsh"]).run().code(2);
    assert!(ran.out().is_empty() && ran.err().contains("missing.lrsh"), "{}", ran.err());
}

#[test]
fn the_first_failure_ends_a_batch_unless_told_otherwise() {
    let (home, dir) = folders();
    let script = format!("{}\ncat /nonexistent\n{}\ncd /etc/passwd\n", dir("a"), dir("b"));
    assert_eq!(listed(&home.batch(&script).run().code(1)), ["a"]);
    let ran = home.batch(&script).args(&["--keep-going"]).run().code(1);
    assert_eq!(listed(&ran), ["a", "b"]);
    assert_eq!(ran.err().matches("error:").count(), 2, "{}", ran.err());
    // Of several failures the first one's code counts.
    let script = "cat /nonexistent\nregistry HKLM\n";
    home.batch(script).args(&["--keep-going", "--stream"]).run().code(1);
    home.batch("registry HKLM\ncat /nonexistent\n").args(&["--keep-going", "--stream"]).run().code(2);
}

#[test]
fn line_ends_and_the_mark_of_utf_8_are_no_part_of_a_line() {
    let (home, dir) = folders();
    for script in [
        format!("\u{feff}{}\r\n# a comment\r\n\r\n   \t\r\n{}\r\n", dir("a"), dir("b")),
        format!("\u{feff}{}\n#\n  # 'open in a comment\n\n{}", dir("a"), dir("b")),
    ] {
        assert_eq!(listed(&home.batch(&script).run().code(0)), ["a", "b"], "{script:?}");
        assert_eq!(listed(&home.batch(&script).args(&["--stream"]).run().code(0)), ["a", "b"], "{script:?}");
    }
}

#[test]
fn what_is_not_utf_8_is_refused_with_its_place() {
    let (home, dir) = folders();
    let check = |bytes: &[u8], place: &str, says: &str| {
        std::fs::write(home.work().join("odd.lrsh"), bytes).unwrap();
        let ran = home.batch("").args(&["odd.lrsh"]).run().code(2);
        assert!(ran.out().is_empty(), "nothing ran");
        assert!(ran.err().starts_with(&format!("odd.lrsh:{place}: error: ")) && ran.err().contains(says), "{}", ran.err());
        let ran = home.batch("").args(&["check", "odd.lrsh"]).run().code(2);
        assert!(
            ran.out().starts_with(&format!("odd.lrsh:{place}: unsupported_syntax: ")) && ran.out().contains(says),
            "{}",
            ran.out()
        );
        let mut stream = home.batch("").args(&["--stream"]);
        stream.input = bytes.to_vec();
        let ran = stream.run().code(2);
        assert!(ran.err().contains(&format!("-:{place}: error: ")) && ran.err().contains(says), "{}", ran.err());
    };
    let units = |mark: Option<u16>| mark.into_iter().chain(dir("a").encode_utf16().chain([0x0a])).collect::<Vec<u16>>();
    for mark in [Some(0xfeff), None] {
        check(&units(mark).into_iter().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(), "1:1", "UTF-16");
        check(&units(mark).into_iter().flat_map(u16::to_be_bytes).collect::<Vec<u8>>(), "1:1", "UTF-16");
    }
    check(&[dir("a").as_bytes(), b"\ncat /tmp/\xff\n"].concat(), "2:10", "\\xff");
    check(
        "\u{feff}cat \"/tmp/größe\" ".as_bytes().iter().chain(b"\x80\r\n").copied().collect::<Vec<u8>>().as_slice(),
        "1:18",
        "\\x80",
    );
    // Every script is told, and a stream goes on where it is asked to.
    let ran = home.batch("").args(&["odd.lrsh", "odd.lrsh"]).run().code(2);
    assert_eq!(ran.err().matches("odd.lrsh:1:18: ").count(), 2, "{}", ran.err());
    let mut stream = home.batch("").args(&["--stream", "--keep-going"]);
    stream.input = [b"cat /\xff\n", dir("b").as_bytes()].concat();
    assert_eq!(listed(&stream.run().code(2)), ["b"]);
}

#[test]
fn a_quote_may_span_lines() {
    let home = Home::new();
    let name = "two\nlines";
    std::fs::write(home.work().join(name), "found").unwrap();
    let script = format!("cat \"{}\"\n", home.work().join(name).display());
    assert_eq!(home.batch(&script).run().code(0).out(), "found");
    assert_eq!(home.batch(&script.replace('\n', "\r\n")).run().code(0).out(), "found");
    assert_eq!(home.line(script.trim_end()).code(0).out(), "found");
    // One that is never closed is told where it begins, and takes no other slip with it.
    let ran = home.batch("help\ncat 'open\nproceses\n").run().code(2);
    assert!(ran.err().contains("-:2:5: error: the quote"), "{}", ran.err());
    assert!(ran.err().contains("-:3:1: error: there is no command"), "{}", ran.err());
    assert_eq!(ran.out(), "");
    // And is no second slip of its own word.
    for line in ["processes 'abc", "\"help", "dir -output 'js"] {
        let ran = home.batch(line).args(&["check", "-"]).run().code(2);
        assert!(ran.out().contains(": open_quote: ") && ran.out().lines().count() == 1, "{}", ran.out());
    }
}

#[test]
fn a_stream_is_answered_line_by_line() {
    use std::io::{BufRead, BufReader, Write};
    let (home, dir) = folders();
    let mut command = home.command();
    command.arg("--stream").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    // The next line is written only when the one before has been answered.
    for name in ["a", "b", "c"] {
        writeln!(input, "{}", dir(name)).unwrap();
        let row: serde_json::Value = serde_json::from_str(&output.next().unwrap().unwrap()).unwrap();
        assert_eq!(row["path"], name);
    }
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_a_newcomer_types_by_mistake_is_answered_with_what_to_type() {
    let home = Home::new();
    let ran = home.line("ps aux").code(2);
    assert!(ran.err().contains("here it is `processes`"), "{}", ran.err());
    let ran = home.batch("").args(&["processes"]).run().code(2);
    assert!(ran.err().contains("lrsh -c 'processes'"), "{}", ran.err());
    let ran = home.batch("").args(&["paths", "nonsense"]).run().code(2);
    assert!(ran.err().contains("nonsense") && ran.err().contains("socket"), "{}", ran.err());
    assert!(home.batch("devices -output jsonl\n").args(&["-"]).run().code(0).jsonl().len() == 1);
    let ran = home.line("cat \"\"").code(2);
    assert!(ran.err().contains("path is empty: expected a path on the device; the current directory is `.`"), "{}", ran.err());
    let ran = home.line("get file x").code(2);
    assert!(ran.err().contains("`get` took `file` for its value, and has no use for `x`"), "{}", ran.err());
    assert!(ran.err().contains("it is one word here: `getfile`"), "{}", ran.err());
    // One slip is one error: nothing is said of a value whose parameter there is none of.
    let ran = home.line("dir /etc -colums path,size").code(2);
    assert!(ran.err().matches("error:").count() == 1 && ran.err().contains("did you mean -columns?"), "{}", ran.err());
    for line in ["status 0", "cancel 0", "fg 00"] {
        let ran = home.line(line).code(2);
        assert!(ran.err().contains("expected a command's number, from 1 on"), "{}", ran.err());
    }
    let ran = home.line("processes -name no-such-process").code(0);
    assert!(ran.out().is_empty() && ran.err().contains("no rows"), "{}", ran.err());
}

#[test]
fn a_control_character_is_shown_in_one_way() {
    let home = Home::new();
    let ran = home.batch("no\0such\u{85}\n").args(&["check", "-"]).run().code(2);
    assert!(ran.out().contains("`no\\x00such\\u{85}`"), "{}", ran.out());
    let ran = home.batch("no\0such\u{85}\n").run().code(2);
    assert!(ran.err().contains("`no\\x00such\\u{85}`"), "{}", ran.err());
}

#[test]
fn a_line_without_end_is_refused_with_its_place() {
    let home = Home::new();
    let long = format!("dir /{}\n", "a/".repeat(40_000));
    let ran = home.batch(&format!("devices\n{long}proceses\n")).run().code(2);
    assert!(ran.out().is_empty(), "nothing ran");
    assert!(ran.err().contains("-:2: the line is longer than") && ran.err().contains("-:3:1: "), "{}", ran.err());
    let ran = home.batch(&format!("devices\n{long}")).args(&["--stream"]).run().code(2);
    assert!(!ran.out().is_empty() && ran.err().contains("-:2: the line is longer than"), "{}", ran.err());
}
