//! The clock and the random number generator, injected so that tests control both.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use parking_lot::Mutex;
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

/// Reads the wall clock. Cheap to clone.
#[derive(Clone, derive_more::Debug)]
#[debug("Clock")]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "the only function that reads the system clock")]
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that always returns `at`.
    pub fn fixed(at: Timestamp) -> Self {
        Self(Arc::new(move || at))
    }

    /// A clock that calls `read`, for tests that move time.
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

/// Source of random numbers. Cheap to clone.
#[derive(Clone, derive_more::Debug)]
#[debug("Entropy")]
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

    /// A generator with the same numbers on every run.
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
            Source::Seeded(rng) => draw(&mut *rng.lock()),
        }
    }
}

/// RFC 3339 in UTC with exactly three decimals, as every instant on the wire is written.
pub fn wire_time(at: Timestamp) -> String {
    match wire::digits(at) {
        Some(text) => wire::as_str(&text).to_owned(),
        None => format!("{at:.3}"),
    }
}

/// Instants and dates as bodies carry them. OpenAPI documents derive the format from the types' names.
pub mod wire {
    use std::borrow::Cow;
    use std::fmt::{self, Formatter};

    use derive_more::{Deref, From};
    use jiff::tz::Offset;
    use serde::de::{Error, Unexpected, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// An instant, written as by [`wire_time`](super::wire_time) and read as by
    /// [`parse_instant`](super::parse_instant).
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, derive_more::Debug, Deref, From)]
    #[debug("{_0:?}")]
    pub struct Timestamp(pub jiff::Timestamp);

    /// A date, read as by [`parse_date`](super::parse_date).
    #[derive(
        Clone, Copy, PartialEq, Eq, PartialOrd, Ord, derive_more::Debug, Deref, From, Serialize,
    )]
    #[debug("{_0:?}")]
    pub struct Date(pub jiff::civil::Date);

    impl Serialize for Timestamp {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match digits(self.0) {
                Some(text) => serializer.serialize_str(as_str(&text)),
                None => serializer.collect_str(&format_args!("{:.3}", self.0)),
            }
        }
    }

    /// Formats digit by digit, ten times as fast as a formatter: a dashboard has some eighty instants.
    /// `None` for years that do not have four digits.
    pub(super) fn digits(at: jiff::Timestamp) -> Option<[u8; 24]> {
        let at = Offset::UTC.to_datetime(at);
        let year = u16::try_from(at.year()).ok()?;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |from: usize, to: usize, mut number: u16| {
            for digit in text[from..to].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
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

    impl<'de> Deserialize<'de> for Timestamp {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Instant;
            impl Visitor<'_> for Instant {
                type Value = Timestamp;

                fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                    f.write_str(
                        "an instant like 2026-11-21T08:00:00.000Z, from the year 0001 to 9999-12-30T22:00:00Z",
                    )
                }

                fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
                    let instant = super::parse_instant(text).map(Timestamp);
                    instant.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
                }
            }
            deserializer.deserialize_str(Instant)
        }
    }

    impl<'de> Deserialize<'de> for Date {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = Cow::<str>::deserialize(deserializer)?;
            let invalid = || D::Error::custom("expected a date like 2026-11-21 from 0001 to 9999");
            super::parse_date(&text).map(Self).ok_or_else(invalid)
        }
    }
}

/// Whether the instant lies in the years 0001 to 9999, in which RFC 3339 writes it and Postgres
/// stores it.
pub fn in_range(at: Timestamp) -> bool {
    (1..=9999).contains(&Offset::UTC.to_datetime(at).year())
}

/// The instant of an RFC 3339 text, with any offset, from the year 0001 to 9999-12-30T22:00:00Z, where
/// the time type ends. Other forms of ISO 8601 are refused.
pub fn parse_instant(text: &str) -> Option<Timestamp> {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(given, shape): (&u8, &u8)| match shape {
        b'd' => given.is_ascii_digit(),
        _ => given.eq_ignore_ascii_case(shape),
    };
    let (start, rest) = text.as_bytes().split_at_checked(shape.len())?;
    let is_zoned = matches!(rest, [.., b'Z' | b'z'] | [.., b'+' | b'-', _, _, b':', _, _]);
    let is_rfc_3339 = is_zoned && start.iter().zip(shape).all(fits);
    text.parse().ok().filter(|at| is_rfc_3339 && in_range(*at))
}

/// The day of `YYYY-MM-DD` in the years 0001 to 9999, and of no other form of ISO 8601.
pub fn parse_date(text: &str) -> Option<Date> {
    let is_plain = text.len() == "YYYY-MM-DD".len() && !text.starts_with("0000");
    text.parse().ok().filter(|_| is_plain)
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

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Times {
        at: wire::Timestamp,
        until: Option<wire::Timestamp>,
        day: wire::Date,
    }

    fn times(at: &str, day: &str) -> Option<Times> {
        let json = serde_json::json!({"at": at, "until": at, "day": day});
        let read = serde_json::from_value::<Times>(json.clone()).ok();
        for (name, value) in [("at", at), ("until", at), ("day", day)] {
            let mut good = serde_json::json!({"at": "2026-11-21T08:00:00Z", "day": "2026-11-21"});
            good[name] = value.into();
            let is_good = serde_json::from_value::<Times>(good).is_ok();
            assert!(is_good || read.is_none(), "{name} {value}");
        }
        read
    }

    #[test]
    fn instants_and_dates_have_years_of_four_digits() {
        for at in ["0001-01-01T00:00:00Z", "9999-12-30T22:00:00.999Z", "2026-11-21T08:00:00+04:30"]
        {
            assert!(times(at, "0001-01-01").is_some(), "{at}");
        }
        for at in [
            "-004800-01-01T00:00:00Z",
            "0000-12-31T23:59:59Z",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T00:00:00Z",
            "1",
            "20261121T080000Z",
            "2026-11-21T08:00Z",
            "2026-11-21 08:00:00Z",
            "2026-11-21T08:00:00",
            "2026-11-21T08:00:00Z[UTC]",
            "2026-11-21T08:00:00+0430",
            "2026-11-21T08:00:00+04",
        ] {
            assert_eq!(times(at, "2026-11-21"), None, "{at}");
        }
        for day in
            ["0000-12-31", "-000001-01-01", "+002026-11-21", "20261121", "2026-02-30", "2026-W10-1"]
        {
            assert_eq!(times("2026-11-21T08:00:00Z", day), None, "{day}");
        }
    }

    #[test]
    fn seeded_entropy_repeats() {
        assert_eq!(Entropy::seeded(7).u128(), Entropy::seeded(7).u128());
    }
}
