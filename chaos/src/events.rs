//! Publishes platform events.

use std::time::Duration;

use contracts::clock::{Clock, Entropy, wire_time};
use contracts::id::{EventId, Id};
use serde_json::{Value, json};

use crate::drill_env::DrillEnv;

const EVENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Publishes an event about the operator's tenant. `kind`: event type without `melmastoon.`.
pub async fn publish(env: &DrillEnv, kind: &str, data: &Value) -> anyhow::Result<()> {
    let (clock, tenant) = (Clock::system(), &env.desktop.operator().tenant_id);
    let service = kind.split('.').next().unwrap_or_default().replace('_', "-");
    let event = json!({
        "specversion": "1.0", "id": EventId::generate(&clock, &Entropy::system()),
        "source": format!("/services/{service}-service"), "type": format!("melmastoon.{kind}"),
        "subject": tenant, "time": wire_time(clock.now()),
        "datacontenttype": "application/json", "tenantid": tenant,
        "orderingkey": format!("{tenant}:{tenant}"), "correlationid": "drill",
        "actortype": "system", "actorid": "drill", "retentionclass": "operational", "data": data,
    });
    let url = format!("{}/control/events", env.stack.info().stand_ins.url);
    env.http().post(url).json(&event).send().await?.error_for_status()?;
    Ok(())
}

/// Invalidates the gateway's snapshots of an upstream, so that the next read calls it. Otherwise fresh
/// snapshots would hide its failure.
pub async fn invalidate(env: &DrillEnv, upstream: &str) -> anyhow::Result<()> {
    let service = match upstream {
        "ai" => "ai_orchestrator",
        "lock" => "lock_integration",
        other => other,
    };
    let before = invalidations(env).await?;
    publish(env, &format!("{service}.drill.begun.v1"), &json!({})).await?;
    let counted = async |env: &DrillEnv| Ok(invalidations(env).await? > before);
    env.wait_until("the invalidation", EVENT_TIMEOUT, counted).await.map(drop)
}

async fn invalidations(env: &DrillEnv) -> anyhow::Result<f64> {
    env.counter("bff_backoffice_event_consumed_total", &[("outcome", "outdated")]).await
}
