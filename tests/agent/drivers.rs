//! `drivers` agrees with `modinfo`, and tells modules that hide themselves.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lrsh::protocol::Status;
use serde_json::Value;

use crate::kit::device::Device;
use crate::kit::need::{need, skip};

fn drivers(root: &Path) -> BTreeMap<String, Value> {
    let answer = Device::at(root).run("drivers", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed, "{:?}", answer.completed);
    answer.rows().into_iter().map(|row| (row["driver_name"].as_str().unwrap().to_owned(), row)).collect()
}

fn write(root: &Path, path: &str, text: &[u8]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A little ELF file with one section of text, as a compiler would make a module's.
fn module(info: &str) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let at = 64;
    let table = (at + info.len() + names.len()).next_multiple_of(8);
    bytes.extend([1, 0, 62, 0, 1, 0, 0, 0]);
    bytes.extend([0; 16]);
    bytes.extend((table as u64).to_le_bytes());
    bytes.extend([0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 64, 0, 3, 0, 2, 0]);
    bytes.extend(info.as_bytes());
    bytes.extend(names);
    bytes.resize(table, 0);
    let mut section = |name: u32, kind: u32, offset: usize, size: usize| {
        bytes.extend(name.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend((offset as u64).to_le_bytes());
        bytes.extend((size as u64).to_le_bytes());
        bytes.extend([0; 24]);
    };
    section(0, 0, 0, 0);
    section(1, 1, at, info.len());
    section(10, 3, at + info.len(), names.len());
    bytes
}

#[test]
fn lists_that_disagree_tell_what_hides() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    let plain = "license=GPL\0description=Plain one\0depends=lib-a,lib_b\0author=A\0author=B\0vermagic=6.1 SMP \0";
    let gzipped = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&module(plain)).unwrap();
        encoder.finish().unwrap()
    };
    write(root, "proc/sys/kernel/osrelease", b"6.1.0-1\n");
    write(root, "proc/modules", b"plain 100 1 other, Live 0x0\nno_sys 7 0 - Live 0x0 (OE)\nother 5 0 - Unloading 0x0\n\xff\n");
    for name in ["plain", "other", "ghost"] {
        write(root, &format!("sys/module/{name}/initstate"), b"live\n");
    }
    write(root, "sys/module/ghost/coresize", b"4242\n");
    write(root, "sys/module/ghost/taint", b"OE\n");
    write(root, "sys/module/builtin/parameters/x", b"1\n");
    write(root, "lib/modules/6.1.0-1/modules.dep", b"kernel/plain.ko.gz: kernel/lib-a.ko\nbroken\n:\n");
    write(root, "lib/modules/6.1.0-1/kernel/plain.ko.gz", &gzipped);
    write(root, "lib/modules/6.1.0-1/updates/ghost.ko.zst", &zstd::encode_all(&*module("description=Boo"), 1).unwrap());
    write(root, "lib/modules/6.1.0-1/extra/other.ko", b"\x7fELF cut");
    write(root, "lib/modules/6.0/kernel/no-sys.ko", &module("description=wrong kernel"));
    let rows = drivers(root);
    let check = |name: &str, fields: Value| {
        for (key, value) in fields.as_object().unwrap() {
            assert_eq!(&rows[name][key], value, "{name}: {key}");
        }
    };
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["ghost", "no_sys", "other", "plain"]);
    check(
        "plain",
        serde_json::json!({
            "service_state": "Live", "driver_loaded": true, "hidden": false, "path": "/lib/modules/6.1.0-1/kernel/plain.ko.gz",
            "description": "Plain one", "size": 100, "used_by": ["other"], "taint": null, "signer": null,
            "dependencies": ["lib-a", "lib_b"], "license": "GPL", "author": "A; B", "vermagic": "6.1 SMP ",
        }),
    );
    check(
        "ghost",
        serde_json::json!({ "hidden": true, "size": 4242, "taint": "OE", "description": "Boo", "service_state": "Live" }),
    );
    check(
        "no_sys",
        serde_json::json!({ "hidden": true, "taint": "OE", "error": "its file is not among the installed modules" }),
    );
    check("other", serde_json::json!({ "hidden": false, "error": "it is no ELF file with a .modinfo section" }));
}

#[test]
fn damaged_files_of_modules_are_rows_that_say_what_is_wrong() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    let folder = "lib/modules/6.1.0-1/kernel";
    let whole = module("license=GPL\0");
    write(root, &format!("{folder}/fine.ko"), &whole);
    write(root, &format!("{folder}/empty.ko"), b"");
    write(root, &format!("{folder}/cut.ko"), &whole[..whole.len() - 40]);
    write(root, &format!("{folder}/binary.ko"), &[0xff, 0, 0x7f, b'E'].repeat(10_000));
    for (end, magic) in [("xz", &b"\xfd7zXZ\0"[..]), ("zst", b"\x28\xb5\x2f\xfd"), ("gz", b"\x1f\x8b")] {
        write(root, &format!("{folder}/packed-{end}.ko.{end}"), &[magic, &[0xaa; 300]].concat());
    }
    std::fs::File::create(root.join(folder).join("huge.ko")).unwrap().set_len(1 << 40).unwrap();
    std::os::unix::fs::symlink("loop.ko", root.join(folder).join("loop.ko")).unwrap();
    std::os::unix::fs::symlink("..", root.join(folder).join("up")).unwrap();
    let pipe = root.join(folder).join("pipe.ko");
    rustix::fs::mkfifoat(rustix::fs::CWD, pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    write(root, "lib/modules/6.1.0-1/modules.dep", &[b"a:", &[0xff; 10_000][..], b"\nkernel/gone.ko: x\n"].concat());
    let rows = drivers(root);
    assert_eq!(rows["fine"]["error"], Value::Null);
    let broken = ["binary", "cut", "empty", "gone", "huge", "loop", "packed_gz", "packed_xz", "packed_zst", "pipe"];
    for name in broken {
        assert!(rows[name]["error"].is_string(), "{name}: {}", rows[name]);
    }
    assert_eq!(rows.len(), broken.len() + 1, "{:?}", rows.keys());
}

/// Where Debian's kernel was unpacked: `LRSH_KERNEL_ROOT`, or unpacked here from a package that apt fetches.
fn kernel() -> Option<PathBuf> {
    std::env::var_os("LRSH_KERNEL_ROOT")
        .map(PathBuf::from)
        .filter(|root| root.join("lib/modules").is_dir() || root.join("usr/lib/modules").is_dir())
}

#[test]
fn modules_of_debians_kernel_agree_with_modinfo() {
    let Some(root) = kernel() else {
        skip("LRSH_KERNEL_ROOT does not name an unpacked kernel");
        return;
    };
    if !need(&["modinfo"]) {
        return;
    }
    let rows = drivers(&root);
    assert!(rows.len() > 500, "{}", rows.len());
    let files: Vec<PathBuf> =
        rows.values().map(|row| root.join(row["path"].as_str().unwrap().trim_start_matches('/'))).collect();
    let ask = |field: &str| {
        // One process for all: each answers with its value, the values of several ended by a zero byte.
        let out = Command::new("modinfo").args(["-0", "-F", field]).args(&files).output().unwrap();
        out.stdout
    };
    let told = ask("signer");
    let ours: Vec<u8> =
        rows.values().filter_map(|row| row["signer"].as_str()).flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect();
    assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&told), "signer");
    for (field, key) in [
        ("description", "description"),
        ("license", "license"),
        ("author", "author"),
        ("version", "version"),
        ("vermagic", "vermagic"),
    ] {
        let ours = rows
            .values()
            .filter_map(|row| row[key].as_str())
            .map(|text| text.replace("; ", "\0"))
            .collect::<Vec<_>>()
            .join("\0");
        let told = String::from_utf8_lossy(&ask(field)).replace("; ", "\0");
        assert_eq!(ours, told.trim_end_matches('\0'), "{field}");
    }
    let ours: Vec<String> = rows
        .values()
        .map(|row| {
            row["dependencies"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>().join(",")
        })
        .collect();
    let told = String::from_utf8_lossy(&ask("depends")).into_owned();
    assert_eq!(ours.join("\0"), told.strip_suffix('\0').unwrap(), "depends");
    assert!(rows.values().all(|row| row["error"].is_null()));
}
