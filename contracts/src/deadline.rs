//! The milliseconds left for a request, as they travel in `X-Deadline-Ms`.

use std::time::Duration;

/// More than any route allows; a larger value is an error of the sender.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Reads the header. `None` when it is not a number of milliseconds within [`LONGEST`].
pub fn parse(value: &str) -> Option<Duration> {
    let left = Duration::from_millis(value.parse().ok()?);
    (left <= LONGEST).then_some(left)
}

/// Writes the header, rounded down so that a hop never adds time.
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
