//! Any bytes are dpkg's status, a list of files, checksums and diversions.
#![no_main]

use std::path::Path;

use lrsh::agent::context::Stop;
use lrsh::agent::platform::Root;
use lrsh::agent::platform::dpkg::Packages;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let tree = std::env::temp_dir().join(format!("lrsh-fuzz-packages-{}", std::process::id()));
    let info = tree.join("var/lib/dpkg/info");
    if std::fs::create_dir_all(&info).is_err() {
        return;
    }
    for file in ["status", "diversions", "info/a.list", "info/a.md5sums"] {
        let _ = std::fs::write(tree.join("var/lib/dpkg").join(file), bytes);
    }
    let Ok(root) = Root::at(&tree) else { return };
    let packages = Packages::default();
    for line in bytes.split(|&byte| byte == b'\n').take(4) {
        let path = String::from_utf8_lossy(line).into_owned();
        let _ = packages.origin(&root, Path::new(&path), 1024, &Stop::default());
    }
});
