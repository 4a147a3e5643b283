//! Two instances of the gateway and one refresh token: sent to both at once, and sent again after
//! its answer was lost. Real processes.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

use chaos::house::{House, Plan};
use contracts::clock::Clock;
use futures_util::future::join_all;
use launcher::desktop::Desktop;
use launcher::progress::Progress;
use serde_json::{Value, json};
use tokio::time::timeout;

const ROUTE: &str = "POST /api/v1/auth/refresh";

/// The operator's desktop as it calls instance `number`, with the tokens it has now.
async fn window(house: &House, number: usize) -> Desktop {
    let gateways = house.gateways();
    let mut info = house.stack.info().clone();
    info.gateway = gateways[number % gateways.len()].clone();
    let username = &house.desktop.operator().username;
    let folder = house.folder.join("desktop");
    let desktop = Desktop::open(&info, username, &folder, Clock::system()).unwrap();
    desktop.access_token().await.unwrap();
    desktop
}

/// Three windows, over both instances, that hold the same refresh token.
async fn windows(house: &House) -> Vec<Desktop> {
    house.desktop.forget_tokens().await.unwrap();
    house.desktop.access_token().await.unwrap();
    join_all((0..3).map(|number| window(house, number))).await
}

async fn renewed(desktop: &Desktop) -> Value {
    let (status, body) = desktop.renew().await.unwrap();
    assert_eq!(status, 200, "{body}");
    json!([body["accessToken"], body["refreshToken"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_refreshes_get_one_pair_whatever_became_of_the_first_answer() {
    let folder = House::folder("tests").join("shared-refresh");
    let plan = Plan { second_gateway: true, ..Plan::new(folder) };
    let house = House::open(plan, &Progress::quiet()).await.unwrap();

    let at_once = windows(&house).await;
    let pairs = join_all(at_once.iter().map(renewed)).await;
    assert!(pairs.iter().all(|pair| *pair == pairs[0]), "three windows got several pairs");

    // iam renews, and its answer does not reach the gateway.
    let three = windows(&house).await;
    let lost = json!({"upstream": "iam", "route": ROUTE, "kind": "lost_answer", "times": 1});
    house.fault(&lost).await.unwrap();
    assert_eq!(three[0].renew().await.unwrap().0, 502);
    let again = renewed(&three[1]).await;
    assert_eq!(renewed(&three[2]).await, again);

    // The client goes away before the gateway answers.
    let three = windows(&house).await;
    let slow = json!({"upstream": "iam", "route": ROUTE, "kind": "latency", "ms": 300, "times": 1});
    house.fault(&slow).await.unwrap();
    assert!(timeout(Duration::from_millis(100), three[0].renew()).await.is_err());
    let again = renewed(&three[1]).await;
    assert_eq!(renewed(&three[2]).await, again);
    house.clear_faults().await.unwrap();

    let roles = [("role", "follower")];
    let followers = house.metric_everywhere("bff_backoffice_refresh_shared_total", &roles).await;
    assert!(followers.unwrap() >= 2.0, "nobody shared an answer");
    assert!(house.dashboard().await.status == Some(200), "the new tokens are not taken");
    house.close().await.unwrap();
}
