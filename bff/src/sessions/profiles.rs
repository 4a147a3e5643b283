//! Who an operator is to its tenant: roles, property scope, name and language, from
//! tenant-service, the authority on them. Kept in this process; a slow or absent tenant-service
//! costs a request at most a short wait (F-3).
//!
//! A profile only ever takes away from what a token says.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use auth::Principal;
use auth::request_token::RequestTokens;
use contracts::clock::Clock;
use contracts::id::{Id, OperatorId, PropertyId, TenantId};
use contracts::problem::code;
use contracts::role::RoleSet;
use contracts::safeguard;
use contracts::safeguard::{Safeguard, time_limit};
use contracts::upstream::tenant::{OperatorProfile, TenantStatus};
use foldhash::quality::RandomState;
use jiff::Timestamp;
use metrics::{Counter, counter};
use moka::sync::Cache;
use serde::Serialize;
use service_kit::lifecycle::Lifecycle;
use service_kit::problem::chain;
use service_kit::request::RequestContext;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use upstream_clients::{CallError, Upstreams};

use super::tenant_status::{self, Standings, Statement};
use crate::caller_context::CallerContext;

/// A profile is asked for again when it is older (platform facts; seed F-3).
const FRESH_FOR: Duration = Duration::from_secs(5 * 60);
/// As long as a session: then the token alone speaks.
const KEPT_FOR: Duration = Duration::from_secs(12 * 60 * 60);
/// What a request gives a profile that is missing.
const WAIT: Duration = Duration::from_millis(200);
/// Two attempts of the call stack and a little.
const DEADLINE: Duration = Duration::from_millis(1100);
/// After a failure tenant-service is left alone for this long, for each operator.
const PAUSE: Duration = Duration::from_secs(5);
/// Operators whose profiles are kept.
const OPERATORS: u64 = 50_000;

/// What the tenant says of an operator.
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

/// How far a profile can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    Fresh,
    /// Tenant-service has not answered for more than five minutes.
    Stale,
    /// The token alone says what the operator may do.
    Unavailable,
}

/// What is known of the caller besides its token.
#[derive(Debug, Clone)]
pub struct Known {
    pub profile: Option<Arc<Profile>>,
    pub freshness: Freshness,
}

impl Known {
    /// The caller with what both the token and the profile grant.
    pub fn narrow(&self, principal: Principal) -> Principal {
        match &self.profile {
            Some(profile) => principal.narrowed(profile.roles, &profile.properties),
            None => principal,
        }
    }
}

/// The profiles of this instance.
#[derive(Clone)]
pub struct Profiles(Arc<Inner>);

struct Inner {
    upstreams: Arc<Upstreams>,
    tokens: Arc<RequestTokens>,
    standings: Standings,
    clock: Clock,
    lifecycle: Lifecycle,
    seats: Cache<(TenantId, OperatorId), Arc<Seat>, RandomState>,
    usual: Usual,
}

impl std::fmt::Debug for Profiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profiles")
            .field("kept", &self.0.seats.entry_count())
            .finish_non_exhaustive()
    }
}

/// One operator's profile and the asking for it.
struct Seat {
    read: ArcSwapOption<Read>,
    asking: Mutex<Asking>,
    settled: watch::Sender<()>,
}

struct Read {
    profile: Arc<Profile>,
    at: Timestamp,
}

#[derive(Clone, Copy)]
struct Asking {
    /// When the call under way was begun.
    since: Option<Instant>,
    not_before: Instant,
}

impl Seat {
    fn new() -> Self {
        let asking = Asking { since: None, not_before: Instant::now() };
        Self {
            read: ArcSwapOption::empty(),
            asking: Mutex::new(asking),
            settled: watch::Sender::new(()),
        }
    }

    fn known(&self, now: Timestamp) -> Known {
        let read = self.read.load_full().filter(|read| now < read.at + KEPT_FOR);
        let Some(read) = read else {
            return Known { profile: None, freshness: Freshness::Unavailable };
        };
        let is_fresh = now < read.at + FRESH_FOR;
        let freshness = if is_fresh { Freshness::Fresh } else { Freshness::Stale };
        Known { profile: Some(Arc::clone(&read.profile)), freshness }
    }

    /// Since when a call is under way, or begins with this caller; `None` during a pause.
    fn begin(&self) -> Option<(Instant, bool)> {
        let now = Instant::now();
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = asking.since.filter(|since| now < *since + 2 * DEADLINE) {
            return Some((since, false));
        }
        if now < asking.not_before {
            return None;
        }
        asking.since = Some(now);
        Some((now, true))
    }

    fn settle(&self, answer: Option<Read>) {
        let pause = if answer.is_some() { Duration::ZERO } else { PAUSE };
        if let Some(read) = answer {
            self.read.store(Some(Arc::new(read)));
        }
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        *asking = Asking { since: None, not_before: Instant::now() + pause };
        drop(asking);
        self.settled.send_replace(());
    }
}

impl Profiles {
    pub fn new(
        upstreams: Arc<Upstreams>,
        tokens: Arc<RequestTokens>,
        standings: Standings,
        clock: Clock,
        lifecycle: Lifecycle,
    ) -> Self {
        let seats = Cache::builder().max_capacity(OPERATORS).time_to_idle(KEPT_FOR);
        let seats = seats.build_with_hasher(RandomState::default());
        Self(Arc::new(Inner {
            upstreams,
            tokens,
            standings,
            clock,
            lifecycle,
            seats,
            usual: Usual::default(),
        }))
    }

    /// Whether a profile kept for `one` is found by `one`, and whether it is by `other`. Both are
    /// nobody; nothing of it stays.
    pub(crate) fn probe(&self, one: TenantId, other: TenantId) -> (bool, bool) {
        let operator = OperatorId::from_parts(Timestamp::UNIX_EPOCH, 1);
        let own = key(one, operator);
        self.0.seats.insert(own, Arc::new(Seat::new()));
        let finds = |tenant| self.0.seats.contains_key(&key(tenant, operator));
        let found = (finds(one), finds(other));
        self.0.seats.invalidate(&own);
        found
    }

    /// What is known of the caller now. One that is missing is waited for, shortly; one that is
    /// old is asked for behind the request's back.
    pub async fn known(&self, principal: &Principal, context: Option<&RequestContext>) -> Known {
        let key = key(principal.tenant, principal.operator);
        let seat = self.0.seats.get_with(key, || Arc::new(Seat::new()));
        let mut known = seat.known(self.0.clock.now());
        self.0.usual.count_cache(known.profile.is_some());
        if known.freshness != Freshness::Fresh
            && let Some(context) = context
        {
            let mut settled = seat.settled.subscribe();
            let since = self.ask(&seat, principal, context);
            if let (None, Some(since)) = (&known.profile, since) {
                let wait = time_limit(Safeguard::ProfileWait, WAIT);
                let _ = timeout_at(since + wait, settled.changed()).await;
                known = seat.known(self.0.clock.now());
            }
        }
        self.0.usual.count_outcome(known.freshness);
        known
    }

    /// Since when tenant-service is being asked.
    fn ask(
        &self,
        seat: &Arc<Seat>,
        principal: &Principal,
        context: &RequestContext,
    ) -> Option<Instant> {
        let (since, begins) = seat.begin()?;
        if begins {
            let (profiles, seat) = (self.clone(), Arc::clone(seat));
            let principal = Arc::new(principal.clone());
            let calls = CallerContext::new(
                context.clone(),
                Arc::clone(&self.0.tokens),
                Arc::clone(&principal),
            );
            self.0.lifecycle.spawn_until_stop(async move {
                seat.settle(profiles.read(&principal, &calls).await);
            });
        }
        Some(since)
    }

    async fn read(&self, principal: &Principal, calls: &CallerContext) -> Option<Read> {
        let limit = time_limit(Safeguard::ProfileWait, DEADLINE);
        let context = calls.with_deadline(Instant::now() + limit);
        let (tenant, operator) = (principal.tenant, principal.operator);
        let answer = self.0.upstreams.operator(&context, tenant, operator).await;
        let profile = match answer {
            Ok(answer) if (answer.tenant_id, answer.operator_id) == (tenant, operator) => {
                self.learn_standing(&answer);
                profile(answer)
            }
            Ok(_) => {
                tracing::error!(%tenant, %operator, "tenant-service answered for somebody else; nothing of it is used.");
                return None;
            }
            Err(error) if is_unknown(&error) => {
                tracing::warn!(%tenant, %operator, "The tenant does not know an operator with a valid token; nothing is granted.");
                Profile::default()
            }
            Err(CallError::NotConfigured) => return None,
            Err(error) => {
                tracing::warn!(%tenant, error = %chain(&error), "An operator's profile was not read.");
                return None;
            }
        };
        Some(Read { profile: Arc::new(profile), at: self.0.clock.now() })
    }

    fn learn_standing(&self, answer: &OperatorProfile) {
        self.0.standings.learn(Statement {
            tenant: answer.tenant_id,
            suspended: answer.tenant_status == TenantStatus::Suspended,
            stated_at: tenant_status::not_ahead(answer.as_of, self.0.clock.now()),
        });
    }
}

/// The key of an operator's profile.
fn key(tenant: TenantId, operator: OperatorId) -> (TenantId, OperatorId) {
    let tenant = if safeguard!(TenantKeys) { tenant } else { TenantId::platform() };
    (tenant, operator)
}

/// Said by tenant-service itself: a bare 404 comes from a wrong address, or something between.
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

/// The counters of almost every request, looked up once.
#[derive(Default)]
struct Usual {
    hit: OnceLock<Counter>,
    fresh: OnceLock<Counter>,
}

impl Usual {
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
