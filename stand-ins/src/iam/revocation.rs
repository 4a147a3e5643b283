//! Revokes sessions and publishes the event.

use contracts::event::{CloudEvent, RetentionClass};
use contracts::id::{RequestId, TenantId};
use contracts::upstream::iam::{SESSION_REVOKED, SessionRevoked};

use super::Iam;
use super::sessions::{Session, Target};

impl Iam {
    /// Revokes sessions for an event that is already published.
    pub(crate) fn revoke(&self, tenant: TenantId, target: Target) {
        for session in self.sessions.revoke(tenant, target) {
            self.note("session.revoked", &session);
        }
    }

    /// Records and publishes that a session ended.
    pub(super) fn end(&self, session: &Session, reason: &str) {
        self.note("session.revoked", session);
        let event = self.event(session, reason);
        if self.dispatcher.publish(event).is_err() {
            tracing::error!(session = %session.id, "Failed to publish a session revocation: the event queue is full.");
        }
    }

    fn event(&self, session: &Session, reason: &str) -> CloudEvent {
        let env = &self.platform.env;
        let data = SessionRevoked {
            kind: "session".to_owned(),
            id: session.id.to_string(),
            reason: reason.to_owned(),
        };
        CloudEvent {
            specversion: "1.0".to_owned(),
            id: env.new_id(),
            source: "/services/iam-service".to_owned(),
            kind: SESSION_REVOKED.to_owned(),
            subject: session.id.to_string(),
            time: env.now().into(),
            datacontenttype: "application/json".to_owned(),
            dataschema: None,
            tenantid: session.tenant,
            propertyid: None,
            orderingkey: format!("{}:{}", session.tenant, session.id),
            correlationid: env.new_id::<RequestId>().to_string(),
            causationid: None,
            traceparent: None,
            actortype: "operator".to_owned(),
            actorid: session.operator.to_string(),
            retentionclass: RetentionClass::Audit,
            data: serde_json::to_value(data).expect("an event's data is plain JSON"),
        }
    }
}
