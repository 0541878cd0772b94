//! `persistence` against those who know how it looks: near misses, other spellings, decoys, links.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use lrsh::agent::context::{Meter, Stop};
use lrsh::agent::platform::Root;
use lrsh::agent::platform::dpkg::Packages;
use lrsh::agent::platform::persistence::persistent;
use lrsh::protocol::Status;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use serde_json::Value;

use crate::kit::device::Device;

pub(super) struct Tree(tempfile::TempDir);

impl Tree {
    pub(super) fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        // A package that has nothing of what is planted.
        tree.write("var/lib/dpkg/info/none.list", "/.\n/usr/share/doc/none\n");
        tree.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n");
        tree
    }

    pub(super) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.0.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    pub(super) fn mode(&self, path: &str, mode: u32) {
        std::fs::set_permissions(self.0.path().join(path.trim_start_matches('/')), PermissionsExt::from_mode(mode)).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    fn hard_link(&self, path: &str, target: &str) {
        let at = |path: &str| self.0.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        std::fs::hard_link(at(target), at(path)).unwrap();
    }

    /// Every entry, whatever its list.
    pub(super) fn entries(&self) -> Vec<Value> {
        entries(self.0.path())
    }
}

fn entries(tree: &Path) -> Vec<Value> {
    let answer = Device::at(tree).run("persistence", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    let object = answer.object();
    object["autoruns"].as_object().unwrap().values().flat_map(|list| list.as_array().unwrap().clone()).collect()
}

pub(super) fn at<'a>(entries: &'a [Value], location: &str) -> Vec<&'a Value> {
    entries.iter().filter(|entry| entry["location"] == location).collect()
}

/// A file, its text, where it is told, and what is said there.
const VARIANTS: &[(&str, &str, &str, &str)] = &[
    ("/etc/sudoers.d/a", "bob ALL=(ALL) NOPASSWD: ALL # _Alias\n", ":1", "NOPASSWD"),
    ("/etc/sudoers.d/b", "Defaults !authenticate\n", ":1", "!authenticate"),
    ("/etc/sudoers.d/c", "@include /tmp/evil-sudo\n", ":1", "/tmp/evil-sudo"),
    ("/tmp/evil-sudo", "# x\nbob ALL=(ALL) ALL\n", ":2", "bob ALL"),
    ("/etc/sudoers.d/d", "#includedir /tmp/evil.d\n", ":1", "/tmp/evil.d"),
    ("/tmp/evil.d/x", "bob ALL=(ALL) ALL\n", ":1", "bob ALL"),
    ("/etc/sudoers.d/e", "Defaults env_keep += \"PYTHONPATH BASH_ENV\"\n", ":1", "BASH_ENV"),
    ("/etc/sudo.conf", "Plugin sudoers_policy /tmp/x.so\n", ":1", "/tmp/x.so"),
    ("/etc/pam.d/p1", "auth required /tmp/evil\n", ":1", "/tmp/evil"),
    ("/etc/pam.d/p2", "auth required ../../../tmp/evil.so\n", ":1", "../tmp"),
    ("/etc/pam.d/p3", "auth required /tmp/security/evil.so\n", ":1", "/tmp/security"),
    ("/etc/pam.d/p4", "auth sufficient pam_permit.so\n", ":1", "pam_permit"),
    ("/etc/pam.d/p5", "@include /tmp/x.pam\n", ":1", "/tmp/x.pam"),
    ("/tmp/x.pam", "auth optional pam_exec.so /tmp/y\n", ":1", "pam_exec"),
    ("/etc/nsswitch.conf", "passwd: files evil\n", ":1", "evil"),
    ("/etc/udev/rules.d/u1.rules", "ACTION==\"add\", RUN+=e\"/tmp/EVIL\"\n", ":1", "/tmp/EVIL"),
    ("/etc/udev/rules.d/u2.rules", "ACTION==\"add\", RUN+= \\\n\"/tmp/EVIL\"\n", ":1", "/tmp/EVIL"),
    ("/etc/apt/apt.conf.d/h1", "apt::update::pre-invoke {\"/tmp/EVIL\";};\n", ":1", "/tmp/EVIL"),
    ("/etc/apt/apt.conf.d/h2", "DPkg::Post-Invoke { // }\n\"/tmp/EVIL\";\n};\n", ":2", "/tmp/EVIL"),
    ("/etc/apt/apt.conf.d/h3", "Dir::Bin::dpkg \"/tmp/EVIL\";\n", ":1", "/tmp/EVIL"),
    ("/etc/ssh/sshd_config", "Include /tmp/evil.conf\nAuthorizedKeysFile .ssh/authorized_keys .ssh/bak\n", ":2", ".ssh/bak"),
    ("/tmp/evil.conf", "ForceCommand /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/home/bob/.ssh/bak", "ssh-rsa AAAA evil\n", ":1", "ssh-rsa evil"),
    ("/home/bob/.ssh/authorized_keys", "Command=\"sh -c \\\"/tmp/EVIL\\\"\" ssh-rsa AAA c\n", ":1", "sh -c \"/tmp/EVIL\""),
    ("/etc/ssh/ssh_config.d/c.conf", "Match exec \"/tmp/EVIL\"\n", ":1", "/tmp/EVIL"),
    ("/root/.rhosts", "+ +\n", ":1", "+ +"),
    ("/home/bob/.gitconfig", "[filter \"x\"]\n clean = /tmp/EVIL\n[include]\n path = ~/more\n", ":2", "/tmp/EVIL"),
    ("/home/bob/more", "[core]\n sshCommand = /tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/usr/lib/python3/dist-packages/z.pth", "\u{feff}import os\n", ":1", "import os"),
    ("/usr/lib/python3/dist-packages/.z.pth", "import os\n", ":1", "import os"),
    ("/etc/python3.11/sitecustomize.py", "import os\n", "", ""),
    ("/etc/update-motd.d/README-evil", "#!/bin/sh\n", "", ""),
    ("/etc/sysctl.d/99-e.conf", "kernel.core_pattern=|/tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/tmpfiles.d/e.conf", "w /proc/sys/kernel/core_pattern - - - - |/tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/default/cron", "A=1\n/tmp/EVIL &\n", ":2", "/tmp/EVIL"),
    ("/etc/default/grub.d/e.cfg", "GRUB_CMDLINE_LINUX=\"init=/tmp/EVIL\"\n", ":1", "/tmp/EVIL"),
    ("/etc/environment", "PATH=/tmp/evil:/usr/bin\n", ":1", "/tmp/evil"),
    ("/etc/aliases", "root: \"|/tmp/EVIL\"\n", ":1", "/tmp/EVIL"),
    ("/home/bob/.forward", "|/tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/home/bob/.procmailrc", ":0\n| /tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/run/modprobe.d/e.conf", "install x /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/modprobe.d/a.conf", "alias net-pf-10 evil\n", ":1", "evil"),
    ("/usr/lib/modules/6.1.0/kernel/net/evil.ko", "\u{7f}ELF", "", ""),
    ("/run/systemd/user-generators/e", "#!/bin/sh\n", "", ""),
    ("/etc/ppp/ip-up", "#!/bin/sh\n", "", ""),
    ("/etc/lightdm/lightdm.conf", "[Seat:*]\nsession-setup-script=/tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/etc/rc2.d/S99real", "#!/bin/sh\n", "", ""),
    ("/home/nobody-knows/.bashrc", "/tmp/EVIL\n", "", ""),
    (
        "/etc/systemd/system/pre.service",
        "[Service]\nExecStartPre=/tmp/EVIL\nExecStart=/bin/true\n",
        "",
        "ExecStartPre=/tmp/EVIL",
    ),
    (
        "/etc/systemd/system/multi.service",
        "[Service]\nType=oneshot\nExecStart=/bin/true\nExecStart=/tmp/EVIL\n",
        "",
        "/tmp/EVIL",
    ),
    ("/etc/systemd/system/env.service", "[Service]\nEnvironment=LD_PRELOAD=/tmp/E.so\nExecStart=/bin/true\n", "", "/tmp/E.so"),
    ("/etc/systemd/system/evil.mount", "[Mount]\nWhat=/tmp/EVIL\nWhere=/evil\n", "", "/tmp/EVIL"),
    ("/etc/systemd/system/evil.target", "[Unit]\nWants=x.service\n", "", "Wants=x.service"),
    ("/var/www/a/w.php3", "<?php SYSTEM ($_GET[0]);", "", "system"),
    ("/home/bob/public_html/e.php", "<?=`$_GET[0]`?>", "", "backticks"),
];

#[test]
fn other_spellings_and_places_are_found() {
    let tree = Tree::new();
    for (path, text, _, _) in VARIANTS {
        tree.write(path, text);
    }
    tree.write("/opt/evilrc", "#!/bin/sh\n");
    tree.link("/etc/rc2.d/S98link", "/opt/evilrc");
    tree.link("/etc/rc2.d/S97ssh", "/opt/ssh");
    let found = tree.entries();
    let places = VARIANTS.iter().map(|(path, _, line, runs)| (format!("{path}{line}"), *runs));
    let links = ["/etc/rc2.d/S98link", "/etc/rc2.d/S97ssh"].map(|path| (path.to_owned(), ""));
    let missing: Vec<_> = places
        .chain(links)
        .filter(|(location, runs)| {
            let of = |entry: &&Value| entry["runs"].as_str().unwrap_or_default().contains(runs) && entry["shipped"] != true;
            !at(&found, location).iter().any(of)
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}\nare not in\n{found:#?}");
    let units = at(&found, "/etc/systemd/system/multi.service");
    assert_eq!(units[0]["runs"], "/bin/true; /tmp/EVIL");
}

#[test]
fn a_unit_that_is_a_link_to_elsewhere_is_told_by_its_own_name() {
    let tree = Tree::new();
    tree.write("/opt/x/evil.service", "[Service]\nExecStart=/tmp/EVIL\n[Install]\nWantedBy=multi-user.target\n");
    tree.write("/usr/lib/systemd/system/ssh.service", "[Service]\nExecStart=/usr/sbin/sshd -D\n");
    tree.write("/usr/lib/systemd/system/multi-user.target", "[Unit]\n");
    tree.link("/etc/systemd/system/default.target", "/usr/lib/systemd/system/multi-user.target");
    tree.link("/etc/systemd/system/ssh.service", "/opt/x/evil.service");
    tree.link("/etc/systemd/system/fresh.service", "/opt/x/evil.service");
    tree.link("/etc/systemd/system/multi-user.target.wants/fresh.service", "/etc/systemd/system/fresh.service");
    tree.link("/etc/systemd/system/sshd.service", "/usr/lib/systemd/system/ssh.service");
    let found = tree.entries();
    for (location, enabled) in [("/etc/systemd/system/ssh.service", false), ("/etc/systemd/system/fresh.service", true)] {
        let entries = at(&found, location);
        assert_eq!(entries.len(), 1, "{location}: {found:#?}");
        assert_eq!((&entries[0]["runs"], &entries[0]["enabled"]), (&Value::from("/tmp/EVIL"), &Value::from(enabled)));
    }
    assert!(at(&found, "/etc/systemd/system/sshd.service").is_empty(), "another name of a unit is no unit: {found:#?}");
}

#[test]
fn a_hard_link_hides_nothing() {
    let tree = Tree::new();
    tree.write("/home/bob/.ssh/authorized_keys", "ssh-rsa AAA shared\n");
    tree.hard_link("/root/.ssh/authorized_keys", "/home/bob/.ssh/authorized_keys");
    tree.write("/etc/logrotate.d/zz", "[core]\n fsmonitor = /tmp/EVIL\n");
    tree.hard_link("/root/.gitconfig", "/etc/logrotate.d/zz");
    tree.write("/etc/update-motd.d/a", "#!/bin/sh\n");
    tree.hard_link("/etc/update-motd.d/b", "/etc/update-motd.d/a");
    tree.write("/usr/lib/udev/rules.d/x.rules", "RUN+=\"/x\"\n");
    tree.link("/lib", "usr/lib");
    let found = tree.entries();
    for location in [
        "/home/bob/.ssh/authorized_keys:1",
        "/root/.ssh/authorized_keys:1",
        "/root/.gitconfig:2",
        "/etc/update-motd.d/a",
        "/etc/update-motd.d/b",
    ] {
        assert_eq!(at(&found, location).len(), 1, "{location}: {found:#?}");
    }
    let rules = found.iter().filter(|entry| entry["runs"] == "/x").count();
    assert_eq!(rules, 1, "merged /usr gives one file two names: {found:#?}");
}

#[test]
fn decoys_hide_nothing_in_silence() {
    let tree = Tree::new();
    tree.write("/etc/sudoers.d/z-evil", "bob ALL=(ALL) ALL\n");
    for number in 0..10_500 {
        std::fs::File::create(tree.0.path().join(format!("etc/sudoers.d/{number}"))).unwrap();
    }
    tree.write("/etc/modules-load.d/many.conf", format!("{}evil\n", "m\n".repeat(10_000)));
    tree.write("/etc/sudoers.d/binary", b"\x7fELF\0a=b\n");
    let found = tree.entries();
    assert_eq!(at(&found, "/etc/sudoers.d/z-evil:1").len(), 1);
    let rest = at(&found, "/etc/modules-load.d/many.conf:10001");
    assert!(rest[0]["error"].as_str().unwrap().contains("is not told"), "{rest:?}");
    let binary = at(&found, "/etc/sudoers.d/binary");
    assert!(binary.len() == 1 && binary[0]["error"].as_str().unwrap().contains("zero bytes"), "{binary:?}");
}

#[test]
fn setuid_files_are_found_wherever_they_hide() {
    let tree = Tree::new();
    let places = [
        "/tmp/.suid",
        "/home/bob/.cache/a/b/c/suid",
        "/opt/suid0",
        "/usr/lib/suid1",
        "/var/lib/x/y/z/suid2",
        "/usr/local/share/suid3",
        "/usr/bin/.suid4",
        "/usr/lib/a/b/c/d/e/suid5",
        "/usr/share/doc/x/suid6",
        "/etc/suid7",
        "/boot/suid8",
        "/mnt/suid9",
        "/media/x/suid10",
        "/suid/suid11",
    ];
    for place in places {
        tree.write(place, "x");
        tree.mode(place, 0o4755);
    }
    tree.write("/opt/plain", "x");
    let found = tree.entries();
    let mut told: Vec<&str> = found
        .iter()
        .filter(|entry| entry["technique"] == "T1548.001")
        .map(|entry| entry["location"].as_str().unwrap())
        .collect();
    told.sort_unstable();
    let mut expected = places.to_vec();
    expected.sort_unstable();
    assert_eq!(told, expected);
}

/// `cap_setuid+ep` as the kernel keeps it.
const SETUID: [u8; 20] = [1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn what_has_rights_by_its_capabilities_is_found() {
    let tree = Tree::new();
    tree.write("/usr/local/bin/cap", "x");
    tree.write("/home/bob/plain", "x");
    if let Err(error) = xattr::set(tree.0.path().join("usr/local/bin/cap"), "security.capability", &SETUID) {
        eprintln!("SKIPPED: capabilities of files cannot be set here: {error}");
        return;
    }
    let found = tree.entries();
    let told: Vec<&Value> = found.iter().filter(|entry| entry["technique"] == "T1548").collect();
    assert_eq!(told.len(), 1, "{found:#?}");
    assert_eq!(told[0]["location"], "/usr/local/bin/cap");
    assert_eq!(told[0]["runs"], "/usr/local/bin/cap with cap_setuid=ep");
}

#[test]
fn a_shipped_program_that_was_made_setuid_is_not_as_shipped() {
    use md5::Digest as _;
    let sum: String = md5::Md5::digest("x").iter().map(|byte| format!("{byte:02x}")).collect();
    let tree = Tree::new();
    tree.write("/var/lib/dpkg/info/x.list", "/.\n/usr/bin/bash\n/usr/bin/su\n");
    tree.write("/var/lib/dpkg/info/x.md5sums", format!("{sum}  usr/bin/bash\n{sum}  usr/bin/su\n"));
    for program in ["/usr/bin/bash", "/usr/bin/su"] {
        tree.write(program, "x");
        tree.mode(program, 0o4755);
    }
    let found = tree.entries();
    assert_eq!(at(&found, "/usr/bin/bash")[0]["shipped"], false, "{found:#?}");
    assert_eq!(at(&found, "/usr/bin/su")[0]["shipped"], true, "{found:#?}");
}

#[test]
fn rights_are_seen_in_an_overlay_whose_files_are_of_another_file_system() {
    let below = Tree::new();
    below.write("/opt/suid", "x");
    below.mode("/opt/suid", 0o4755);
    let folder = tempfile::tempdir().unwrap();
    let (lower, space) = (below.0.path().display().to_string(), folder.path().to_owned());
    let look = move || -> Result<Vec<String>, String> {
        let failed = |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {error}");
        // The mounts of a thread are gone with it.
        #[expect(deprecated, reason = "what is unsafe of it is to unshare descriptors")]
        rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).map_err(failed("unshare"))?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(failed("propagation"))?;
        // Of two file systems, or the kernel gives all files the number of the overlay.
        mount("tmpfs", &space, "tmpfs", MountFlags::empty(), None).map_err(failed("tmpfs"))?;
        for name in ["upper", "work", "root"] {
            std::fs::create_dir(space.join(name)).map_err(|error| error.to_string())?;
        }
        let (space, root) = (space.display(), space.join("root"));
        let options = format!("lowerdir={lower},upperdir={space}/upper,workdir={space}/work,xino=off");
        let options = std::ffi::CString::new(options).map_err(|error| error.to_string())?;
        mount("overlay", &root, "overlay", MountFlags::empty(), options.as_c_str()).map_err(failed("overlay"))?;
        let root = Root::at(&root).map_err(|error| error.to_string())?;
        let found =
            persistent(&root, &Packages::default(), &Stop::default(), &Meter::default()).map_err(|_| "stopped".to_owned())?.0;
        Ok(found.into_iter().filter(|one| one.technique == "T1548.001").map(|one| one.file.display().to_string()).collect())
    };
    match std::thread::spawn(look).join().unwrap() {
        Ok(told) => assert_eq!(told, ["/opt/suid"]),
        // Within another overlay, or without rights, none can be.
        Err(error) => eprintln!("SKIPPED: no overlay can be mounted here: {error}"),
    }
}

#[test]
fn a_drop_in_for_all_services_is_told_once() {
    let tree = Tree::new();
    for number in 0..5 {
        tree.write(&format!("/usr/lib/systemd/system/s{number}.service"), "[Service]\nExecStart=/bin/true\n");
    }
    tree.write("/etc/systemd/system/service.d/a.conf", "[Service]\nExecStartPost=/tmp/EVIL\n");
    let found = tree.entries();
    let told = at(&found, "/etc/systemd/system/service.d/a.conf");
    assert_eq!(told.len(), 1, "{found:#?}");
    assert_eq!(told[0]["runs"], "ExecStartPost=/tmp/EVIL");
}

#[test]
fn a_packages_link_is_as_good_as_what_it_leads_to() {
    let tree = Tree::new();
    let sum = |text: &str| {
        use md5::Digest as _;
        md5::Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let own = "/etc/update-motd.d/own\n/usr/share/x/script\n/etc/update-motd.d/good\n/etc/update-motd.d/bent\n/etc/update-motd.d/now-file\n";
    tree.write("/var/lib/dpkg/info/x.list", format!("/.\n{own}"));
    tree.write(
        "/var/lib/dpkg/info/x.md5sums",
        format!("{}  usr/share/x/script\n{}  etc/update-motd.d/own\n", sum("s"), sum("o")),
    );
    tree.write("/var/lib/dpkg/status", "");
    tree.write("/usr/share/x/script", "s");
    tree.write("/etc/update-motd.d/own", "o");
    tree.write("/opt/evil", "#!/bin/sh\n");
    tree.write("/etc/update-motd.d/now-file", "#!/bin/sh\n");
    tree.link("/etc/update-motd.d/good", "/usr/share/x/script");
    tree.link("/etc/update-motd.d/bent", "/opt/evil");
    let found = tree.entries();
    for (name, shipped) in [("own", true), ("good", true), ("bent", false), ("now-file", false)] {
        let entries = at(&found, &format!("/etc/update-motd.d/{name}"));
        assert_eq!(entries[0]["shipped"], shipped, "{name}: {found:#?}");
    }
}

#[test]
fn what_the_agents_user_may_not_look_into_is_named() {
    let tree = Tree::new();
    tree.write("/root/.bashrc", "");
    tree.write("/etc/sudoers.d/x", "bob ALL=(ALL) ALL\n");
    tree.write("/var/spool/cron/crontabs/bob", "* * * * * /tmp/EVIL\n");
    for folder in ["/root", "/etc/sudoers.d", "/var/spool/cron/crontabs"] {
        tree.mode(folder, 0o000);
    }
    let path = tree.0.path().to_owned();
    let look = move || {
        // Root may look into everything; a thread can do without.
        if let Ok(mut has) = rustix::thread::capabilities(None) {
            use rustix::thread::CapabilitySet;
            has.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
            rustix::thread::set_capabilities(None, has).unwrap();
        }
        let root = Root::at(&path).unwrap();
        persistent(&root, &Packages::default(), &Stop::default(), &Meter::default()).unwrap().1.problems()
    };
    let problems = std::thread::spawn(look).join().unwrap();
    for folder in ["/root", "/etc/sudoers.d", "/var/spool/cron/crontabs"] {
        tree.mode(folder, 0o755);
    }
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(
        problems[0].message,
        "the agent's user may not look into /etc/sudoers.d, /root, /var/spool/cron/crontabs: what is there is missing here"
    );
}
