use std::sync::Mutex;

use contracts::clock::Clock;

use contracts::role::{Role, RoleSet};
use contracts::upstream::Upstream;
use serde_json::json;
use tokio::time::advance;
use tokio_util::task::TaskTracker;
use upstream_clients::{CallError, Credentials, Limits};

use super::*;
use crate::snapshots::Fetched;

#[derive(Debug)]
struct NoCredentials;

impl Credentials for NoCredentials {
    fn bearer(&self, _: Upstream) -> Arc<str> {
        "".into()
    }
}

/// Records the deadline of each read, and never fails.
#[derive(Debug, Default)]
struct RecordingStore(Mutex<Vec<Instant>>);

impl LocalData for RecordingStore {
    fn sync_status(&self, context: &CallContext, property: PropertyId) -> FetchFuture {
        self.0.lock().unwrap().push(context.deadline);
        let fetched = Fetched::new(property, Clock::system().now(), &json!({}));
        Box::pin(std::future::ready(Ok::<_, CallError>(fetched)))
    }
}

struct Desk {
    composer: Composer,
    store: Arc<RecordingStore>,
    principal: Principal,
}

impl Desk {
    /// Of a gateway without upstreams.
    fn new() -> Self {
        let (env, store) = (Env::system(), Arc::<RecordingStore>::default());
        let upstreams = Upstreams::new(&BTreeMap::new(), Limits::of).unwrap();
        let snapshots = Snapshots::new(env.clock.clone(), TaskTracker::new(), None);
        let local = Arc::clone(&store) as Arc<dyn LocalData>;
        let composer = Composer::new(Arc::new(upstreams), local, snapshots, env.clone());
        let principal = Principal {
            tenant: env.new_id(),
            operator: env.new_id(),
            device: env.new_id(),
            session: None,
            roles: RoleSet::of(&[Role::PropertyGm]),
            properties: vec![env.new_id()],
            issued_at: env.now(),
            expires_at: env.now(),
            thumbprint: None,
            token_digest: [0; 32],
        };
        Self { composer, store, principal }
    }

    async fn dashboard(&self, widgets: &str, admitted: Instant) -> Dashboard {
        let property = self.principal.properties[0];
        let plan = self.composer.plan(&self.principal, property, Some(widgets), admitted).unwrap();
        let context = CallContext {
            tenant: Some(self.principal.tenant),
            request_id: self.composer.env.new_id(),
            traceparent: "".into(),
            credentials: Arc::new(NoCredentials),
            deadline: plan.deadline(),
        };
        self.composer.compose(&plan, &context).await.dashboard
    }
}

#[tokio::test(start_paused = true)]
async fn time_spent_before_the_composition_is_not_taken_from_a_widget_but_from_the_route() {
    let (desk, admitted) = (Desk::new(), Instant::now());
    advance(Duration::from_millis(100)).await;
    desk.dashboard("syncStatus", admitted).await;
    advance(Duration::from_millis(400)).await;
    desk.dashboard("syncStatus", admitted).await;
    let after = |milliseconds| admitted + Duration::from_millis(milliseconds);
    assert_eq!(*desk.store.0.lock().unwrap(), [after(200), after(550)]);
}

#[tokio::test(start_paused = true)]
async fn missing_suggestions_do_not_make_a_dashboard_partial() {
    let desk = Desk::new();
    let without_suggestions = desk.dashboard("aiSuggestions,syncStatus", Instant::now()).await;
    let status = |name: &str| without_suggestions.widgets[name].status;
    assert_eq!(
        [status("aiSuggestions"), status("syncStatus")],
        [WidgetStatus::Unavailable, WidgetStatus::Ok]
    );
    assert!(!without_suggestions.partial);
    assert!(desk.dashboard("aiSuggestions,alerts", Instant::now()).await.partial);
}
