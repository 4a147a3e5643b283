//! Who shares a call, and that nobody is given a refusal or a deadline that was another's.

use upstream_clients::Rights;

use super::*;

/// A caller by number, of whom the upstream lets in number 0 alone.
struct Number(u8);

impl Credentials for Number {
    fn bearer(&self, _: Upstream) -> Arc<str> {
        self.0.to_string().into()
    }

    fn rights(&self) -> Rights {
        let in_scope = [property()];
        Rights::new(contracts::role::RoleSet::ANY, if self.0 == 0 { &in_scope } else { &[] })
    }

    fn caller(&self) -> Option<[u8; 32]> {
        Some([self.0; 32])
    }
}

fn call_of(number: u8, milliseconds: u64) -> CallContext {
    CallContext { credentials: Arc::new(Number(number)), ..within(milliseconds) }
}

/// An upstream that decides by caller, and counts.
#[derive(Debug)]
struct Guarded {
    snapshots: Snapshots,
    asked: AtomicUsize,
    refuses_after: Duration,
    answers_after: Duration,
}

impl Guarded {
    fn new(refuses_after: u64, answers_after: u64) -> Arc<Self> {
        Arc::new(Self {
            snapshots: World::new().snapshots.clone(),
            asked: AtomicUsize::new(0),
            refuses_after: Duration::from_millis(refuses_after),
            answers_after: Duration::from_millis(answers_after),
        })
    }

    async fn answer(self: Arc<Self>, context: CallContext) -> Result<Fetched, CallError> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        if &*context.credentials.bearer(Upstream::Housekeeping) != "0" {
            sleep(self.refuses_after).await;
            return Err(CallError::Status { status: 403, problem: None });
        }
        tokio::select! {
            () = tokio::time::sleep_until(context.deadline) => Err(CallError::Timeout),
            () = sleep(self.answers_after) => {
                Ok(Fetched::new(property(), self.snapshots.clock.now(), &json!({"number": number})))
            }
        }
    }

    async fn read(self: &Arc<Self>, key: &Key, context: CallContext) -> Result<Reading, ReadError> {
        let world = Arc::clone(self);
        let fetch = move |context| Arc::clone(&world).answer(context);
        self.snapshots.read(&RULE, key, &context, fetch).await
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn by_id() -> Key {
    Key::of_id(&RULE, tenant('A'), "fol_1")
}

#[tokio::test(start_paused = true)]
async fn who_may_see_it_neither_gets_nor_waits_for_the_refusal_of_who_may_not() {
    let world = Guarded::new(300, 20);
    let key = by_id();
    let refused = join_all((1..=20).map(|number| world.read(&key, call_of(number, 400))));
    let allowed = async {
        let began = Instant::now();
        let all = join_all((0..4).map(|_| world.read(&key, call_of(0, 400)))).await;
        (all, began.elapsed())
    };
    let (refused, (allowed, took)) = futures_util::join!(refused, allowed);
    assert!(allowed.iter().all(Result::is_ok), "{allowed:?}");
    assert_eq!(took, Duration::from_millis(20));
    assert!(refused.iter().all(Result::is_err));
    assert!(world.asked() <= 1 + 1 + 20, "each asks at most once for itself: {}", world.asked());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_a_call_that_everybody_shares_is_the_leaders_alone() {
    let world = Guarded::new(20, 20);
    let key = key('A');
    let callers = (1..=20).chain([0; 4]);
    let all = join_all(callers.map(|number| world.read(&key, call_of(number, 400)))).await;
    assert!(all[20..].iter().all(Result::is_ok), "{all:?}");
    assert!(all[..20].iter().all(Result::is_err));
    assert!(world.asked() <= 1 + 20, "once together, then once for each caller: {}", world.asked());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_under_the_followers_own_second_leader_is_not_its_own_either() {
    let world = Guarded::new(60, 20);
    let key = key('A');
    // The first leader's time is over at once; the next leader is refused.
    let hurried = world.read(&key, call_of(1, 1));
    let refused = world.read(&key, call_of(2, 400));
    let allowed = world.read(&key, call_of(0, 400));
    let (hurried, refused, allowed) = futures_util::join!(hurried, refused, allowed);
    assert!(hurried.is_err() && refused.is_err());
    assert!(allowed.is_ok(), "{allowed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_call_is_not_shared_with_a_leader_whose_time_ends_before_the_followers() {
    let world = Guarded::new(0, 100);
    let key = by_id();
    let reads = [5, 60, 400].map(|milliseconds| world.read(&key, call_of(0, milliseconds)));
    let [first, second, third] = reads;
    let (first, second, third) = futures_util::join!(first, second, third);
    assert!(first.is_err() && second.is_err());
    assert!(third.is_ok(), "{third:?}");
}
