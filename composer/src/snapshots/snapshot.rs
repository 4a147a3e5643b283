//! An upstream response, serialized once and shown many times.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use contracts::clock::wire_time;
use contracts::id::PropertyId;
use contracts::upstream::stamped::Stamped;
use foldhash::quality::FixedState;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use upstream_clients::CallError;

/// A call in flight. Boxed at once: it is large and is moved before it is polled.
pub type FetchFuture = BoxFuture<'static, Result<Fetched, CallError>>;

/// A response in the form in which it is shown.
#[derive(Debug)]
pub struct Fetched {
    /// The property it belongs to.
    pub property: PropertyId,
    /// When the data was current, according to the upstream.
    pub as_of: Timestamp,
    /// IANA name of the property's time zone, if the upstream states it.
    pub(super) time_zone: Option<Box<str>>,
    parts: Vec<Arc<RawValue>>,
}

impl Fetched {
    pub fn new(property: PropertyId, as_of: Timestamp, body: &impl Serialize) -> Self {
        Self { property, as_of, time_zone: None, parts: Vec::with_capacity(2) }.and(body)
    }

    /// Adds another view of the response, as next part.
    #[must_use]
    pub fn and(mut self, part: &impl Serialize) -> Self {
        let part = to_raw_value(part).expect("contract types are plain JSON");
        self.parts.push(part.into());
        self
    }

    pub(super) fn into_snapshot(self, requested_at: Timestamp) -> Snapshot {
        let tag = tag(&self.parts, self.as_of);
        let Self { property, as_of, time_zone, parts } = self;
        Snapshot { property, as_of, requested_at, tag, time_zone, parts }
    }
}

/// The whole response, and the property's time zone if it has one.
impl<T: Stamped> From<T> for Fetched {
    fn from(response: T) -> Self {
        let fetched = Self::new(response.property_id(), response.as_of(), &response);
        Self { time_zone: response.time_zone().map(Into::into), ..fetched }
    }
}

/// A cached response.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    pub property: PropertyId,
    pub as_of: Timestamp,
    /// Start of the call; later changes may be missing.
    #[serde(rename = "askedAt")]
    pub(super) requested_at: Timestamp,
    /// Equal for equal content, whenever it was read.
    pub tag: u64,
    #[serde(default)]
    pub(super) time_zone: Option<Box<str>>,
    parts: Vec<Arc<RawValue>>,
}

impl Snapshot {
    /// Part 0 is the whole response; further parts are those added by [`Fetched::and`].
    pub fn part(&self, part: usize) -> Option<&Arc<RawValue>> {
        self.parts.get(part)
    }

    /// Parses the whole response. Fails if another version of the gateway cached another form.
    pub fn content<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        let text = self.part(0).map_or("null", |part| part.get());
        serde_json::from_str(text).map_err(|_| CallError::SchemaDrift { path: String::new() })
    }

    pub(super) fn age(&self, now: Timestamp) -> Duration {
        now.duration_since(self.requested_at).try_into().unwrap_or_default()
    }

    /// Bytes of its content.
    pub(super) fn size(&self) -> usize {
        self.parts.iter().map(|part| part.get().len()).sum()
    }
}

/// Ignores `asOf`, so that equal content has an equal tag.
fn tag(parts: &[Arc<RawValue>], as_of: Timestamp) -> u64 {
    // A fixed seed: a client may send the tag to another instance.
    let mut hasher = FixedState::default().build_hasher();
    let stamp = format!("\"asOf\":\"{}\"", wire_time(as_of));
    for part in parts {
        let text = part.get();
        let (before, after) = text.split_once(&stamp).unwrap_or((text, ""));
        hasher.write(before.as_bytes());
        hasher.write(after.as_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn taken(as_of: &str, free: u32) -> Snapshot {
        let property = "ppt_01K0000000000000000000000A".parse().unwrap();
        let body = json!({"asOf": as_of, "free": free});
        let as_of = as_of.parse().unwrap();
        Fetched::new(property, as_of, &body).into_snapshot(as_of)
    }

    #[test]
    fn the_tag_depends_on_the_content_and_not_on_as_of() {
        let first = taken("2026-11-21T08:00:00.000Z", 3);
        assert_eq!(first.tag, taken("2026-11-21T08:00:05.250Z", 3).tag);
        assert_ne!(first.tag, taken("2026-11-21T08:00:00.000Z", 4).tag);
    }

    #[test]
    fn every_process_gives_the_same_content_the_same_tag() {
        assert_eq!(taken("2026-11-21T08:00:00.000Z", 3).tag, 15_015_241_002_199_578_590);
    }
}
