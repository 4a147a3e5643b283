//! Time zones of properties, learned from responses, and the start of their current day.

use std::time::Duration;

use contracts::id::{PropertyId, TenantId};
use foldhash::quality::RandomState;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use moka::sync::Cache;

const MAX_PROPERTIES: u64 = 100_000;
/// A property that changes its zone is noticed within a day at the latest.
const ZONE_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Every zone's midnight falls on a multiple of this.
const STEP_MINUTES: i64 = 15;

#[derive(Debug, Clone)]
pub(super) struct TimeZones(Cache<(TenantId, PropertyId), TimeZone, RandomState>);

impl TimeZones {
    pub(super) fn new() -> Self {
        let zones = Cache::builder().max_capacity(MAX_PROPERTIES).time_to_live(ZONE_TTL);
        Self(zones.build_with_hasher(RandomState::default()))
    }

    /// Records a stated zone. A name unknown to the zone database is ignored.
    pub(super) fn remember(&self, tenant: TenantId, property: PropertyId, name: &str) {
        let is_known = |zone: TimeZone| zone.iana_name() == Some(name);
        if self.get(tenant, property).is_some_and(is_known) {
            return;
        }
        match TimeZone::get(name) {
            Ok(zone) => self.0.insert((tenant, property), zone),
            Err(error) => {
                tracing::warn!(%property, %error, "Ignored a time zone that is not in the zone database.");
            }
        }
    }

    pub(super) fn get(&self, tenant: TenantId, property: PropertyId) -> Option<TimeZone> {
        self.0.get(&(tenant, property))
    }

    /// The start of the property's current day. If its zone is unknown, the latest instant at which
    /// a day can have begun anywhere.
    pub(super) fn day_began(
        &self,
        tenant: TenantId,
        property: PropertyId,
        now: Timestamp,
    ) -> Timestamp {
        let zone = self.get(tenant, property);
        let start = zone.and_then(|zone| start_of_day(now, &zone));
        start.unwrap_or_else(|| last_step(now))
    }
}

fn start_of_day(now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let start = now.to_zoned(zone.clone()).start_of_day().ok()?;
    Some(start.timestamp())
}

fn last_step(now: Timestamp) -> Timestamp {
    let minute = now.as_second().div_euclid(60);
    let into_step = minute.rem_euclid(STEP_MINUTES);
    Timestamp::from_second((minute - into_step) * 60).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began(zone: Option<&str>, now: &str) -> String {
        let zones = TimeZones::new();
        let tenant = "tnt_01K0000000000000000000000A".parse().unwrap();
        let property = "ppt_01K0000000000000000000000A".parse().unwrap();
        if let Some(zone) = zone {
            zones.remember(tenant, property, zone);
        }
        zones.day_began(tenant, property, now.parse().unwrap()).to_string()
    }

    #[test]
    fn a_day_begins_at_the_propertys_midnight_also_in_zones_of_half_and_quarter_hours() {
        let of = |zone, now| began(Some(zone), now);
        assert_eq!(of("Asia/Tehran", "2026-11-20T21:33:00Z"), "2026-11-20T20:30:00Z");
        assert_eq!(of("Asia/Tehran", "2026-11-20T20:29:59Z"), "2026-11-19T20:30:00Z");
        assert_eq!(of("Asia/Kathmandu", "2026-11-20T18:15:00Z"), "2026-11-20T18:15:00Z");
    }

    #[test]
    fn a_day_that_is_longer_or_shorter_for_a_change_of_clocks_still_ends_at_midnight() {
        let of = |now| began(Some("Europe/Berlin"), now);
        assert_eq!(of("2026-03-29T21:59:59Z"), "2026-03-28T23:00:00Z");
        assert_eq!(of("2026-03-29T22:00:00Z"), "2026-03-29T22:00:00Z");
        assert_eq!(of("2026-10-25T22:59:59Z"), "2026-10-24T22:00:00Z");
        // In Cairo the clocks go forward at midnight: the day begins at one.
        assert_eq!(began(Some("Africa/Cairo"), "2026-04-24T03:00:00Z"), "2026-04-23T22:00:00Z");
    }

    #[test]
    fn without_a_zone_every_possible_midnight_counts() {
        assert_eq!(began(None, "2026-11-20T20:44:59Z"), "2026-11-20T20:30:00Z");
        assert_eq!(began(None, "2026-11-20T20:45:00Z"), "2026-11-20T20:45:00Z");
        assert_eq!(began(Some("Mars/Olympus"), "2026-11-20T20:47:00Z"), "2026-11-20T20:45:00Z");
    }
}
