//! Who may call `/internal/*`: service accounts with an OpenID Connect token, by group of routes.
//! Nobody, until issuer, keys, audience and accounts are configured.

use std::sync::Arc;

use auth::edge::RemoteKeys;
use auth::oidc::{self, OidcError, OidcRules, ServiceAccount};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use contracts::clock::Clock;
use contracts::problem::{Problem, code};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use service_kit::problem::ApiError;

use crate::config::{AccountsConfig, OidcConfig};

/// Whom a group of routes is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Cloud Scheduler: `/internal/jobs/*`.
    Scheduler,
    /// The Pub/Sub push: `/internal/events`.
    Events,
    /// Operators of the platform and iam: `/internal/sessions/*`, `/internal/admin/*`.
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
        "Nobody may call this: no issuer is configured. Set internal.oidc and start the gateway again."
    )]
    NotConfigured,
}

impl Identity {
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

/// What stands behind `guarded` may take the caller as `Extension<ServiceAccount>`.
pub fn guarded(router: Router, role: Role, identity: Option<Arc<Identity>>) -> Router {
    router.layer(from_fn_with_state((identity, role), check))
}

type Guard = (Option<Arc<Identity>>, Role);

async fn check(
    State((identity, role)): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response {
    let judged = match &identity {
        Some(identity) => identity.judge(request.headers(), role).await,
        None => Err(Refusal::NotConfigured),
    };
    match judged {
        Ok(account) => {
            tracing::info!(account = account.email, ?role, "A service account calls.");
            request.extensions_mut().insert(account);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
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
