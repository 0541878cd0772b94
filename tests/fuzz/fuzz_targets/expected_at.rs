//! The menu may be asked at any place of any line.
#![no_main]

use lrsh::grammar;

libfuzzer_sys::fuzz_target!(|asked: (u16, &str)| {
    let (cursor, line) = asked;
    let expected = grammar::expected_at(line, usize::from(cursor), None);
    assert!(line.get(expected.span.start..expected.span.end).is_some());
});
