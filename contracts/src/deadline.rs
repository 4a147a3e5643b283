//! The value of `X-Deadline-Ms`: the time until the deadline, in milliseconds.

use std::time::Duration;

/// Upper limit, above that of any route; a larger value is invalid.
pub const MAX_DEADLINE: Duration = Duration::from_secs(60);

/// Parses the header. `None` unless it is a number of milliseconds up to [`MAX_DEADLINE`].
pub fn parse(value: &str) -> Option<Duration> {
    let left = Duration::from_millis(value.parse().ok()?);
    (left <= MAX_DEADLINE).then_some(left)
}

/// Formats the header, rounded down so that a hop never adds time.
pub fn format(left: Duration) -> String {
    (left.as_millis() as u64).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_milliseconds_up_to_a_minute_are_read() {
        assert_eq!(parse("550"), Some(Duration::from_millis(550)));
        for given in ["", "-1", "1.5", "60001", "x", "99999999999999999999"] {
            assert_eq!(parse(given), None, "{given}");
        }
    }
}
