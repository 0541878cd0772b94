//! Accounts, sudoers, histories and logins of a package, where their files are not as they usually are.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use super::{Unpacked, lrsh, ran, write};
use crate::kit::shell::Home;

fn collected(home: &Home, tree: &Path) -> Unpacked {
    let row = ran(lrsh(home, tree, &["-c", "collect -output json"])).code(0).json();
    Unpacked::open(&home.work().join(row["saved_as"].as_str().unwrap()))
}

#[test]
fn unusual_accounts_and_logins_are_read() {
    let (home, tree) = (Home::new(), tempfile::tempdir().unwrap());
    let root = tree.path();
    let owner = fs::metadata(root).unwrap().uid();
    let passwd =
        format!("root:x:0:0::/root:/bin/sh\nshort:x:7:7\nlong:x:8:8::/:/bin/sh:-c\neve:x:{owner}:9::/home/eve:/bin/zsh\n");
    write(root, "etc/passwd", passwd);
    write(root, "etc/shadow", "root:$y$secret-of-root:20000:0:99999:7:::\n");
    write(root, "etc/sudoers", "#1001 ALL=(ALL) NOPASSWD: ALL\n# no more \\\neve ALL=ALL # why\n@include /opt/grants\n");
    write(root, "etc/sudoers.d/unread.bak", "x ALL=ALL\n");
    write(root, "opt/grants", "%wheel ALL=ALL\n");
    write(root, "srv/kept", "curl http://203.0.113.9/x\n");
    fs::create_dir_all(root.join("home/eve")).unwrap();
    symlink("/srv/kept", root.join("home/eve/.bash_history")).unwrap();
    symlink("/etc/shadow", root.join("home/eve/.zsh_history")).unwrap();
    symlink("../../../../../../../../etc/passwd", root.join("home/eve/.history")).unwrap();
    // As a 64-bit ARM writes it.
    let mut record = vec![0; 400];
    record[0] = 7;
    record[44..47].copy_from_slice(b"eve");
    record[344..352].copy_from_slice(&1_700_000_000_i64.to_ne_bytes());
    write(root, "var/log/wtmp", record.repeat(24));
    let mut last = vec![0; 296 * 8];
    last[296 * 7..296 * 7 + 8].copy_from_slice(&1_700_000_000_i64.to_ne_bytes());
    last[296 * 7 + 8..296 * 7 + 13].copy_from_slice(b"pts/3");
    write(root, "var/log/lastlog", last);
    symlink("/etc/shadow", root.join("var/log/auth.log")).unwrap();
    let package = collected(&home, root);
    let users = package.rows("users/users.jsonl");
    let names: Vec<&str> = users.iter().map(|user| user["user_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["root", "short", "long", "eve"]);
    assert_eq!(users[2]["shell"], "/bin/sh:-c");
    let grants: Vec<String> =
        package.rows("sudoers/sudoers.jsonl").iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(grants, ["#1001 ALL=(ALL) NOPASSWD: ALL", "eve ALL=ALL", "@include /opt/grants", "%wheel ALL=ALL"]);
    assert_eq!(package.text("sudoers/raw/etc/sudoers.d/unread.bak"), "x ALL=ALL\n");
    let typed = package.rows("shell_history/shell_history.jsonl");
    assert!(typed.iter().any(|row| row["command"] == "curl http://203.0.113.9/x" && row["file"] == "/srv/kept"), "{typed:?}");
    assert_eq!(package.text("shell_history/raw/srv/kept"), "curl http://203.0.113.9/x\n");
    let everything = package.files.values().flatten().copied().collect::<Vec<u8>>();
    assert!(!everything.windows(14).any(|part| part == b"secret-of-root"), "a password's hash is never taken");
    assert!(package.text("summary.json").contains("/var/log/auth.log: it leads to the hashes of passwords"));
    let logins = package.rows("logs/logins.jsonl");
    assert_eq!((logins.len(), &logins[0]["time"]), (24, &"2023-11-14T22:13:20Z".into()));
    let last = package.rows("logs/last_logins.jsonl");
    assert_eq!((&last[0]["user_name"], &last[0]["terminal"]), (&"short".into(), &"pts/3".into()));
}
