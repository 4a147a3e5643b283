//! The alert rules on the real exports of a stack, by a Prometheus that leaves nothing behind.

use std::time::Duration;

use chaos::drill_env::{DrillEnv, EnvOptions};
use chaos::prometheus::{AlertState, Scale};
use launcher::progress::Progress;

const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_not_ready_raises_its_alert_until_it_is() {
    let options = EnvOptions::new(DrillEnv::folder("tests").join("alerts"));
    let options = EnvOptions { alerts: Some(Scale::TEN), ..options };
    let mut env = DrillEnv::open(options, &Progress::quiet()).await.unwrap();
    let (alert, tier) = ("BffGatewayNotReady", "redis-session");
    let data = env.folder.join("prometheus");
    assert!(data.is_dir());
    assert_eq!(env.alerts().unwrap().state(alert).await.unwrap(), AlertState::Inactive);

    env.stack.process(tier).unwrap().kill().await.unwrap();
    let alerts = env.alerts().unwrap();
    alerts.wait_for(alert, AlertState::is_firing, WITHIN).await.unwrap();
    let refused = alerts.wait_for(alert, AlertState::is_inactive, Duration::ZERO).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("BffGatewayNotReady is still firing"), "{refused}");
    assert!(alerts.fire_within(&["BffUnknown"]).is_err());

    env.stack.restart(tier).await.unwrap();
    let alerts = env.alerts().unwrap();
    alerts.wait_for(alert, AlertState::is_inactive, WITHIN).await.unwrap();
    env.close().await.unwrap();
    assert!(!data.exists(), "the folder of Prometheus was left behind");
}
