//! The lock audit during a drill: how soon a missing row counts, its completeness, its jobs, and the
//! end of a freeze.
//!
//! Not here: expectations, which are part of the drills.

use std::time::Duration;

use anyhow::{Context, ensure};
use contracts::clock::Clock;
use launcher::internal::InternalClient;
use launcher::service_accounts::SCHEDULER;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::drill_env::{DrillEnv, metrics_of};
use crate::gateway_database::GatewayDatabase;

const RECONCILE_SETTING: &str = "MELMASTOON_LOCK_AUDIT__RECONCILE_AFTER_S";
const GRACE_SETTING: &str = "MELMASTOON_LOCK_AUDIT__COMPLETION_GRACE_S";
/// The shortest that the gateway accepts.
const RECONCILE_AFTER_S: u32 = 6;
/// The age of a gap in production, for drills whose open actions are to be reconciled.
pub const USUAL_GRACE_S: u32 = 300;
/// Between runs of the reconciler, which production runs once a minute.
const JOB_PAUSE: Duration = Duration::from_millis(500);
pub const COMPLETENESS_METRIC: &str = "bff_backoffice_lock_audit_completeness";
pub const FROZEN_METRIC: &str = "bff_backoffice_lock_proxy_frozen";
/// An action is counted at the age of a gap in the drills, eight seconds, by a check that runs every five.
pub const COUNTED_WITHIN: Duration = Duration::from_secs(20);
const UNFREEZE: &str = "/internal/admin/unfreeze-locks";

/// Restarts these gateways so that open actions are reconciled after six seconds, and are gaps after
/// `grace_s`.
pub async fn shorten(env: &mut DrillEnv, gateways: &[&str], grace_s: u32) -> anyhow::Result<()> {
    for name in gateways {
        let process = env.stack.process(name)?.clone();
        process.set_env(RECONCILE_SETTING, RECONCILE_AFTER_S.to_string()).await?;
        process.set_env(GRACE_SETTING, grace_s.to_string()).await?;
        env.stack.restart(name).await?;
    }
    env.reconnect()
}

/// Whether every instance shows this state: all rows of the counted actions there, and the routes frozen
/// or not. While no action was counted, the completeness is not a number, and neither is shown.
pub async fn is_shown(env: &DrillEnv, complete: bool, frozen: bool) -> anyhow::Result<bool> {
    for gateway in env.gateways() {
        let url = metrics_of(&gateway);
        let text = env.http().get(url).send().await?.error_for_status()?.text().await?;
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        };
        // Both are set by the first check after a start.
        let (Some(share), Some(freeze)) = (value(COMPLETENESS_METRIC), value(FROZEN_METRIC)) else {
            return Ok(false);
        };
        if share.is_nan() || (share >= 1.0) != complete || (freeze > 0.0) != frozen {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Number of lock actions that began at least `age_s` seconds ago and have no outcome.
pub async fn open_actions(database: &GatewayDatabase, age_s: u32) -> anyhow::Result<i64> {
    let sql = "SELECT count(*) FROM bff.lock_action_proxy_audit r
               WHERE r.phase = 'requested' AND r.occurred_at < now() - $1 * interval '1 second'
                 AND NOT EXISTS (SELECT FROM bff.lock_action_proxy_audit e
                                 WHERE e.tenant_id = r.tenant_id AND e.action_id = r.id
                                   AND e.phase <> 'requested')";
    database.count(sql, &[&f64::from(age_s)]).await
}

/// Reconciles until no action is open, as the scheduler does every minute. A drill that leaves actions
/// open would freeze the lock routes of later ones.
pub async fn complete(env: &DrillEnv, within: Duration) -> anyhow::Result<Duration> {
    let (database, jobs) = (GatewayDatabase::connect(env).await?, LockAuditJobs::new(env)?);
    let begun = Instant::now();
    loop {
        let left = open_actions(&database, 0).await?;
        if left == 0 {
            return Ok(begun.elapsed());
        }
        ensure!(begun.elapsed() < within, "{left} lock actions have no outcome");
        jobs.reconcile().await?;
        sleep(JOB_PAUSE).await;
    }
}

/// The scheduler and the platform operators, at the internal listener.
#[derive(Debug)]
pub struct LockAuditJobs(InternalClient);

impl LockAuditJobs {
    pub fn new(env: &DrillEnv) -> anyhow::Result<Self> {
        Ok(Self(InternalClient::new(env.stack.info(), Clock::system())?))
    }

    pub async fn reconcile(&self) -> anyhow::Result<Value> {
        self.job("reconcile-locks").await
    }

    pub async fn verify(&self) -> anyhow::Result<Value> {
        self.job("verify-lock-audit").await
    }

    async fn job(&self, name: &str) -> anyhow::Result<Value> {
        let path = format!("/internal/jobs/{name}");
        let response = self.0.call(SCHEDULER, Method::POST, &path, None).await?;
        response.error_for_status()?.json().await.context("reading the job's response")
    }

    /// Requests the end of the freeze as `operator-a`, and returns the request's id.
    pub async fn request_unfreeze(&self) -> anyhow::Result<String> {
        let body = json!({"reason": "A drill: the cause was found."});
        let response = self.0.call("operator-a", Method::POST, UNFREEZE, Some(&body)).await?;
        let pending: Value = response.error_for_status()?.json().await?;
        Ok(pending["id"].as_str().context("a request has an id")?.to_owned())
    }

    /// Approves the request as this account. Returns the response's status and body.
    pub async fn approve(&self, request: &str, account: &str) -> anyhow::Result<(u16, Value)> {
        let path = format!("{UNFREEZE}/{request}/approve");
        let response = self.0.call(account, Method::POST, &path, None).await?;
        Ok((response.status().as_u16(), response.json().await?))
    }
}
