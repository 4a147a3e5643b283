//! Five failures at once, each of which pages on-call. Each signal is exported at once, and each alert
//! fires within two minutes of the fault: measured with the durations of production by
//! `--time-scale 1`, else with divided ones.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client;
use crate::drill_env::{DrillEnv, stand_in_fault};
use crate::drill_run::{Drill, DrillFuture, DrillRun};
use crate::events;
use crate::lock_fixture::LockFixture;
use crate::sync_client;

/// Alerts of severity `critical`, each raised by one of the faults.
const ALERTS: [&str; 5] = [
    "BffIamRefreshDown",
    "BffInventoryDown",
    "BffLockDown",
    "BffSchemaDrift",
    "BffSyncHandshakeDown",
];
/// Stand-ins that fail, and how.
const FAULTS: [(&str, &str); 4] =
    [("iam", "status"), ("lock", "status"), ("pricing", "drift"), ("sync", "status")];
const REQUEST_METRIC: &str = "bff_backoffice_request_total";
const API: &str = "/api/bff/backoffice/v1";
const WATCH_DURATION: Duration = Duration::from_secs(3);
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const REQUEST_PAUSE: Duration = Duration::from_millis(250);

/// A series that each fault makes grow: metric and labels.
type Signal = (&'static str, &'static [(&'static str, &'static str)]);

const SIGNALS: [Signal; 2] = [
    ("bff_backoffice_upstream_schema_drift_total", &[("upstream", "pricing")]),
    (
        "bff_backoffice_upstream_request_total",
        &[("upstream", "inventory"), ("outcome", "UPSTREAM_ERROR")],
    ),
];
const ROUTES: [&str; 3] = ["/auth/refresh", "/locks/{lockId}/issue-key", "/sync/handshake"];

pub(super) struct DetectionTime;

impl Drill for DetectionTime {
    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    run.env.desktop.forget_tokens().await?;
    let lock = LockFixture::find(&run.env).await?;
    let works = async |env: &DrillEnv| works(&lock, env).await;
    let steady = run.env.wait_until("everything", run.objective, works).await;
    run.steady_within("renewals, keys, handshakes and dashboards work", steady);
    let before = signals(&run.env).await?;

    // The stand-ins push events with tokens of iam, so before it fails.
    for upstream in ["pricing", "inventory"] {
        events::invalidate(&run.env, upstream).await?;
    }
    let fault = Instant::now();
    for (upstream, kind) in FAULTS {
        run.env.add_fault(&stand_in_fault(upstream, kind)).await?;
    }
    run.env.set_database_available("inventory", false).await?;
    run.inject("iam, lock-integration, pricing, sync-service and inventory fail at once");
    let length = run.watch_length(&ALERTS, WATCH_DURATION)?;
    let watching = async {
        while fault.elapsed() < length {
            // What is refused is counted by the gateway.
            drop(works(&run.env).await);
            sleep(REQUEST_PAUSE).await;
        }
    };
    run.raised_during(&ALERTS, fault, watching).await?;
    let grown = async |env: &DrillEnv| {
        let now = signals(env).await?;
        Ok(now.iter().zip(&before).all(|(now, before)| now > before))
    };
    let shown = run.env.wait_until("the signals", DETECT_WITHIN, grown).await;
    let took = run.detect_within("the signal of every failure is exported", shown);
    run.detected_after(took);
    let dashboard = run.env.dashboard().await;
    let found = format!("{:?}", dashboard.status);
    run.user("a dashboard is still 200", dashboard.status == Some(200), found);

    run.env.clear_faults().await?;
    run.env.set_database_available("inventory", true).await?;
    let back = run.env.wait_until("everything", run.objective, works).await;
    run.recover_within("renewals, keys, handshakes and dashboards work again", back);
    Ok(())
}

async fn works(lock: &LockFixture, env: &DrillEnv) -> anyhow::Result<bool> {
    let (renewed, _) = env.desktop.renew().await?;
    let key = client::send(&env.desktop, &lock.issue(&client::new_key())?).await?;
    let handshake = sync_client::send_handshake(&env.desktop).await;
    let is_whole = env.dashboard().await.is_whole();
    Ok(renewed == 200 && key.status == 201 && handshake.status == 200 && is_whole)
}

/// The counters that the alerts are about.
async fn signals(env: &DrillEnv) -> anyhow::Result<Vec<f64>> {
    let mut counted = Vec::new();
    for (metric, labels) in SIGNALS {
        counted.push(env.counter(metric, labels).await?);
    }
    for route in ROUTES {
        let route = format!("{API}{route}");
        let labels = [("route", route.as_str()), ("status_class", "5xx")];
        counted.push(env.counter(REQUEST_METRIC, &labels).await?);
    }
    Ok(counted)
}
