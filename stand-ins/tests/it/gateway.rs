//! What iam does for the gateway.

use contracts::upstream::Upstream::Iam;
use contracts::upstream::iam::{Attested, TokenResponse};
use jiff::SignedDuration;
use serde_json::{Value, json};
use stand_ins::demo::Operator;
use stand_ins::totp;

use crate::world::{self, Desktop, World};

const REFRESH: &str = "/api/v1/auth/refresh";
const SIGN_OUT: &str = "/api/v1/auth/sign-out";
const ATTEST: &str = "/api/v1/auth/mfa/attest";

/// Status and code of a refusal, or the tokens.
async fn refresh(world: &World, body: &Value) -> Result<TokenResponse, (u16, String)> {
    let token = format!("Bearer {}", world.gateway.service_token("iam"));
    let post = world.post(Iam, REFRESH).header("authorization", token);
    let answer = post.json(body).send().await.unwrap();
    if answer.status() != 200 {
        return Err(refusal(answer).await);
    }
    assert_eq!(answer.headers()["cache-control"], "no-store");
    Ok(answer.json().await.unwrap())
}

async fn refusal(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap();
    (status, problem["code"].as_str().unwrap().to_owned())
}

fn not_valid<T>() -> Result<T, (u16, String)> {
    Err((401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID".to_owned()))
}

fn presented(token: &str, desktop: &Desktop, operator: &Operator) -> Value {
    json!({"refreshToken": token, "jkt": desktop.thumbprint(), "deviceId": operator.device_id})
}

/// The session a token names.
fn session(tokens: &TokenResponse) -> String {
    let token = auth::jwt::Unverified::split(&tokens.access_token).unwrap();
    token.payload::<Value>().unwrap()["sid"].as_str().unwrap().to_owned()
}

async fn as_operator(world: &World, path: &str, who: &Operator, body: &Value) -> reqwest::Response {
    let token = world.request_token(Iam, who);
    world.post(Iam, path).header("authorization", token).json(body).send().await.unwrap()
}

#[tokio::test]
async fn a_refresh_gives_a_new_pair_of_the_same_session() {
    let world = world::start().await;
    let (desk, desktop) = (world.operator("frontdesk", "kabul"), Desktop::new());
    let first = world.sign_in(desk, &desktop).await;
    let token = first.refresh_token.clone().unwrap();
    let second = refresh(&world, &presented(&token, &desktop, desk)).await.unwrap();
    assert_ne!(second.refresh_token, first.refresh_token);
    assert_eq!(session(&second), session(&first));
    let third = second.refresh_token.unwrap();
    assert!(refresh(&world, &presented(&third, &desktop, desk)).await.is_ok());
}

#[tokio::test]
async fn a_refresh_with_another_key_or_from_another_device_does_nothing() {
    let world = world::start().await;
    let (desk, desktop) = (world.operator("frontdesk", "kabul"), Desktop::new());
    let token = world.sign_in(desk, &desktop).await.refresh_token.unwrap();
    let other = world.operator("gm", "kabul");
    for wrong in [
        presented(&token, &Desktop::new(), desk),
        presented(&token, &desktop, other),
        presented("made-up", &desktop, desk),
    ] {
        assert_eq!(refresh(&world, &wrong).await, not_valid());
    }
    let own = refresh(&world, &presented(&token, &desktop, desk)).await;
    assert!(own.is_ok(), "a thief ended the session");
}

#[tokio::test]
async fn a_token_used_twice_ends_its_family() {
    let world = world::start().await;
    let (desk, desktop) = (world.operator("frontdesk", "kabul"), Desktop::new());
    let first = world.sign_in(desk, &desktop).await.refresh_token.unwrap();
    let second = refresh(&world, &presented(&first, &desktop, desk)).await.unwrap();
    world.pass(SignedDuration::from_secs(30));
    for token in [first, second.refresh_token.unwrap()] {
        assert_eq!(refresh(&world, &presented(&token, &desktop, desk)).await, not_valid());
    }
    let effects = world.listed("effects", Iam).await;
    let actions: Vec<_> = effects.iter().map(|effect| effect["action"].clone()).collect();
    assert_eq!(actions, ["session.opened", "session.refreshed", "session.revoked"]);
}

#[tokio::test]
async fn a_token_used_a_moment_ago_gets_the_same_pair_unless_the_session_has_ended() {
    let world = world::start().await;
    let (desk, desktop) = (world.operator("frontdesk", "kabul"), Desktop::new());
    let first = world.sign_in(desk, &desktop).await.refresh_token.unwrap();
    let own = presented(&first, &desktop, desk);
    let (one, two) = tokio::join!(refresh(&world, &own), refresh(&world, &own));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one == two, "two refreshes at once got two pairs");
    world.pass(SignedDuration::from_secs(29));
    assert!(refresh(&world, &own).await.unwrap() == one, "a lost answer cannot be had again");
    assert_eq!(refresh(&world, &presented(&first, &Desktop::new(), desk)).await, not_valid());
    let next = one.refresh_token.unwrap();
    assert!(refresh(&world, &presented(&next, &desktop, desk)).await.is_ok());
    assert_eq!(refresh(&world, &own).await.map(drop), Ok(()), "the new token was used already");
    world.pass(SignedDuration::from_secs(2));
    assert_eq!(refresh(&world, &own).await, not_valid());
    assert_eq!(refresh(&world, &presented(&next, &desktop, desk)).await, not_valid());
}

#[tokio::test]
async fn only_the_gateway_itself_may_refresh() {
    let world = world::start().await;
    let (desk, desktop) = (world.operator("frontdesk", "kabul"), Desktop::new());
    let token = world.sign_in(desk, &desktop).await.refresh_token.unwrap();
    let body = presented(&token, &desktop, desk);
    let for_operator = as_operator(&world, REFRESH, desk, &body).await;
    assert_eq!(for_operator.status(), 401);
    let for_another = format!("Bearer {}", world.gateway.service_token("billing"));
    let post = world.post(Iam, REFRESH).header("authorization", for_another).json(&body);
    assert_eq!(post.send().await.unwrap().status(), 401);
    assert_eq!(world.post(Iam, REFRESH).json(&body).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_sign_out_ends_the_session_once_and_another_operators_never() {
    let world = world::start().await;
    let (desk, desktop) = (world.operator("frontdesk", "kabul"), Desktop::new());
    let tokens = world.sign_in(desk, &desktop).await;
    let body = json!({"sessionId": session(&tokens)});
    let colleague = world.operator("gm", "kabul");
    assert_eq!(as_operator(&world, SIGN_OUT, colleague, &body).await.status(), 404);
    let made_up = json!({"sessionId": "bos_01K0000000000000000000000A"});
    assert_eq!(as_operator(&world, SIGN_OUT, desk, &made_up).await.status(), 404);
    for _ in 0..2 {
        assert_eq!(as_operator(&world, SIGN_OUT, desk, &body).await.status(), 204);
    }
    let token = tokens.refresh_token.unwrap();
    assert_eq!(refresh(&world, &presented(&token, &desktop, desk)).await, not_valid());
    let effects = world.listed("effects", Iam).await;
    let revoked = effects.iter().filter(|effect| effect["action"] == "session.revoked");
    assert_eq!(revoked.count(), 1);
}

fn code(world: &World, who: &Operator, periods: i64) -> Value {
    let step = totp::step(world.now()) + periods;
    json!({"method": "totp", "code": totp::code(&who.totp_secret, step).unwrap()})
}

#[tokio::test]
async fn a_code_counts_once_and_for_its_operator_alone() {
    let world = world::start().await;
    let (desk, lead) = (world.operator("frontdesk", "kabul"), world.operator("gm", "kabul"));
    let current = code(&world, desk, 0);
    let attest = |who, body| {
        let world = &world;
        async move { as_operator(world, ATTEST, who, body).await }
    };
    let wrong = (401, "MELMASTOON.IAM.MFA_CODE_INVALID".to_owned());
    assert_eq!(refusal(attest(lead, &current).await).await, wrong, "another's code");
    let first = attest(desk, &current).await;
    assert_eq!(first.status(), 200);
    let attested: Attested = first.json().await.unwrap();
    assert!(world.now().duration_since(attested.verified_at) < SignedDuration::from_secs(10));
    assert_eq!(refusal(attest(desk, &current).await).await, wrong, "a used code");
    let own = code(&world, lead, 0);
    assert_eq!(attest(lead, &own).await.status(), 200);
}

#[tokio::test]
async fn a_code_is_taken_one_period_early_or_late_and_no_more() {
    let world = world::start().await;
    let desk = world.operator("frontdesk", "kabul");
    // Three periods away, so that the turn of a period meanwhile changes nothing.
    for (periods, status) in [(-3, 401), (3, 401), (1, 200)] {
        let answer = as_operator(&world, ATTEST, desk, &code(&world, desk, periods)).await;
        assert_eq!(answer.status(), status, "{periods}");
    }
    let late = code(&world, desk, 0);
    // Less than a period, so that the way of the request cannot make it two.
    world.pass(SignedDuration::from_secs(29));
    assert_eq!(as_operator(&world, ATTEST, desk, &late).await.status(), 200);
    for nonsense in ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦"] {
        let body = json!({"method": "totp", "code": nonsense});
        assert_eq!(as_operator(&world, ATTEST, desk, &body).await.status(), 401, "{nonsense}");
    }
    let other = json!({"method": "sms", "code": "123456"});
    assert_eq!(as_operator(&world, ATTEST, desk, &other).await.status(), 400);
}

#[tokio::test]
async fn after_five_wrong_codes_the_operator_is_locked_out_for_a_quarter_of_an_hour() {
    let world = world::start().await;
    let (desk, lead) = (world.operator("frontdesk", "kabul"), world.operator("gm", "kabul"));
    let wrong = json!({"method": "totp", "code": "00000000"});
    let judged = async |who, body: &Value| {
        let answer = as_operator(&world, ATTEST, who, body).await;
        (answer.status().as_u16(), answer.headers().contains_key("retry-after"))
    };
    for _ in 0..4 {
        assert_eq!(judged(desk, &wrong).await, (401, false));
    }
    assert_eq!(judged(desk, &code(&world, desk, 0)).await, (200, false), "it ends the series");
    for _ in 0..5 {
        assert_eq!(judged(desk, &wrong).await, (401, false));
    }
    assert_eq!(judged(desk, &code(&world, desk, 1)).await, (429, true), "right or wrong");
    let locked = (429, "MELMASTOON.IAM.MFA_LOCKED".to_owned());
    assert_eq!(refusal(as_operator(&world, ATTEST, desk, &wrong).await).await, locked);
    assert_eq!(judged(lead, &code(&world, lead, 0)).await.0, 200, "nobody else is");
    world.pass(SignedDuration::from_mins(15));
    assert_eq!(judged(desk, &code(&world, desk, 0)).await.0, 200);
}
