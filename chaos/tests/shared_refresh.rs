//! One refresh token at two gateway instances: sent to both at once, and again after its response was
//! lost. Real processes.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

use chaos::drill_env::{DrillEnv, EnvOptions};
use contracts::clock::Clock;
use futures_util::future::join_all;
use launcher::desktop::Desktop;
use launcher::progress::Progress;
use serde_json::{Value, json};
use tokio::time::timeout;

const ROUTE: &str = "POST /api/v1/auth/refresh";

/// Opens the operator's desktop at instance `number`, with the current tokens.
async fn window(env: &DrillEnv, number: usize) -> Desktop {
    let gateways = env.gateways();
    let mut info = env.stack.info().clone();
    info.gateway = gateways[number % gateways.len()].clone();
    let username = &env.desktop.operator().username;
    let folder = env.folder.join("desktop");
    let desktop = Desktop::open(&info, username, &folder, Clock::system()).unwrap();
    desktop.access_token().await.unwrap();
    desktop
}

/// Opens three desktops, over both instances, with the same refresh token.
async fn windows(env: &DrillEnv) -> Vec<Desktop> {
    env.desktop.forget_tokens().await.unwrap();
    env.desktop.access_token().await.unwrap();
    join_all((0..3).map(|number| window(env, number))).await
}

async fn renewed(desktop: &Desktop) -> Value {
    let (status, body) = desktop.renew().await.unwrap();
    assert_eq!(status, 200, "{body}");
    json!([body["accessToken"], body["refreshToken"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_refreshes_get_one_pair_whatever_became_of_the_first_answer() {
    let folder = DrillEnv::folder("tests").join("shared-refresh");
    let options = EnvOptions { second_gateway: true, ..EnvOptions::new(folder) };
    let env = DrillEnv::open(options, &Progress::quiet()).await.unwrap();

    let at_once = windows(&env).await;
    let pairs = join_all(at_once.iter().map(renewed)).await;
    assert!(pairs.iter().all(|pair| *pair == pairs[0]), "three desktops got different pairs");

    // iam's response does not reach the gateway.
    let three = windows(&env).await;
    let lost = json!({"upstream": "iam", "route": ROUTE, "kind": "lost_answer", "times": 1});
    env.add_fault(&lost).await.unwrap();
    assert_eq!(three[0].renew().await.unwrap().0, 502);
    let again = renewed(&three[1]).await;
    assert_eq!(renewed(&three[2]).await, again);

    // The client disconnects before the gateway responds.
    let three = windows(&env).await;
    let slow = json!({"upstream": "iam", "route": ROUTE, "kind": "latency", "ms": 300, "times": 1});
    env.add_fault(&slow).await.unwrap();
    assert!(timeout(Duration::from_millis(100), three[0].renew()).await.is_err());
    let again = renewed(&three[1]).await;
    assert_eq!(renewed(&three[2]).await, again);
    env.clear_faults().await.unwrap();

    let roles = [("role", "follower")];
    let followers = env.counter_everywhere("bff_backoffice_refresh_shared_total", &roles).await;
    assert!(followers.unwrap() >= 2.0, "no response was shared");
    assert!(env.dashboard().await.status == Some(200), "the new tokens are not accepted");
    env.close().await.unwrap();
}
