//! Any line is read, explained and coloured.
#![no_main]

use lrsh::grammar;
use lrsh::protocol::PlatformName;

libfuzzer_sys::fuzz_target!(|line: &str| {
    let reading = grammar::read(line, Some(PlatformName::Linux));
    for found in &reading.diagnostics {
        assert!(line.get(found.span.start..found.span.end).is_some());
    }
    assert!(reading.explained().is_object());
    let covered: usize = grammar::highlight(line).iter().map(|(span, _)| span.end - span.start).sum();
    assert_eq!(covered, line.len());
    // No path has a NUL in it.
    if !line.contains('\0') {
        let quoted = grammar::read(&format!("cd {}", grammar::quoted(line)), None);
        assert_eq!(quoted.invocation.map(|invocation| invocation.params["id"].clone()).as_deref(), Some(line));
    }
});
