//! Completion in PowerShell, as far as it can be shown without one: its script is read by a parser, and the program is asked
//! with what PowerShell hands to a completer.

use base64::Engine as _;

use crate::kit::home::Home;

/// The script with what PowerShell would give it: the word, the text of the command's syntax tree (blanks at its end cut
/// off) and where the cursor stands in it, in UTF-16 units. The texts that it would put in the word's place.
fn complete(word: &str, tree: &str, cursor: usize) -> Vec<(String, String)> {
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let arguments = [
        "complete".to_owned(),
        "powershell".to_owned(),
        "--encoded".to_owned(),
        format!("--line={}", encode(tree)),
        format!("--word={}", encode(word)),
        format!("--cursor={cursor}"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let home = Home::new();
    let answer = home.lrsh(&arguments).output().unwrap();
    assert!(answer.status.success() && answer.stderr.is_empty(), "{answer:?}");
    let lines = String::from_utf8(answer.stdout).unwrap();
    let parts = lines.lines().map(|line| {
        let parts: Vec<&str> = line.split('\t').collect();
        assert!(parts.len() == 3 && parts.iter().all(|part| !part.is_empty()), "{line}");
        (parts[0].to_owned(), parts[2].to_owned())
    });
    parts.collect()
}

#[test]
fn the_protocol() {
    let check = |word: &str, tree: &str, cursor: usize, wanted: &[&str]| {
        let found = complete(word, tree, cursor);
        let texts: Vec<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, wanted, "{tree}");
    };
    check("expl", "lrsh expl", 9, &["explain"]);
    // A new word: the tree ends before the cursor.
    check("", "lrsh completions", 17, &["zsh", "bash", "powershell"]);
    check("--ke", "lrsh --ke", 9, &["--keep-going"]);
    check("ne", "lrsh --color ne", 15, &["never"]);
    // A line in quotes, open and closed behind the cursor.
    check("'proc", "lrsh -c 'proc", 13, &["'processes "]);
    check("'proc'", "lrsh -c 'proc'", 13, &["'processes '"]);
    check("\"proc", "lrsh -c \"proc", 13, &["\"processes "]);
    check("proc", "lrsh -c proc", 12, &["'processes "]);
    check("'dir /etc -full", "lrsh explain 'dir /etc -full", 28, &["'dir /etc -full_path "]);
    check("'dir ''a b'' -full", "lrsh explain 'dir ''a b'' -full", 31, &["'dir ''a b'' -full_path "]);
    check("\"dir `\"a b`\" -full", "lrsh explain \"dir `\"a b`\" -full", 31, &["\"dir `\"a b`\" -full_path "]);
    // UTF-16: the first character takes two units.
    check("'dir 😀 -full", "lrsh -c 'dir 😀 -full", 21, &["'dir 😀 -full_path "]);
    check("'cls x", "lrsh -c 'cls x", 14, &[]);
    let meant = complete("'get", "lrsh -c 'get", 12);
    assert_eq!(meant[0].0, "'getfile ");
    assert!(meant[0].1.starts_with("Fetch"), "{meant:?}");
}

#[test]
fn garbage_is_no_completion() {
    let answer =
        Home::new().lrsh(&["complete", "powershell", "--encoded", "--line=%%%", "--word=", "--cursor=4"]).output().unwrap();
    assert!(answer.status.success() && answer.stdout.is_empty());
}

#[test]
fn the_script_is_powershell() {
    let script = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/completions/lrsh.ps1")).unwrap();
    let is_understood = |script: &str| {
        let mut parser = tree_sitter::Parser::new();
        parser.set_language(&tree_sitter_powershell::LANGUAGE.into()).unwrap();
        !parser.parse(script, None).unwrap().root_node().has_error()
    };
    assert!(is_understood(&script));
    assert!(!is_understood(script.strip_suffix("}\n").unwrap()), "the parser finds no fault in half a script");
    let calls =
        ["Register-ArgumentCompleter -Native -CommandName lrsh", "param($wordToComplete, $commandAst, $cursorPosition)"];
    assert!(calls.iter().all(|call| script.contains(call)));
}
