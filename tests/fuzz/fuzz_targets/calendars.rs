//! Any text is a calendar event or not, and what is next is later.
#![no_main]

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lrsh::agent::platform::tasks::calendar_text;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Some(calendar) = calendar_text::parse(text, &|zone| zone == "CET") else { return };
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap_or(TimeZone::UTC);
    let mut at = Timestamp::UNIX_EPOCH;
    for _ in 0..5 {
        let Some(next) = calendar.next(at, &zone) else { return };
        assert!(next > at);
        at = next;
    }
});
