//! Who may call `/internal/*`: service accounts with an OpenID Connect token, by group of routes.
//! Nobody, until issuer, keys, audience and accounts are configured.

use std::sync::Arc;
use std::time::Duration;

use auth::edge::RemoteKeys;
use auth::oidc::{self, OidcError, OidcRules, ServiceAccount};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use contracts::clock::Clock;
use contracts::problem::{Problem, code};
use contracts::safeguard;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use metrics::counter;

use crate::config::{AccountsConfig, OidcConfig};
use crate::http_client;
use crate::problem::ApiError;
use crate::serve::mark_authenticated;

/// An unknown key id makes us ask the issuer at most this often.
const KEYS_COOLDOWN: Duration = Duration::from_secs(10);

/// Whom a group of routes is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Cloud Scheduler: `/internal/jobs/*`.
    Scheduler,
    /// The Pub/Sub push: `/internal/events`.
    Events,
    /// Operators of the platform, and iam: `/internal/admin/*`, the gateway's `/internal/sessions/*`.
    Operators,
}

impl AccountsConfig {
    fn of(&self, role: Role) -> &[String] {
        match role {
            Role::Scheduler => &self.scheduler,
            Role::Events => &self.events,
            Role::Operators => &self.operators,
        }
    }
}

/// Judges the callers of the internal listener.
#[derive(Debug)]
pub struct Identity {
    keys: RemoteKeys,
    rules: OidcRules,
    accounts: AccountsConfig,
    clock: Clock,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("Send one Authorization header with an identity token under Bearer.")]
    NoToken,
    #[error("The identity token was not accepted: {0}. Ask the issuer for a new one.")]
    Token(OidcError),
    #[error("The issuer's keys cannot be read yet. Try again.")]
    NoKeys,
    #[error(
        "This service account may not call this. Add it to internal.oidc.accounts if it should."
    )]
    Account,
    #[error(
        "Nobody may call this: no issuer is configured. Set internal.oidc and start the server again."
    )]
    NotConfigured,
}

impl Identity {
    /// As the settings say; said at start when nobody is let in.
    pub fn configured(oidc: Option<&OidcConfig>, clock: Clock) -> Option<Arc<Self>> {
        let Some(oidc) = oidc else {
            tracing::warn!("internal.oidc is not configured: nobody may call /internal/*.");
            return None;
        };
        let client = http_client::short_requests();
        let keys = RemoteKeys::new(oidc.jwks_url.clone(), client, KEYS_COOLDOWN);
        Some(Arc::new(Self::new(oidc, keys, clock)))
    }

    /// `keys` are the issuer's.
    pub fn new(config: &OidcConfig, keys: RemoteKeys, clock: Clock) -> Self {
        let (issuer, audience) = (config.issuer.clone(), config.audience.clone());
        let accounts = config.accounts.clone();
        Self { keys, rules: OidcRules { issuer, audience }, accounts, clock }
    }

    async fn judge(&self, headers: &HeaderMap, role: Role) -> Result<ServiceAccount, Refusal> {
        let token = bearer(headers).ok_or(Refusal::NoToken)?;
        let keys = self.keys.holding(&oidc::key_id(token).map_err(Refusal::Token)?).await;
        if keys.is_empty() {
            return Err(Refusal::NoKeys);
        }
        let account = oidc::verify(token, &keys, &self.rules, self.clock.now());
        let account = account.map_err(Refusal::Token)?;
        let known = self.accounts.of(role).contains(&account.email);
        if known { Ok(account) } else { Err(Refusal::Account) }
    }
}

/// The token of the one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (scheme, token) = values.next()?.to_str().ok()?.split_once(' ')?;
    let one = values.next().is_none() && scheme.eq_ignore_ascii_case("bearer");
    one.then(|| token.trim_start_matches(' '))
}

/// What stands in front of one server's internal routes.
#[derive(Debug, Clone)]
pub struct Guard {
    identity: Option<Arc<Identity>>,
    /// Name of the counter of those it turned away.
    failures: &'static str,
}

impl Guard {
    /// Without an identity it lets nobody in. `failures` is a counter's name.
    pub fn new(identity: Option<Arc<Identity>>, failures: &'static str) -> Self {
        Self { identity, failures }
    }

    /// What stands behind it may take the caller as `Extension<ServiceAccount>`.
    pub fn around(&self, router: Router, role: Role) -> Router {
        router.layer(from_fn_with_state((self.clone(), role), check))
    }

    async fn judge(&self, headers: &HeaderMap, role: Role) -> Result<ServiceAccount, Refusal> {
        if !safeguard!(ServiceIdentity) {
            return Ok(ServiceAccount { email: "anybody".to_owned(), subject: "0".to_owned() });
        }
        let identity = self.identity.as_ref().ok_or(Refusal::NotConfigured)?;
        identity.judge(headers, role).await
    }
}

async fn check(
    State((guard, role)): State<(Guard, Role)>,
    mut request: Request,
    next: Next,
) -> Response {
    match guard.judge(request.headers(), role).await {
        Ok(account) => {
            tracing::info!(account = account.email, ?role, "A service account calls.");
            mark_authenticated(request.extensions());
            request.extensions_mut().insert(account);
            next.run(request).await
        }
        Err(refusal) => {
            counter!(guard.failures, "reason" => refusal.label()).increment(1);
            refusal.into_response()
        }
    }
}

impl Refusal {
    fn label(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Token(_) => "token",
            Self::NoKeys => "no_keys",
            Self::Account => "account",
            Self::NotConfigured => "not_configured",
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
