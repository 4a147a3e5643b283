//! The routes of iam for the gateway.

use contracts::upstream::Upstream::Iam;
use contracts::upstream::iam::{Attested, TokenResponse};
use jiff::SignedDuration;
use serde_json::{Value, json};
use stand_ins::demo::Operator;
use stand_ins::totp;

use crate::platform::{self, Desktop, TestPlatform};

const REFRESH_PATH: &str = "/api/v1/auth/refresh";
const SIGN_OUT: &str = "/api/v1/auth/sign-out";
const ATTEST_PATH: &str = "/api/v1/auth/mfa/attest";

/// Status and code of a refusal, or the tokens.
async fn refresh(platform: &TestPlatform, body: &Value) -> Result<TokenResponse, (u16, String)> {
    let token = format!("Bearer {}", platform.gateway.service_token("iam"));
    let post = platform.post(Iam, REFRESH_PATH).header("authorization", token);
    let response = post.json(body).send().await.unwrap();
    if response.status() != 200 {
        return Err(refusal(response).await);
    }
    assert_eq!(response.headers()["cache-control"], "no-store");
    Ok(response.json().await.unwrap())
}

async fn refusal(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let problem: Value = response.json().await.unwrap();
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

async fn as_operator(
    platform: &TestPlatform,
    path: &str,
    who: &Operator,
    body: &Value,
) -> reqwest::Response {
    let token = platform.request_token(Iam, who);
    platform.post(Iam, path).header("authorization", token).json(body).send().await.unwrap()
}

#[tokio::test]
async fn a_refresh_gives_a_new_pair_of_the_same_session() {
    let platform = platform::start().await;
    let (operator, desktop) = (platform.operator("frontdesk", "kabul"), Desktop::new());
    let first = platform.sign_in(operator, &desktop).await;
    let token = first.refresh_token.clone().unwrap();
    let second = refresh(&platform, &presented(&token, &desktop, operator)).await.unwrap();
    assert_ne!(second.refresh_token, first.refresh_token);
    assert_eq!(session(&second), session(&first));
    let third = second.refresh_token.unwrap();
    assert!(refresh(&platform, &presented(&third, &desktop, operator)).await.is_ok());
}

#[tokio::test]
async fn a_refresh_with_another_key_or_from_another_device_does_nothing() {
    let platform = platform::start().await;
    let (operator, desktop) = (platform.operator("frontdesk", "kabul"), Desktop::new());
    let token = platform.sign_in(operator, &desktop).await.refresh_token.unwrap();
    let other = platform.operator("gm", "kabul");
    for wrong in [
        presented(&token, &Desktop::new(), operator),
        presented(&token, &desktop, other),
        presented("made-up", &desktop, operator),
    ] {
        assert_eq!(refresh(&platform, &wrong).await, not_valid());
    }
    let own = refresh(&platform, &presented(&token, &desktop, operator)).await;
    assert!(own.is_ok(), "a thief ended the session");
}

#[tokio::test]
async fn a_token_used_twice_ends_its_family() {
    let platform = platform::start().await;
    let (operator, desktop) = (platform.operator("frontdesk", "kabul"), Desktop::new());
    let first = platform.sign_in(operator, &desktop).await.refresh_token.unwrap();
    let second = refresh(&platform, &presented(&first, &desktop, operator)).await.unwrap();
    platform.pass(SignedDuration::from_secs(30));
    for token in [first, second.refresh_token.unwrap()] {
        assert_eq!(refresh(&platform, &presented(&token, &desktop, operator)).await, not_valid());
    }
    let effects = platform.listed("effects", Iam).await;
    let actions: Vec<_> = effects.iter().map(|effect| effect["action"].clone()).collect();
    assert_eq!(actions, ["session.opened", "session.refreshed", "session.revoked"]);
}

#[tokio::test]
async fn a_token_used_a_moment_ago_gets_the_same_pair_unless_the_session_has_ended() {
    let platform = platform::start().await;
    let (operator, desktop) = (platform.operator("frontdesk", "kabul"), Desktop::new());
    let first = platform.sign_in(operator, &desktop).await.refresh_token.unwrap();
    let own = presented(&first, &desktop, operator);
    let (one, two) = tokio::join!(refresh(&platform, &own), refresh(&platform, &own));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one == two, "two refreshes at once got two pairs");
    platform.pass(SignedDuration::from_secs(29));
    assert!(refresh(&platform, &own).await.unwrap() == one, "a lost response cannot be had again");
    assert_eq!(
        refresh(&platform, &presented(&first, &Desktop::new(), operator)).await,
        not_valid()
    );
    let next = one.refresh_token.unwrap();
    assert!(refresh(&platform, &presented(&next, &desktop, operator)).await.is_ok());
    assert_eq!(refresh(&platform, &own).await.map(drop), Ok(()), "the new token was used already");
    platform.pass(SignedDuration::from_secs(2));
    assert_eq!(refresh(&platform, &own).await, not_valid());
    assert_eq!(refresh(&platform, &presented(&next, &desktop, operator)).await, not_valid());
}

#[tokio::test]
async fn only_the_gateway_itself_may_refresh() {
    let platform = platform::start().await;
    let (operator, desktop) = (platform.operator("frontdesk", "kabul"), Desktop::new());
    let token = platform.sign_in(operator, &desktop).await.refresh_token.unwrap();
    let body = presented(&token, &desktop, operator);
    let for_operator = as_operator(&platform, REFRESH_PATH, operator, &body).await;
    assert_eq!(for_operator.status(), 401);
    let for_another = format!("Bearer {}", platform.gateway.service_token("billing"));
    let post = platform.post(Iam, REFRESH_PATH).header("authorization", for_another).json(&body);
    assert_eq!(post.send().await.unwrap().status(), 401);
    assert_eq!(platform.post(Iam, REFRESH_PATH).json(&body).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_sign_out_ends_the_session_once_and_another_operators_never() {
    let platform = platform::start().await;
    let (operator, desktop) = (platform.operator("frontdesk", "kabul"), Desktop::new());
    let tokens = platform.sign_in(operator, &desktop).await;
    let body = json!({"sessionId": session(&tokens)});
    let colleague = platform.operator("gm", "kabul");
    assert_eq!(as_operator(&platform, SIGN_OUT, colleague, &body).await.status(), 404);
    let made_up = json!({"sessionId": "bos_01K0000000000000000000000A"});
    assert_eq!(as_operator(&platform, SIGN_OUT, operator, &made_up).await.status(), 404);
    for _ in 0..2 {
        assert_eq!(as_operator(&platform, SIGN_OUT, operator, &body).await.status(), 204);
    }
    let token = tokens.refresh_token.unwrap();
    assert_eq!(refresh(&platform, &presented(&token, &desktop, operator)).await, not_valid());
    let effects = platform.listed("effects", Iam).await;
    let revoked = effects.iter().filter(|effect| effect["action"] == "session.revoked");
    assert_eq!(revoked.count(), 1);
}

fn code(platform: &TestPlatform, who: &Operator, periods: i64) -> Value {
    let step = totp::step(platform.now()) + periods;
    json!({"method": "totp", "code": totp::code(&who.totp_secret, step).unwrap()})
}

#[tokio::test]
async fn a_code_counts_once_and_for_its_operator_alone() {
    let platform = platform::start().await;
    let (operator, lead) =
        (platform.operator("frontdesk", "kabul"), platform.operator("gm", "kabul"));
    let current = code(&platform, operator, 0);
    let attest = |who, body| {
        let platform = &platform;
        async move { as_operator(platform, ATTEST_PATH, who, body).await }
    };
    let wrong = (401, "MELMASTOON.IAM.MFA_CODE_INVALID".to_owned());
    assert_eq!(refusal(attest(lead, &current).await).await, wrong, "another's code");
    let first = attest(operator, &current).await;
    assert_eq!(first.status(), 200);
    let attested: Attested = first.json().await.unwrap();
    assert!(platform.now().duration_since(*attested.verified_at) < SignedDuration::from_secs(10));
    assert_eq!(refusal(attest(operator, &current).await).await, wrong, "a used code");
    let own = code(&platform, lead, 0);
    assert_eq!(attest(lead, &own).await.status(), 200);
}

#[tokio::test]
async fn a_code_is_taken_one_period_early_or_late_and_no_more() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    // Three periods, so that the start of a new period meanwhile makes no difference.
    for (periods, status) in [(-3, 401), (3, 401), (1, 200)] {
        let response =
            as_operator(&platform, ATTEST_PATH, operator, &code(&platform, operator, periods))
                .await;
        assert_eq!(response.status(), status, "{periods}");
    }
    let late = code(&platform, operator, 0);
    // Less than a period, so that the time of the request cannot make it two.
    platform.pass(SignedDuration::from_secs(29));
    assert_eq!(as_operator(&platform, ATTEST_PATH, operator, &late).await.status(), 200);
    for nonsense in ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦"] {
        let body = json!({"method": "totp", "code": nonsense});
        assert_eq!(
            as_operator(&platform, ATTEST_PATH, operator, &body).await.status(),
            401,
            "{nonsense}"
        );
    }
    let other = json!({"method": "sms", "code": "123456"});
    assert_eq!(as_operator(&platform, ATTEST_PATH, operator, &other).await.status(), 400);
}

#[tokio::test]
async fn after_five_wrong_codes_the_operator_is_locked_out_for_a_quarter_of_an_hour() {
    let platform = platform::start().await;
    let (operator, lead) =
        (platform.operator("frontdesk", "kabul"), platform.operator("gm", "kabul"));
    let wrong = json!({"method": "totp", "code": "00000000"});
    let judged = async |who, body: &Value| {
        let response = as_operator(&platform, ATTEST_PATH, who, body).await;
        (response.status().as_u16(), response.headers().contains_key("retry-after"))
    };
    for _ in 0..4 {
        assert_eq!(judged(operator, &wrong).await, (401, false));
    }
    assert_eq!(
        judged(operator, &code(&platform, operator, 0)).await,
        (200, false),
        "it ends the series"
    );
    for _ in 0..5 {
        assert_eq!(judged(operator, &wrong).await, (401, false));
    }
    assert_eq!(
        judged(operator, &code(&platform, operator, 1)).await,
        (429, true),
        "right or wrong"
    );
    let locked = (429, "MELMASTOON.IAM.MFA_LOCKED".to_owned());
    assert_eq!(refusal(as_operator(&platform, ATTEST_PATH, operator, &wrong).await).await, locked);
    assert_eq!(judged(lead, &code(&platform, lead, 0)).await.0, 200, "nobody else is");
    platform.pass(SignedDuration::from_mins(15));
    assert_eq!(judged(operator, &code(&platform, operator, 0)).await.0, 200);
}
