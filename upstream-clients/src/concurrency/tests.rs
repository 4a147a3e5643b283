use super::*;

const ONE: u64 = 1;
const TWO: u64 = 2;

/// Begins calls until refused; how many there were.
fn fill(limit: &Limit, caller: u64) -> usize {
    std::iter::repeat_with(|| limit.begin(Caller::numbered(caller))).take_while(|may| *may).count()
}

fn end(limit: &Limit, caller: u64) {
    let now = Instant::now();
    limit.end(Caller::numbered(caller), Verdict::Nothing, now, now);
}

#[tokio::test(start_paused = true)]
async fn a_flood_leaves_room_for_the_next_and_that_one_for_another() {
    let limit = Limit::new(240);
    assert_eq!(fill(&limit, ONE), 160);
    assert_eq!(fill(&limit, TWO), 54);
    assert!(fill(&limit, 3) >= 15);
    for quiet in 4..8 {
        assert!(limit.begin(Caller::numbered(quiet)), "the limit is full");
    }
}

#[tokio::test(start_paused = true)]
async fn tenants_that_want_all_come_to_equal_shares() {
    let limit = Limit::new(250);
    fill(&limit, ONE);
    // Calls end in the order they began, and whoever is let in takes the place.
    let mut held = std::collections::VecDeque::from(vec![ONE; limit.usage().in_flight]);
    for _ in 0..2_000 {
        for caller in [ONE, TWO] {
            if limit.begin(Caller::numbered(caller)) {
                held.push_back(caller);
            }
        }
        let first = held.pop_front().unwrap();
        end(&limit, first);
    }
    let ones = held.iter().filter(|caller| **caller == ONE).count() as f64;
    assert!((0.4..=0.6).contains(&(ones / held.len() as f64)), "{ones} of {}", held.len());
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_is_given_back_and_nobody_is_remembered() {
    let limit = Limit::new(16);
    let taken = fill(&limit, ONE);
    assert!(!limit.begin(Caller::numbered(ONE)));
    for _ in 0..taken {
        end(&limit, ONE);
    }
    assert_eq!(limit.usage(), Usage { limit: 16, in_flight: 0 });
    assert!(limit.with(|state| state.by_caller.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn whom_there_is_no_room_for_leaves_no_trace() {
    let limit = Limit::new(2);
    assert!(limit.begin(Caller::numbered(ONE)) && limit.begin(Caller::numbered(TWO)));
    assert!(!limit.begin(Caller::numbered(3)));
    assert_eq!(limit.with(|state| state.by_caller.len()), 2);
}
