//! `--root DIR`: a device that is switched off, through the real program.

use std::collections::HashMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::kit::need::{need, skip};
use crate::kit::shell::{Home, Ran};
use crate::kit::talking::Talking;

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

fn look(home: &Home, root: &Path, line: &str) -> Ran {
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

#[test]
fn however_a_root_is_named_it_is_that_folder_and_no_more() {
    let home = Home::new();
    let tree = tree(&home);
    symlink(&tree, home.work().join("link")).unwrap();
    for named in ["image", "image/", "./image/.", "image/etc/..", "link", "link/"] {
        let ran = home.batch("").args(&["--root", named, "-c", "cat /etc/hostname"]).run().code(0);
        assert_eq!(ran.out(), "web01\n", "{named}");
    }
    assert_eq!(std::fs::read_dir(home.path().join("roots")).unwrap().count(), 1);
    for (named, said) in [("image/etc/hostname", "directory"), ("nowhere", "nowhere"), ("", "value is required")] {
        let refused = home.batch("").args(&["--root", named, "-c", "session"]).run().code(2);
        assert!(refused.err().contains(said), "{named}: {}", refused.err());
    }
    // This machine's own top folder is a tree of files too, then.
    let root = look(&home, Path::new("/"), "processes").code(2);
    assert!(root.err().contains("only a running system"), "{}", root.err());
}

#[test]
fn what_only_a_running_system_has_says_so() {
    let home = Home::new();
    let tree = tree(&home);
    let script = home.work().join("x.sh");
    std::fs::write(&script, "true").unwrap();
    for (line, code) in [
        ("processes", 2),
        ("connections", 2),
        ("analyze process 1", 2),
        ("remediate process 1 -auto", 1),
        ("isolate -allow 192.0.2.1", 2),
        ("release", 2),
        ("run x.sh", 2),
    ] {
        let writable = ["--root", "image", "--root-writable", "-c", "library add x.sh -overwrite", "-c", line];
        let refused = home.batch("").args(&writable).run().code(code);
        assert!(refused.err().contains("running system"), "{line}: {}", refused.err());
    }
    assert!(tree.is_dir());
}

#[test]
fn who_owns_a_file_is_never_told_by_a_list_outside() {
    let home = Home::new();
    let tree = tree(&home);
    let outside = home.work().join("passwd");
    std::fs::write(&outside, "outsider:x:0:0::/:/bin/sh\n").unwrap();
    for target in [outside.clone(), Path::new("../../..").join(outside.strip_prefix("/").unwrap())] {
        std::fs::remove_file(tree.join("etc/passwd")).unwrap();
        symlink(target, tree.join("etc/passwd")).unwrap();
        let rows = look(&home, &tree, "dir / -output jsonl").code(0).jsonl();
        assert!(!rows.is_empty() && rows.iter().all(|row| row["owner"] == "0"), "{rows:?}");
    }
}

#[test]
fn a_root_that_goes_away_is_said_and_two_roots_never_meet() {
    let home = Home::new();
    let (one, two) = (tree(&home), home.work().join("other"));
    std::fs::create_dir_all(two.join("etc")).unwrap();
    std::fs::write(two.join("etc/hostname"), "web02\n").unwrap();
    let start = |root: &Path| {
        let mut command = home.command();
        command.arg("--root").arg(root).args(["--stream", "--keep-going"]);
        command.stderr(std::process::Stdio::piped());
        Talking::start(command)
    };
    let (mut first, mut second) = (start(&one), start(&two));
    for _ in 0..2 {
        for (shell, name) in [(&mut first, "web01"), (&mut second, "web02")] {
            shell.say("cat /etc/hostname");
            assert_eq!(shell.line().unwrap().trim_end(), name);
        }
    }
    // Where a line's output goes is the analyst's own folder, whatever the root has of that name.
    first.say("dir /etc > etc.txt");
    first.say("cat /etc/hostname");
    assert_eq!(first.line().unwrap().trim_end(), "web01");
    assert!(std::fs::read_to_string(home.work().join("etc.txt")).unwrap().contains("hostname"));
    std::fs::remove_dir_all(&one).unwrap();
    let mut said = first.stderr();
    first.say("cat /etc/hostname");
    assert_eq!(first.end(), Some(1));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut said, &mut text).unwrap();
    assert!(text.contains("the root") && text.contains("was removed"), "{text}");
    second.say("cat /etc/hostname");
    assert_eq!(second.line().unwrap().trim_end(), "web02");
    second.leave();
}

#[test]
fn a_windows_disk_is_a_windows_device() {
    let home = Home::new();
    let disk = crate::kit::windows::disk(&home.work());
    let told = look(&home, &disk, "connect").code(0).err();
    assert!(told.contains("FILES01:") && told.contains("(windows)") && told.contains("Windows Server 2022"), "{told}");
    let run = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Run";
    let rows = look(&home, &disk, &format!("registry {run} -output json")).code(0).json();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    let one = look(&home, &disk, &format!(r"registry {run}\\Updater -output jsonl")).code(0);
    assert!(one.out().contains(r#""value_name":"Updater","value_type":"REG_SZ""#), "{}", one.out());
    let walked = home
        .batch("cd Users\ncd MAX\\documents\ncat report.txt\ngetfile REPORT.TXT\n")
        .args(&["--root", disk.to_str().unwrap()])
        .run()
        .code(0);
    assert!(walked.out().starts_with("first line"), "{}", walked.out());
    let fetched = std::fs::read(home.work().join("report.txt")).unwrap();
    assert_eq!(fetched, b"first line\r\nsecond line\r\n");
    let flat = look(&home, &disk, "persistence -columns category,location,runs -output csv").code(0).out();
    assert!(flat.contains("Userinit"), "{flat}");
    assert!(flat.contains(r"startup_folders,C:\ProgramData\"), "{flat}");
    let refused = look(&home, &disk, "remediate file C:\\x -auto").code(1);
    assert!(refused.err().contains("nothing changes a Windows disk yet"), "{}", refused.err());
    let nothing = home.line(&format!("registry {run}")).code(2);
    assert!(nothing.err().contains("not_on_platform") || nothing.err().contains("not to be had on linux"), "{}", nothing.err());
}

/// The places that openat2 led to, and those that openat led to from an open folder, as strace tells them of every process.
fn opened(trace: &str) -> Vec<String> {
    let relative = |line: &String| line.contains("openat2") || line.contains("openat(") && !line.contains("openat(AT_FDCWD");
    let path = |line: &String| Some(line.rsplit_once(" = ")?.1.split_once('<')?.1.rsplit_once('>')?.0.to_owned());
    calls(trace).iter().filter(|line| relative(line)).filter_map(path).collect()
}

/// Runs lines at a root below strace; everything that shell and service opened.
fn traced(home: &Home, root: &Path, lines: &[&str]) -> String {
    let trace = home.work().join("trace");
    let mut command = std::process::Command::new("strace");
    command
        .args(["-f", "--seccomp-bpf", "-y", "-s", "0", "-e", "trace=openat,openat2,open,readlinkat,read,pread64", "-o"])
        .arg(&trace);
    command.arg(env!("CARGO_BIN_EXE_lrsh")).arg("--root").arg(root).arg("--keep-going");
    command.env("LRSH_HOME", home.path()).env("TERM", "dumb").current_dir(home.work());
    for line in lines {
        command.args(["-c", line]);
    }
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!said.contains("PTRACE"), "{said}");
    String::from_utf8_lossy(&std::fs::read(trace).unwrap()).into_owned()
}

#[test]
fn the_kernel_is_never_asked_for_anything_outside_a_root() {
    if !need(&["strace"]) {
        return;
    }
    let home = Home::new();
    let outside = home.work().join("outside");
    std::fs::create_dir_all(outside.join("folder")).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    let windows = crate::kit::windows::disk(&home.work());
    for (tree, top) in [(tree(&home), "/"), (windows, r"C:\")] {
        let tree = tree.canonicalize().unwrap();
        // Absolute, upwards, and through what only the kernel resolves: a descriptor, the root of a process.
        for (name, target) in [
            ("to_secret", outside.join("secret")),
            ("to_folder", outside.join("folder")),
            ("up", "../../../../../../../../etc/passwd".into()),
            ("magic", "/proc/self/root/etc/passwd".into()),
            ("descriptor", "/proc/self/fd/0".into()),
        ] {
            symlink(target, tree.join(name)).unwrap();
        }
        symlink(outside.join("secret"), tree.join("etc/crontab"))
            .or_else(|_| symlink(outside.join("secret"), tree.join("Users/max/x")))
            .unwrap();
        let mut lines = vec![
            format!("dir {top}"),
            format!("findfile secret {top}"),
            format!("findfile * {top} -sha256 {}", "0".repeat(64)),
        ];
        for name in ["to_secret", "to_folder", "up", "magic", "descriptor"] {
            for verb in ["dir", "cat", "fileinfo", "getfile", "cd"] {
                lines.push(format!("{verb} {top}{name}"));
            }
        }
        lines.extend(["services", "drivers", "scheduledtasks", "startupfolders", "persistence"].map(ToOwned::to_owned));
        stays_inside(&home, &tree, &outside, &lines);
    }
}

/// Runs lines at a root, and holds everything that was opened to it: nothing but what is inside, and never anything of `outside`.
#[track_caller]
fn stays_inside(home: &Home, tree: &Path, outside: &Path, lines: &[String]) {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let trace = traced(home, tree, &lines);
    let opened = opened(&trace);
    assert!(opened.len() > 50, "{trace}");
    let own = home.path().join("roots");
    let strayed: Vec<_> =
        opened.iter().filter(|path| !Path::new(path).starts_with(tree) && !Path::new(path).starts_with(&own)).collect();
    assert!(strayed.is_empty(), "{strayed:?}");
    let hidden = format!("<{}", outside.canonicalize().unwrap().display());
    assert!(!trace.contains(&hidden), "{}", trace.lines().find(|line| line.contains(&hidden)).unwrap());
}

/// The calls of a trace: what strace tells in two lines, since another process came between them, is one.
fn calls(trace: &str) -> Vec<String> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let pid = line.split(' ').next().unwrap_or_default();
        match (line.split_once(" <unfinished ..."), line.split_once(" resumed>")) {
            (Some((front, _)), _) => drop(begun.insert(pid, front)),
            (_, Some((_, back))) => calls.push(format!("{}{back}", begun.remove(pid).unwrap_or_default())),
            _ => calls.push(line.to_owned()),
        }
    }
    calls
}

/// Where FIFOs are put, each where a verb reads: to open one wakes who waits at it, and a device in its place may do anything.
const FIFOS: [&str; 16] = [
    "etc/crontab",
    "etc/cron.d/fifo",
    "etc/ld.so.preload",
    "etc/profile.d/fifo.sh",
    "etc/rc.local",
    "etc/sudoers.d/fifo",
    "etc/hosts",
    "etc/systemd/system/fifo.service",
    "etc/xdg/autostart/fifo.desktop",
    "home/max/.bash_history",
    "home/max/.bashrc",
    "opt/fifo",
    "usr/bin/fifo",
    "usr/lib/modules/1/fifo.ko",
    "var/log/auth.log",
    "var/spool/cron/crontabs/max",
];

#[test]
fn what_is_no_file_is_looked_at_and_never_opened() {
    if !need(&["strace", "mkfifo"]) {
        return;
    }
    let home = Home::new();
    let tree = tree(&home).canonicalize().unwrap();
    let fifos: Vec<PathBuf> = FIFOS.iter().map(|place| tree.join(place)).collect();
    for fifo in &fifos {
        std::fs::create_dir_all(fifo.parent().unwrap()).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
    }
    let info = tree.join("var/lib/dpkg/info");
    std::fs::create_dir_all(&info).unwrap();
    let sum = "d41d8cd98f00b204e9800998ecf8427e";
    std::fs::write(info.join("fifo.md5sums"), format!("{sum}  usr/bin/fifo\n{sum}  opt/fifo\n")).unwrap();
    std::fs::write(info.join("fifo.list"), "/.\n/usr/bin/fifo\n/opt/fifo\n").unwrap();
    std::fs::write(tree.join("var/lib/dpkg/status"), "Package: fifo\nStatus: install ok installed\n").unwrap();
    std::fs::write(tree.join("etc/systemd/system/x.service"), "[Service]\nExecStart=/opt/fifo\n").unwrap();
    let mut lines = vec!["findfile fifo".to_owned(), format!("findfile * -sha256 {}", "0".repeat(64)), "dir /opt".to_owned()];
    for verb in ["cat", "fileinfo", "getfile", "dir", "cd", "analyze file", "scan"] {
        lines.push(format!("{verb} /opt/fifo"));
    }
    lines.extend(["services", "drivers", "scheduledtasks", "startupfolders", "persistence"].map(ToOwned::to_owned));
    lines.extend(["scan", "scan /", "scan -full", "collect"].map(ToOwned::to_owned));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let trace = traced(&home, &tree, &lines);
    let of_fifo = |line: &&str| fifos.iter().any(|fifo| line.ends_with(&format!("<{}>", fifo.display())));
    let calls = calls(&trace);
    let of_fifos: Vec<&str> = calls.iter().map(String::as_str).filter(of_fifo).collect();
    let opened: Vec<&&str> = of_fifos.iter().filter(|line| !line.contains("O_PATH")).collect();
    assert!(!of_fifos.is_empty() && opened.is_empty(), "{opened:#?}");
}

/// Where a Debian's links are planted that lead out, each where a verb reads or walks.
const PLANTED: [&str; 26] = [
    "etc/crontab",
    "etc/cron.d/out",
    "etc/ld.so.preload",
    "etc/modules",
    "etc/profile.d/out.sh",
    "etc/rc.local",
    "etc/sudoers.d/out",
    "etc/hosts",
    "etc/systemd/system/out.service",
    "etc/systemd/system/out.timer",
    "etc/systemd/system/multi-user.target.wants/out.service",
    "etc/xdg/autostart/out.desktop",
    "home/out",
    "opt/out",
    "root/.bash_history",
    "root/.bashrc",
    "root/.ssh/authorized_keys",
    "tmp/out",
    "usr/bin/out",
    "usr/lib/modules",
    "usr/lib/systemd/system/out.service",
    "var/lib/dpkg/info/out.list",
    "var/lib/dpkg/info/out.md5sums",
    "var/log/auth.log",
    "var/log/wtmp",
    "var/spool/cron/crontabs",
];

/// A real Debian, with links that lead out planted everywhere: `LRSH_SYSTEMD_ROOT`, which `.ci/run` makes.
#[test]
fn of_a_debian_with_links_that_lead_out_nothing_outside_is_opened() {
    if !need(&["strace", "cp"]) {
        return;
    }
    let Some(debian) = std::env::var_os("LRSH_SYSTEMD_ROOT").map(PathBuf::from) else {
        skip("LRSH_SYSTEMD_ROOT is not set");
        return;
    };
    if debian == Path::new("none") {
        eprintln!("SKIPPED: LRSH_SYSTEMD_ROOT=none says that this machine makes no Debian");
        return;
    }
    let home = Home::new();
    let outside = home.work().join("outside");
    for file in ["secret", "folder/secret", "folder/root", "folder/x.service", "folder/6.1.0/modules.dep"] {
        std::fs::create_dir_all(outside.join(file).parent().unwrap()).unwrap();
        std::fs::write(outside.join(file), "* * * * * root secret\n").unwrap();
    }
    let tree = home.work().join("debian");
    // Other names of the same files where that can be, since nothing is written to them.
    let copied =
        |how: &str| std::process::Command::new("cp").arg(how).arg(&debian).arg(&tree).output().unwrap().status.success();
    assert!(copied("-al") || (std::fs::remove_dir_all(&tree).is_ok() && copied("-a")));
    let tree = tree.canonicalize().unwrap();
    let upwards = |target: &Path| Path::new("../../../../../../../../../..").join(target.strip_prefix("/").unwrap());
    for (number, place) in PLANTED.iter().enumerate() {
        let target = if place.ends_with("modules") || place.ends_with("crontabs") || place.starts_with("home/") {
            outside.join("folder")
        } else {
            outside.join("secret")
        };
        let target = match number % 3 {
            0 => target,
            1 => upwards(&target),
            _ => Path::new("/proc/self/root").join(target.strip_prefix("/").unwrap()),
        };
        let place = tree.join(place);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        if std::fs::remove_file(&place).is_err() && place.exists() {
            std::fs::remove_dir_all(&place).unwrap();
        }
        symlink(target, place).unwrap();
    }
    let mut lines = vec![
        "findfile secret".to_owned(),
        "findfile *.service / -ignore_case".to_owned(),
        format!("findfile * /etc -sha256 {}", "0".repeat(64)),
    ];
    for place in PLANTED {
        for verb in ["dir", "cat", "fileinfo", "getfile", "cd", "analyze file"] {
            lines.push(format!("{verb} /{place}"));
        }
    }
    lines.extend(
        ["dir /proc/self", "cat /proc/self/environ", "dir /home/*", "cat /etc/../../../etc/hosts"].map(ToOwned::to_owned),
    );
    lines.extend(["services", "drivers", "scheduledtasks", "startupfolders", "persistence"].map(ToOwned::to_owned));
    lines.extend(["scan", "scan /etc", "collect"].map(ToOwned::to_owned));
    stays_inside(&home, &tree, &outside, &lines);
    let saved = std::fs::read_dir(home.work()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(saved.filter(|name| name.to_string_lossy().starts_with("collect-")).count(), 1, "it was collected");
}
