//! When an upstream is listed again.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

use super::Resync;

/// The time that stands for two ticks where an expression has none any more: a date that is past.
const NONE: Duration = Duration::from_secs(24 * 3600);

impl Resync {
    /// Returns the time from `now` to the tick after the next one.
    #[must_use]
    pub fn two_ticks(&self, now: SystemTime) -> Duration {
        match self {
            Self::Every(every) => *every * 2,
            Self::Cron(expression) => two_ticks(expression, now).unwrap_or(NONE),
        }
    }
}

fn two_ticks(expression: &str, now: SystemTime) -> Option<Duration> {
    let cron = parser().parse(expression).ok()?;
    let now = DateTime::<Utc>::from(now);
    let next = cron.find_next_occurrence(&now, false).ok()?;
    let second = cron.find_next_occurrence(&next, false).ok()?;
    (second - now).to_std().ok()
}

/// Returns what parses expressions as tokio-cron-scheduler does (`JobLocked::new`, 0.15).
pub(super) fn parser() -> croner::parser::CronParser {
    croner::parser::CronParser::builder()
        .seconds(croner::parser::Seconds::Required)
        .dom_and_dow(true)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ticks_are_two_intervals_or_the_time_to_the_second_tick_of_an_expression() {
        // 2026-11-30, 12:02:30 UTC.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_796_040_150);
        let every = Resync::Every(Duration::from_secs(60));
        assert_eq!(every.two_ticks(now), Duration::from_secs(120));
        let cases = [
            ("0 */5 * * * *", 450),
            // The next hour, and the one after it.
            ("0 0 * * * *", 2 * 3600 - 150),
            // On Mondays: this one is past.
            ("0 0 12 * * MON", 14 * 86_400 - 150),
        ];
        for (expression, seconds) in cases {
            let cron = Resync::Cron(expression.to_owned());
            assert_eq!(
                cron.two_ticks(now),
                Duration::from_secs(seconds),
                "{expression}"
            );
        }
    }
}
