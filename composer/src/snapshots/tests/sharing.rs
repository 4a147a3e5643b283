//! Which reads share a call, and that no reader gets another's refusal or deadline.

use upstream_clients::Rights;

use super::*;

/// A caller by number, of whom the upstream lets in number 0 alone.
struct NumberedCaller(u8);

impl Credentials for NumberedCaller {
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
    CallContext { credentials: Arc::new(NumberedCaller(number)), ..within(milliseconds) }
}

/// An upstream that decides by caller, and counts.
#[derive(Debug)]
struct PickyUpstream {
    snapshots: Snapshots,
    calls: AtomicUsize,
    refuses_after: Duration,
    answers_after: Duration,
}

impl PickyUpstream {
    fn new(refuses_after: u64, answers_after: u64) -> Arc<Self> {
        Arc::new(Self {
            snapshots: TestUpstream::new().snapshots.clone(),
            calls: AtomicUsize::new(0),
            refuses_after: Duration::from_millis(refuses_after),
            answers_after: Duration::from_millis(answers_after),
        })
    }

    async fn answer(self: Arc<Self>, context: CallContext) -> Result<Fetched, CallError> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
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
        let upstream = Arc::clone(self);
        let fetch = move |context| Arc::clone(&upstream).answer(context).boxed();
        self.snapshots.read(&POLICY, key, &context, fetch).await
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

fn by_id() -> Key {
    Key::of_id(&POLICY, tenant('A'), "fol_1")
}

#[tokio::test(start_paused = true)]
async fn a_permitted_caller_neither_gets_nor_awaits_another_callers_refusal() {
    let upstream = PickyUpstream::new(300, 20);
    let key = by_id();
    let refused = join_all((1..=20).map(|number| upstream.read(&key, call_of(number, 400))));
    let allowed = async {
        let began = Instant::now();
        let all = join_all((0..4).map(|_| upstream.read(&key, call_of(0, 400)))).await;
        (all, began.elapsed())
    };
    let (refused, (allowed, took)) = futures_util::join!(refused, allowed);
    assert!(allowed.iter().all(Result::is_ok), "{allowed:?}");
    assert_eq!(took, Duration::from_millis(20));
    assert!(refused.iter().all(Result::is_err));
    assert!(
        upstream.calls() <= 1 + 1 + 20,
        "each makes at most one call of its own: {}",
        upstream.calls()
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_leader_is_not_shared() {
    let upstream = PickyUpstream::new(20, 20);
    let key = key('A');
    let callers = (1..=20).chain([0; 4]);
    let all = join_all(callers.map(|number| upstream.read(&key, call_of(number, 400)))).await;
    assert!(all[20..].iter().all(Result::is_ok), "{all:?}");
    assert!(all[..20].iter().all(Result::is_err));
    assert!(
        upstream.calls() <= 1 + 20,
        "once together, then once for each caller: {}",
        upstream.calls()
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_second_leader_is_not_shared_either() {
    let upstream = PickyUpstream::new(60, 20);
    let key = key('A');
    // The first leader's time is over at once; the next leader is refused.
    let hurried = upstream.read(&key, call_of(1, 1));
    let refused = upstream.read(&key, call_of(2, 400));
    let allowed = upstream.read(&key, call_of(0, 400));
    let (hurried, refused, allowed) = futures_util::join!(hurried, refused, allowed);
    assert!(hurried.is_err() && refused.is_err());
    assert!(allowed.is_ok(), "{allowed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_not_joined_by_readers_with_a_later_deadline() {
    let upstream = PickyUpstream::new(0, 100);
    let key = by_id();
    let reads = [5, 60, 400].map(|milliseconds| upstream.read(&key, call_of(0, milliseconds)));
    let [first, second, third] = reads;
    let (first, second, third) = futures_util::join!(first, second, third);
    assert!(first.is_err() && second.is_err());
    assert!(third.is_ok(), "{third:?}");
}
