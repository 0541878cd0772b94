//! How long something has been kept. The device's clock alone does not tell: whoever sets it ahead would have all evidence go at
//! once. Time counts only as far as two say that it has passed: the device's clock, and what the kernel has counted since the
//! boot, which nobody sets. Between two boots nobody counts; there the clock is believed for a day.

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What the clock is believed, at most, of the time that nobody has counted.
const BELIEVED: Duration = Duration::from_hours(24);

/// What the kernel has counted since the boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    /// Which boot it was; `None` where the kernel does not tell.
    pub boot_id: Option<String>,
    /// In seconds, those asleep included.
    pub seconds: u64,
}

/// What both clocks said at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The device's clock, which may have been set.
    pub time: Timestamp,
    /// The kernel's.
    pub uptime: Uptime,
}

impl Uptime {
    /// As it is.
    #[must_use]
    pub fn now() -> Self {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned());
        Self { boot_id, seconds: u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or(0) }
    }

    /// What can have passed at most since an earlier one.
    fn at_most_since(&self, earlier: &Self) -> Duration {
        let same = match (&self.boot_id, &earlier.boot_id) {
            (Some(now), Some(then)) => now == then,
            _ => self.seconds >= earlier.seconds,
        };
        if same {
            Duration::from_secs(self.seconds.saturating_sub(earlier.seconds))
        } else {
            Duration::from_secs(self.seconds).saturating_add(BELIEVED)
        }
    }
}

impl Moment {
    /// As it is.
    #[must_use]
    pub fn now() -> Self {
        Self { time: Timestamp::now(), uptime: Uptime::now() }
    }

    /// How much time has passed since an earlier one, by both clocks: none where one of them went back.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Duration {
        let by_clock = Duration::try_from(self.time.duration_since(earlier.time)).unwrap_or_default();
        by_clock.min(self.uptime.at_most_since(&earlier.uptime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;

    fn moment(clock: u64, boot: Option<&str>, seconds: u64) -> Moment {
        let time = Timestamp::from_second(i64::try_from(1_800_000_000 + clock).unwrap()).unwrap();
        Moment { time, uptime: Uptime { boot_id: boot.map(ToOwned::to_owned), seconds } }
    }

    #[test]
    fn only_what_both_clocks_say_has_passed() {
        let then = moment(400 * DAY, Some("a"), 10 * HOUR);
        let check = |now: Moment, wanted: u64| assert_eq!(now.since(&then).as_secs(), wanted, "{now:?}");
        check(moment(401 * DAY, Some("a"), 34 * HOUR), DAY);
        // The clock is set ahead, and back.
        check(moment(900 * DAY, Some("a"), 34 * HOUR), DAY);
        check(moment(400 * DAY + HOUR, Some("a"), 34 * HOUR), HOUR);
        check(moment(0, Some("a"), 34 * HOUR), 0);
        // Another boot: what it has counted itself, and a day.
        check(moment(401 * DAY, Some("b"), HOUR), DAY);
        check(moment(410 * DAY, Some("b"), 9 * DAY + 12 * HOUR), 10 * DAY);
        check(moment(900 * DAY, Some("b"), HOUR), DAY + HOUR);
        check(moment(0, Some("b"), HOUR), 0);
        // Where the kernel does not tell the boot, one that has counted less is another.
        check(moment(900 * DAY, None, 11 * HOUR), HOUR);
        check(moment(900 * DAY, None, HOUR), DAY + HOUR);
        // What cannot be is no reason to end.
        check(moment(900 * DAY, Some("a"), 0), 0);
    }

    #[test]
    fn it_counts_up() {
        let [one, other] = [Moment::now(), Moment::now()];
        assert!(other.uptime.seconds >= one.uptime.seconds && one.uptime.seconds > 0);
        assert_eq!(one.uptime.boot_id, other.uptime.boot_id);
    }
}
