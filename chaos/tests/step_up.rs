//! Second factors on real processes: two instances of the gateway count wrong codes together, and a
//! slow iam costs nobody else anything.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use chaos::house::{House, Plan};
use chaos::timed::{Answer, send, step_up_at};
use contracts::clock::Clock;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use launcher::desktop::{Call, Desktop};
use launcher::info::{Operator, StackInfo};
use launcher::progress::Progress;
use serde_json::json;
use tokio::time::Duration;

const LOCKED: &str = "MELMASTOON.BFF.MFA_LOCKED";
const WRONG: &str = "MELMASTOON.IAM.MFA_CODE_INVALID";
/// No operator's: six digits are not eight.
const NO_CODE: &str = "00000000";
const GUESSES: usize = 400;
const AT_ONCE: usize = 40;

/// One stack for both tests, which disturb one another's neither counts nor times.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_lock_everywhere_and_a_slow_iam_holds_up_nobody_else() {
    let plan = Plan::new(House::folder("tests").join("step-up"));
    let plan = Plan { second_gateway: true, ..plan };
    let house = House::open(plan, &Progress::quiet()).await.unwrap();
    let whole = async |house: &House| Ok(house.dashboard().await.is_whole());
    house.until("a whole dashboard", Duration::from_secs(20), whole).await.unwrap();
    a_slow_iam_holds_up_nobody_else(&house).await;
    five_of_many_wrong_codes_are_compared(&house).await;
    house.close().await.unwrap();
}

/// The operator's desktop at each instance.
fn at_each_instance(house: &House, operator: &Operator) -> Vec<Desktop> {
    let open = |gateway| {
        let info = StackInfo { gateway, ..house.stack.info().clone() };
        let folder = house.folder.join("desktop");
        Desktop::open(&info, &operator.username, &folder, Clock::system()).unwrap()
    };
    house.gateways().into_iter().map(open).collect()
}

async fn five_of_many_wrong_codes_are_compared(house: &House) {
    let desks = at_each_instance(house, house.desktop.operator());
    for desk in &desks {
        assert_eq!(send(desk, &Call::get("/session")).await.unwrap().status, 200);
    }
    let guesses = stream::iter(0..GUESSES)
        .map(|number| step_up_at(&desks[number % desks.len()], NO_CODE))
        .buffer_unordered(AT_ONCE);
    let answers: Vec<Answer> = guesses.map(Result::unwrap).collect().await;
    let wrong = answers.iter().filter(|answer| answer.is(401, WRONG)).count();
    let locked = answers.iter().filter(|answer| answer.is(429, LOCKED)).count();
    let odd = answers.iter().find(|it| !it.is(401, WRONG) && !it.is(429, LOCKED));
    assert_eq!((wrong, locked), (5, GUESSES - 5), "{:?}", odd.map(Answer::told));
    for desk in &desks {
        for code in house.desktop.codes().unwrap() {
            let answer = step_up_at(desk, &code).await.unwrap();
            assert!(answer.is(429, LOCKED), "{}", answer.told());
            assert!(answer.body["retryAfter"].as_u64().unwrap() > 60, "{}", answer.body);
        }
    }
    let lockouts = house.metric_everywhere("bff_backoffice_mfa_lockouts_total", &[]).await.unwrap();
    assert!((lockouts - 1.0).abs() < f64::EPSILON, "{lockouts}");
}

/// 40 step-ups of one operator, while a receptionist of another hotel changes things.
async fn a_slow_iam_holds_up_nobody_else(house: &House) {
    let route = "POST /api/v1/auth/mfa/attest";
    let slow = json!({"upstream": "iam", "route": route, "kind": "latency", "ms": 300});
    let changes = Changes::of(house).await;
    let control = changes.send(16).await;
    assert!(control.iter().all(is_untouched), "{:?}", told(&control));
    house.fault(&slow).await.unwrap();
    // Not the operator whose codes the other half guesses: 39 of these are wrong, being used.
    let own = house.desktop.operator();
    let is_colleague =
        |it: &&Operator| it.tenant_id == own.tenant_id && it.username != own.username;
    let colleague = house.stack.info().operators.iter().find(is_colleague).unwrap();
    let desk = at_each_instance(house, colleague).remove(0);
    assert_eq!(send(&desk, &Call::get("/session")).await.unwrap().status, 200);
    let [code, ..] = desk.codes().unwrap();
    let step_ups = join_all((0..AT_ONCE).map(|_| step_up_at(&desk, &code)));
    let (step_ups, changed) = tokio::join!(step_ups, changes.send(16));
    house.clear_faults().await.unwrap();
    assert!(changed.iter().all(is_untouched), "{:?}", told(&changed));
    let asked = step_ups.into_iter().map(Result::unwrap);
    let held: Vec<Answer> = asked.filter(|answer| answer.status == 503).collect();
    assert!(held.is_empty(), "{:?}", told(&held));
}

/// Changes of a hotel that shows no second factor: check-ins of a reservation nobody made, which
/// reservation-service refuses, after a claim and with a settled outcome.
struct Changes(Desktop);

impl Changes {
    async fn of(house: &House) -> Self {
        let own = house.desktop.operator();
        let operators = &house.stack.info().operators;
        let is_other = |it: &&Operator| {
            it.tenant_id != own.tenant_id && it.roles.iter().any(|role| role == "property.gm")
        };
        let other = operators.iter().find(is_other).unwrap();
        let desk = at_each_instance(house, other).remove(0);
        assert_eq!(send(&desk, &Call::get("/session")).await.unwrap().status, 200);
        Self(desk)
    }

    async fn send(&self, number: usize) -> Vec<Answer> {
        let change = |number: usize| {
            let path = format!("/reservations/rsv_01K00000000000000000000{number:03}/check-in");
            let key = chaos::desk::new_key();
            chaos::desk::change(path, &key, json!({})).unwrap()
        };
        let calls: Vec<Call> = (0..number).map(change).collect();
        let mut answers = Vec::new();
        for call in &calls {
            answers.push(send(&self.0, call).await.unwrap());
        }
        answers
    }
}

/// Refused by reservation-service, and by nobody before it.
fn is_untouched(answer: &Answer) -> bool {
    answer.status == 404
}

fn told(answers: &[Answer]) -> Vec<String> {
    answers.iter().map(Answer::told).collect()
}
