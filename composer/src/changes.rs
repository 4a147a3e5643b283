//! Which upstream's answers an event of the platform makes old.

use contracts::upstream::Upstream;

/// The upstream whose truth changed with an event of this type; none of which nothing is kept.
pub fn changed(event_type: &str) -> Option<Upstream> {
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
    fn the_service_in_the_type_decides() {
        let of = |kind| changed(kind);
        assert_eq!(of("melmastoon.reservation.checked_out.v1"), Some(Upstream::Reservation));
        assert_eq!(of("melmastoon.housekeeping.task.completed.v1"), Some(Upstream::Housekeeping));
        assert_eq!(of("melmastoon.ai_orchestrator.suggestion.made.v1"), Some(Upstream::Ai));
        assert_eq!(of("melmastoon.iam.session.revoked.v1"), None);
        assert_eq!(of("melmastoon.weather.storm.v1"), None);
        assert_eq!(of("reservation.checked_out"), None);
    }
}
