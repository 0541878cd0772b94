//! Any bytes are a script or not, and no line of one is lost.
#![no_main]

use lrsh::grammar;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = grammar::decode(bytes) else { return };
    let lines = grammar::script_lines(text);
    let physical = text.split('\n').count() - usize::from(text.is_empty() || text.ends_with('\n'));
    let taken: usize = lines.iter().map(|line| line.text.split('\n').count()).sum();
    // A last line of a lone \r is an empty one.
    assert!(taken == physical || taken + 1 == physical && text.ends_with('\r'));
    for line in &lines {
        let (row, column) = line.place(line.text.len());
        assert!(row >= line.number && column >= 1);
    }
});
