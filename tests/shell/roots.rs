//! `--root DIR`: a device that is switched off, through the real program.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::kit::shell::{Home, Ran};

/// A small device, with links that lead out of it.
fn tree(home: &Home) -> PathBuf {
    let tree = home.work().join("image");
    std::fs::create_dir_all(tree.join("etc")).unwrap();
    std::fs::write(tree.join("etc/hostname"), "web01\n").unwrap();
    std::fs::write(tree.join("etc/passwd"), "max:x:0:0::/home/max:/bin/sh\n").unwrap();
    symlink("/proc/self/environ", tree.join("absolute")).unwrap();
    symlink("../../../../../../../../etc/passwd", tree.join("etc/up")).unwrap();
    tree
}

fn look(home: &Home, root: &std::path::Path, line: &str) -> Ran {
    home.batch("").args(&["--root", root.to_str().unwrap(), "-c", line]).run()
}

#[test]
fn a_root_is_looked_at_and_nothing_outside_is_read() {
    let home = Home::new();
    let tree = tree(&home);
    let rows = look(&home, &tree, "dir / -output json").code(0).json();
    assert!(rows.as_array().unwrap().iter().all(|row| row["owner"] == "max"), "owners are named by its own passwd: {rows}");
    let read = look(&home, &tree, "cat /etc/up").code(0);
    assert_eq!(read.out(), "max:x:0:0::/home/max:/bin/sh\n");
    let refused = look(&home, &tree, "cat /absolute").code(1);
    assert_eq!(refused.out(), "");
    let live = look(&home, &tree, "processes").code(2);
    assert!(live.err().contains("only a running system"), "{}", live.err());
}

#[test]
fn a_root_has_a_home_of_its_own_and_is_named() {
    let home = Home::new();
    let tree = tree(&home);
    let told = look(&home, &tree, "connect").code(0).err();
    assert!(told.contains(&format!("web01:{}", tree.canonicalize().unwrap().display())), "{told}");
    // Two names of one folder are one root.
    symlink(&tree, home.work().join("link")).unwrap();
    look(&home, &home.work().join("link"), "connect").code(0);
    assert_eq!(std::fs::read_dir(home.path().join("roots")).unwrap().count(), 1);
    assert!(!home.path().join("service").exists(), "the live device was not started");
    let missing = look(&home, &home.work().join("missing"), "connect").code(2);
    assert!(missing.err().contains("missing"), "{}", missing.err());
}
