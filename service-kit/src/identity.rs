//! Authentication for `/internal/*`: service accounts with an OpenID Connect token, by group of routes.
//! Every request is refused until issuer, keys, audience and accounts are configured.

use std::sync::Arc;
use std::time::Duration;

use auth::edge::RemoteKeys;
use auth::oidc::{self, OidcError, ServiceAccount};
use auth::token::TokenRules;
use auth::verifier::bearer;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use contracts::clock::Clock;
use contracts::problem::{Problem, code};
use contracts::safeguard;
use http::HeaderMap;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use metrics::counter;

use crate::config::{AccountsConfig, OidcConfig};
use crate::http_client;
use crate::problem::ApiError;
use crate::serve::mark_authenticated;

/// Shortest time between two fetches of the issuer's keys because of an unknown key id.
const KEYS_COOLDOWN: Duration = Duration::from_secs(10);

/// Service accounts that may call a group of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountGroup {
    /// Cloud Scheduler: `/internal/jobs/*`.
    Scheduler,
    /// The Pub/Sub push: `/internal/events`.
    Events,
    /// Operators of the platform, and iam: `/internal/admin/*`, the gateway's `/internal/sessions/*`.
    Operators,
}

impl AccountsConfig {
    fn emails(&self, group: AccountGroup) -> &[String] {
        match group {
            AccountGroup::Scheduler => &self.scheduler,
            AccountGroup::Events => &self.events,
            AccountGroup::Operators => &self.operators,
        }
    }
}

/// Authenticates the callers of the internal listener.
#[derive(Debug)]
pub struct Identity {
    keys: RemoteKeys,
    rules: TokenRules,
    accounts: AccountsConfig,
    clock: Clock,
}

#[derive(Debug, PartialEq, Eq, strum::IntoStaticStr, thiserror::Error)]
#[strum(const_into_str, serialize_all = "snake_case")]
enum Refusal {
    #[error("Send one Authorization header with an identity token as a Bearer token.")]
    NoToken,
    #[error("The identity token is not valid: {0}. Get a new one from the issuer.")]
    Token(OidcError),
    #[error("The keys of the issuer cannot be fetched. Try again.")]
    NoKeys,
    #[error(
        "This service account may not call this route. To allow it, add it to internal.oidc.accounts."
    )]
    Account,
    #[error(
        "No issuer is configured for internal routes. Set internal.oidc and restart the server."
    )]
    NotConfigured,
}

impl Identity {
    /// Makes an authenticator of the settings. Without settings, logs a warning and returns `None`.
    pub fn configured(oidc: Option<&OidcConfig>, clock: Clock) -> Option<Arc<Self>> {
        let Some(oidc) = oidc else {
            tracing::warn!(
                "internal.oidc is not configured. All requests to /internal/* are refused."
            );
            return None;
        };
        let client = http_client::short_requests();
        let keys = RemoteKeys::new(oidc.jwks_url.clone(), client, KEYS_COOLDOWN);
        Some(Arc::new(Self::new(oidc, keys, clock)))
    }

    /// `keys` are the keys of the issuer.
    pub fn new(config: &OidcConfig, keys: RemoteKeys, clock: Clock) -> Self {
        let (issuer, audience) = (config.issuer.clone(), config.audience.clone());
        let accounts = config.accounts.clone();
        Self { keys, rules: TokenRules { issuer, audience }, accounts, clock }
    }
}

/// A layer that requires a service account of a group.
#[derive(Debug, Clone)]
pub struct RequireAccount {
    identity: Option<Arc<Identity>>,
    /// Name of the counter of refused requests.
    failures: &'static str,
}

impl RequireAccount {
    /// Refuses every request when `identity` is `None`. `failures` is the name of the counter of refused
    /// requests.
    pub fn new(identity: Option<Arc<Identity>>, failures: &'static str) -> Self {
        Self { identity, failures }
    }

    /// Requires an account of `group` for `router`, whose handlers can extract
    /// `Extension<ServiceAccount>`.
    pub fn protect(&self, router: Router, group: AccountGroup) -> Router {
        router.layer(from_fn_with_state((self.clone(), group), check))
    }

    async fn authorize(
        &self,
        headers: &HeaderMap,
        group: AccountGroup,
    ) -> Result<ServiceAccount, Refusal> {
        if !safeguard!(ServiceIdentity) {
            return Ok(ServiceAccount { email: "anybody".to_owned(), subject: "0".to_owned() });
        }
        let identity = self.identity.as_ref().ok_or(Refusal::NotConfigured)?;
        let token = bearer(headers).map_err(|_| Refusal::NoToken)?;
        let keys = identity.keys.holding(&oidc::key_id(token).map_err(Refusal::Token)?).await;
        if keys.is_empty() {
            return Err(Refusal::NoKeys);
        }
        let account = oidc::verify(token, &keys, &identity.rules, identity.clock.now());
        let account = account.map_err(Refusal::Token)?;
        let is_allowed = identity.accounts.emails(group).contains(&account.email);
        if is_allowed { Ok(account) } else { Err(Refusal::Account) }
    }
}

async fn check(
    State((guard, group)): State<(RequireAccount, AccountGroup)>,
    mut request: Request,
    next: Next,
) -> Response {
    match guard.authorize(request.headers(), group).await {
        Ok(account) => {
            tracing::info!(account = account.email, role = ?group, "Internal request by a service account.");
            mark_authenticated(request.extensions());
            request.extensions_mut().insert(account);
            next.run(request).await
        }
        Err(refusal) => {
            counter!(guard.failures, "reason" => refusal.into_str()).increment(1);
            refusal.into_response()
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        tracing::warn!(reason = %self, "An internal request was refused.");
        let code = match self {
            Self::NoToken | Self::Token(_) => &code::UNAUTHENTICATED,
            Self::NoKeys => &code::UNAVAILABLE,
            Self::Account | Self::NotConfigured => &code::FORBIDDEN,
        };
        let challenge = match self {
            Self::NoToken => Some("Bearer"),
            Self::Token(_) => Some(r#"Bearer error="invalid_token""#),
            _ => None,
        };
        let problem = Problem::new(code, self.to_string());
        let mut response = ApiError::from(problem).into_response();
        if let Some(challenge) = challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
