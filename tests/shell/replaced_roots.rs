//! A root whose folder is removed or replaced while a shell looks at it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::kit::shell::{Home, Ran};
use crate::kit::talking::Talking;

fn tree(home: &Home, name: &str) -> PathBuf {
    let tree = home.work().join("image");
    std::fs::create_dir_all(tree.join("etc")).unwrap();
    std::fs::write(tree.join("etc/hostname"), format!("{name}\n")).unwrap();
    std::fs::write(tree.join(name), format!("{name}\n")).unwrap();
    tree
}

fn shell(home: &Home, tree: &Path) -> Talking {
    let mut command = home.command();
    command.args(["--root", tree.to_str().unwrap(), "--stream", "--keep-going"]).stderr(Stdio::piped());
    Talking::start(command)
}

fn look(home: &Home, root: &str, line: &str) -> Ran {
    home.batch("").args(&["--root", root, "-c", line]).run()
}

#[test]
fn a_root_that_was_removed_or_replaced_is_said_and_a_new_shell_gets_what_is_there() {
    let home = Home::new();
    let old = tree(&home, "old");
    let mut first = shell(&home, &old);
    first.say("cat /old");
    assert!(first.line().unwrap().contains("old"));
    let said = |shell: &mut Talking| {
        shell.say("dir / -output json");
        let mut stderr = std::io::BufReader::new(shell.stderr());
        let mut line = String::new();
        while !line.contains("the root") {
            line.clear();
            assert!(std::io::BufRead::read_line(&mut stderr, &mut line).unwrap() > 0, "nothing was said of the root");
        }
        line
    };
    // Another folder comes in its place.
    std::fs::rename(&old, home.work().join("away")).unwrap();
    let new = tree(&home, "new");
    let line = said(&mut first);
    assert!(line.contains("was replaced") && line.contains("image"), "{line}");
    let rows = look(&home, new.to_str().unwrap(), "dir / -output json").code(0);
    assert!(rows.out().contains("\"new\"") && !rows.out().contains("\"old\""), "{}", rows.out());
    first.kill();
    // It is gone altogether.
    let mut second = shell(&home, &new);
    second.say("cat /new");
    assert!(second.line().unwrap().contains("new"));
    std::fs::remove_dir_all(&new).unwrap();
    let line = said(&mut second);
    assert!(line.contains("was removed"), "{line}");
    second.kill();
}

#[test]
fn a_folder_that_is_not_there_is_said_in_words() {
    let home = Home::new();
    let missing = look(&home, "/nowhere/at/all", "connect").code(2);
    assert!(missing.err().contains("--root /nowhere/at/all: no such file or directory"), "{}", missing.err());
    assert!(!missing.err().contains("os error"), "{}", missing.err());
}
