//! `POST /oauth2/token`: proof first, then the grant, then a token bound to the proof's key.

use std::sync::Arc;

use auth::proof::{Expected, ProofError};
use auth::verifier::proof_header;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::headers;
use contracts::id::{DeviceId, RequestId};
use contracts::upstream::Upstream;
use contracts::upstream::iam::{AccessTokenClaims, Confirmation, TokenResponse};
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::sessions::{PresentedToken, Refreshed, Session};
use super::{CLIENT_ID, Iam, TOKEN_AUDIENCE};
use crate::demo::Operator;
use crate::effects::Effect;
use crate::oauth::{Form, OAuthError};

/// Seconds an access token lasts.
const ACCESS_TOKEN_SECONDS: i64 = 15 * 60;

pub(super) async fn token(
    State(iam): State<Arc<Iam>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut response = match iam.grant(&headers, &body) {
        Ok(tokens) => Json(tokens).into_response(),
        Err(error) => {
            tracing::info!(error = error.name(), reason = %error, "A token request was refused.");
            error.into_response()
        }
    };
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    out.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    if let Some(nonce) = iam.proofs.nonce(iam.platform.env.now()) {
        let nonce = HeaderValue::from_str(&nonce).expect("a nonce is base64url");
        out.insert(headers::DPOP_NONCE, nonce);
    }
    response
}

impl Iam {
    fn grant(&self, headers: &HeaderMap, body: &[u8]) -> Result<TokenResponse, OAuthError> {
        let form = Form::read(headers, body)?;
        form.check_client(headers, CLIENT_ID)?;
        let kind = form.required("grant_type", "Send grant_type.")?;
        if !matches!(kind, "password" | "refresh_token") {
            return Err(OAuthError::UnsupportedGrantType("password, refresh_token"));
        }
        let thumbprint = self.prove(headers)?;
        if kind == "password" {
            self.sign_in(&form, &thumbprint)
        } else {
            let token = form.required("refresh_token", "Send refresh_token.")?;
            let thumbprint = thumbprint.as_str();
            let presented = PresentedToken { token, thumbprint, device: None };
            self.refresh(&presented).ok_or(OAuthError::WRONG_REFRESH_TOKEN)
        }
    }

    /// The thumbprint of the key that made this request's proof.
    fn prove(&self, headers: &HeaderMap) -> Result<String, OAuthError> {
        let text = proof_header(headers)?;
        let now = self.platform.env.now();
        let expected = Expected {
            method: "POST",
            targets: std::slice::from_ref(&self.token_endpoint),
            token_digest: None,
            bound_to: None,
            now,
        };
        let proof = self.proofs.verify(text, &expected)?;
        if !self.replays.first_use(proof.replay, now) {
            return Err(ProofError::Replayed.into());
        }
        Ok(proof.thumbprint)
    }

    fn sign_in(&self, form: &Form, thumbprint: &str) -> Result<TokenResponse, OAuthError> {
        let name = form.required("username", "Send username.")?;
        let password = form.required("password", "Send password.")?;
        let device = form.required("device_id", "Send device_id, the id of this device.")?;
        let operator = self.account(name, password, device).ok_or(OAuthError::WRONG_PASSWORD)?;
        let (session, token) = self.sessions.open(operator, thumbprint, &self.platform.env);
        self.note("session.opened", &session);
        Ok(self.tokens(operator, &session, token))
    }

    /// Finds the operator if the password is right and the device is theirs. Takes as long for an
    /// unknown name.
    fn account(&self, name: &str, password: &str, device: &str) -> Option<&Operator> {
        let operator = self.platform.demo.operators.iter().find(|one| one.username == name);
        let expected = operator.map_or("", |operator| operator.password.as_str());
        let right = Sha256::digest(password).ct_eq(&Sha256::digest(expected));
        let device = device.parse::<DeviceId>().ok();
        operator.filter(|operator| bool::from(right) && device == Some(operator.device_id))
    }

    /// A new pair, or `None` when the token is not current or not bound to the sender.
    pub(super) fn refresh(&self, presented: &PresentedToken<'_>) -> Option<TokenResponse> {
        let issue = |session: &Session, token| {
            let operator = self.platform.demo.operator(session.operator)?;
            Some(self.tokens(operator, session, token))
        };
        match self.sessions.refresh(presented, &self.platform.env, issue) {
            Refreshed::Rotated { session, pair } => {
                self.note("session.refreshed", &session);
                Some(pair)
            }
            Refreshed::Repeated(pair) => Some(pair),
            Refreshed::Reused(session) => {
                tracing::warn!(session = %session.id, "A refresh token was reused. Its session is revoked.");
                self.end(&session, "A refresh token was used twice. Sign in again.");
                None
            }
            Refreshed::Refused => None,
        }
    }

    fn tokens(&self, operator: &Operator, session: &Session, refresh: String) -> TokenResponse {
        TokenResponse {
            access_token: self.key.sign(CLIENT_ID, &self.claims(operator, session)),
            token_type: "DPoP".to_owned(),
            expires_in: ACCESS_TOKEN_SECONDS.unsigned_abs(),
            refresh_token: Some(refresh),
        }
    }

    fn claims(&self, operator: &Operator, session: &Session) -> AccessTokenClaims {
        let env = &self.platform.env;
        let now = env.clock.unix_seconds();
        AccessTokenClaims {
            iss: self.issuer.clone(),
            aud: TOKEN_AUDIENCE.to_owned(),
            sub: operator.id.to_string(),
            tenant_id: operator.tenant_id.to_string(),
            device_id: session.device.to_string(),
            property_ids: operator.property_ids.iter().map(ToString::to_string).collect(),
            roles: operator.roles.iter().map(|role| role.name().to_owned()).collect(),
            sid: Some(session.id.to_string()),
            cnf: Confirmation { jkt: session.thumbprint.clone() },
            iat: now,
            exp: now + ACCESS_TOKEN_SECONDS,
            jti: env.new_id::<RequestId>().to_string(),
        }
    }

    pub(super) fn note(&self, action: &'static str, session: &Session) {
        self.platform.effects.record(Effect {
            at: self.platform.env.now().into(),
            upstream: Upstream::Iam,
            tenant_id: session.tenant,
            action,
            subject: session.id.to_string(),
            idempotency_key: None,
            operator_id: None,
        });
    }
}
