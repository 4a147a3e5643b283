use super::*;

const ONE: u64 = 1;
const TWO: u64 = 2;

/// Starts calls until one is refused. Returns how many were admitted.
fn fill(limit: &ConcurrencyLimit, tenant: u64) -> usize {
    std::iter::repeat_with(|| limit.try_acquire(TenantKey::for_test(tenant)))
        .take_while(|may| *may)
        .count()
}

fn end(limit: &ConcurrencyLimit, tenant: u64) {
    let now = Instant::now();
    limit.release(TenantKey::for_test(tenant), CallHealth::Unknown, now, now);
}

#[tokio::test(start_paused = true)]
async fn a_flood_leaves_room_for_several_other_tenants() {
    let limit = ConcurrencyLimit::new(240);
    assert_eq!(fill(&limit, ONE), 160);
    assert_eq!(fill(&limit, TWO), 54);
    assert!(fill(&limit, 3) >= 15);
    for quiet in 4..8 {
        assert!(limit.try_acquire(TenantKey::for_test(quiet)), "the limit is full");
    }
}

#[tokio::test(start_paused = true)]
async fn greedy_tenants_converge_to_equal_shares() {
    let limit = ConcurrencyLimit::new(250);
    fill(&limit, ONE);
    // Calls end in the order they began; each freed slot is taken by the next.
    let mut held = std::collections::VecDeque::from(vec![ONE; limit.usage().in_flight]);
    for _ in 0..2_000 {
        for tenant in [ONE, TWO] {
            if limit.try_acquire(TenantKey::for_test(tenant)) {
                held.push_back(tenant);
            }
        }
        let first = held.pop_front().unwrap();
        end(&limit, first);
    }
    let ones = held.iter().filter(|tenant| **tenant == ONE).count() as f64;
    assert!((0.4..=0.6).contains(&(ones / held.len() as f64)), "{ones} of {}", held.len());
}

#[tokio::test(start_paused = true)]
async fn released_slots_leave_no_entry() {
    let limit = ConcurrencyLimit::new(16);
    let taken = fill(&limit, ONE);
    assert!(!limit.try_acquire(TenantKey::for_test(ONE)));
    for _ in 0..taken {
        end(&limit, ONE);
    }
    assert_eq!(limit.usage(), Usage { limit: 16, in_flight: 0 });
    assert!(limit.0.lock().by_tenant.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_leaves_no_entry() {
    let limit = ConcurrencyLimit::new(2);
    assert!(
        limit.try_acquire(TenantKey::for_test(ONE)) && limit.try_acquire(TenantKey::for_test(TWO))
    );
    assert!(!limit.try_acquire(TenantKey::for_test(3)));
    assert_eq!(limit.0.lock().by_tenant.len(), 2);
}
