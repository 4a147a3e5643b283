//! Events of the platform, published by hand.

use std::time::Duration;

use contracts::clock::{Clock, Entropy, wire_time};
use contracts::id::{EventId, Id};
use serde_json::{Value, json};

use crate::house::House;

const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// Says something of the operator's tenant; `kind` is without its `melmastoon.`.
pub async fn publish(house: &House, kind: &str, data: &Value) -> anyhow::Result<()> {
    let (clock, tenant) = (Clock::system(), &house.desktop.operator().tenant_id);
    let service = kind.split('.').next().unwrap_or_default().replace('_', "-");
    let event = json!({
        "specversion": "1.0", "id": EventId::generate(&clock, &Entropy::system()),
        "source": format!("/services/{service}-service"), "type": format!("melmastoon.{kind}"),
        "subject": tenant, "time": wire_time(clock.now()),
        "datacontenttype": "application/json", "tenantid": tenant,
        "orderingkey": format!("{tenant}:{tenant}"), "correlationid": "drill",
        "actortype": "system", "actorid": "drill", "retentionclass": "operational", "data": data,
    });
    let url = format!("{}/control/events", house.stack.info().stand_ins.url);
    house.http().post(url).json(&event).send().await?.error_for_status()?;
    Ok(())
}

/// What the gateway read of an upstream is not fresh any more, so that the next one who looks asks
/// it: else a failure shows only after minutes, because snapshots cover it.
pub async fn outdate(house: &House, upstream: &str) -> anyhow::Result<()> {
    let service = match upstream {
        "ai" => "ai_orchestrator",
        "lock" => "lock_integration",
        other => other,
    };
    let before = outdated(house).await?;
    publish(house, &format!("{service}.drill.begun.v1"), &json!({})).await?;
    let told = async |house: &House| Ok(outdated(house).await? > before);
    house.until("news of a change", TOLD_WITHIN, told).await.map(drop)
}

async fn outdated(house: &House) -> anyhow::Result<f64> {
    house.metric("bff_backoffice_event_consumed_total", &[("outcome", "outdated")]).await
}
