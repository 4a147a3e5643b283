//! Time and randomness as values that are passed in, so that tests decide both.

use std::fmt;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

/// Reads the wall clock. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that always answers `at`.
    pub fn fixed(at: Timestamp) -> Self {
        Self(Arc::new(move || at))
    }

    /// A clock that asks `read`, for tests that move time.
    pub fn from_fn(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    pub fn now(&self) -> Timestamp {
        (self.0)()
    }

    /// Whole seconds since 1970, as JWT claims carry them.
    pub fn unix_seconds(&self) -> i64 {
        self.now().as_second()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Source of random numbers. Cheap to clone.
#[derive(Clone)]
pub struct Entropy(Source);

#[derive(Clone)]
enum Source {
    System,
    Seeded(Arc<Mutex<StdRng>>),
}

impl Entropy {
    /// The operating system's generator, through the thread's own.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// The same numbers on every run.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    pub fn u128(&self) -> u128 {
        self.with(|rng| Rng::random(&mut *rng))
    }

    /// A number in `0.0..1.0`, for jitter.
    pub fn unit(&self) -> f64 {
        self.with(|rng| Rng::random(&mut *rng))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut dyn RngCore) -> T) -> T {
        match &self.0 {
            Source::System => draw(&mut rand::rng()),
            Source::Seeded(rng) => {
                draw(&mut *rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
            }
        }
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

/// RFC 3339 in UTC with exactly three decimals, as every instant on the wire is written.
pub fn wire_time(at: Timestamp) -> String {
    match wire::digits(at) {
        Some(text) => wire::as_str(&text).to_owned(),
        None => format!("{at:.3}"),
    }
}

/// Serde form of [`wire_time`].
pub mod wire {
    use jiff::Timestamp;
    use jiff::tz::Offset;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        match digits(*at) {
            Some(text) => serializer.serialize_str(as_str(&text)),
            None => serializer.collect_str(&format_args!("{at:.3}")),
        }
    }

    /// Digit by digit: a dashboard has some eighty instants, and a formatter takes ten times as
    /// long. None for years of more or fewer than four digits.
    pub(super) fn digits(at: Timestamp) -> Option<[u8; 24]> {
        let at = Offset::UTC.to_datetime(at);
        let year = u16::try_from(at.year()).ok()?;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |from: usize, to: usize, mut number: u16| {
            for place in text[from..to].iter_mut().rev() {
                *place = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        put(0, 4, year);
        put(20, 23, at.millisecond().unsigned_abs());
        let pairs = [at.month(), at.day(), at.hour(), at.minute(), at.second()];
        for (pair, number) in pairs.into_iter().enumerate() {
            put(5 + 3 * pair, 7 + 3 * pair, number.unsigned_abs().into());
        }
        Some(text)
    }

    pub(super) fn as_str(text: &[u8; 24]) -> &str {
        std::str::from_utf8(text).expect("digits are ASCII")
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }

    /// For an instant that may be absent.
    pub mod option {
        use jiff::Timestamp;
        use serde::{Deserialize, Deserializer, Serializer};

        pub fn serialize<S: Serializer>(
            at: &Option<Timestamp>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => super::serialize(at, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            Option::deserialize(deserializer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_carry_three_decimals() {
        let at: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
        assert_eq!(wire_time(at), "2026-11-21T08:00:00.000Z");
    }

    #[test]
    fn instants_are_written_as_a_formatter_would() {
        for given in [
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59.9999Z",
            "0001-02-03T04:05:06.007Z",
            "2024-02-29T12:34:56.789999999Z",
            "9999-12-30T22:00:00.999Z",
            "-000001-02-03T04:05:06Z",
        ] {
            let at: Timestamp = given.parse().unwrap();
            assert_eq!(wire_time(at), format!("{at:.3}"));
        }
    }

    #[test]
    fn seeded_entropy_repeats() {
        assert_eq!(Entropy::seeded(7).u128(), Entropy::seeded(7).u128());
    }
}
