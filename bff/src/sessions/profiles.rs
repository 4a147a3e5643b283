//! Operator profiles from tenant-service: roles, property scope, name and language. Cached in this
//! process; a slow or unavailable tenant-service delays a request only briefly (F-3).
//!
//! A profile can only narrow what a token grants.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use auth::Principal;
use auth::request_token::RequestTokens;
use composer::snapshots::FoundBy;
use contracts::clock::Clock;
use contracts::id::{Id, OperatorId, PropertyId, TenantId};
use contracts::problem::code;
use contracts::role::RoleSet;
use contracts::safeguard;
use contracts::safeguard::{Safeguard, time_limit};
use contracts::upstream::tenant::{OperatorProfile, TenantStatus as UpstreamStatus};
use foldhash::quality::RandomState;
use jiff::Timestamp;
use metrics::{Counter, counter};
use moka::sync::Cache;
use parking_lot::Mutex;
use serde::Serialize;
use service_kit::lifecycle::Lifecycle;
use service_kit::problem::chain;
use service_kit::request::RequestContext;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use upstream_clients::{CallError, Upstreams};

use super::tenant_status::{self, TenantStatus, TenantStatuses};
use crate::caller_context::CallerContext;

/// Age after which a profile is refreshed (platform facts; seed F-3).
const PROFILE_FRESHNESS: Duration = Duration::from_secs(5 * 60);
/// As long as a session. Without a profile only the token counts.
const PROFILE_TTL: Duration = Duration::from_secs(12 * 60 * 60);
/// Longest wait of a request for a missing profile.
const PROFILE_WAIT: Duration = Duration::from_millis(200);
/// Allows two attempts of the call stack.
const FETCH_TIMEOUT: Duration = Duration::from_millis(1100);
/// Pause after a failed fetch, per operator.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// Capacity of the cache.
const MAX_PROFILES: u64 = 50_000;

/// An operator's profile at its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// Absent when the tenant does not know the operator.
    pub display_name: Option<String>,
    /// BCP 47.
    pub locale: Option<String>,
    pub roles: RoleSet,
    pub properties: Vec<PropertyId>,
    pub primary_property: Option<PropertyId>,
}

/// Freshness of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    Fresh,
    /// Older than five minutes, because tenant-service does not answer.
    Stale,
    /// There is no profile; only the token counts.
    Unavailable,
}

/// The caller's profile, if there is one, and its freshness.
#[derive(Debug, Clone)]
pub struct ProfileState {
    pub profile: Option<Arc<Profile>>,
    pub freshness: Freshness,
}

impl ProfileState {
    /// Restricts the principal to what both the token and the profile grant.
    pub fn narrow(&self, principal: Principal) -> Principal {
        match &self.profile {
            Some(profile) => principal.narrowed(profile.roles, &profile.properties),
            None => principal,
        }
    }
}

/// Cache of operator profiles.
#[derive(Clone, derive_more::Debug)]
#[debug("Profiles {{ kept: {:?}, .. }}", self.0.entries.entry_count())]
pub struct Profiles(Arc<Inner>);

struct Inner {
    upstreams: Arc<Upstreams>,
    tokens: Arc<RequestTokens>,
    tenant_statuses: TenantStatuses,
    clock: Clock,
    lifecycle: Lifecycle,
    entries: Cache<(TenantId, OperatorId), Arc<ProfileEntry>, RandomState>,
    counters: CommonCounters,
}

/// Cached profile of one operator, and the state of its fetch.
struct ProfileEntry {
    read: ArcSwapOption<FetchedProfile>,
    fetch_state: Mutex<FetchState>,
    finished: watch::Sender<()>,
}

struct FetchedProfile {
    profile: Arc<Profile>,
    at: Timestamp,
}

#[derive(Clone, Copy)]
struct FetchState {
    /// Start of the running fetch.
    since: Option<Instant>,
    not_before: Instant,
}

impl ProfileEntry {
    fn new() -> Self {
        let fetch_state = FetchState { since: None, not_before: Instant::now() };
        Self {
            read: ArcSwapOption::empty(),
            fetch_state: Mutex::new(fetch_state),
            finished: watch::Sender::new(()),
        }
    }

    fn state(&self, now: Timestamp) -> ProfileState {
        let read = self.read.load_full().filter(|read| now < read.at + PROFILE_TTL);
        let Some(read) = read else {
            return ProfileState { profile: None, freshness: Freshness::Unavailable };
        };
        let is_fresh = now < read.at + PROFILE_FRESHNESS;
        let freshness = if is_fresh { Freshness::Fresh } else { Freshness::Stale };
        ProfileState { profile: Some(Arc::clone(&read.profile)), freshness }
    }

    /// Returns when the running fetch started, and whether the caller must start it; `None` during
    /// a pause.
    fn begin_fetch(&self) -> Option<(Instant, bool)> {
        let now = Instant::now();
        let mut fetch_state = self.fetch_state.lock();
        if let Some(since) = fetch_state.since.filter(|since| now < *since + 2 * FETCH_TIMEOUT) {
            return Some((since, false));
        }
        if now < fetch_state.not_before {
            return None;
        }
        fetch_state.since = Some(now);
        Some((now, true))
    }

    fn finish_fetch(&self, answer: Option<FetchedProfile>) {
        let pause = if answer.is_some() { Duration::ZERO } else { RETRY_PAUSE };
        if let Some(read) = answer {
            self.read.store(Some(Arc::new(read)));
        }
        let mut fetch_state = self.fetch_state.lock();
        *fetch_state = FetchState { since: None, not_before: Instant::now() + pause };
        drop(fetch_state);
        self.finished.send_replace(());
    }
}

impl Profiles {
    pub fn new(
        upstreams: Arc<Upstreams>,
        tokens: Arc<RequestTokens>,
        tenant_statuses: TenantStatuses,
        clock: Clock,
        lifecycle: Lifecycle,
    ) -> Self {
        let entries = Cache::builder().max_capacity(MAX_PROFILES).time_to_idle(PROFILE_TTL);
        let entries = entries.build_with_hasher(RandomState::default());
        Self(Arc::new(Inner {
            upstreams,
            tokens,
            tenant_statuses,
            clock,
            lifecycle,
            entries,
            counters: CommonCounters::default(),
        }))
    }

    /// Returns whether a profile cached for `one` is found by `one`, and whether by `other`. Both
    /// are synthetic tenants; the entry is removed.
    pub(crate) fn probe(&self, one: TenantId, other: TenantId) -> FoundBy {
        let operator = OperatorId::from_parts(Timestamp::UNIX_EPOCH, 1);
        let own = key(one, operator);
        self.0.entries.insert(own, Arc::new(ProfileEntry::new()));
        let finds = |tenant| self.0.entries.contains_key(&key(tenant, operator));
        let found = FoundBy { own: finds(one), other: finds(other) };
        self.0.entries.invalidate(&own);
        found
    }

    /// Returns the caller's profile. A missing one is awaited briefly; an old one is refreshed in
    /// the background.
    pub async fn lookup(
        &self,
        principal: &Principal,
        context: Option<&RequestContext>,
    ) -> ProfileState {
        let key = key(principal.tenant, principal.operator);
        let entry = self.0.entries.get_with(key, || Arc::new(ProfileEntry::new()));
        let mut state = entry.state(self.0.clock.now());
        self.0.counters.count_cache(state.profile.is_some());
        if state.freshness != Freshness::Fresh
            && let Some(context) = context
        {
            let mut finished = entry.finished.subscribe();
            let since = self.ensure_fetch(&entry, principal, context);
            if let (None, Some(since)) = (&state.profile, since) {
                let wait = time_limit(Safeguard::ProfileWait, PROFILE_WAIT);
                let _ = timeout_at(since + wait, finished.changed()).await;
                state = entry.state(self.0.clock.now());
            }
        }
        self.0.counters.count_outcome(state.freshness);
        state
    }

    /// Starts a fetch unless one is running. Returns when the running fetch started.
    fn ensure_fetch(
        &self,
        entry: &Arc<ProfileEntry>,
        principal: &Principal,
        context: &RequestContext,
    ) -> Option<Instant> {
        let (since, is_first) = entry.begin_fetch()?;
        if is_first {
            let (profiles, entry) = (self.clone(), Arc::clone(entry));
            let principal = Arc::new(principal.clone());
            let calls = CallerContext::new(
                context.clone(),
                Arc::clone(&self.0.tokens),
                Arc::clone(&principal),
            );
            self.0.lifecycle.spawn_until_stop(async move {
                entry.finish_fetch(profiles.read(&principal, &calls).await);
            });
        }
        Some(since)
    }

    async fn read(&self, principal: &Principal, calls: &CallerContext) -> Option<FetchedProfile> {
        let limit = time_limit(Safeguard::ProfileWait, FETCH_TIMEOUT);
        let context = calls.with_deadline(Instant::now() + limit);
        let (tenant, operator) = (principal.tenant, principal.operator);
        let answer = self.0.upstreams.operator(&context, tenant, operator).await;
        let profile = match answer {
            Ok(answer) if (answer.tenant_id, answer.operator_id) == (tenant, operator) => {
                self.apply_tenant_status(&answer);
                profile(answer)
            }
            Ok(_) => {
                tracing::error!(%tenant, %operator, "tenant-service returned another operator's profile; ignoring it.");
                return None;
            }
            Err(error) if is_unknown(&error) => {
                tracing::warn!(%tenant, %operator, "tenant-service does not know an operator with a valid token; granting nothing.");
                Profile::default()
            }
            Err(CallError::NotConfigured) => return None,
            Err(error) => {
                tracing::warn!(%tenant, error = %chain(&error), "Failed to read an operator's profile.");
                return None;
            }
        };
        Some(FetchedProfile { profile: Arc::new(profile), at: self.0.clock.now() })
    }

    fn apply_tenant_status(&self, answer: &OperatorProfile) {
        self.0.tenant_statuses.apply(TenantStatus {
            tenant: answer.tenant_id,
            suspended: answer.tenant_status == UpstreamStatus::Suspended,
            stated_at: tenant_status::limit_clock_skew(*answer.as_of, self.0.clock.now()),
        });
    }
}

/// Cache key of an operator's profile.
fn key(tenant: TenantId, operator: OperatorId) -> (TenantId, OperatorId) {
    let tenant = if safeguard!(TenantKeys) { tenant } else { TenantId::platform() };
    (tenant, operator)
}

/// Requires tenant-service's own problem: a bare 404 comes from a wrong address or an intermediary.
fn is_unknown(error: &CallError) -> bool {
    match error {
        CallError::Status { status: 404, problem } => {
            problem.as_ref().is_some_and(|problem| problem.is(&code::RESOURCE_NOT_FOUND))
        }
        _ => false,
    }
}

fn profile(answer: OperatorProfile) -> Profile {
    Profile {
        display_name: Some(answer.display_name),
        locale: Some(answer.locale),
        roles: RoleSet::from_names(answer.roles.iter().map(String::as_str)),
        properties: answer.property_ids,
        primary_property: answer.primary_property_id,
    }
}

/// Counters used by almost every request, looked up once.
#[derive(Default)]
struct CommonCounters {
    hit: OnceLock<Counter>,
    fresh: OnceLock<Counter>,
}

impl CommonCounters {
    fn count_cache(&self, hit: bool) {
        let hits = || counter!("bff_backoffice_cache_hit_total", "cache" => "operator_profile");
        if hit {
            self.hit.get_or_init(hits).increment(1);
        } else {
            counter!("bff_backoffice_cache_miss_total", "cache" => "operator_profile").increment(1);
        }
    }

    fn count_outcome(&self, freshness: Freshness) {
        let of = |outcome| counter!("bff_backoffice_operator_profile_total", "outcome" => outcome);
        match freshness {
            Freshness::Fresh => self.fresh.get_or_init(|| of("fresh")).increment(1),
            Freshness::Stale => of("stale").increment(1),
            Freshness::Unavailable => of("token_only").increment(1),
        }
    }
}
