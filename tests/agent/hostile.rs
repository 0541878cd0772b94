//! Parsers of what a hostile device may have written: any bytes are read to an answer, never to a panic or without end.

#![allow(unused_must_use)] // That they answer at all is what is tested.

use std::path::Path;

use lrsh::agent::context::Stop;
use lrsh::agent::platform::systemd::{self, Scope, Units};
use lrsh::agent::platform::windows_root::hive::Hive;
use lrsh::agent::platform::windows_root::{shortcut, task_file};
use lrsh::agent::platform::{Protocol, Root, capabilities, connections, dpkg, drive, login_record, modules, services};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::kit::hive::List;

/// Any bytes, or bytes out of pieces that the formats are made of, which reach deeper.
fn hostile(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![4 => proptest::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()), 1 => vec(any::<u8>(), 0..8)];
    prop_oneof![vec(any::<u8>(), 0..512), vec(piece, 0..64).prop_map(|pieces| pieces.concat())]
}

fn write(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn unit_files_and_scripts(
        unit in hostile(&["[Service]\n", "[Unit]", "[Install]\n", "\n", "\\\n", "=", "ExecStart=", "Wants=", "%i", "%", "\"", "'", " ", "@", "default.target", "x.service", "WantedBy="]),
        script in hostile(&["### BEGIN INIT INFO\n", "### END INIT INFO\n", "# ", ":", "#  ", "\n", "PIDFILE=", "/run/x.pid", "$"]),
    ) {
        let tree = tempfile::tempdir().unwrap();
        for name in ["default.target", "x.service", "x@.service", "x.socket", "y.service.d/a.conf"] {
            write(tree.path(), &format!("etc/systemd/system/{name}"), &unit);
        }
        let root = Root::at(tree.path()).unwrap();
        let units = Units::load(&root, &Scope::System, &Stop::default()).unwrap();
        prop_assert_eq!(units.iter().count(), 4);
        write(tree.path(), "etc/init.d/x", &script);
        std::os::unix::fs::symlink("../init.d/x", tree.path().join("etc/init.d/y")).unwrap();
        services::services(&root, &Stop::default()).unwrap();
        let text = String::from_utf8_lossy(&unit);
        systemd::command_line(&text);
        systemd::unescape(&text, true);
        systemd::kind_of(&text);
        services::parse_header(&String::from_utf8_lossy(&script));
    }

    #[test]
    fn hives_shortcuts_and_task_definitions(
        places in vec((0..60_000_usize, any::<u8>()), 1..40),
        start in hostile(&["L\0\0\0", "\u{1}\u{14}\u{2}\0\0\0\0\0", "\0", "\u{3}", "C:\\x", "\u{7f}"]),
        task in hostile(&["<Task>", "</Task>", "<Actions>", "<Exec>", "<Command>", "</Command>", "<a/>", "x", "&amp;", "<!--", "-->", "<![CDATA[", "]]>", "<!DOCTYPE a [", "<!ENTITY b \"", "\">", "&b;"]),
    ) {
        static HIVE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| super::registry::wide().hive(List::Lists));
        let mut bytes = HIVE.clone();
        for (at, byte) in places {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(hive) = Hive::of_bytes(bytes) {
            super::registry::read_all(&hive);
        }
        if let Ok(hive) = Hive::of_bytes([&b"regf"[..], &start, &[0; 5000]].concat()) {
            super::registry::read_all(&hive);
        }
        let head = [&[0x4c, 0, 0, 0, 1, 0x14, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46][..], &start].concat();
        shortcut::parse(&head).map(|link| link.command());
        task_file::parse(&task);
        let text = String::from_utf8_lossy(&task).replace(['\0', '\u{fffd}'], "/");
        let path = drive::resolve(r"C:\Users", &text);
        let shown = drive::uri(&path).or_else(|| drive::shown(&path)).unwrap();
        prop_assert_eq!(drive::resolve(r"C:\", &shown), path, "{}", shown);
    }

    #[test]
    fn package_databases(
        status in hostile(&["Conffiles:\n", " /x ", "d41d8cd98f00b204e9800998ecf8427e", " obsolete", "\n", " "]),
        list in hostile(&["/.", "/x", "/", "\n", "//", "/x/y"]),
        sums in hostile(&["d41d8cd98f00b204e9800998ecf8427e", "  ", "x", "\n"]),
        diversions in hostile(&["/x\n", "/x/y\n", ":\n", "a\n", "\n"]),
    ) {
        let tree = tempfile::tempdir().unwrap();
        write(tree.path(), "var/lib/dpkg/status", &status);
        write(tree.path(), "var/lib/dpkg/diversions", &diversions);
        for package in ["a", "b:amd64"] {
            write(tree.path(), &format!("var/lib/dpkg/info/{package}.list"), &list);
            write(tree.path(), &format!("var/lib/dpkg/info/{package}.md5sums"), &sums);
        }
        let root = Root::at(tree.path()).unwrap();
        let packages = dpkg::Packages::default();
        for path in ["/x", "/x/y", "/", ""] {
            packages.origin(&root, Path::new(path), 1024, &Stop::default());
        }
    }

    #[test]
    fn module_files_and_lists(bytes in vec(any::<u8>(), 0..256), at in 0..160_usize, line in hostile(&["x", " ", "1", "-", "Live", "0x0", "(OE)", ",", "0:", "0100007F:1F90"])) {
        // A whole header with any bytes in it, and a signature's end behind.
        let mut image = std::fs::read("/proc/self/exe").unwrap().into_iter().take(4096).collect::<Vec<_>>();
        let end = (at + bytes.len()).min(image.len());
        image.splice(at..end, bytes.iter().copied());
        image.extend_from_slice(b"~Module signature appended~\n");
        modules::module_info(&image);
        modules::module_info(&bytes);
        modules::parse_line(&line);
        connections::parse_line(&line, Protocol::Tcp);
        connections::parse_line(&bytes, Protocol::Udp);
        capabilities::capabilities(&bytes);
    }

    #[test]
    fn logins_and_what_a_manager_answers(
        bytes in vec(any::<u8>(), 0..800),
        answer in hostile(&["\u{1}\0\0\0", "\u{4}\0\0\0", "\0\0\0\0", "x.service\0", "active\0", "\u{ff}\0\0\0", "/o\0\0"]),
    ) {
        for record in bytes.chunks(384) {
            login_record(record, Path::new("/var/log/wtmp"));
        }
        services::parse_units(&answer);
        services::parse_units(&bytes);
    }
}
