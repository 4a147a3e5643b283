//! The desktop of a general manager of another tenant.

use anyhow::Context;
use contracts::clock::Clock;
use launcher::desktop::Desktop;
use launcher::stack_info::Operator;

use crate::drill_env::{DashboardView, DrillEnv};

/// A general manager of another tenant, and their first property.
pub(super) struct OtherManager {
    pub(super) desktop: Desktop,
    property: String,
}

impl OtherManager {
    pub(super) fn find(env: &DrillEnv) -> anyhow::Result<Self> {
        let (info, own) = (env.stack.info(), &env.desktop.operator().tenant_id);
        let is_it =
            |operator: &&Operator| operator.tenant_id != *own && operator.roles == ["property.gm"];
        let found = info.operators.iter().find(is_it).context("there is only one tenant")?;
        let folder = env.folder.join("desktop");
        let desktop = Desktop::open(info, &found.username, &folder, Clock::system())?;
        let property = found.property_ids.first().context("the manager has no property")?;
        Ok(Self { desktop, property: property.clone() })
    }

    pub(super) async fn dashboard(&self, env: &DrillEnv) -> DashboardView {
        env.dashboard_at(&self.desktop, &self.property).await
    }
}
