use proptest::prelude::*;
use tokio::time::advance;

use super::door::OPEN_FOR;
use super::*;

const ONE: u64 = 1;
const TWO: u64 = 2;
const THREE: u64 = 3;

/// One call of this caller: whether it was made.
fn call(breaker: &Breaker, caller: u64, verdict: Verdict) -> bool {
    let (caller, now) = (Caller::numbered(caller), Instant::now());
    let admitted = breaker.admit(caller, now);
    if let Some(admitted) = &admitted {
        breaker.settle(caller, admitted, verdict, now);
    }
    admitted.is_some()
}

/// So many calls of each of these callers, one every 50 ms; how many were made.
async fn calls(breaker: &Breaker, callers: &[(u64, Verdict)], times: usize) -> usize {
    let mut made = 0;
    for _ in 0..times {
        made += callers.iter().filter(|(caller, verdict)| call(breaker, *caller, *verdict)).count();
        advance(Duration::from_millis(50)).await;
    }
    made
}

#[tokio::test(start_paused = true)]
async fn a_callers_own_failures_open_its_door_and_no_others() {
    let breaker = Breaker::new();
    let both = [(ONE, Verdict::Fails), (TWO, Verdict::Answers)];
    calls(&breaker, &both, 40).await;
    assert!(!call(&breaker, ONE, Verdict::Answers));
    assert_eq!((breaker.doors().position, breaker.doors().shut_out), (Position::Open, 1));
    for _ in 0..200 {
        assert!(call(&breaker, TWO, Verdict::Answers));
        call(&breaker, ONE, Verdict::Late);
        advance(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_caller_that_always_fails_is_known_by_its_fifth_failure() {
    let breaker = Breaker::new();
    for _ in 0..5 {
        assert!(call(&breaker, ONE, Verdict::Late));
        advance(Duration::from_millis(1900)).await;
    }
    assert!(breaker.doors().shut_out == 1);
}

#[tokio::test(start_paused = true)]
async fn failures_for_most_callers_shut_out_those_who_did_not_call_too() {
    let breaker = Breaker::new();
    advance(Duration::from_secs(2)).await;
    for caller in 1..=5 {
        assert!(call(&breaker, caller, Verdict::Fails), "{caller}");
    }
    assert!(!call(&breaker, 6, Verdict::Answers));
    assert_eq!(breaker.doors().shut_out, 0, "no door of its own opened");
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_few_among_good_calls_open_nothing() {
    let breaker = Breaker::new();
    let mostly_good = [ONE, TWO, THREE].map(|caller| (caller, Verdict::Answers));
    calls(&breaker, &mostly_good, 60).await;
    // A restart: all that is under way breaks off at once.
    for caller in [ONE, TWO, THREE].repeat(6) {
        assert!(call(&breaker, caller, Verdict::Fails));
    }
    assert_eq!(calls(&breaker, &mostly_good, 40).await, 120);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_fails_three_calls_in_four_is_not_saved_by_the_fourth() {
    let breaker = Breaker::new();
    let mut made = 0;
    for turn in 0..100 {
        let verdict = if turn % 4 == 0 { Verdict::Answers } else { Verdict::Fails };
        made += usize::from(call(&breaker, ONE, verdict));
        advance(Duration::from_millis(50)).await;
    }
    assert!(made < 60, "{made} calls were made");
}

#[tokio::test(start_paused = true)]
async fn one_probe_passes_after_a_while_and_decides() {
    let breaker = Breaker::new();
    calls(&breaker, &[(ONE, Verdict::Fails)], 40).await;
    let caller = Caller::numbered(ONE);
    for verdict in [Verdict::Late, Verdict::Answers] {
        advance(OPEN_FOR).await;
        let probe = breaker.admit(caller, Instant::now()).unwrap();
        assert_eq!(breaker.doors().position, Position::HalfOpen);
        assert!(breaker.admit(caller, Instant::now()).is_none(), "a second probe passed");
        breaker.settle(caller, &probe, verdict, Instant::now());
        assert_eq!(call(&breaker, ONE, Verdict::Nothing), verdict == Verdict::Answers);
    }
    assert_eq!(breaker.doors().position, Position::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_was_dropped_makes_room_for_the_next() {
    let breaker = Breaker::new();
    calls(&breaker, &[(ONE, Verdict::Fails)], 40).await;
    advance(OPEN_FOR).await;
    assert!(call(&breaker, ONE, Verdict::Nothing));
    assert!(call(&breaker, ONE, Verdict::Answers));
    assert!(call(&breaker, ONE, Verdict::Answers));
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_probe_always_fails_does_not_decide_for_all() {
    let breaker = Breaker::new();
    advance(Duration::from_secs(2)).await;
    for caller in 1..=5 {
        call(&breaker, caller, Verdict::Fails);
    }
    advance(OPEN_FOR).await;
    let hung = Caller::numbered(ONE);
    let probe = breaker.admit(hung, Instant::now()).unwrap();
    assert!(call(&breaker, TWO, Verdict::Answers), "no other probe passed");
    breaker.settle(hung, &probe, Verdict::Late, Instant::now());
    assert!((2..20).all(|caller| call(&breaker, caller, Verdict::Answers)));
}

#[tokio::test(start_paused = true)]
async fn callers_are_forgotten_and_never_more_than_a_few_are_known() {
    let breaker = Breaker::new();
    for caller in 0..10_000 {
        call(&breaker, caller, Verdict::Fails);
        call(&breaker, caller, Verdict::Answers);
    }
    assert_eq!(breaker.with(|state| state.own.len()), CALLERS);
    advance(REMEMBERED).await;
    call(&breaker, 1, Verdict::Answers);
    assert_eq!(breaker.with(|state| state.own.len()), 0);
    assert_eq!(breaker.doors().position, Position::Closed);
}

#[derive(Debug, Clone)]
enum Step {
    Begin(u64),
    /// The oldest call of this caller ends so.
    End(u64, Verdict),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let caller = 0_u64..6;
    let verdict = prop_oneof![
        4 => Just(Verdict::Fails),
        2 => Just(Verdict::Late),
        2 => Just(Verdict::Answers),
        1 => Just(Verdict::Nothing),
    ];
    prop_oneof![
        4 => caller.clone().prop_map(Step::Begin),
        4 => (caller, verdict).prop_map(|(caller, verdict)| Step::End(caller, verdict)),
        1 => (1_u64..1500).prop_map(Step::Wait),
    ]
}

/// Whatever happened before: `HEALTHY` is let in, and after a while everyone is.
const HEALTHY: u64 = 63;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happens_probes_are_few_and_every_door_can_be_closed_again(
        steps in proptest::collection::vec(step(), 1..400),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let breaker = Breaker::new();
            let mut under_way: Vec<(u64, Admitted)> = Vec::new();
            for step in steps {
                match step {
                    Step::Wait(ms) => advance(Duration::from_millis(ms)).await,
                    Step::Begin(caller) => {
                        let admitted = breaker.admit(Caller::numbered(caller), Instant::now());
                        under_way.extend(admitted.map(|admitted| (caller, admitted)));
                    }
                    Step::End(caller, verdict) => {
                        let first = under_way.iter().position(|(other, _)| *other == caller);
                        if let Some((caller, admitted)) = first.map(|at| under_way.remove(at)) {
                            let caller = Caller::numbered(caller);
                            breaker.settle(caller, &admitted, verdict, Instant::now());
                        }
                    }
                }
                prop_assert!(breaker.with(|state| state.all.probes_out()) <= PROBES);
                let own = breaker.with(|state| {
                    state.own.values().map(|own| own.door.probes_out()).max().unwrap_or(0)
                });
                prop_assert!(own <= 1);
            }
            for (caller, admitted) in under_way {
                let caller = Caller::numbered(caller);
                breaker.settle(caller, &admitted, Verdict::Nothing, Instant::now());
            }
            advance(OPEN_FOR).await;
            // The door for all: one probe that is answered opens it for everyone.
            prop_assert!(call(&breaker, HEALTHY, Verdict::Answers));
            for caller in 0..6 {
                prop_assert!(call(&breaker, caller, Verdict::Answers), "{caller} is shut out");
                prop_assert!(call(&breaker, caller, Verdict::Answers), "{caller} is shut out");
            }
            prop_assert_eq!(breaker.doors().position, Position::Closed);
            Ok(())
        })?;
    }

    #[test]
    fn one_caller_alone_never_shuts_out_another(
        steps in proptest::collection::vec((any::<bool>(), 0_u64..300), 1..300),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let breaker = Breaker::new();
            for (is_other, ms) in steps {
                if is_other {
                    prop_assert!(call(&breaker, HEALTHY, Verdict::Answers));
                } else {
                    call(&breaker, ONE, Verdict::Late);
                }
                advance(Duration::from_millis(ms)).await;
            }
            Ok(())
        })?;
    }
}
