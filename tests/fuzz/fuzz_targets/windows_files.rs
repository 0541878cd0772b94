//! Any bytes are a shortcut, a task's definition, or neither; any text is a path of a Windows disk.
#![no_main]

use lrsh::agent::platform::drive;
use lrsh::agent::platform::windows_root::{shortcut, task_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let head = [&[0x4c, 0, 0, 0, 1, 0x14, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46][..], bytes].concat();
    for bytes in [bytes, &head] {
        let _ = shortcut::parse(bytes).map(|link| link.command());
        let _ = task_file::parse(bytes);
    }
    let text = String::from_utf8_lossy(bytes);
    let _ = task_file::parse(format!("<Task>{text}</Task>").as_bytes());
    let path = drive::resolve(r"C:\Users", &text);
    let shown = drive::uri(&path).or_else(|| drive::shown(&path)).unwrap_or_default();
    assert!(!text.contains(['\0', '\u{fffd}']) || !shown.is_empty());
    if !text.contains(['\0', '\u{fffd}']) {
        assert_eq!(drive::resolve(r"C:\", &shown), path, "{shown}");
    }
});
