//! What nobody wants to be without: refused where no program starts without it, warned of where it is hardly done without.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::{done, look, refused, remediate};
use crate::kit::device::Device;

/// A tree as Debian has it: merged `/usr`, an essential package, users with shells.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = tree.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    };
    for (link, folder) in [("lib64", "usr/lib64"), ("lib", "usr/lib"), ("bin", "usr/bin"), ("sbin", "usr/sbin")] {
        std::fs::create_dir_all(tree.path().join(folder)).unwrap();
        symlink(folder, tree.path().join(link)).unwrap();
    }
    write("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "loader");
    write("usr/lib/x86_64-linux-gnu/libc.so.6", "libc");
    symlink("../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", tree.path().join("usr/lib64/ld-linux-x86-64.so.2")).unwrap();
    write("usr/lib/systemd/systemd", "init");
    symlink("../lib/systemd/systemd", tree.path().join("usr/sbin/init")).unwrap();
    write("usr/bin/dash", "dash");
    symlink("dash", tree.path().join("usr/bin/sh")).unwrap();
    write("usr/bin/bash", "bash");
    write("usr/sbin/nologin", "nologin");
    write("usr/sbin/sshd", "sshd");
    write("usr/lib/systemd/system/ssh.service", "[Service]\nExecStart=/usr/sbin/sshd -D\n");
    write("opt/plain", "plain");
    write(
        "etc/passwd",
        "root:x:0:0::/root:/bin/bash\ndaemon:x:1:1::/:/usr/sbin/nologin\nann:x:1000:1000::/home/ann:/bin/bash\n\
         bob:x:1001:1001::/home/bob:/bin/bash\n",
    );
    write("etc/shadow", "root:*:1::::::\n");
    write(
        "var/lib/dpkg/status",
        "Package: bash\nEssential: yes\nStatus: install ok installed\n\nPackage: openssh-server\nStatus: install ok installed\n",
    );
    write("var/lib/dpkg/info/bash.list", "/.\n/bin\n/bin/bash\n");
    // `md5sum` of `bash`.
    write("var/lib/dpkg/info/bash.md5sums", "d574d4bb40c84861791a694a999cce69  bin/bash\n");
    write("var/lib/dpkg/info/openssh-server.list", "/.\n/usr\n/usr/sbin\n/usr/sbin/sshd\n");
    tree
}

#[test]
fn links_that_everything_is_started_through_stay() {
    let tree = tree();
    let device = Device::at(tree.path());
    let links = ["/lib64", "/lib", "/bin", "/sbin", "/sbin/init", "/usr/sbin/init", "/bin/sh", "/lib64/ld-linux-x86-64.so.2"];
    for link in links.iter().chain(&["/usr/lib/x86_64-linux-gnu/libc.so.6"]) {
        let why = refused(&remediate(&device, Path::new(link), &["plan"]));
        assert_eq!(why.code, "protected", "{link}: {why:?}");
    }
    // The same of this machine, whatever it has.
    let device = Device::live();
    for link in links.iter().map(Path::new).filter(|link| link.is_symlink()) {
        let why = refused(&remediate(&device, link, &["plan"]));
        assert_eq!(why.code, "protected", "{}: {why:?}", link.display());
    }
}

#[test]
fn what_is_hardly_done_without_goes_with_a_warning() {
    let tree = tree();
    let mut device = Device::at(tree.path());
    let mut check = |path: &str, wanted: &[&str]| {
        look(&mut device, Path::new(path));
        let planned = remediate(&device, Path::new(path), &["plan"]).rows().remove(0);
        let said = planned["reason"].as_str().unwrap_or_default().to_owned();
        assert_eq!(said.starts_with("warning: "), !wanted.is_empty(), "{path}: {said}");
        for wanted in wanted {
            assert!(said.contains(wanted), "{path}: {said}");
        }
        // What is done says what was planned, and all that is asked of users is still there for the next.
        let effect = done(&remediate(&device, Path::new(path), &[]));
        assert_eq!(effect.reason.unwrap_or_default(), said, "{path}");
        done(&device.run("undo", &[("number", &effect.effect_id.to_string())], &[]));
    };
    check("/etc/passwd", &["without it nobody logs in"]);
    check("/etc/shadow", &["without it nobody logs in"]);
    let bash = ["it is the login shell of root and 2 others", "package bash, which is essential, owns it as shipped"];
    check("/bin/bash", &bash);
    check("/usr/sbin/sshd", &["without it nobody logs in over ssh"]);
    check("/usr/lib/systemd/system/ssh.service", &["without it nobody logs in over ssh"]);
    check("/usr/bin/dash", &["without it no script runs"]);
    check("/usr/sbin/nologin", &[]);
    check("/opt/plain", &[]);
}

#[test]
fn who_runs_a_file_is_told_before_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil");
    let sleeper = super::process::Sleeper::of_copy(&path);
    let mut device = Device::live();
    look(&mut device, &path);
    let planned = remediate(&device, &path, &["plan"]).rows().remove(0);
    assert!(planned["reason"].as_str().unwrap().contains(&format!("warning: process {} uses it", sleeper.0.id())), "{planned}");
}

#[test]
fn a_path_that_means_a_folder_is_no_file_s() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil");
    std::fs::write(&path, "evil").unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    symlink("sub", folder.path().join("link")).unwrap();
    let mut device = Device::live();
    look(&mut device, &path);
    for slash in ["/", "//", "/."] {
        let name = format!("{}{slash}", path.display());
        for command in ["remediate", "undo", "analyze"] {
            let why = refused(&device.run(command, &[("type", "file"), ("id", &name)], &["plan"]));
            assert_eq!((why.code.as_str(), why.path.as_deref()), ("not_a_folder", path.to_str()), "{command} {name}: {why:?}");
        }
    }
    let link = format!("{}/link/", folder.path().display());
    assert_eq!(refused(&device.run("remediate", &[("type", "file"), ("id", &link)], &["plan"])).code, "is_a_folder");
    let item = format!("{}/", path.display());
    let why = refused(&device.run("remediate", &[("type", "startupfolder"), ("id", &item)], &[]));
    assert_eq!(why.code, "not_a_folder", "{why:?}");
    // Once it is gone its name still is no folder's.
    done(&remediate(&device, &path, &[]));
    assert_eq!(refused(&device.run("undo", &[("type", "file"), ("id", &item)], &[])).code, "not_a_folder");
    assert!(!path.exists());
}

#[test]
fn what_looking_would_not_help_is_refused_for_what_it_is() {
    let device = Device::live();
    for path in ["/proc/version", "/sys/kernel/notes"].map(Path::new).iter().filter(|path| path.exists()) {
        let why = refused(&remediate(&device, path, &[]));
        assert!(why.code == "not_a_file" && why.message.contains("the kernel makes it up"), "{why:?}");
    }
}

#[test]
fn a_plan_that_was_not_looked_for_says_that_auto_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil");
    std::fs::write(&path, "evil").unwrap();
    let device = Device::live();
    let why = refused(&remediate(&device, &path, &["plan"])).message;
    assert!(why.ends_with("or give -auto (with -plan, that looks and changes nothing)"), "{why}");
    let why = refused(&remediate(&device, &path, &[])).message;
    assert!(why.ends_with("or give -auto"), "{why}");
}
