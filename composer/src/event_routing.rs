//! Maps platform events to the upstream whose snapshots they invalidate.

use contracts::upstream::Upstream;

/// The upstream whose data an event of this type changed; `None` if nothing of it is cached.
pub fn upstream_of_event(event_type: &str) -> Option<Upstream> {
    let service = event_type.strip_prefix("melmastoon.")?.split('.').next()?;
    let upstream = match service {
        "ai_orchestrator" => Upstream::Ai,
        "lock_integration" => Upstream::Lock,
        service => Upstream::parse(service)?,
    };
    (!matches!(upstream, Upstream::Iam | Upstream::Tenant)).then_some(upstream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_in_the_event_type_decides() {
        let of = |kind| upstream_of_event(kind);
        assert_eq!(of("melmastoon.reservation.checked_out.v1"), Some(Upstream::Reservation));
        assert_eq!(of("melmastoon.housekeeping.task.completed.v1"), Some(Upstream::Housekeeping));
        assert_eq!(of("melmastoon.ai_orchestrator.suggestion.made.v1"), Some(Upstream::Ai));
        assert_eq!(of("melmastoon.iam.session.revoked.v1"), None);
        assert_eq!(of("melmastoon.weather.storm.v1"), None);
        assert_eq!(of("reservation.checked_out"), None);
    }
}
