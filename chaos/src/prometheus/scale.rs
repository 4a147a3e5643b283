//! The number by which a run divides the durations of alert rules.

use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;

/// No duration becomes shorter: Prometheus scrapes and evaluates at most once a second here.
const SHORTEST: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale(f64);

impl Scale {
    /// The durations of production.
    pub const ONE: Self = Self(1.0);
    /// Shortens a window of five minutes to half a minute.
    pub const TEN: Self = Self(10.0);

    pub(super) fn shorten(self, length: Duration) -> Duration {
        let millis = (length.as_secs_f64() / self.0 * 1_000.0).round();
        Duration::from_millis(millis as u64).max(SHORTEST)
    }

    /// This scale, or a larger one that makes `length` no longer than `limit`.
    pub(super) fn or_so_that(self, length: Duration, limit: Duration) -> Self {
        Self(self.0.max(length.as_secs_f64() / limit.as_secs_f64()))
    }

    pub(super) fn divisor(self) -> f64 {
        self.0
    }
}

impl FromStr for Scale {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text.parse() {
            Ok(number) if (1.0..=1_000.0).contains(&number) => Ok(Self(number)),
            _ => bail!("`{text}` is no time scale: use a number from 1 to 1000, such as 10"),
        }
    }
}
