//! Any bytes are a crontab, an anacrontab, a job of at or not, and a time is reckoned with or never comes.
#![no_main]

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lrsh::agent::platform::tasks::cron_time::When;
use lrsh::agent::platform::tasks::crontab::Owner;
use lrsh::agent::platform::tasks::{anacron, at, crontab};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap_or(TimeZone::UTC);
    let now = Timestamp::UNIX_EPOCH;
    for owner in [Owner::User, Owner::System] {
        let read = crontab::parse(bytes, owner);
        for line in read.lines.iter().take(20) {
            let _ = line.shell_command();
            if let Ok(When::At(fields)) = &line.when {
                let next = fields.next(now, &zone);
                assert!(next.is_none_or(|next| next > now && next.as_second() % 60 == 0));
            }
            assert!(line.when.is_ok() || read.refused.is_some());
        }
    }
    for line in anacron::parse(bytes) {
        let _ = line.period.map(|(period, _)| period.due(jiff::civil::date(2026, 1, 31)));
    }
    let _ = (anacron::note(bytes), at::script(bytes));
    let _ = std::str::from_utf8(bytes).ok().and_then(at::name);
});
