use std::collections::BTreeMap;
use std::time::Duration;

use composer::compose::{Deadlines, ROUTE_DEADLINE};
use contracts::id::TenantId;
use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::config::rules;

/// The composed reads.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct DashboardConfig {
    /// Deadline of the route, in milliseconds from the request's first byte.
    #[garde(range(min = 1))]
    pub deadline_ms: u64,
    /// Overrides of `deadline_ms` per tenant.
    #[schemars(with = "BTreeMap<String, u64>")]
    #[garde(adapt(rules::entries), inner(range(min = 1)))]
    pub tenant_deadlines_ms: BTreeMap<TenantId, u64>,
    /// Whether upstream responses are cached, by the policies in `composer`. False only for
    /// measurements and drills: every read is then a cache miss.
    pub keep: bool,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        let deadline_ms = ROUTE_DEADLINE.as_millis() as u64;
        Self { deadline_ms, tenant_deadlines_ms: BTreeMap::new(), keep: true }
    }
}

impl DashboardConfig {
    pub fn deadlines(&self) -> Deadlines {
        let by_tenant = self.tenant_deadlines_ms.iter();
        Deadlines {
            default: Duration::from_millis(self.deadline_ms),
            by_tenant: by_tenant
                .map(|(tenant, ms)| (*tenant, Duration::from_millis(*ms)))
                .collect(),
        }
    }
}
