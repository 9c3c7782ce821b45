//! The day and the time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use latrace_core::Date;

/// Today's date, in UTC.
pub fn today() -> Date {
    Date::from_days((seconds_now() / 86_400) as i64)
}

/// Date and time to the second, in UTC: `2026-11-30T21:27:36Z`.
pub fn now() -> String {
    moment(seconds_now())
}

fn seconds_now() -> u64 {
    // A clock before 1970 is set wrong; any time will do.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn moment(seconds: u64) -> String {
    let (date, of_day) = (Date::from_days((seconds / 86_400) as i64), seconds % 86_400);
    format!("{date}T{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_to_the_second() {
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment(1_785_450_456), "2026-07-30T22:27:36Z");
    }
}
