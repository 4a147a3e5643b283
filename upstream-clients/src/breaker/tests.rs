use proptest::prelude::*;
use tokio::time::advance;

use super::state::OPEN_DURATION;
use super::*;

const ONE: u64 = 1;
const TWO: u64 = 2;
const THREE: u64 = 3;

/// Makes one call of the tenant. Returns whether it was admitted.
fn call(breaker: &Breaker, tenant: u64, health: CallHealth) -> bool {
    let (tenant, now) = (TenantKey::for_test(tenant), Instant::now());
    let admitted = breaker.admit(tenant, now);
    if let Some(admitted) = &admitted {
        breaker.settle(tenant, admitted, health, now);
    }
    admitted.is_some()
}

/// Makes `times` calls of each tenant, one every 50 ms. Returns how many were admitted.
async fn calls(breaker: &Breaker, tenants: &[(u64, CallHealth)], times: usize) -> usize {
    let mut made = 0;
    for _ in 0..times {
        made += tenants.iter().filter(|(tenant, health)| call(breaker, *tenant, *health)).count();
        advance(Duration::from_millis(50)).await;
    }
    made
}

#[tokio::test(start_paused = true)]
async fn a_tenants_failures_open_only_its_own_breaker() {
    let breaker = Breaker::new();
    let both = [(ONE, CallHealth::Failed), (TWO, CallHealth::Responsive)];
    calls(&breaker, &both, 40).await;
    assert!(!call(&breaker, ONE, CallHealth::Responsive));
    assert_eq!(
        (breaker.summary().position, breaker.summary().open_tenants),
        (BreakerPosition::Open, 1)
    );
    for _ in 0..200 {
        assert!(call(&breaker, TWO, CallHealth::Responsive));
        call(&breaker, ONE, CallHealth::TimedOut);
        advance(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_tenant_that_always_fails_is_detected_by_its_fifth_failure() {
    let breaker = Breaker::new();
    for _ in 0..5 {
        assert!(call(&breaker, ONE, CallHealth::TimedOut));
        advance(Duration::from_millis(1900)).await;
    }
    assert!(breaker.summary().open_tenants == 1);
}

#[tokio::test(start_paused = true)]
async fn failures_for_most_tenants_block_every_tenant() {
    let breaker = Breaker::new();
    advance(Duration::from_secs(2)).await;
    for tenant in 1..=5 {
        assert!(call(&breaker, tenant, CallHealth::Failed), "{tenant}");
    }
    assert!(!call(&breaker, 6, CallHealth::Responsive));
    assert_eq!(breaker.summary().open_tenants, 0, "no state of its own opened");
}

#[tokio::test(start_paused = true)]
async fn few_failures_among_successes_open_nothing() {
    let breaker = Breaker::new();
    let mostly_good = [ONE, TWO, THREE].map(|tenant| (tenant, CallHealth::Responsive));
    calls(&breaker, &mostly_good, 60).await;
    // A restart breaks off all calls in flight at once.
    for tenant in [ONE, TWO, THREE].repeat(6) {
        assert!(call(&breaker, tenant, CallHealth::Failed));
    }
    assert_eq!(calls(&breaker, &mostly_good, 40).await, 120);
}

#[tokio::test(start_paused = true)]
async fn failing_three_calls_in_four_opens_the_breaker() {
    let breaker = Breaker::new();
    let mut made = 0;
    for turn in 0..100 {
        let health = if turn % 4 == 0 { CallHealth::Responsive } else { CallHealth::Failed };
        made += usize::from(call(&breaker, ONE, health));
        advance(Duration::from_millis(50)).await;
    }
    assert!(made < 60, "{made} calls were made");
}

#[tokio::test(start_paused = true)]
async fn one_probe_passes_after_the_open_duration_and_decides() {
    let breaker = Breaker::new();
    calls(&breaker, &[(ONE, CallHealth::Failed)], 40).await;
    let tenant = TenantKey::for_test(ONE);
    for health in [CallHealth::TimedOut, CallHealth::Responsive] {
        advance(OPEN_DURATION).await;
        let probe = breaker.admit(tenant, Instant::now()).unwrap();
        assert_eq!(breaker.summary().position, BreakerPosition::HalfOpen);
        assert!(breaker.admit(tenant, Instant::now()).is_none(), "a second probe passed");
        breaker.settle(tenant, &probe, health, Instant::now());
        assert_eq!(call(&breaker, ONE, CallHealth::Unknown), health == CallHealth::Responsive);
    }
    assert_eq!(breaker.summary().position, BreakerPosition::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_was_dropped_makes_room_for_the_next() {
    let breaker = Breaker::new();
    calls(&breaker, &[(ONE, CallHealth::Failed)], 40).await;
    advance(OPEN_DURATION).await;
    assert!(call(&breaker, ONE, CallHealth::Unknown));
    assert!(call(&breaker, ONE, CallHealth::Responsive));
    assert!(call(&breaker, ONE, CallHealth::Responsive));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_probe_always_fails_does_not_decide_for_all() {
    let breaker = Breaker::new();
    advance(Duration::from_secs(2)).await;
    for tenant in 1..=5 {
        call(&breaker, tenant, CallHealth::Failed);
    }
    advance(OPEN_DURATION).await;
    let hung = TenantKey::for_test(ONE);
    let probe = breaker.admit(hung, Instant::now()).unwrap();
    assert!(call(&breaker, TWO, CallHealth::Responsive), "no other probe passed");
    breaker.settle(hung, &probe, CallHealth::TimedOut, Instant::now());
    assert!((2..20).all(|tenant| call(&breaker, tenant, CallHealth::Responsive)));
}

#[tokio::test(start_paused = true)]
async fn tenants_are_forgotten_and_bounded_in_number() {
    let breaker = Breaker::new();
    for tenant in 0..10_000 {
        call(&breaker, tenant, CallHealth::Failed);
        call(&breaker, tenant, CallHealth::Responsive);
    }
    assert_eq!(breaker.0.lock().by_tenant.len(), MAX_TENANTS);
    advance(TENANT_MEMORY).await;
    call(&breaker, 1, CallHealth::Responsive);
    assert_eq!(breaker.0.lock().by_tenant.len(), 0);
    assert_eq!(breaker.summary().position, BreakerPosition::Closed);
}

#[derive(Debug, Clone)]
enum Step {
    Begin(u64),
    /// Ends the tenant's oldest call.
    End(u64, CallHealth),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let tenant = 0_u64..6;
    let health = prop_oneof![
        4 => Just(CallHealth::Failed),
        2 => Just(CallHealth::TimedOut),
        2 => Just(CallHealth::Responsive),
        1 => Just(CallHealth::Unknown),
    ];
    prop_oneof![
        4 => tenant.clone().prop_map(Step::Begin),
        4 => (tenant, health).prop_map(|(tenant, health)| Step::End(tenant, health)),
        1 => (1_u64..1500).prop_map(Step::Wait),
    ]
}

/// This tenant must be admitted whatever happened before, and after a while every tenant.
const HEALTHY: u64 = 63;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn probes_are_bounded_and_every_breaker_can_close_again(
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
                    Step::Begin(tenant) => {
                        let admitted = breaker.admit(TenantKey::for_test(tenant), Instant::now());
                        under_way.extend(admitted.map(|admitted| (tenant, admitted)));
                    }
                    Step::End(tenant, health) => {
                        let first = under_way.iter().position(|(other, _)| *other == tenant);
                        if let Some((tenant, admitted)) = first.map(|at| under_way.remove(at)) {
                            let tenant = TenantKey::for_test(tenant);
                            breaker.settle(tenant, &admitted, health, Instant::now());
                        }
                    }
                }
                prop_assert!(breaker.0.lock().shared.outstanding_probes() <= SHARED_PROBES);
                let state = breaker.0.lock();
                let own = state.by_tenant.values().map(|own| own.state.outstanding_probes());
                let own = own.max().unwrap_or(0);
                prop_assert!(own <= 1);
            }
            for (tenant, admitted) in under_way {
                let tenant = TenantKey::for_test(tenant);
                breaker.settle(tenant, &admitted, CallHealth::Unknown, Instant::now());
            }
            advance(OPEN_DURATION).await;
            // A successful probe closes the shared breaker.
            prop_assert!(call(&breaker, HEALTHY, CallHealth::Responsive));
            for tenant in 0..6 {
                prop_assert!(call(&breaker, tenant, CallHealth::Responsive), "{tenant} is blocked");
                prop_assert!(call(&breaker, tenant, CallHealth::Responsive), "{tenant} is blocked");
            }
            prop_assert_eq!(breaker.summary().position, BreakerPosition::Closed);
            Ok(())
        })?;
    }

    #[test]
    fn one_tenant_never_blocks_another(
        steps in proptest::collection::vec((any::<bool>(), 0_u64..300), 1..300),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let breaker = Breaker::new();
            for (is_other, ms) in steps {
                if is_other {
                    prop_assert!(call(&breaker, HEALTHY, CallHealth::Responsive));
                } else {
                    call(&breaker, ONE, CallHealth::TimedOut);
                }
                advance(Duration::from_millis(ms)).await;
            }
            Ok(())
        })?;
    }
}
